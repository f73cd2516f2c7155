"""How quickly a job of 50,000 trials is on the screen, in headless Chromium. Printed only.

With OPTUNA_DASHBOARD=/path/to/optuna-dashboard its page of the same study is opened beside it.
"""

import json
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright
from sqlalchemy import Engine, insert, select

from service import jobs
from service._trial_summaries import SUMMARIES
from service.database import embedded_url, open_database, reading, writing
from service.jobs import StoredJob
from tests.benchmarks.big_job import make_big_job
from tests.benchmarks.test_reads import running_api
from tests.browser.conftest import DESKTOP, PROGRAMS, QUIET
from tests.ports import free_port

TRIALS = 50_000
RATE, SECONDS = 20.0, 15.0  # trials a second that arrive, and for how long
LONG_TASKS = """() => { window.long = []; new PerformanceObserver((list) => {
  for (const each of list.getEntries()) window.long.push(Math.round(each.duration));
}).observe({ type: "longtask" }); }"""


@contextmanager
def chromium() -> Iterator[Browser]:
    program = next(found for name in PROGRAMS if (found := shutil.which(name)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(QUIET))
        yield browser
        browser.close()


@contextmanager
def counted(browser: Browser) -> Iterator[tuple[Page, CDPSession, list[float]]]:
    """A new page that nothing is kept of, and the bytes that it receives."""
    context = browser.new_context(viewport=DESKTOP)
    page = context.new_page()
    cdp, received = context.new_cdp_session(page), list[float]()
    cdp.send("Network.enable")
    cdp.on("Network.loadingFinished", lambda said: received.append(said["encodedDataLength"]))
    yield page, cdp, received
    context.close()


def heap(cdp: CDPSession) -> float:
    """MB that scripts hold, arrays of numbers among them."""
    cdp.send("HeapProfiler.enable")
    cdp.send("HeapProfiler.collectGarbage")
    found = cdp.send("Runtime.getHeapUsage")
    return float(found["usedSize"] + found.get("backingStorageSize", 0)) / 1e6


def wait_for_plot(page: Page) -> None:
    """Asked again and again from here: the page's policy lets nobody evaluate in it."""
    while not page.evaluate("performance.getEntriesByName('first-plot').length"):
        time.sleep(0.02)


def opened(browser: Browser, url: str) -> None:
    with counted(browser) as (page, cdp, received):
        page.goto(url)
        wait_for_plot(page)
        first = page.evaluate("performance.getEntriesByName('first-plot')[0].startTime")
        page.locator("canvas").first.focus()
        before = time.perf_counter()
        page.keyboard.press("ArrowRight")
        page.wait_for_selector(".hint:not([hidden])")
        answered = (time.perf_counter() - before) * 1000
        page.wait_for_timeout(3000)
        say(
            f"ours: first plot after {first:.0f} ms, a key answered in {answered:.0f} ms, "
            f"{sum(received) / 1e6:.2f} MB, heap {heap(cdp):.1f} MB"
        )


def followed(browser: Browser, url: str, engine: Engine, job: StoredJob) -> None:
    with counted(browser) as (page, cdp, received):
        page.goto(url)
        wait_for_plot(page)
        page.wait_for_timeout(3000)
        page.evaluate(LONG_TASKS)
        before = sum(received)
        over = threading.Event()
        thread = threading.Thread(target=trials_arrive, args=(engine, job, over))
        thread.start()
        page.wait_for_timeout(SECONDS * 1000)
        over.set()
        thread.join()
        page.wait_for_timeout(1000)
        tasks = page.evaluate("window.long")
        say(
            f"ours, {RATE:.0f} trials a second for {SECONDS:.0f} s: tasks over 50 ms: {tasks}, "
            f"{(sum(received) - before) / 1e3:.0f} kB, heap {heap(cdp):.1f} MB"
        )


def trials_arrive(engine: Engine, job: StoredJob, over: threading.Event) -> None:
    chance = random.Random(0)
    with reading(engine) as connection:
        query = select(SUMMARIES).where(SUMMARIES.c.job_id == job.id)
        last = connection.execute(query.order_by(SUMMARIES.c.number.desc()).limit(1)).mappings()
        like: dict[str, Any] = dict(last.one())
    number = like["number"]
    while not over.wait(1 / RATE):
        number += 1
        cost, overlap = chance.uniform(1e8, 9e8), chance.uniform(0.2, 0.6)
        figures = {"average_overlap": overlap, "macs_frame": cost}
        row = {
            **like, "number": number, "state": "COMPLETE", "holds": True, "on_front": False,
            "moved": False, "value0": overlap, "value1": cost,
            "figures_json": json.dumps(figures), "digest": f"later {number}",
        }  # fmt: skip
        with writing(engine) as connection:
            connection.execute(insert(SUMMARIES), row)
            told = {"number": number, "state": "COMPLETE", "note": ""}
            jobs.add_events(connection, job.id, [("trial_finished", told)])


def optunas(browser: Browser, program: str, url: str) -> None:
    port = free_port()
    process = subprocess.Popen(
        [program, url, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with counted(browser) as (page, cdp, received):
            page.set_default_timeout(600_000)
            time.sleep(8)
            began = time.perf_counter()
            # Empty plots are there at once; those of the trials come with all of the study.
            with page.expect_response(lambda one: "/api/studies/1" in one.url) as answer:
                page.goto(f"http://127.0.0.1:{port}/dashboard/studies/1", timeout=600_000)
            answer.value.finished()
            page.wait_for_selector(".js-plotly-plot .points path, .js-plotly-plot .gl-canvas")
            seconds = time.perf_counter() - began
            say(
                f"optuna-dashboard: first plot after {seconds:.1f} s, "
                f"{sum(received) / 1e6:.0f} MB, heap {heap(cdp):.0f} MB"
            )
    finally:
        process.terminate()
        process.wait(30)


def say(what: str) -> None:
    print(f"{what}; load {os.getloadavg()[0]:.1f}")  # noqa: T201


@pytest.mark.benchmark
def test_a_large_job_on_the_screen(tmp_path: Path) -> None:
    url = embedded_url(tmp_path / "paretrack.db")
    engine = open_database(url)
    job = make_big_job(engine, TRIALS, with_study=True, ended=False)
    with running_api(url, tmp_path) as api, chromium() as browser:
        address = f"{api.base.removesuffix('/api/v1')}/jobs/{job.id}"
        for _ in range(3):
            opened(browser, address)
        followed(browser, address, engine, job)
        if program := os.environ.get("OPTUNA_DASHBOARD"):
            optunas(browser, program, url)
    engine.dispose()
