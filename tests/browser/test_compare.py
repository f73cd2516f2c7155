"""Comparing what can hardly be compared: the page says so, and shows what it can."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy import insert, select, update

from service import _optuna_tables as optuna_tables
from service import jobs, queue
from service._device_figures import Place, Told
from service._timings import JOB_DEVICES
from service.callers import EMBEDDED
from service.database import writing
from service.jobs import JOBS, NewJob, StoredJob
from tests.benchmarks.big_job import make_big_job
from tests.browser.conftest import DESKTOP, PHONE, Shown, barriers, watched

ENDLESS = "W" * 200
SPECS: dict[str, dict[str, Any]] = {
    "one": {},
    "elsewhere": {"data": {"dataset": "folder", "root": "/data/got10k"}},
    "on a GPU": {"device": "cuda:0"},
    "put away": {},
    ENDLESS: {},
    "for parameters": {"costs": ["parameters"]},
}


@pytest.fixture(scope="module")
def six(shown: Shown) -> dict[str, StoredJob]:
    found = {}
    for seed, (name, more) in enumerate(SPECS.items()):
        job = make_big_job(shown.engine, 120, name=name, seed=seed)
        values: dict[str, Any] = {"spec_json": json.dumps({**job.spec, **more})}
        if name == "put away":
            values["archived_at"] = datetime.now(UTC)
        with writing(shown.engine) as connection:
            connection.execute(update(JOBS).where(JOBS.c.id == job.id).values(**values))
        found[name] = job
    return found


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport=DESKTOP)
    yield context
    context.close()


def compared(shown: Shown, context: BrowserContext, *ids: str, **more: str) -> Page:
    query = urlencode([("job", one) for one in ids] + list(more.items()))
    page = watched(context, shown.url).open(f"/compare?{query}")
    expect(page.get_by_role("heading", name="Who is ahead of whom")).to_be_visible(timeout=60_000)
    return page


def test_six_searches_that_were_not_asked_alike_are_said_to_be_so(
    shown: Shown, six: dict[str, StoredJob], context: BrowserContext, axe: str
) -> None:
    page = compared(shown, context, *(job.id for job in six.values()))
    differ = page.get_by_role("region", name="Not asked alike")
    expect(differ).to_contain_text("B: folder, val, at /data/got10k")
    expect(differ).to_contain_text("C: cuda:0")
    expect(differ).to_contain_text("F: average_overlap and parameters")
    expect(differ).not_to_contain_text("Limits")
    expect(page.get_by_text("(siamrpn, archived)")).to_be_visible()
    expect(page.get_by_role("list", name="Teachers")).to_contain_text("Teacher of all: 0.7")
    assert barriers(page, axe) == []
    for width in (PHONE["width"], 320):
        page.set_viewport_size({"width": width, "height": 844})
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_searches_that_were_asked_alike_are_compared_without_a_word(
    shown: Shown, six: dict[str, StoredJob], context: BrowserContext
) -> None:
    page = compared(shown, context, six["one"].id, six["put away"].id)
    expect(page.get_by_role("region", name="Not asked alike")).to_have_count(0)


def test_searches_that_were_timed_on_two_devices_are_said_to_be_so(
    shown: Shown, context: BrowserContext
) -> None:
    both = [make_big_job(shown.engine, 60, name=f"board {n}", seed=n).id for n in (0, 1)]
    at = datetime.now(UTC)
    for number, job_id in enumerate(both):
        place = Place(name=f"<i>board {number}</i>", machine="aarch64 Linux", cores="6")
        row = {"device_id": place.id, "trials": 1, "told_json": Told(threads=[1]).to_text()}
        row |= {"job_id": job_id, "first_at": at, "last_at": at, **vars(place)}
        with writing(shown.engine) as connection:
            connection.execute(insert(JOB_DEVICES).values(**row))
    page = compared(shown, context, *both)
    differ = page.get_by_role("region", name="Not asked alike")
    for letter, number in (("A", 0), ("B", 1)):
        expect(differ).to_contain_text(
            f"{letter}: <i>board {number}</i> (aarch64 Linux, 6 cores, 1 thread a candidate)"
        )


def test_chosen_axes_are_those_that_are_shown(
    shown: Shown, six: dict[str, StoredJob], context: BrowserContext
) -> None:
    page = compared(shown, context, six["one"].id, six["put away"].id)
    page.get_by_label("Across").select_option("parameters")
    plot = page.locator("canvas")
    expect(plot).to_have_attribute(
        "aria-label", re.compile("^Average overlap against Parameters"), timeout=60_000
    )
    expect(page.get_by_role("columnheader", name="Parameters from")).to_be_visible()
    row = page.get_by_role("region", name=re.compile("All from one reference")).locator("td")
    assert float(row.nth(3).inner_text()) < 1  # the best accuracy, and not the most parameters


def test_a_search_without_a_front_and_one_that_is_gone_do_not_keep_the_others(
    shown: Shown, six: dict[str, StoredJob], context: BrowserContext
) -> None:
    new = NewJob(name="new", spec=six["one"].spec, owner=EMBEDDED.owner, tracker="siamrpn")
    with writing(shown.engine) as connection:
        queue.ensure_owner(connection, EMBEDDED.owner)
        empty = jobs.create(connection, new, EMBEDDED.owner)
    page = compared(shown, context, six["one"].id, empty.id, "gone-0123456789")
    expect(page.get_by_text("B has no front yet.")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("gone-0123456789")
    expect(page.get_by_role("list", name="Compared").get_by_role("listitem")).to_have_count(2)


def _teacher(shown: Shown, job: StoredJob, overlap: float) -> None:
    studies, attrs = optuna_tables.STUDIES.c, optuna_tables.STUDY_USER_ATTRS
    with writing(shown.engine) as connection:
        study = connection.execute(
            select(studies.study_id).where(studies.study_name == job.id)
        ).scalar_one()
        here = (attrs.c.study_id == study) & (attrs.c.key == "teacher")
        said = json.dumps({"average_overlap": overlap, "macs_frame": 9.9e8})
        connection.execute(update(attrs).where(here).values(value_json=said))


def test_labels_of_teachers_do_not_lie_on_each_other(
    shown: Shown, browser: Browser, tmp_path: Path
) -> None:
    found = [make_big_job(shown.engine, 120, name=f"near {seed}", seed=seed) for seed in range(3)]
    for number, job in enumerate(found):
        _teacher(shown, job, 0.70 + 0.004 * number)
    context = browser.new_context(viewport=PHONE)
    page = compared(shown, context, *(job.id for job in found))
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the plot as SVG").click()
    download.value.save_as(tmp_path / "plot.svg")
    texts = ElementTree.parse(tmp_path / "plot.svg").iter("{http://www.w3.org/2000/svg}text")
    said = [one for one in texts if (one.text or "").startswith("Teacher of") or one.text in "ABC"]
    assert len([one for one in said if one.text in ("A", "B", "C")]) == 3
    boxes = [_box(one) for one in said]
    for i, one in enumerate(boxes):
        for other in boxes[i + 1 :]:
            apart = one[0] >= other[1] or other[0] >= one[1]
            assert apart or abs(one[2] - other[2]) >= 11, (one, other)
    for letter in "ABC":  # whatever had no room is told beside the plot
        expect(page.get_by_role("list", name="Teachers")).to_contain_text(f"Teacher of {letter}: ")
    context.close()


def _box(text: ElementTree.Element) -> tuple[float, float, float]:
    words, size = cast(str, text.text), float(text.attrib["font-size"])
    x, wide = float(text.attrib["x"]), len(words) * size * 0.5
    left = x - {"start": 0, "middle": wide / 2, "end": wide}[text.attrib["text-anchor"]]
    return left, left + wide, float(text.attrib["y"])
