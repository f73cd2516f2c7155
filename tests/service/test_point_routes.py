"""Trials as points over HTTP: they are what the record says, and what came since adds up."""

import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, select, update

from service import jobs
from service._trial_summaries import SUMMARIES
from service.database import reading, writing
from service.jobs import JOBS, StoredJob
from service.recorded import over
from service.routes.points import PointsPublic
from service.trial_points import short
from service.trial_reading import Order, Which, page
from tests.service.asking import ask
from tests.service.jobs import Bench
from tests.service.searched import API, Night, read, searched, submitted

Shown = dict[str, Any]


def answer(app: FastAPI, job: StoredJob, status: int = 200, **more: Any) -> httpx.Response:
    found = ask(app, "GET", f"{API}/jobs/{job.id}/points", **more)
    assert found.status_code == status, found.text[:2000]
    return found


def points(app: FastAPI, job: StoredJob, **query: Any) -> Shown:
    shown: Shown = answer(app, job, params=query).json()
    PointsPublic(**shown)  # it is what the document of the API says it is
    return shown


def by_number(shown: Shown) -> dict[int, tuple[Any, ...]]:
    columns = shown["trials"]
    states = [shown["states"][code] for code in columns["state"]]
    rest = (columns[name] for name in ("feasible", "x", "y"))
    found = zip(columns["number"], zip(states, *rest, strict=True), strict=True)
    return dict(found)


@pytest.mark.parametrize("axes", [{}, {"x": "parameters", "y": "one_step_iou"}])
def test_points_are_the_trials_of_the_record(
    night: Night, app: FastAPI, axes: dict[str, str]
) -> None:
    x, y = axes.get("x", "macs_frame"), axes.get("y", "average_overlap")
    for job in (night.stopped, night.whole, night.cheaper):
        recorded = night.recorded(job)
        shown = points(app, job, **axes)
        assert (shown["x"]["name"], shown["y"]["name"]) == (x, y)
        assert by_number(shown) == {
            t.number: (t.state, t.holds, *(short(t.figures.get(name)) for name in (x, y)))
            for t in recorded.trials
        }
        best = over(recorded, [x, y])
        assert sorted(shown["front"]["number"]) == sorted(t.number for t in best.front)
        assert shown["knee"] == best.knee
        known = {name: recorded.teacher[name] for name in (x, y) if name in recorded.teacher}
        assert shown["teacher"] == known
        assert {limit["metric"] for limit in shown["limits"]} <= {x, y}


def test_a_point_of_the_front_says_between_what_it_lies(night: Night, app: FastAPI) -> None:
    front = points(app, night.stopped)["front"]
    recorded = {trial.number: trial for trial in night.recorded(night.stopped).trials}
    assert front["number"]
    for i, number in enumerate(front["number"]):
        assert front["y"][i] == short(recorded[number].figures["average_overlap"])
        assert front["y_low"][i] <= front["y"][i] <= front["y_high"][i]
        assert front["x_low"][i] is None, "a count has no range"


def test_points_of_many_trials_are_those_of_the_rows(night: Night, app: FastAPI) -> None:
    shown = points(app, night.big)
    with reading(night.engine) as connection:
        lines = page(connection, night.big.id, Which(), Order(), None, 10_000)
    expected = {
        line.number: (
            line.state,
            line.feasible,
            short(line.figures.get("macs_frame")),
            short(line.figures.get("average_overlap")),
        )
        for line in lines
    }
    assert by_number(shown) == expected and len(expected) == 500
    assert shown["front"]["number"] and shown["events"] == night.big.events
    measured = {metric["name"] for metric in shown["metrics"]}
    assert measured == {name for line in lines for name in line.figures}


def test_a_limit_of_an_axis_is_told(night: Night, app: FastAPI) -> None:
    (limit,) = points(app, night.stopped)["limits"]
    assert (limit["metric"], limit["at_most"], limit["hard"]) == ("macs_frame", 950_000, True)
    assert points(app, night.stopped, x="parameters")["limits"] == []


def test_what_came_since_adds_up_to_the_whole(here: Bench, engine: Engine, fresh: FastAPI) -> None:
    """Read now and then while a search goes on, as a page does."""
    held: dict[int, tuple[Any, ...]] = {}
    seen: dict[str, Any] = {}
    deltas = []

    def look() -> None:
        with reading(engine) as connection:
            job = jobs.known(connection, seen["job"])
        shown = points(fresh, job, **({"since": seen["events"]} if "events" in seen else {}))
        if shown["since"] is None:
            held.clear()
        else:
            deltas.append(len(shown["trials"]["number"]))
        held.update(by_number(shown))
        seen.update(events=shown["events"], front=shown["front"])

    def also(event: Any) -> None:
        if "job" not in seen:
            with reading(engine) as connection:
                query = select(JOBS.c.id).where(JOBS.c.state == "RUNNING")
                seen["job"] = connection.execute(query).scalar_one()
        look()

    job = searched(engine, here, budget={"trials": 8}, also=also)
    look()
    whole = points(fresh, job)
    assert held == by_number(whole) and seen["front"] == whole["front"]
    assert len(deltas) >= len(held), "it was read piece by piece"


def test_since_now_there_is_nothing_and_since_a_new_state_everything(
    here: Bench, engine: Engine, fresh: FastAPI
) -> None:
    job = searched(engine, here, budget={"trials": 3}, early_stopping="none")
    nothing = points(fresh, job, since=job.events)
    assert nothing["since"] == job.events and nothing["trials"]["number"] == []
    assert nothing["front"] == points(fresh, job)["front"], "which is always told whole"
    with writing(engine) as connection:
        jobs.add_events(connection, job.id, [("trial_rung", {"number": 1}), ("noted", {})])
    assert points(fresh, job, since=job.events)["trials"]["number"] == [1]
    with writing(engine) as connection:
        jobs.add_events(connection, job.id, [("taken_up", {"trials": 3})])
    for since in (job.events, job.events + 10):
        shown = points(fresh, job, since=since)
        assert shown["since"] is None and shown["trials"]["number"] == [0, 1, 2]
    answer(fresh, job, 422, params={"since": -1})


def test_points_are_sent_again_only_when_something_has_happened(night: Night, app: FastAPI) -> None:
    tag = answer(app, night.whole).headers["etag"]
    assert tag == f'W/"{night.whole.events}"'
    again = answer(app, night.whole, 304, headers={"If-None-Match": tag})
    assert again.content == b"" and again.headers["etag"] == tag


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"x": "step_ms.eager"}, "x"),
        ({"y": "step_ms.eager"}, "y"),
        ({"x": "macs_frame", "y": "macs_frame"}, "y"),
    ],
)
def test_a_metric_that_nobody_measured_is_refused_by_name(
    night: Night, app: FastAPI, query: dict[str, str], parameter: str
) -> None:
    said = answer(app, night.whole, 422, params=query).json()
    assert said["errors"][0]["parameter"] == parameter
    said = answer(app, night.whole, 422, params={"x": "speed"}).json()
    assert "macs_frame" in said["detail"], "what there is"


def test_accuracy_may_lie_along_x(night: Night, app: FastAPI) -> None:
    shown = points(app, night.whole, x="average_overlap")
    assert (shown["x"]["name"], shown["y"]["name"]) == ("average_overlap", "macs_frame")


def test_a_job_that_waits_has_no_points(here: Bench, engine: Engine, fresh: FastAPI) -> None:
    job = submitted(engine, here)
    shown = points(fresh, read(engine, job))
    assert shown["trials"]["number"] == shown["front"]["number"] == []
    assert shown["teacher"] == {} and shown["state"] == "QUEUED"


def test_figures_that_are_no_numbers_of_json_are_unknown(
    here: Bench, engine: Engine, fresh: FastAPI
) -> None:
    job = searched(engine, here, budget={"trials": 3}, early_stopping="none")
    with writing(engine) as connection:
        rows = SUMMARIES.c
        figures = json.dumps({"macs_frame": float("nan"), "average_overlap": float("inf")})
        some = rows.job_id == job.id, rows.number == 1
        changed = {"state": "STOPPED", "on_front": False, "figures_json": figures}
        connection.execute(update(SUMMARIES).where(*some).values(**changed))
    assert by_number(points(fresh, job))[1] == ("STOPPED", 1, None, None)


def test_a_figure_keeps_what_anybody_reads_and_a_count_all_of_it() -> None:
    assert [short(v) for v in (604225321.0, 0.1234567891234, 2e300, 0.0, None)] == [
        604225321, 0.123456789, 2e300, 0, None,
    ]  # fmt: skip
