"""Pages in states that are easily forgotten: nothing there yet, on paper, very narrow, names
without an end."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from service import dashboard
from service.jobs import StoredJob
from tests.benchmarks.big_job import make_big_job
from tests.browser.conftest import DESKTOP, Shown, barriers, watched

ENDLESS = "W" * 200
FIRST_STEP = {
    "/": "A search begins with “New search”",
    "/compare": "There are not two searches yet.",
    "/nights": "“New schedule” makes one.",
    "/webhooks": "No webhook yet.",
    "/tokens": "There is no token.",
}


@pytest.mark.parametrize("path", list(FIRST_STEP))
def test_a_page_of_nothing_tells_what_to_do_first(
    shown: Shown, browser: Browser, axe: str, path: str
) -> None:
    context = browser.new_context(viewport=DESKTOP)
    seen = watched(context, shown.url)
    page = seen.open(path)
    expect(page.get_by_text(FIRST_STEP[path])).to_be_visible(timeout=60_000)
    assert barriers(page, axe) == []
    seen.check()
    context.close()


@pytest.fixture(scope="module")
def endless(shown: Shown) -> StoredJob:
    return make_big_job(shown.engine, 60, name=ENDLESS)


def _path(pattern: str, job: StoredJob) -> str:
    path = pattern.replace("{job_id}", job.id).replace("{number}", "1")
    return path + (f"?job={job.id}" if pattern == "/compare" else "")


@pytest.mark.parametrize("pattern", list(dashboard.PAGES))
def test_a_page_fits_320_pixels_whatever_its_names(
    shown: Shown, endless: StoredJob, browser: Browser, pattern: str
) -> None:
    context = browser.new_context(viewport={"width": 320, "height": 640}, reduced_motion="reduce")
    page = watched(context, shown.url).open(_path(pattern, endless))
    expect(page.locator("main h1")).to_be_visible()
    page.wait_for_timeout(1000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert page.evaluate("document.getAnimations().length") == 0
    context.close()


@pytest.fixture
def dark(shown: Shown, endless: StoredJob, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 720, "height": 900}, color_scheme="dark")
    page = watched(context, shown.url).open(f"/jobs/{endless.id}")
    expect(page.get_by_role("heading", name="Tests on the way")).to_be_visible(timeout=60_000)
    yield page
    context.close()


# The upper left corner of the front's canvas, and of the page: light or dark.
CORNERS = """() => {
  const canvas = document.querySelector("canvas");
  const [red] = canvas.getContext("2d").getImageData(4, 4, 1, 1).data;
  return [red, parseInt(getComputedStyle(document.body).backgroundColor.slice(4))];
}"""


def test_on_paper_all_is_light_and_nothing_is_to_be_pressed(dark: Page) -> None:
    dark.wait_for_timeout(500)
    assert max(dark.evaluate(CORNERS)) < 40
    dark.emulate_media(media="print", color_scheme="dark")
    at_once = f"() => {{ dispatchEvent(new Event('beforeprint')); return ({CORNERS})(); }}"
    assert dark.evaluate(at_once) == [255, 255]  # a printer does not wait for a frame
    expect(dark.locator("header")).to_be_hidden()
    expect(dark.get_by_role("button", name="Zoom in")).to_be_hidden()
    expect(dark.get_by_role("heading", name="Tests on the way")).to_be_visible()
    dark.wait_for_timeout(300)
    assert dark.evaluate("document.documentElement.scrollWidth") <= 720
    dark.emulate_media(media="screen", color_scheme="dark")
    dark.evaluate("dispatchEvent(new Event('afterprint'))")
    dark.wait_for_timeout(500)
    assert max(dark.evaluate(CORNERS)) < 40


def test_a_page_that_was_printed_is_as_it_was(dark: Page) -> None:
    theme = "document.documentElement.dataset.theme"
    dark.evaluate(f"() => addEventListener('beforeprint', () => {{ window.printed = {theme} }})")
    assert dark.pdf()[:4] == b"%PDF"
    assert dark.evaluate(f"[window.printed, {theme} ?? 'its own']") == ["light", "its own"]
    dark.wait_for_timeout(500)
    assert max(dark.evaluate(CORNERS)) < 40


def test_a_page_begun_anew_says_its_fault_below_its_title(
    shown: Shown, endless: StoredJob, browser: Browser
) -> None:
    context = browser.new_context(viewport=DESKTOP)
    page = watched(context, shown.url).open("/jobs/gone-0123456789")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("gone-0123456789", timeout=60_000)
    assert page.locator("h1 + .problem").count() == 1
    context.close()
