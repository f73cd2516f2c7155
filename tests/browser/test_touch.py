"""The dashboard under fingers: looking, choosing, moving, and scrolling past all of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, CDPSession, Locator, Page, expect

from service.jobs import StoredJob
from tests.benchmarks.big_job import make_big_job
from tests.browser.conftest import PHONE, Shown, watched
from tests.browser.made_nights import make_nights, make_schedule, rising

LEAST = 24  # CSS pixels of what a finger has to hit

# Links in running text are no targets of their own; a box's label is a part of it.
SMALL = """(least) => [...document.querySelectorAll("a, button, select, input, summary")]
  .filter((one) => {
    const box = (one.matches("[type=checkbox], [type=radio]") && one.closest("label") || one)
      .getBoundingClientRect();
    if (!box.width || one.closest("[hidden]") || one.matches(".skip")) return false;
    if (one.matches("a") && one.closest("p, dd, td, th, li")) return false;
    return box.width < least || box.height < least;
  }).map((one) => one.outerHTML.slice(0, 120))"""

# A player of forty made frames, in a page that has another content: what a replay hands to it.
PLAYER = """async () => {
  const script = document.querySelector("script[src$='shell.js']").src;
  const { player } = await import(script.replace("shell.js", "trial_player.js"));
  const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 48 });
  canvas.getContext("2d");
  const picture = await new Promise((done) => canvas.toBlob(done, "image/jpeg"));
  const bytes = await picture.arrayBuffer(), many = 40;
  const all = new Uint8Array(many * bytes.byteLength);
  for (let i = 0; i < many; i += 1) all.set(new Uint8Array(bytes), i * bytes.byteLength);
  const of = (value) => Array.from({ length: many }, () => value);
  const side = { boxes: of([1, 1, 9, 9]), overlap: of(0.5), average_overlap: 0.5, as_judged: true };
  player(document.querySelector("main"), {
    lengths: of(bytes.byteLength), numbers: of(0).map((_, i) => i), total: many, every: 1,
    rate: 25, sequence: "made", video_size: [64, 48], truth: of([1, 1, 9, 9]), present: of(true),
    candidate: side, teacher: side, attributes: [], rules: "got10k",
  }, all.buffer, new AbortController().signal);
}"""

Place = tuple[float, float]


@dataclass
class Fingers:
    """A page that is touched."""

    page: Page
    session: CDPSession

    def _say(self, kind: str, places: Sequence[Place]) -> None:
        points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(places)]
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def swipe(self, begin: Sequence[Place], end: Sequence[Place], steps: int = 12) -> None:
        """As many fingers as there are places."""
        self._say("touchStart", begin)
        for step in range(1, steps + 1):
            at = step / steps
            moved = [
                (x + (to_x - x) * at, y + (to_y - y) * at)
                for (x, y), (to_x, to_y) in zip(begin, end, strict=True)
            ]
            self._say("touchMove", moved)
            self.page.wait_for_timeout(16)
        self._say("touchEnd", [])
        self.page.wait_for_timeout(500)

    def tap(self, x: float, y: float) -> None:
        self.page.touchscreen.tap(x, y)

    def before(self, element: Locator) -> tuple[float, float]:
        """Brings an element into view; its left upper corner."""
        before: tuple[float, ...] = ()
        for _ in range(100):  # what is above it may still be growing
            element.evaluate("e => scrollTo(0, e.getBoundingClientRect().top + scrollY - 200)")
            self.page.wait_for_timeout(300)
            box = element.bounding_box()
            assert box is not None
            now = (box["x"], box["y"], self.page.evaluate("document.body.scrollHeight"))
            if now == before:
                return box["x"], box["y"]
            before = now
        raise AssertionError(f"the page does not come to rest: {before}")

    def scrolled(self) -> float:
        return float(self.page.evaluate("scrollY"))


@pytest.fixture(scope="module")
def job(shown: Shown) -> StoredJob:
    schedule = make_schedule(shown.engine, "nightly")
    make_nights(shown.engine, schedule, rising(5))
    return make_big_job(shown.engine, 120)


@pytest.fixture
def fingers(shown: Shown, job: StoredJob, browser: Browser) -> Iterator[Fingers]:
    context = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True)
    seen = watched(context, shown.url)
    page = seen.open(f"/jobs/{job.id}")
    expect(page.get_by_role("heading", name="Tests on the way")).to_be_visible(timeout=60_000)
    yield Fingers(page, context.new_cdp_session(page))
    seen.check()
    context.close()


def test_a_finger_scrolls_past_everything_that_is_drawn(fingers: Fingers) -> None:
    page = fingers.page
    for place in (page.locator("canvas").nth(0), page.locator(".picture.line svg")):
        left, top = fingers.before(place)
        at = fingers.scrolled()
        fingers.swipe([(left + 150, top + 120)], [(left + 150, top - 80)])
        assert fingers.scrolled() > at + 50
    left, top = fingers.before(page.locator("canvas").nth(1))
    at = fingers.scrolled()
    fingers.swipe([(left + 46 + 42, top + 200)], [(left + 46 + 42, top)])  # between two axes
    assert fingers.scrolled() > at + 50


def test_a_tap_shows_a_trial_and_another_opens_it(fingers: Fingers, job: StoredJob) -> None:
    page = fingers.page
    place = page.locator("canvas").nth(0)
    hint = page.locator(".hint").first
    spot = _found(fingers, place, hint)
    page.wait_for_timeout(500)
    expect(hint).to_contain_text("Tap again to open it.")
    left, top = fingers.before(place)
    fingers.tap(left + 300, top + 280)  # nothing is there
    expect(hint).to_be_hidden()
    fingers.tap(*spot)
    expect(hint).to_be_visible()
    fingers.tap(*spot)
    page.wait_for_url(f"**/jobs/{job.id}/trials/*", timeout=60_000)
    fingers.page.go_back()


def _found(fingers: Fingers, place: Locator, hint: Locator) -> Place:
    left, top = fingers.before(place)
    for x in range(70, 370, 12):
        for y in range(20, 260, 20):
            fingers.tap(left + x, top + y)
            if hint.is_visible():
                return left + x, top + y
    raise AssertionError("no point under any finger")


def test_two_fingers_bring_the_plot_closer_and_one_chooses_sideways(fingers: Fingers) -> None:
    page = fingers.page
    left, top = fingers.before(page.locator("canvas").nth(0))
    middle = (left + 190, top + 160)
    begin = [(middle[0] - 30, middle[1] - 10), (middle[0] + 30, middle[1] + 10)]
    end = [(middle[0] - 90, middle[1] - 40), (middle[0] + 90, middle[1] + 40)]
    fingers.swipe(begin, end)
    page.wait_for_timeout(500)
    said = parse_qs(urlsplit(page.url).query)
    assert "select" not in said
    low, high, *_ = map(float, said["view"][0].split(","))
    assert 0 < high - low < 5e8  # of the teacher's billion, and more
    page.get_by_role("button", name="Show all of it").tap()
    left, top = fingers.before(page.locator("canvas").nth(0))
    fingers.swipe([(left + 60, top + 100)], [(left + 340, top + 220)], steps=24)
    expect(page.get_by_text("trials selected")).to_be_visible()
    assert "select=" in page.url


def test_a_finger_along_an_axis_keeps_a_range_and_a_tap_frees_it(fingers: Fingers) -> None:
    page = fingers.page
    left, top = fingers.before(page.locator("canvas").nth(1))
    at, axis = fingers.scrolled(), left + 46 + 84
    fingers.swipe([(axis, top + 220)], [(axis, top + 110)])
    assert fingers.scrolled() == at and "brush=" in page.url
    fingers.tap(axis, top + 150)
    page.wait_for_timeout(500)
    assert "brush=" not in page.url


def test_a_line_tells_what_is_touched(fingers: Fingers) -> None:
    page = fingers.page
    left, top = fingers.before(page.locator(".picture.line svg"))
    fingers.tap(left + 200, top + 60)
    hint = page.locator(".picture.line .hint")
    expect(hint).to_contain_text("Tap again to open it.")
    page.wait_for_timeout(400)
    expect(hint).to_be_visible()
    fingers.tap(left + 200, top + 60)
    page.wait_for_url("**/trials/*", timeout=60_000)


def test_a_finger_goes_through_a_replay(shown: Shown, fingers: Fingers) -> None:
    page = fingers.page
    page.goto(shown.url + "/devices")
    expect(page.locator("main h1")).to_be_visible()
    page.wait_for_timeout(1000)
    page.evaluate(PLAYER)
    frame = page.locator("#replay-frame")
    chart = page.get_by_role("img", name="Overlap with the truth over the frames")
    page.locator("main").evaluate("e => { e.style.paddingBottom = '900px' }")
    left, top = fingers.before(chart)
    fingers.tap(left + 30, top + 60)
    expect(frame).to_have_value("0")
    fingers.swipe([(left + 60, top + 60)], [(left + 360, top + 64)])
    expect(frame).to_have_value("39")
    at = fingers.scrolled()
    fingers.swipe([(left + 100, top + 60)], [(left + 100, top - 140)])
    assert fingers.scrolled() > at + 50
    page.get_by_role("button", name="Play").tap()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.get_by_role("button", name="Pause").tap()


def test_what_is_touched_is_large_enough(shown: Shown, job: StoredJob, fingers: Fingers) -> None:
    page = fingers.page
    paths = ("/", "/jobs/new", "/compare", "/nights", "/trackers", "/webhooks", "/tokens")
    for path in (*paths, f"/jobs/{job.id}", f"/jobs/{job.id}/trials/1"):
        page.goto(shown.url + path)
        expect(page.locator("main h1")).to_be_visible()
        page.wait_for_timeout(1000)
        assert page.evaluate(SMALL, LEAST) == [], path
