"""A search as somebody has it who only looks: begun by a form, followed, paused, opened,
downloaded, compared, repeated at night. The service is real, and candidates are trained."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import onnx
import pytest
from playwright.sync_api import Browser, Page, expect

from service.client import Client
from tests.browser.conftest import DESKTOP, watched
from tests.ports import free_port
from tests.workers.test_evaluation import tiny_candidate


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """`paretrack up`, with a tiny tracker to start from, and the folder of its data."""
    root = tmp_path_factory.mktemp("up")
    tiny_candidate(root)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    known = {k: v for k, v in os.environ.items() if not k.startswith("PARETRACK_")}
    with (root / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "service.cli", "up", "--port", str(port),
                "--pool", "in_process", "--drain", "1",
            ],
            env={**known, "PARETRACK_HOME": str(root / "home"), "OMP_NUM_THREADS": "1"},
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        _wait_for(url, process, root / "up.log")
        with Client(url) as client:
            client.trackers.upload(root / "teacher", "tiny")
        yield url, root / "data"
    finally:
        process.terminate()
        process.wait(60)


def _wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        with suppress(httpx.TransportError):  # it does not listen yet
            if httpx.get(f"{url}/api/v1/health/ready", timeout=5).status_code == 200:
                return
        time.sleep(0.2)
    raise AssertionError(log.read_text())


@pytest.fixture
def page(browser: Browser, service: tuple[str, Path]) -> Iterator[Page]:
    context = browser.new_context(viewport=DESKTOP, base_url=service[0], accept_downloads=True)
    seen = watched(context, service[0])
    yield seen.page
    seen.check()
    context.close()


def begun(page: Page, name: str, data: Path, trials: int) -> str:
    """A search that was asked for by the form; the id of its job."""
    page.goto("/jobs/new")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Teacher", exact=True).fill("tiny")
    page.locator("summary", has_text="Data").click()
    page.get_by_label("Data set", exact=True).select_option("folder")
    page.get_by_label("Root", exact=True).fill(str(data))
    page.get_by_label("Train", exact=True).fill("all")
    page.get_by_label("Judged on", exact=True).fill("all")
    page.get_by_label("Steps", exact=True).fill("4")
    page.get_by_label("Refit", exact=True).fill("8")
    page.get_by_label("Trials", exact=True).fill(str(trials))
    expect(page.get_by_text("What costs it can reach")).to_be_visible()
    page.get_by_role("button", name="Begin the search").click()
    page.wait_for_url(re.compile(r"/jobs/(?!new)"))
    return page.url.rpartition("/")[2]


def test_from_the_form_to_a_tracker_that_runs_and_a_search_every_night(
    page: Page, service: tuple[str, Path], tmp_path: Path
) -> None:
    first = begun(page, "by form", service[1], trials=12)
    plot = page.locator("canvas").first
    # Points come by themselves: nothing is loaded again.
    expect(plot).to_have_attribute("aria-label", re.compile("on the front"))
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("h1 .state")).to_have_text(re.compile("paus"))
    expect(page.locator("h1 .state")).to_have_text("paused")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("h1 .state")).to_have_text(re.compile("queued|running|succeeded"))
    expect(page.locator("h1 .state")).to_have_text("succeeded")

    plot.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/trials/\d+"))
    page.get_by_role("button", name="Export ONNX").click()
    with page.expect_download() as found:
        page.get_by_role("button", name="Download frame.onnx").click()
    found.value.save_as(tmp_path / "frame.onnx")
    onnx.checker.check_model(str(tmp_path / "frame.onnx"))

    page.get_by_role("button", name=re.compile("^Best")).click()
    page.get_by_role("button", name="One frame on").click()
    player = page.locator("canvas[aria-label*='ground truth']")
    expect(player).to_have_attribute("aria-label", re.compile("teacher and this trial"))
    expect(page).to_have_url(re.compile("watch="))

    page.goto(f"/jobs/{first}")
    page.get_by_role("link", name="Duplicate").click()
    expect(page.get_by_label("Name", exact=True)).to_have_value("by form again")
    page.get_by_label("Trials", exact=True).fill("4")
    page.get_by_role("button", name="Begin the search").click()
    page.wait_for_url(re.compile(r"/jobs/(?!new)"))
    second = page.url.rpartition("/")[2]
    expect(page.locator("h1 .state")).to_have_text("succeeded")

    page.goto(f"/compare?job={first}")
    page.get_by_label("Add a search").select_option(second)
    table = page.get_by_role("region", name="All from one reference")
    expect(table.get_by_role("row")).to_have_count(3)
    expect(page).to_have_url(re.compile(f"job={first}&job={second}"))

    page.goto(f"/nights?from={first}")
    page.get_by_label("Name", exact=True).fill("sleepless")
    page.get_by_label(re.compile("^Cron")).fill("30 2 * * *")
    page.get_by_role("button", name=re.compile("Create|Schedule")).click()
    expect(page.get_by_text("sleepless").first).to_be_visible()
    with Client(service[0]) as client:
        assert [schedule.now.name for schedule in client.schedules.list()] == ["sleepless"]


def trials_of(url: str, job: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{url}/api/v1/jobs/{job}/trials", timeout=60)
    found: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
    return found


def test_one_trial_is_recovered_longer_and_a_recipe_is_tuned_for_it(
    page: Page, service: tuple[str, Path]
) -> None:
    first = begun(page, "short", service[1], trials=2)
    expect(page.locator("h1 .state")).to_have_text("succeeded")
    trial = next(one for one in trials_of(service[0], first) if one["state"] == "COMPLETE")

    page.goto(f"/jobs/{first}/trials/{trial['number']}")
    page.get_by_role("link", name="Tune a recipe for this trial").click()
    expect(page.get_by_label("For the trial")).to_have_value(f"{first}/{trial['number']}")
    expect(page.get_by_label("Name", exact=True)).to_have_value(re.compile("^recipe of short"))
    page.go_back()
    page.get_by_role("link", name="Recover longer").click()
    longer = f"short, trial {trial['number']} longer"
    expect(page.get_by_label("Name", exact=True)).to_have_value(longer)
    expect(page.get_by_label("Tried first")).to_have_value(f"{first}/{trial['number']}")
    expect(page.get_by_label("Steps", exact=True)).to_have_value("16")
    expect(page.get_by_label("Early stopping", exact=True)).to_have_value("none")
    expect(page.get_by_text("one candidate, the one that is named to be first")).to_be_visible()
    page.get_by_role("button", name="Begin the search").click()
    page.wait_for_url(re.compile(r"/jobs/(?!new)"))
    expect(page.locator("h1 .state")).to_have_text("succeeded")
    job = page.url.rpartition("/")[2]
    (alone,) = trials_of(service[0], job)
    assert (alone["params"], alone["state"]) == (trial["params"], "COMPLETE")

    page.get_by_role("link", name="Duplicate").click()
    params = re.compile(re.escape(next(iter(trial["params"]))))
    expect(page.get_by_label("Tried first")).to_have_value(params)
