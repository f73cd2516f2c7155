"""Trials as rows, against the record that they are made from; pages, fronts, importances."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, insert, update

from service import jobs, leases
from service._trial_summaries import SUMMARIES
from service.database import reading, writing
from service.errors import Problem
from service.front import dominators, front
from service.importances import explained, groups, importances
from service.jobs import StoredJob
from service.journal import Journal
from service.known_figures import KnownFigures
from service.recorded import over
from service.trial_fronts import compare, read_front
from service.trial_reading import (
    Order,
    Place,
    TrialLine,
    Which,
    about,
    files_of,
    growth,
    order_from_text,
    page,
    read_trial,
    without_paths,
)
from tests.benchmarks.big_job import make_big_job
from tests.service.jobs import Bench
from tests.service.searched import Night, read, searched, submitted
from workers.metrics import metric

EVERY = Which()
OBJECTIVES = (metric("average_overlap"), metric("macs_frame"))


def all_pages(
    engine: Engine, job: StoredJob, order: Order, limit: int, which: Which = EVERY, **more: Any
) -> list[TrialLine]:
    """Page by page, as a client goes; ``between`` happens after each."""
    found: list[TrialLine] = []
    after: Place | None = None
    between = more.get("between", lambda: None)
    while True:
        with reading(engine) as connection:
            some = page(connection, job.id, which, order, after, limit)
        found += some
        if len(some) < limit:
            return found
        after = order.place(some[-1], OBJECTIVES)
        between()


# --- against the record -------------------------------------------------------------------------


def test_rows_say_what_the_record_says(night: Night) -> None:
    for job in night.jobs:
        recorded = night.recorded(job)
        lines = all_pages(night.engine, job, Order(), 7)
        assert [line.number for line in lines] == [t.number for t in recorded.trials]
        on_front = {t.number for t in recorded.front}
        for line, trial in zip(lines, recorded.trials, strict=True):
            assert (line.state, line.feasible) == (trial.state, trial.holds)
            assert (line.figures, line.params) == (trial.figures, trial.params)
            assert (line.reason, line.digest) == (trial.reason, trial.digest)
            assert line.on_front == (line.number in on_front)


def test_fronts_are_those_of_the_record(night: Night) -> None:
    known = KnownFigures()
    asked = [(), ("one_step_iou", "parameters"), ("one_step_iou", "macs_frame", "peak_memory")]
    for job in night.jobs:
        for names in asked:
            recorded = night.recorded(job)
            recorded = over(recorded, names) if names else recorded
            with reading(night.engine) as connection:
                found = read_front(connection, known, job, names)
            assert [p.number for p in found.points] == [t.number for t in recorded.front]
            assert found.reference == recorded.reference
            assert found.knee == recorded.knee
            whole = recorded.everything(recorded.reference)
            assert found.hypervolume() == pytest.approx(recorded.hypervolume, rel=1e-9)
            assert whole > 0 and found.limits == recorded.limits
            for point, trial in zip(found.points, recorded.front, strict=True):
                assert point.figures == {m.name: trial.figures[m.name] for m in found.metrics}
                if not names:
                    ranges = {name: tuple(ends) for name, ends in point.ranges.items()}
                    assert ranges == {n: r for n, r in trial.ranges.items() if n in point.figures}


def test_objectives_in_another_order_are_the_same_front(night: Night) -> None:
    known = KnownFigures()
    with reading(night.engine) as connection:
        one = read_front(connection, known, night.whole)
        other = read_front(connection, known, night.whole, ["macs_frame", "average_overlap"])
    assert {p.number for p in one.points} == {p.number for p in other.points}
    assert other.reference == one.reference[::-1]
    assert other.hypervolume() == pytest.approx(one.hypervolume())


def test_the_hypervolume_grows_where_the_record_says_that_it_does(night: Night) -> None:
    for job in night.jobs:
        recorded = night.recorded(job)
        with reading(night.engine) as connection:
            found = growth(connection, job)
        values = [0.0, *(volume for _, volume in recorded.hypervolumes)]
        grown = [
            (number, volume)
            for before, (number, volume) in zip(values, recorded.hypervolumes, strict=False)
            if volume > before
        ]
        told = [(step.number, step.hypervolume) for step in found.steps]
        # A point beyond the reference moves the front and gains nothing.
        assert [step for step in told if step in grown] == grown
        assert found.last == pytest.approx(recorded.hypervolume)
        assert (found.trials, found.until) == (len(recorded.trials), job.ended_at)


def test_one_trial_has_its_architecture_its_measurement_and_what_was_decided(night: Night) -> None:
    with reading(night.engine) as connection:
        best = read_front(connection, KnownFigures(), night.stopped).points[0]
        found = read_trial(connection, night.stopped.id, best.number)
        assert read_trial(connection, night.stopped.id, 10_000) is None
        stopped = page(connection, night.stopped.id, Which(states=["STOPPED"]), Order(), None, 1)
        given_up = read_trial(connection, night.stopped.id, stopped[0].number)
    assert found is not None and found.architecture is not None and found.measurement is not None
    assert found.architecture["family"] == "siamrpn"
    assert found.measurement["cost"]["macs_frame"] == found.line.figures["macs_frame"]
    assert [decision.rung for decision in found.decisions] == list(range(len(found.decisions)))
    assert found.decisions[0].values["one_step_iou"] > 0 and found.decisions[0].note
    assert str(night.settings.home) not in str(found.measurement)
    assert given_up is not None and given_up.measurement is not None
    assert given_up.measurement["state"] == "AT_RUNG"
    assert given_up.line.figures["macs_frame"] == given_up.measurement["cost"]["macs_frame"]


def test_what_a_job_is_over_is_known_before_anything_is_measured(
    here: Bench, engine: Engine
) -> None:
    job = submitted(engine, here, costs=["macs_frame", "parameters"], limits=["macs_frame<=1M"])
    with reading(engine) as connection:
        said = about(connection, job)
        found = read_front(connection, KnownFigures(), job)
        other = read_front(connection, KnownFigures(), job, ["one_step_iou", "parameters"])
        grown = growth(connection, job)
        shares = importances(connection, job.id, said.objectives)
        compared = compare([found, replace(found, job="another")])
    assert [m.name for m in said.objectives] == ["average_overlap", "macs_frame", "parameters"]
    assert (said.teacher, said.reference, len(said.limits)) == ({}, None, 1)
    assert (found.points, found.hypervolume(), found.knee) == ((), 0.0, None)
    assert (other.points, grown.steps, grown.trials) == ((), (), 0)
    assert shares.of == 0 and set(shares.shares) == {m.name for m in said.objectives}
    assert compared.pairs[0].epsilon is None


def test_files_of_a_tracker_are_listed_where_they_are_seen(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"12345")
    (tmp_path / "folder").mkdir()
    (tmp_path / "away").symlink_to("/etc/passwd")
    assert [(f.name, f.bytes) for f in files_of(str(tmp_path))] == [("weights.safetensors", 5)]
    assert files_of("") == files_of(str(tmp_path / "gone")) == ()


def test_where_files_lie_is_not_told() -> None:
    candidate = {"teacher": "/home/ada/t", "data": {"dataset": "got10k", "root": "/data"}}
    told = without_paths({"tracker": "/home/x", "steps": 3, "candidate": candidate})
    assert told == {"steps": 3, "candidate": {"data": {"dataset": "got10k"}}}


# --- pages ---------------------------------------------------------------------------------------

ORDERS = [Order(), Order(None, True), *(Order(i, down) for i in (0, 1) for down in (False, True))]
STATES = ("RUNNING", "COMPLETE", "INFEASIBLE", "STOPPED", "FAILED")


@given(
    order=st.sampled_from(ORDERS),
    limit=st.sampled_from([7, 50, 400, 1000]),
    states=st.lists(st.sampled_from(STATES), unique=True),
    feasible=st.sampled_from([None, True, False]),
    on_front=st.sampled_from([None, None, True, False]),
)
@settings(max_examples=25, deadline=None)
def test_pages_put_together_are_all_that_match_once_in_their_order(
    night: Night,
    order: Order,
    limit: int,
    states: list[str],
    feasible: bool | None,
    on_front: bool | None,
) -> None:
    engine, job, everything = night.engine, night.big, night.lines
    which = Which(states=states, feasible=feasible, on_front=on_front)
    expected = [
        line
        for line in everything
        if (not states or line.state in states)
        and feasible in (None, line.feasible)
        and on_front in (None, line.on_front)
    ]
    found = all_pages(engine, job, order, limit, which)
    assert [line.number for line in found] == [line.number for line in _sorted(expected, order)]


def _sorted(lines: Sequence[TrialLine], order: Order) -> list[TrialLine]:
    """By hand: those without a value at the end, either way."""
    places = [(order.place(line, OBJECTIVES), line) for line in lines]
    with_value = [(place, line) for place, line in places if place[0] is not None]
    without = [(place, line) for place, line in places if place[0] is None]
    found = []
    for some in (with_value, without):
        some.sort(key=lambda one: one[0][1] if one[0][0] is None else one[0])
        found += [line for _, line in (some[::-1] if order.descending else some)]
    return found


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_while_trials_are_added_and_end_none_comes_twice_and_none_that_stays_is_missed(
    engine: Engine, order: Order
) -> None:
    job = make_big_job(engine, 60, ended=False)
    chance, next_number = random.Random(1), 60
    before = {line.number: line for line in all_pages(engine, job, Order(), 100)}
    tied = before[max(n for n, line in before.items() if line.state == "COMPLETE")].figures

    def between() -> None:
        nonlocal next_number
        with writing(engine) as connection:
            values = chance.choice([(0.5, 5e8), tuple(tied[m.name] for m in OBJECTIVES)])
            connection.execute(insert(SUMMARIES), _row(job, next_number, *values))
            running = SUMMARIES.c.job_id == job.id, SUMMARIES.c.number == next_number - 3
            connection.execute(
                update(SUMMARIES).where(*running).values(reason="said something more")
            )
            next_number += 1

    found = [line.number for line in all_pages(engine, job, order, 7, between=between)]
    assert len(found) == len(set(found))
    assert set(found) >= set(before)
    assert next_number > 66


def _row(job: StoredJob, number: int, overlap: float, macs: float, **changes: Any) -> Any:
    at = datetime(2026, 1, 2, tzinfo=UTC) + timedelta(seconds=number)
    figures = f'{{"average_overlap": {overlap!r}, "macs_frame": {macs!r}, "parameters": {number}}}'
    return {
        "job_id": job.id, "number": number, "state": "COMPLETE", "holds": True,
        "value0": overlap, "value1": macs, "value2": None, "on_front": False,
        "hypervolume": 0.5, "moved": False, "began_at": at, "ended_at": at, "rung": 0,
        "reason": "", "flag": "", "digest": "", "tracker": "", "params_json": "{}",
        "figures_json": figures, "ranges_json": "{}", **changes,
    }  # fmt: skip


def test_an_order_is_one_of_the_objectives_or_the_number() -> None:
    assert order_from_text("-macs_frame", OBJECTIVES) == Order(1, True)
    assert order_from_text("number", OBJECTIVES) == Order()
    for wrong in ("parameters", "", "--number", "+number", "number; DROP TABLE jobs"):
        with pytest.raises(Problem) as refused:
            order_from_text(wrong, OBJECTIVES)
        assert "average_overlap" in refused.value.detail


# --- fronts over other metrics -------------------------------------------------------------------

AXES = ("average_overlap", "one_step_iou", "macs_frame", "parameters", "step_ms.onnx_runtime")


@given(names=st.lists(st.sampled_from(AXES), min_size=2, max_size=3, unique=True))
@settings(max_examples=15, deadline=None)
def test_a_front_over_any_metrics_is_what_nothing_dominates(night: Night, names: list[str]) -> None:
    engine, job = night.engine, night.big
    with reading(engine) as connection:
        found = read_front(connection, KnownFigures(), job, names)
    lines = [
        line
        for line in night.lines
        if line.state == "COMPLETE"
        and line.feasible
        and all(name in line.figures for name in names)
    ]
    points = np.array(
        [
            [-line.figures[n] if metric(n).better == "higher" else line.figures[n] for n in names]
            for line in lines
        ]
    )
    beaten = [dominators(points, place).size > 0 for place in points]
    beaten = [dominators(points, place).size > 0 for place in points]
    best = {line.number for line, worse in zip(lines, beaten, strict=True) if not worse}
    assert {point.number for point in found.points} == best


@given(st.lists(st.tuples(*[st.sampled_from([0.0, 1.0, 2.0, 3.0, math.inf])] * 3), max_size=150))
def test_thinning_changes_no_front(points: list[tuple[float, float, float]]) -> None:
    array = np.array(points).reshape(-1, 3)
    kept = [i for i, one in enumerate(array) if not dominators(array, one).size]
    assert front(array).tolist() == kept


def test_what_is_in_memory_is_extended_by_what_has_ended_since(engine: Engine) -> None:
    job = make_big_job(engine, 60, ended=False)
    known, names = KnownFigures(), ["average_overlap", "parameters"]

    def numbers() -> list[int]:
        with reading(engine) as connection:
            now = jobs.known(connection, job.id)
            return [p.number for p in read_front(connection, known, now, names).points]

    def put(trial: int, told: str | None, **data: Any) -> None:
        with writing(engine) as connection:
            connection.execute(insert(SUMMARIES), _row(job, trial, 0.9 + trial / 1e4, 1e8))
            if told:
                jobs.add_events(connection, job.id, [(told, data)])

    first = numbers()
    put(100, "trial_finished", number=100, state="COMPLETE")
    assert numbers() == [100] and first != [100], "it has fewer parameters than any"
    put(101, None)
    assert numbers() == [100], "rows do not change without an event"
    put(102, "trial_finished", number=102, state="COMPLETE")
    assert numbers() == [100, 102]
    put(103, "taken_up", trials=1)
    assert numbers() == [100, 101, 102, 103], "whatever it was is found"
    with reading(engine) as connection:
        now = jobs.known(connection, job.id)
        anew = read_front(connection, KnownFigures(), now, names)
    assert [p.number for p in anew.points] == numbers()


def test_a_controller_that_takes_a_job_up_says_so_if_rows_change(
    here: Bench, engine: Engine
) -> None:
    job = searched(engine, here, budget={"trials": 3}, early_stopping="none")
    lease = leases.acquire(engine, f"job {job.id}", "another", 600)
    journal = Journal(engine, lease, job.id)
    journal.take_up()
    assert read(engine, job).events == job.events, "nothing was missing"
    with writing(engine) as connection:
        connection.execute(SUMMARIES.delete().where(SUMMARIES.c.number == 1))
    journal.take_up()
    with reading(engine) as connection:
        told = jobs.read_events(connection, job.id, job.events, 10)
    assert [(event.kind, event.data) for event in told][:1] == [("taken_up", {"trials": 1})]


def test_memory_is_bounded_over_jobs(engine: Engine) -> None:
    made = [make_big_job(engine, 300, name=f"job {i}", seed=i) for i in range(4)]
    known = KnownFigures(most_bytes=40_000)
    names = ["one_step_iou", "parameters"]

    def fronts() -> list[list[int]]:
        with reading(engine) as connection:
            read = [read_front(connection, known, job, names) for job in made]
        return [[point.number for point in one.points] for one in read]

    first = fronts()
    assert 0 < known.bytes <= 40_000
    assert fronts() == first


def test_a_metric_that_was_not_measured_is_refused_with_those_that_were(night: Night) -> None:
    with reading(night.engine) as connection, pytest.raises(Problem) as refused:
        names = ["average_overlap", "step_ms.eager"]
        read_front(connection, KnownFigures(), night.whole, names)
    assert "has not measured step_ms.eager" in refused.value.detail
    assert "one_step_iou" in refused.value.detail
    assert refused.value.faults[0].parameter == "y"


# --- several jobs, and what matters --------------------------------------------------------------


def test_fronts_of_several_jobs_are_compared_from_the_worst_of_their_references(
    night: Night,
) -> None:
    known, names = KnownFigures(), ["average_overlap", "macs_frame"]
    with reading(night.engine) as connection:
        fronts = [read_front(connection, known, job, names) for job in night.jobs]
        own = read_front(connection, known, night.cheaper)
    with pytest.raises(Problem, match="with x and y"):
        compare([fronts[0], own])
    found = compare(fronts)
    assert found.reference == tuple(max(f.reference[i] for f in fronts) for i in range(2))
    assert len(found.pairs) == 6
    for pair in found.pairs:
        ours, theirs = (next(f for f in fronts if f.job == name) for name in (pair.job, pair.other))
        good = [
            p.number
            for p, place in zip(ours.points, ours.coordinates, strict=True)
            if not dominators(theirs.coordinates, place).size and place not in theirs.coordinates
        ]
        assert list(pair.alone) == good
        assert pair.dominated + pair.shared + len(pair.alone) == len(ours.points)
    for lead in found.leads:
        best = {
            f.job: max(
                (p.figures["average_overlap"] for p in f.points
                 if p.figures["macs_frame"] <= lead.start),
                default=-1.0,
            )
            for f in fronts
        }  # fmt: skip
        assert set(lead.jobs) == {job for job, v in best.items() if v == max(best.values())}
    assert [lead.end for lead in found.leads] == [*(x.start for x in found.leads[1:]), None]


def test_a_lever_that_decides_alone_explains_everything_and_noise_nothing() -> None:
    chance = np.random.default_rng(0)
    params = [
        {
            "decides": int(i),
            "half": bool(j),
            "noise": float(x),
            **({"sometimes": int(k)} if k else {}),
        }
        for i, j, x, k in zip(
            chance.integers(0, 5, 2000),
            chance.integers(0, 2, 2000),
            chance.random(2000),
            chance.integers(0, 3, 2000),
            strict=True,
        )
    ]
    levers = groups(params)
    alone = explained(levers, np.array([float(p["decides"]) for p in params]))
    assert alone["decides"] == pytest.approx(1.0)
    assert max(alone["half"], alone["noise"], alone["sometimes"]) < 0.01
    both = np.array([float(p["half"]) + 2 * ("sometimes" in p) for p in params])
    shares = explained(levers, both)
    assert list(shares)[:2] == ["sometimes", "half"]
    assert shares["sometimes"] + shares["half"] == pytest.approx(1.0, abs=0.02)
    assert set(explained(levers, np.ones(2000)).values()) == {0.0}


def test_importances_name_the_levers_that_matter(night: Night) -> None:
    engine, job = night.engine, night.big
    with reading(engine) as connection:
        found = importances(connection, job.id, OBJECTIVES)
    for shares in found.shares.values():
        assert len(shares) == 16 and all(0 <= share <= 1 for share in shares.values())
        heavy = {f"width.layer{n}" for n in range(10, 16)}
        assert set(list(shares)[:4]) <= heavy, "cost and accuracy weigh them by their number"
    assert found.looked_at == found.of > 300
