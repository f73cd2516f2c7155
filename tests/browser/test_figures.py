"""Figures on pages: of a device, of a budget, and each in the same words wherever it stands."""

import re

from playwright.sync_api import BrowserContext, expect

from service import dashboard, jobs
from service.database import writing
from tests.benchmarks.big_job import make_big_job
from tests.browser.conftest import watched
from tests.browser.test_pages import EVIL, House, context, house

__all__ = ["context", "house"]  # fixtures


def test_a_device_is_opened_from_the_list_and_leads_to_its_trials(
    house: House, context: BrowserContext
) -> None:
    seen = watched(context, house.served.url)
    page = seen.open("/devices")
    card = page.get_by_role("article", name=EVIL)
    expect(card).to_contain_text("25.0 % between the 10th and 90th percentile")
    expect(card).to_contain_text("+1.0 % since the time before")
    card.get_by_role("link", name=EVIL).first.click()
    expect(page.locator("h1")).to_have_text(EVIL)
    expect(page.get_by_role("row").nth(1)).to_contain_text("2.000 ms (1.900 ms to 2.400 ms)")
    page.get_by_role("row").nth(1).get_by_role("link", name="0", exact=True).click()
    page.wait_for_url(re.compile(rf"/jobs/{house.jobs[0].id}/trials/0$"))
    seen.check()
    page = seen.open("/devices?device=nobodys")
    expect(page.locator("main .problem")).to_contain_text("no device")


def test_each_bound_of_a_budget_is_shown_with_what_is_used_of_it(
    house: House, context: BrowserContext
) -> None:
    job = make_big_job(house.engine, 60, name="has bounds", ended=False)
    bounds = {"trials": 80, "seconds": 7200.0, "cpu_seconds": 14400.0, "gpu_seconds": None,
              "hypervolume": 0.9, "plateau": 20}  # fmt: skip
    spent = {"seconds": 3600.0, "cpu_seconds": 1800.0, "gpu_seconds": 0.0, "since_gain": 7}
    summary = {**job.summary, "budget": bounds, "spent": spent}
    with writing(house.engine) as connection:
        jobs.summarise(connection, job.id, summary)
    used = summary["asked"] - summary["states"]["INFEASIBLE"]
    seen = watched(context, house.served.url)
    for path in ("/", f"/jobs/{job.id}"):
        page = seen.open(path)
        shown = page.get_by_role("list", name="Budget of has bounds")
        expect(shown.get_by_role("listitem")).to_have_count(5)
        expect(shown).to_contain_text(f"{used} of 80 trials")
        for words in (
            "60 min of 2 h", "30 min of 4 h of processors", "of 90.0 % hypervolume",
            "7 of 20 trials since the front moved",
        ):  # fmt: skip
            expect(shown).to_contain_text(words)
        bar = shown.get_by_role("progressbar", name="30 min of 4 h of processors")
        assert bar.evaluate("one => one.position") == 0.125
    seen.check()
    with writing(house.engine) as connection:
        jobs.change(connection, job.id, "done", "test")


def test_a_figure_is_told_in_one_way_and_in_one_place(
    house: House, context: BrowserContext
) -> None:
    page = watched(context, house.served.url).open("/")
    said = page.evaluate(
        """async (at) => {
          const { figure, range, seconds, told, unitOf } = await import(at);
          const units = ["MACs", "parameters", "bytes", "ms", "share", "loss"];
          const known = new Map(units.map((unit) => [unit, { unit }]));
          const values = [12.15e6, 950, 12.15e6, 1234.5, 0.6531, null];
          const both = units.map((unit, at) => [told(known, unit, values[at]), figure(values[at], unitOf({ unit }))]);
          return [...both, [told(known, "nobody knows", 7), "7"],
            [range(2, 1.9, 2.4, "ms"), "2.000 ms (1.900 ms to 2.400 ms)"], [seconds(7200), "2 h"], [seconds(6021), "1.67 h"]];
        }""",  # noqa: E501
        f"/static/{dashboard.digest()}/format.js",
    )
    assert [both[0] for both in said] == [both[1] for both in said]
    assert [both[0] for both in said][:6] == [
        "12.15 M", "950", "12.15 MB", "1235 ms", "0.653", "\u2013",
    ]  # fmt: skip
    tables = [n for n, one in dashboard.assets().items() if b'bytes: "B"' in one.content]
    assert tables == ["format.js"]
