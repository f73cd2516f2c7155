"""Trials, fronts and comparisons over HTTP: what the API says is what the record says."""

import csv
import io
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, update

from service import tokens
from service._trial_summaries import SUMMARIES
from service.callers import Role
from service.database import writing
from service.errors import Problem
from service.jobs import JOBS, StoredJob
from service.recorded import over
from service.routes._headers import negotiated
from service.routes._pages import to_cursor
from service.trial_csv import _text
from tests.service.asking import ask
from tests.service.jobs import Bench
from tests.service.searched import API, Night, made, searched


def get(app: FastAPI, path: str, status: int = 200, **more: Any) -> httpx.Response:
    answer = ask(app, "GET", f"{API}{path}", **more)
    assert answer.status_code == status, answer.text[:2000]
    return answer


def every_page(app: FastAPI, job: StoredJob, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = get(app, f"/jobs/{job.id}/trials", params={**query, **cursor}).json()
        found += page["items"]
        if page["next"] is None:
            return found
        cursor = {"cursor": page["next"]}


# --- trials ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sort", ["number", "-number", "average_overlap", "-macs_frame"])
def test_pages_of_trials_are_the_record(night: Night, app: FastAPI, sort: str) -> None:
    recorded = {trial.number: trial for trial in night.recorded(night.stopped).trials}
    shown = every_page(app, night.stopped, sort=sort, limit=5)
    assert sorted(one["number"] for one in shown) == sorted(recorded)
    for one in shown:
        trial = recorded[one["number"]]
        assert (one["state"], one["feasible"]) == (trial.state, trial.holds)
        assert (one["figures"], one["params"]) == (trial.figures, trial.params)
        assert one["has_tracker"] is bool(trial.tracker)
        assert "/" not in "".join(map(str, one.values())), "no paths"


def test_trials_are_filtered_by_state_feasibility_and_front(night: Night, app: FastAPI) -> None:
    lines = night.lines

    def numbers(**query: Any) -> set[int]:
        return {one["number"] for one in every_page(app, night.big, limit=200, **query)}

    some = numbers(state=["STOPPED", "FAILED"])
    assert some == {line.number for line in lines if line.state in ("STOPPED", "FAILED")}
    assert numbers(feasible="false") == {line.number for line in lines if not line.feasible}
    best = numbers(on_front="true", state="COMPLETE", sort="-average_overlap")
    assert best == {line.number for line in lines if line.on_front}


def test_a_cursor_goes_with_its_order_and_nothing_else_is_one(night: Night, app: FastAPI) -> None:
    path = f"/jobs/{night.big.id}/trials"
    first = get(app, path, params={"limit": 3}).json()
    for cursor, sort in [
        (first["next"], "-number"),
        ("x", "number"),
        (to_cursor("number", None, 10**30), "number"),
        (to_cursor("number", "a", 3), "number"),
        (to_cursor("macs_frame", float("nan"), 3), "macs_frame"),
    ]:
        said = get(app, path, 422, params={"cursor": cursor, "sort": sort}).json()
        assert said["errors"][0]["parameter"] == "cursor"
    said = get(app, path, 422, params={"sort": "parameters"}).json()
    assert "average_overlap" in said["detail"]


def test_one_trial_is_shown_with_all_there_is(night: Night, app: FastAPI) -> None:
    best = night.recorded(night.stopped).front[0]
    shown = get(app, f"/jobs/{night.stopped.id}/trials/{best.number}").json()
    assert shown["architecture"]["family"] == "siamrpn"
    assert shown["measurement"]["cost"]["macs_frame"] == best.figures["macs_frame"]
    assert [one["rung"] for one in shown["decisions"]] == list(range(len(shown["decisions"])))
    assert shown["on_front"] is True and shown["params"] == best.params
    assert str(night.settings.home) not in str(shown)
    get(app, f"/jobs/{night.stopped.id}/trials/9999", 404)
    get(app, f"/jobs/{night.stopped.id}/trials/{2**31}", 422)
    get(app, "/jobs/none-such/trials/1", 404)


def test_a_table_has_all_that_match_with_every_figure_and_parameter(
    night: Night, app: FastAPI
) -> None:
    query = {"sort": "-average_overlap", "limit": 1}
    answer = get(
        app, f"/jobs/{night.stopped.id}/trials", params=query, headers={"Accept": "text/csv"}
    )
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    recorded = {trial.number: trial for trial in night.recorded(night.stopped).trials}
    assert sorted(int(row["number"]) for row in rows) == sorted(recorded)
    overlaps = [float(r["average_overlap"]) for r in rows if r["state"] == "COMPLETE"]
    assert overlaps == sorted(overlaps, reverse=True) and overlaps
    for row in rows:
        trial = recorded[int(row["number"])]
        assert row["state"] == trial.state
        shown = {name: float(row[name]) for name in trial.figures}
        assert shown == pytest.approx(trial.figures)
        params = {k.removeprefix("params."): v for k, v in row.items() if "params." in k and v}
        assert params == {name: str(v).lower() for name, v in trial.params.items()}
    assert list(rows[0])[:6] == [
        "number", "state", "feasible", "on_front", "average_overlap", "macs_frame",
    ]  # fmt: skip
    some = get(app, f"/jobs/{night.stopped.id}/trials?state=FAILED", headers={"Accept": "text/csv"})
    assert len(some.text.splitlines()) == 1, "the header"


def test_no_cell_of_a_table_is_a_formula() -> None:
    evil = ["=1+1", "+A1", "-A1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "=cmd|' /C calc'!A0", 'a,"b"']
    (row,) = csv.reader(io.StringIO(_text([[*evil, -1.5, None, True]]), newline=""))
    assert row == [*(f"'{text}" for text in evil[:-1]), 'a,"b"', "-1.5", "", "true"]


def test_the_form_is_what_the_caller_likes_best(night: Night, app: FastAPI) -> None:
    offered = ("application/json", "text/csv")
    for accept, kind in [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("text/*", "text/csv"),
        ("text/csv;q=0.5, application/json;q=0.4", "text/csv"),
        ("text/csv;q=0.5, */*;q=0.8", "application/json"),
        ("text/html, application/json;q=x, */*;q=0.1", "text/csv"),
    ]:
        assert negotiated(accept, offered) == kind
    with pytest.raises(Problem, match="text/csv"):
        negotiated("application/json;q=0, image/png", offered)
    said = get(app, f"/jobs/{night.big.id}/trials", 406, headers={"Accept": "image/png"}).json()
    assert said["code"] == "not_acceptable"


# --- fronts ---------------------------------------------------------------------------------------


def test_the_front_is_that_of_the_record(night: Night, app: FastAPI) -> None:
    for job in night.jobs:
        for axes in ({}, {"x": "one_step_iou", "y": "parameters"}):
            recorded = night.recorded(job)
            recorded = over(recorded, list(axes.values())) if axes else recorded
            shown = get(app, f"/jobs/{job.id}/front", params=axes).json()
            assert [p["number"] for p in shown["points"]] == [t.number for t in recorded.front]
            assert [m["name"] for m in shown["metrics"]] == [m.name for m in recorded.metrics]
            assert shown["hypervolume"] == pytest.approx(recorded.hypervolume)
            assert shown["knee"] == recorded.knee
            names = [m.name for m in recorded.metrics]
            known = {name: recorded.teacher[name] for name in names if name in recorded.teacher}
            assert (shown["teacher"] == known and "macs_frame" in shown["teacher"]) or axes
            assert list(shown["reference"].values()) == [abs(v) for v in recorded.reference]
            assert [bound["metric"] for bound in shown["limits"]] == [
                limit.metric for limit in recorded.limits
            ]


def test_a_front_is_sent_again_only_when_something_has_happened(
    here: Bench, engine: Engine, fresh: FastAPI
) -> None:
    job = searched(engine, here, budget={"trials": 3}, early_stopping="none")
    first = get(fresh, f"/jobs/{job.id}/front")
    tag = first.headers["etag"]
    again = get(fresh, f"/jobs/{job.id}/front", 304, headers={"If-None-Match": f'"x", W/{tag}'})
    assert again.content == b"" and again.headers["etag"] == tag
    with writing(engine) as connection:
        connection.execute(update(JOBS).where(JOBS.c.id == job.id).values(events=job.events + 1))
    changed = get(fresh, f"/jobs/{job.id}/front", headers={"If-None-Match": tag})
    assert changed.headers["etag"] != tag


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"x": "average_overlap"}, "y"),
        ({"y": "macs_frame"}, "x"),
        ({"z": "macs_frame"}, "x"),
        ({"x": "macs_frame", "y": "macs_frame"}, "y"),
        ({"x": "average_overlap", "y": "step_ms.eager"}, "y"),
    ],
)
def test_axes_that_cannot_be_are_refused_by_name(
    night: Night, app: FastAPI, query: dict[str, str], parameter: str
) -> None:
    said = get(app, f"/jobs/{night.whole.id}/front", 422, params=query).json()
    assert said["errors"][0]["parameter"] == parameter
    said = get(app, f"/jobs/{night.whole.id}/front?x=speed&y=macs_frame", 422).json()
    assert "macs_frame" in said["detail"], "what there is"


def test_the_hypervolume_is_a_step_function_up_to_now(night: Night, app: FastAPI) -> None:
    shown = get(app, f"/jobs/{night.whole.id}/hypervolume").json()
    recorded = night.recorded(night.whole)
    assert shown["last"] == pytest.approx(recorded.hypervolume)
    volumes = [step["hypervolume"] for step in shown["steps"]]
    assert volumes == sorted(volumes) and shown["trials"] == len(recorded.trials)


def test_importances_are_shares_by_metric_and_lever(night: Night, app: FastAPI) -> None:
    shown = get(app, f"/jobs/{night.big.id}/importances").json()
    assert set(shown["shares"]) == {"average_overlap", "macs_frame"}
    shares = list(shown["shares"]["macs_frame"].values())
    assert len(shares) == 16 and shares == sorted(shares, reverse=True) and shares[0] > 0.1
    assert get(app, f"/jobs/{night.big.id}/importances").json() == shown


def test_jobs_are_compared_and_compare_is_no_job(night: Night, app: FastAPI) -> None:
    both = f"{night.stopped.id},{night.whole.id}"
    shown = get(app, f"/jobs/compare?jobs={both}").json()
    assert [front["job"] for front in shown["fronts"]] == both.split(",")
    for front, job in zip(shown["fronts"], (night.stopped, night.whole), strict=True):
        assert front["hypervolume"] == pytest.approx(night.recorded(job).hypervolume)
        assert front["reference"] == shown["reference"]
    assert {(pair["job"], pair["other"]) for pair in shown["pairs"]} == {
        (night.stopped.id, night.whole.id),
        (night.whole.id, night.stopped.id),
    }
    assert shown["leads"][0]["jobs"]
    third = f"{both},{night.cheaper.id}"
    assert "x and y" in get(app, f"/jobs/compare?jobs={third}", 422).json()["detail"]
    shown = get(app, f"/jobs/compare?jobs={third}&x=average_overlap&y=parameters").json()
    assert len(shown["pairs"]) == 6
    for wrong in (night.whole.id, f"{both},{night.whole.id}", ",", ",".join("abcdefg")):
        get(app, f"/jobs/compare?jobs={wrong}", 422)
    get(app, f"/jobs/compare?jobs={night.whole.id},none-such", 404)


def test_what_belongs_to_others_is_not_there(night: Night) -> None:
    engine = night.engine

    def header(owner: str) -> dict[str, str]:
        name = f"of {owner}"
        _, text = tokens.create(engine, name=name, owner=owner, role=Role.VIEWER, by="test")
        return {"Authorization": f"Bearer {text}"}

    mine, others = header(night.whole.owner), header("eve")
    job = f"/jobs/{night.whole.id}"
    both = f"/jobs/compare?jobs={night.whole.id},{night.stopped.id}"
    nouns = ("trials", "trials/0", "front", "hypervolume", "importances", "events?once=true")
    with made(night.settings, needs_tokens=True, hosts=None) as app:
        for path in (both, *(f"{job}/{noun}" for noun in nouns)):
            get(app, path, headers=mine)
            get(app, path, 404, headers=others)
            get(app, path, 401)
        get(app, f"{job}/trials", 404, headers={**others, "Accept": "text/csv"})
        get(app, f"{job}/events", 404, headers=others)


def test_figures_that_are_no_numbers_of_json_do_not_break_an_answer(
    here: Bench, engine: Engine, fresh: FastAPI
) -> None:
    job = searched(engine, here, budget={"trials": 3}, early_stopping="none")
    with writing(engine) as connection:
        rows = SUMMARIES.c
        changed = {"figures_json": '{"one_step_iou": NaN, "parameters": Infinity}'}
        some = rows.job_id == job.id, rows.number == 1
        connection.execute(update(SUMMARIES).where(*some).values(state="STOPPED", **changed))
    shown = get(fresh, f"/jobs/{job.id}/trials?state=STOPPED").json()
    assert shown["items"][0]["figures"] == {"one_step_iou": None, "parameters": None}
