"""Pictures of every page, light and dark, on a wide screen and on a phone: `make screenshots`.

Two small searches are really made, which takes some minutes; what lies in build/screenshots from
the last time is gone on with. Two of the pictures go into docs/pictures/ for the README.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from service import dashboard
from service.client import Client, ClientError, JobHandle
from tests.browser.conftest import DESKTOP, PHONE, PROGRAMS, QUIET
from tests.ports import free_port

OUT, KEPT = Path("build/screenshots"), Path("docs/pictures")
SMALL = {"train_count": 32, "judged_count": 24}
SEARCHES: tuple[dict[str, Any], ...] = (
    {
        "name": "street corner, CNN", "teacher": "siamrpn-synthetic", "steps": 40, "rungs": [0],
        "limits": ["step_ms.onnx_runtime<=0.5"], "budget": {"trials": 24}, "data": SMALL,
        "probes": ["onnx_runtime"], "early_stopping": "mo_asha",
    },
    {
        "name": "street corner, transformer", "teacher": "ostrack-synthetic", "steps": 20,
        "rungs": [0], "budget": {"trials": 12}, "data": SMALL, "probes": ["onnx_runtime"],
    },
)  # fmt: skip


@contextmanager
def serving(home: Path) -> Iterator[str]:
    port = free_port()
    command = [
        sys.executable, "-m", "service.cli", "up", "--port", str(port), "--pool", "in_process",
    ]  # fmt: skip
    environment = {**os.environ, "PARETRACK_HOME": str(home.absolute()), "OMP_NUM_THREADS": "1"}
    with (home / "up.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(90)


def searched(client: Client) -> list[JobHandle]:
    """The two searches, ended."""
    for _ in range(120):
        try:
            known = {job.name: job for job in client.jobs()}
            break
        except ClientError:
            time.sleep(1)
    found = [known.get(spec["name"]) or client.submit(spec) for spec in SEARCHES]
    for job in found:
        print(f"{job.id}: {job.wait().state}", flush=True)  # noqa: T201
    return found


def photographed(browser: Browser, url: str, jobs: list[JobHandle]) -> None:
    """Every page, in four ways."""
    best = jobs[0].front().points[-1].number
    for theme in ("light", "dark"):
        for name, size in (("wide", DESKTOP), ("phone", PHONE)):
            context = browser.new_context(viewport=size, color_scheme=theme)
            for pattern, (page_name, _) in dashboard.PAGES.items():
                path = pattern.replace("{job_id}", jobs[0].id).replace("{number}", str(best))
                both = "&".join(f"job={job.id}" for job in jobs)
                page = context.new_page()
                page.goto(url + path + (f"?{both}" if path == "/compare" else ""))
                page.wait_for_timeout(2500)
                page.screenshot(path=OUT / f"{page_name}-{theme}-{name}.png", full_page=True)
                if (theme, name) == ("light", "wide") and page_name in ("job", "compare"):
                    KEPT.mkdir(exist_ok=True)
                    page.screenshot(path=KEPT / f"{page_name}.png")
                page.close()
            context.close()


def main() -> None:
    home = OUT / "home"
    home.mkdir(parents=True, exist_ok=True)
    data = Path.home() / ".paretrack" / "data"
    if data.exists() and not (home / "data").exists():
        (home / "data").symlink_to(data)
    program = next(found for name in PROGRAMS if (found := shutil.which(name)))
    with serving(home) as url, Client(url) as client, sync_playwright() as playwright:
        jobs = searched(client)
        browser = playwright.chromium.launch(executable_path=program, args=list(QUIET))
        photographed(browser, url, jobs)
        browser.close()
    print(f"look at {OUT}/*.png; {KEPT}/ has the README's")  # noqa: T201


if __name__ == "__main__":
    main()
