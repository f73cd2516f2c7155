"""The page of nights when there are many: what moved, what went wrong, where everything leads."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from service._schedule_rows import Schedule
from tests.browser.conftest import DESKTOP, PHONE, Shown, barriers, watched
from tests.browser.made_nights import make_nights, make_schedule, rising

NIGHTS, FALLS = 60, (23, 47)
MANY = 130
OTHERS, PAGE = 18, 20
EVIL = "<script>alert(1)</script>"
ENDLESS = "N" * 190


@pytest.fixture(scope="module")
def schedules(shown: Shown) -> dict[str, Schedule]:
    """By name; all that may become of a schedule."""
    for number in range(OTHERS):  # the first: they are on the last page
        make_schedule(shown.engine, f"another {number}", zone="UTC")
    street = make_schedule(shown.engine, "street corner")
    shares = rising(NIGHTS, falls=FALLS)
    shares[12], shares[30], shares[41] = "FAILED", "skipped", "missed"
    make_nights(shown.engine, street, shares)
    why = "5 jobs in a row have failed; the last one said: its teacher's folder is gone"
    fails = make_schedule(shown.engine, "always fails", paused_why=why, failures=5)
    make_nights(shown.engine, fails, ["FAILED"] * 5)
    long = make_schedule(shown.engine, "every six hours", cron="0 */6 * * *", zone="Europe/Berlin")
    make_nights(shown.engine, long, rising(MANY))
    hostile = make_schedule(shown.engine, EVIL, zone="UTC")
    make_nights(shown.engine, hostile, rising(3), job_name=ENDLESS)
    never = make_schedule(shown.engine, "never ran", cron="0 3 * * 6", zone="UTC")
    return {one.terms.name: one for one in (street, fails, long, hostile, never)}


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport=DESKTOP, timezone_id="Europe/Paris", locale="en-GB")
    yield context
    context.close()


def opened(shown: Shown, context: BrowserContext) -> Page:
    page = watched(context, shown.url).open("/nights")
    expect(page.get_by_role("heading", name="street corner")).to_be_visible(timeout=60_000)
    return page


def test_what_was_remarkable_is_told_in_words_and_shapes(
    shown: Shown, schedules: dict[str, Schedule], context: BrowserContext
) -> None:
    page = opened(shown, context)
    card = page.locator(f"#at-{schedules['street corner'].id}")
    expect(card).to_contain_text("▼ 2 regressed:")
    expect(card).to_contain_text("Without a front: ✕ 1 failed, ○ 1 skipped, □ 1 missed.")
    picture = card.locator(".picture.line svg")
    for mark, count in (("worse", 2), ("failed", 1), ("skipped", 1), ("missed", 1)):
        expect(picture.locator(f".mark-{mark}")).to_have_count(count)
    expect(picture).to_have_attribute(
        "aria-label", re.compile("60 nights, 3 of them without a figure")
    )
    # When it runs next, by the schedule's clock and by the viewer's.
    facts = card.locator("dl.facts")
    expect(facts).to_contain_text("(Pacific/Auckland)")
    expect(facts).to_contain_text(" here; in ")
    broken = page.locator(f"#at-{schedules['always fails'].id}")
    expect(broken).to_contain_text("5 jobs in a row have failed")
    expect(broken).to_contain_text("✕ 5 failed")
    expect(broken.locator(".picture.line")).to_have_count(0)
    expect(page.locator(f"#at-{schedules['never ran'].id}")).to_contain_text("it has not run yet")


def test_a_night_leads_to_its_job_and_to_the_night_before(
    shown: Shown, schedules: dict[str, Schedule], context: BrowserContext
) -> None:
    page = opened(shown, context)
    card = page.locator(f"#at-{schedules['street corner'].id}")
    latest = card.get_by_role("link", name="street corner 60").first.get_attribute("href")
    before = card.get_by_role("link", name="street corner 59").first.get_attribute("href")
    assert latest and before
    picture = card.locator(".picture.line svg")
    picture.focus()
    page.keyboard.press("End")
    expect(card.locator(".hint")).to_contain_text("+")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{before}", timeout=60_000)
    page = opened(shown, context)
    page.locator(f"#at-{schedules['street corner'].id} dl.facts").get_by_role(
        "link", name="Compare with the night before"
    ).click()
    page.wait_for_url("**/compare?*", timeout=60_000)
    expect(page.get_by_role("list", name="Compared").get_by_role("link")).to_have_text(
        ["street corner 60", "street corner 59"]
    )
    assert [part.split("=")[1] for part in page.url.partition("?")[2].split("&")] == [
        latest.rpartition("/")[2],
        before.rpartition("/")[2],
    ]


def test_older_nights_are_read_when_they_are_asked_for(
    shown: Shown, schedules: dict[str, Schedule], context: BrowserContext
) -> None:
    page = opened(shown, context)
    card = page.locator(f"#at-{schedules['every six hours'].id}")
    expect(card).to_contain_text("Of the latest 60 nights.")
    card.locator("summary").click()
    older = card.get_by_role("button", name="Older nights")
    expect(card.locator("tbody tr")).to_have_count(60)
    older.click()
    expect(card.locator("tbody tr")).to_have_count(120, timeout=60_000)
    older.click()
    expect(card.locator("tbody tr")).to_have_count(MANY, timeout=60_000)
    expect(older).to_be_hidden()
    page.locator("#archived").check()  # all is read again, and what was unfolded stays
    expect(page.locator("#archived")).to_be_checked()
    expect(card.locator("tbody tr")).to_have_count(MANY)


def test_many_schedules_are_seen_in_small_and_paged(
    shown: Shown, schedules: dict[str, Schedule], context: BrowserContext
) -> None:
    page = opened(shown, context)
    small = page.get_by_role("navigation", name="Schedules")
    expect(small.get_by_role("listitem")).to_have_count(PAGE)
    remarkable = "2 regressed, 1 failed, 1 skipped, 1 missed"
    expect(
        small.get_by_role("img", name=re.compile(f"60 nights: hypervolume .*, {remarkable}"))
    ).to_be_visible()
    small.get_by_role("link", name="never ran").click()
    assert page.url.endswith(f"#at-{schedules['never ran'].id}")
    expect(page.get_by_role("heading", name="never ran")).to_be_in_viewport()
    cards = page.locator("article.card")
    expect(cards).to_have_count(PAGE)
    page.get_by_role("button", name="More schedules").click()
    expect(cards).to_have_count(OTHERS + len(schedules), timeout=60_000)
    expect(page.get_by_role("button", name="More schedules")).to_be_hidden()
    # Who goes on by keyboard is at the first of the new ones.
    assert cards.nth(PAGE).evaluate("e => e.contains(document.activeElement)")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nights_have_no_barrier_and_fit_a_phone(
    shown: Shown, schedules: dict[str, Schedule], browser: Browser, axe: str, theme: str
) -> None:
    context = browser.new_context(viewport=DESKTOP, color_scheme=theme)  # type: ignore[arg-type]
    seen = watched(context, shown.url)
    page = seen.open("/nights")
    expect(page.get_by_role("heading", name=EVIL)).to_be_visible(timeout=60_000)
    assert barriers(page, axe) == []
    for size in (PHONE, {"width": 320, "height": 800}):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        assert barriers(page, axe) == []
    # Rows stand below each other there, and say what each of their cells is.
    cell = page.locator("td[data-title=Hypervolume]").first
    assert cell.evaluate("e => getComputedStyle(e).display") == "block"
    seen.check()
    context.close()
