"""Every page: no barrier, nothing from elsewhere, nothing inline, text is text; on a wide screen
and on a phone, light and dark; and what a page does when the service, or the token, is gone."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, BrowserContext, Dialog, expect
from sqlalchemy import Engine, insert

from service import dashboard, jobs, tokens
from service._device_figures import Place, Told
from service._schedule_rows import Schedule, Terms, put_new
from service._timings import JOB_DEVICES, TIMINGS
from service.app import create_app
from service.calendar import Calendar
from service.callers import EMBEDDED, Role
from service.database import embedded_url, open_database, writing
from service.jobs import StoredJob
from service.settings import Settings
from tests.benchmarks.big_job import make_big_job
from tests.browser.conftest import DESKTOP, PHONE, barriers, watched
from tests.ports import free_port
from tests.service.jobs import bench, make_teacher
from tests.service.searched import API, searched
from tests.service.served import Served, serving
from tests.service.test_layer_routes import measured_so

EVIL = "<script>alert(1)</script>"
TABLES = '"; DROP TABLE jobs;--'


@dataclass
class House:
    """A service with jobs of hostile names, and who serves it."""

    settings: Settings
    engine: Engine
    app: FastAPI
    served: Served
    jobs: list[StoredJob]

    def path(self, pattern: str) -> str:
        """Where a page of one of the jobs is."""
        found = pattern.replace("{job_id}", self.jobs[0].id).replace("{number}", self.number)
        both = f"?job={self.jobs[0].id}&job={self.jobs[1].id}"
        return found + (both if pattern == "/compare" else "")

    @property
    def number(self) -> str:
        return str(self.get(f"{API}/jobs/{self.jobs[0].id}/front").json()["points"][0]["number"])

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.served.url + path, timeout=60)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    root = tmp_path_factory.mktemp("house")
    here = bench(root, make_teacher(root / "made"))
    url = embedded_url(root / "paretrack.db")
    engine = open_database(url)
    words: dict[str, Any] = {
        "budget": {"trials": 8},
        "limits": ["macs_frame<=950k"],
        "owner": EMBEDDED.owner,
    }
    found = [searched(engine, here, name=name, **words) for name in ("one", "two")]
    with writing(engine) as connection:
        for job, name in zip(found, (EVIL, TABLES), strict=True):
            jobs.edit(connection, job.id, "test", version=None, name=name, labels=[name])
    _others(engine)
    _devices(engine, found[0])
    make_big_job(engine, 300)
    settings = Settings(home=here.home, database_url=url)
    app = create_app(settings, needs_tokens=False)
    with serving(app) as served:
        yield House(settings, engine, app, served, found)
    engine.dispose()


def _others(engine: Engine) -> None:
    """A schedule and a token of such names."""
    now = datetime.now(UTC)
    terms = Terms(name=EVIL, calendar=Calendar("0 3 * * *", "UTC"), spec={}, labels=(TABLES,))
    schedule = Schedule(
        id="evil", owner=EMBEDDED.owner, project=None, terms=terms, tracker="siamrpn", paused=True,
        paused_why=TABLES, failures=0, decided_until=now, next_at=None, version=1,
        created_at=now, updated_at=now, archived_at=None,
    )  # fmt: skip
    with writing(engine) as connection:
        put_new(connection, schedule)
    tokens.create(engine, name=EVIL, owner=TABLES, role=Role.VIEWER, by="test")


def _devices(engine: Engine, job: StoredJob) -> None:
    """Two of such names, as if probes had said them of trials."""
    now = datetime.now(UTC)
    with writing(engine) as connection:
        for number, name in enumerate((EVIL, TABLES)):
            place, told = Place(name=name, machine=EVIL, cores="2"), Told()
            row = {
                "job_id": job.id, "number": number, "probe": TABLES, "device_id": place.id,
                "at": now, "digest": "d", "threads": 1, "median_ms": 2.0, "p10_ms": 1.9,
                "p90_ms": 2.4, "spread": 0.02, "before_job": job.id, "before_number": 1,
                "change": 0.01,
            }  # fmt: skip
            told.saw(TABLES, name, 1, {EVIL: TABLES})
            told.count(row)
            connection.execute(insert(TIMINGS), row)
            known = {"job_id": job.id, "device_id": place.id, **vars(place), "trials": 1}
            said = {"first_at": now, "last_at": now, "told_json": told.to_text()}
            connection.execute(insert(JOB_DEVICES), {**known, **said})


DEVICE = Place(name=EVIL, machine=EVIL, cores="2").id


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport=DESKTOP)
    yield context
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("path", [*dashboard.PAGES, f"/devices?device={DEVICE}"])
def test_a_page_has_no_barrier_and_nothing_from_elsewhere(
    house: House, browser: Browser, axe: str, path: str, theme: str
) -> None:
    context = browser.new_context(viewport=DESKTOP, color_scheme=theme)  # type: ignore[arg-type]
    seen = watched(context, house.served.url)
    page = seen.open(house.path(path))
    page.wait_for_load_state("networkidle", timeout=60_000) if "jobs/" not in path else None
    expect(page.locator("main h1")).to_be_visible()
    page.wait_for_timeout(800)
    assert page.locator("main .problem:not(:empty)").all_text_contents() == []
    assert barriers(page, axe) == []
    context.set_extra_http_headers({})
    page.set_viewport_size(PHONE)
    page.wait_for_timeout(300)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"], f"{path} is {width} wide on a phone"
    seen.check()
    context.close()


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/jobs/{job_id}",
        "/jobs/{job_id}/trials/{number}",
        "/compare",
        "/nights",
        "/tokens",
        "/devices",
        f"/devices?device={DEVICE}",
    ],
)
def test_hostile_names_are_text(house: House, context: BrowserContext, path: str) -> None:
    seen = watched(context, house.served.url)
    asked: list[str] = []

    def said(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.dismiss()

    seen.page.on("dialog", said)
    page = seen.open(house.path(path))
    expect(page.get_by_text(EVIL).first).to_be_visible(timeout=30_000)
    if path.partition("?")[0] in ("/", "/compare", "/nights", "/tokens", "/devices"):
        expect(page.get_by_text(TABLES).first).to_be_visible()
    assert asked == [] and page.locator("main script").count() == 0
    seen.check()


def test_nothing_in_a_page_is_inline() -> None:
    for path in dashboard.PAGES:
        page = dashboard.page(path)
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page), path
    for name, asset in dashboard.assets().items():
        text = asset.content.decode()
        assert "innerHTML" not in text and "http://" not in text.replace("http://www.w3.org", ""), (
            name
        )
        assert not re.search(r"\beval\(|new Function|document\.write|outerHTML\s*=", text), name


def test_every_page_says_its_policy_and_assets_are_kept(house: House) -> None:
    for path in dashboard.PAGES:
        answer = house.get(house.path(path))
        policy = answer.headers["content-security-policy"]
        assert answer.status_code == 200 and "unsafe" not in policy
        assert policy.startswith("default-src 'none'; script-src 'self'")
    asset = f"/static/{dashboard.digest()}/style.css"
    answer = house.get(asset)
    assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]
    for wrong in ("/static/0/style.css", f"/static/{dashboard.digest()}/../page.html"):
        assert house.get(wrong).status_code == 404
    for name in ("%2e%2e%2fpage.html", "pages/%2e%2e/%2e%2e/page.html", "nothing.js"):
        assert house.get(f"/static/{dashboard.digest()}/{name}").status_code == 404


def test_a_job_is_saved_as_one_file_that_stands_by_itself(
    house: House, context: BrowserContext, tmp_path: Path
) -> None:
    page = watched(context, house.served.url).open(house.path("/jobs/{job_id}"))
    expect(page.get_by_role("heading", name="Tests on the way")).to_be_visible(timeout=60_000)
    with page.expect_download() as found:
        page.get_by_role("button", name="Save this page as a report").click()
    found.value.save_as(tmp_path / "report.html")
    page.close()
    asked: list[str] = []
    alone = context.new_page()
    alone.on("request", lambda request: asked.append(request.url))
    alone.goto((tmp_path / "report.html").as_uri())
    expect(alone.locator("h1")).to_contain_text(EVIL)
    assert alone.locator("script, button, link").count() == 0
    assert alone.locator("img").first.evaluate("one => one.naturalWidth") > 300
    assert (
        alone.get_by_role("row").count() > 3 and "macs_frame" in alone.locator("pre").inner_text()
    )
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_a_tuning_is_asked_for_by_a_form_and_again(house: House, context: BrowserContext) -> None:
    seen = watched(context, house.served.url)
    page = seen.open(f"/jobs/tune?of={house.jobs[0].id}/{house.number}")
    expect(page.get_by_role("link", name=f"Trial {house.number} of {EVIL}")).to_be_visible()
    page.get_by_label("Name", exact=True).fill("half")
    page.get_by_label("Steps", exact=True).fill("9")
    page.get_by_label("Vary", exact=True).fill('{"learning_rat": null}')
    page.get_by_role("button", name="Begin the tuning").click()
    vary = page.locator(".field", has=page.get_by_label("Vary", exact=True))
    expect(vary.locator(".problem")).to_contain_text("no hyper-parameter 'learning_rat'")
    page.get_by_label("Vary", exact=True).fill('{"learning_rate": null}')
    page.get_by_label("Trials", exact=True).fill("1")
    page.get_by_role("button", name="Begin the tuning").click()
    trials = page.locator(".field", has=page.get_by_label("Trials", exact=True))
    expect(trials.locator(".problem")).not_to_be_empty()
    page.get_by_label("Trials", exact=True).fill("4")
    page.get_by_role("button", name="Begin the tuning").click()
    page.wait_for_url(re.compile(r"/jobs/half-"))
    job = house.get(f"{API}/jobs/{page.url.rpartition('/')[2]}").json()
    assert job["kind"] == "tune_recipe" and job["spec"]["architecture"]
    assert (job["spec"]["trials"], job["spec"]["vary"]) == (4, {"learning_rate": None})

    page.get_by_role("link", name="Duplicate").click()
    page.wait_for_url(re.compile(r"/jobs/tune\?from=half-"))
    expect(page.get_by_label("Name", exact=True)).to_have_value("half again")
    expect(page.get_by_label("Trials", exact=True)).to_have_value("4")
    expect(page.get_by_label("Architecture", exact=True)).to_have_value(re.compile("siamrpn"))
    expect(page.get_by_label("The document that is sent")).to_contain_text("learning_rate: null")
    seen.check()


def test_milliseconds_of_each_layer_are_shown_by_choice(
    house: House, browser: Browser, axe: str
) -> None:
    trial = house.get(f"{API}/jobs/{house.jobs[1].id}/trials/{house.number}").json()
    spread = {"self_ms": {"": 0.25, "backbone.conv1": 0.75}, "profiled_ms": 2.0, "step_ms": 1.5}
    words = {
        "latency": {"eager": {"device": EVIL, "init": None, "step": None, "reference": None}},
        "split": {"eager": {**spread, "runs": 9}},
    }
    with measured_so(house.engine, trial["digest"], **words):
        context = browser.new_context(viewport=PHONE)
        seen = watched(context, house.served.url)
        where = f"/jobs/{house.jobs[1].id}/trials/{house.number}"
        page = seen.open(where + "?beside=" + quote(EVIL))
        choice = page.get_by_label("MACs beside")
        expect(choice).to_have_value("parameters")
        by_layer = page.get_by_role("table", name="MACs a frame and milliseconds by layer")
        expect(by_layer).to_have_count(0)
        choice.select_option("eager")
        row = by_layer.get_by_role("row", name=re.compile("backbone.conv1"))
        expect(row).to_contain_text("0.750")
        expect(row).to_contain_text("75.0 %")
        expect(page.get_by_text("All parts together take 1.000 ms")).to_be_visible()
        assert "beside=eager" in page.url
        page.reload()
        expect(row).to_be_visible()
        page.get_by_text(re.compile(r"All \d+ modules")).click()
        expect(page.get_by_text("none of its own").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert barriers(page, axe) == []
        seen.check()
        context.close()


def test_a_token_is_asked_for_and_one_that_was_revoked_again(
    house: House, context: BrowserContext
) -> None:
    stored, secret = tokens.create(
        house.engine, name="eve", owner=EMBEDDED.owner, role=Role.VIEWER, by="test"
    )
    app = create_app(house.settings, needs_tokens=True)
    with serving(app) as served:
        seen = watched(context, served.url)
        page = seen.open("/")
        page.get_by_label("Token", exact=True).fill("wrong")
        page.get_by_role("button", name="Enter").click()
        expect(page.locator("#login [role=alert]")).not_to_be_empty()
        page.get_by_label("Token", exact=True).fill(secret)
        page.get_by_role("button", name="Enter").click()
        expect(page.get_by_text(EVIL).first).to_be_visible(timeout=30_000)
        expect(page.get_by_text("eve (viewer)")).to_be_visible()
        tokens.revoke(house.engine, stored.id, by="test")
        page.reload()
        expect(page.get_by_role("heading", name="Your token, please")).to_be_visible(timeout=30_000)
        seen.check()


def test_a_service_that_is_away_is_said_and_waited_for(
    house: House, context: BrowserContext
) -> None:
    port, job = free_port(), make_big_job(house.engine, 60, name="goes on", ended=False)
    seen = watched(context, f"http://127.0.0.1:{port}")
    with serving(create_app(house.settings, needs_tokens=False), port):
        page = seen.open(f"/jobs/{job.id}")
        expect(page.locator("canvas").first).to_be_visible(timeout=30_000)
    expect(page.locator("#notice")).to_contain_text("does not answer", timeout=60_000)
    with serving(create_app(house.settings, needs_tokens=False), port) as served:
        expect(page.locator("#notice")).to_be_empty(timeout=60_000)
        # And what happens is heard again, without anything being loaded anew.
        known = httpx.get(f"{served.url}{API}/jobs/{job.id}", timeout=60)
        httpx.patch(
            f"{served.url}{API}/jobs/{job.id}",
            json={"name": "another name"},
            headers={"If-Match": known.headers["etag"]},
            timeout=60,
        ).raise_for_status()
        expect(page.locator("h1")).to_contain_text("another name", timeout=60_000)
