"""Nights that are searched for real, by a controller with a pool that answers from a table: each
goes on from the one before, and is compared with it."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, update

from service import daemon as daemon_module
from service import jobs, night_reports, schedules
from service._schedule_rows import SCHEDULES
from service.database import reading, writing
from service.drift import drifts, in_words
from service.jobs import StoredJob
from service.night_reports import tell
from service.recorded import RecordedJob, RecordedTrial, read_job
from service.spending import MEASURED_AGAIN, MEASURED_BEFORE
from tests.service.jobs import Bench
from tests.service.scheduled import (
    ADA,
    DAY,
    HOUR,
    NIGHT,
    edit,
    end,
    job_of,
    make,
    move,
    now,
    spec_of,
    ticks,
)
from tests.service.table_pool import TablePool, cost
from tests.service.test_daemon import in_state, running, until
from workers.metrics import metric, value
from workers.pool import Done, Report

ALL = {"rungs": [], "early_stopping": "none"}  # to the end
COSTS = {**ALL, "costs": ["macs_frame", "step_ms.eager"], "budget": {"trials": 8}}


class Device(TablePool):
    """Times candidates as well; ``slower`` is what has come over the device since."""

    def __init__(self, slower: float = 1.0) -> None:
        super().__init__(2)
        self.slower = slower
        self.untils: list[Any] = []

    def reports(self, timeout: float) -> list[Report]:
        untils = {one.ticket: one for _, one in self._working}
        heard = super().reports(timeout)
        return [self._timed(untils[r.ticket], r) if isinstance(r, Done) else r for r in heard]

    def _timed(self, assignment: Any, report: Done) -> Done:
        self.untils.append((assignment.ticket, assignment.until))
        step = self.slower * cost(assignment.candidate.architecture).macs_frame / 1e6
        timing = {"median_ms": step, "p10_ms": step, "p90_ms": step}
        latency = {"eager": {"step": timing, "track": timing, "init": timing}}
        found = {**report.measurement, "latency": latency}
        for limit in assignment.candidate.limits:
            figure = value(found, metric(limit.metric))
            if figure is not None and limit.violation(figure) > 0:  # as the gates have it
                reason = f"{limit.metric} is {figure:g}, limit {limit}"
                found |= {"state": "INFEASIBLE", "reason": reason, "accuracy": None}
        return Done(report.ticket, found)


class Untimed(Device):
    """One that times nothing."""

    def _timed(self, assignment: Any, report: Done) -> Done:
        return report


def night(engine: Engine, here: Bench, made: schedules.Schedule, day: int, pool: Device) -> Any:
    """One from its tick to its report."""
    assert schedules.turn(engine, NIGHT + day * DAY) == 1
    job = job_of(engine, ticks(engine, made)[-1])
    with running(engine, here, pool):
        done = until(engine, job, in_state("SUCCEEDED", "FAILED", "HELD"))
    assert done.state == "SUCCEEDED", done.reason
    assert (tell(engine), tell(engine)) == (1, 0)
    report = ticks(engine, made)[-1].report
    assert report is not None
    return done, read_job(engine, job.id), report


def told(engine: Engine, job: StoredJob) -> dict[str, Any]:
    with reading(engine) as connection:
        return {e.kind: e.data for e in jobs.read_events(connection, job.id, 0, 10_000)}


def test_the_second_night_goes_on_from_the_first(engine: Engine, here: Bench) -> None:
    made = make(engine, here, spec=spec_of(here, **COSTS))
    first_job, first, report = night(engine, here, made, 0, Device())
    assert report["comparison"]["last"] is None
    assert report["drift"] == []
    assert "no night before" in report["words"]
    assert told(engine, first_job)["night"]["regressed"] is False

    pool = Device(slower=1.1)
    second_job, second, report = night(engine, here, made, 1, pool)
    front = {trial.digest: trial for trial in first.front}
    again = {t.digest: t for t in second.trials if t.digest in front}
    assert again.keys() == front.keys(), "all that was on the front is tried"
    for digest, trial in again.items():
        before = front[digest]
        assert trial.reason == MEASURED_AGAIN
        assert trial.figures["average_overlap"] == before.figures["average_overlap"]
        assert trial.figures["step_ms.eager"] == pytest.approx(
            1.1 * before.figures["step_ms.eager"]
        )
        assert trial.tracker == before.tracker, "the tracker that was trained last night"
    # Whatever was known is timed and nothing more; only the others are trained.
    assert len(front) > 2
    timed = [ticket.rpartition("/")[2] for ticket, until_ in pool.untils if until_ == "gates"]
    known = [t.number for t in second.trials if t.reason == MEASURED_AGAIN]
    assert sorted(timed) == sorted(["smallest", "teacher", *(f"{n}:-1" for n in known)])
    assert not any(t.reason.startswith(MEASURED_BEFORE) for t in second.trials)
    assert len([t for t in second.trials if t.reason != MEASURED_AGAIN and t.state]) > 0

    assert {round(one["change"], 6) for one in report["drift"]} == {0.1}
    steps = [one for one in report["drift"] if one["metric"] == "step_ms.eager"]
    assert len(steps) == len(front) + 1, "and the teacher"
    assert (
        f"step_ms.eager measured again: {len(front)} of last night's front +10.0%"
        in (report["words"])
    )
    assert "the teacher +10.0%" in report["words"]
    assert report["comparison"]["last"]["job"] == first_job.id
    event = told(engine, second_job)["night"]
    assert event["words"] == report["words"]
    assert event["schedule_id"] == made.id


def test_a_night_that_falls_behind_is_said_to_have_regressed(engine: Engine, here: Bench) -> None:
    good = spec_of(here, budget={"trials": 10}, opening=10, **ALL)
    alone = {"continues": False, "spec": good}
    made = make(engine, here, **alone)
    first_job, _, _ = night(engine, here, made, 0, Device())
    poor = spec_of(here, budget={"trials": 1}, opening=0, **ALL)
    made = edit(engine, here, made, NIGHT + HOUR, spec=poor)
    second_job, _, report = night(engine, here, made, 1, Device())
    comparison = report["comparison"]
    assert comparison["regressed"] is True
    assert comparison["change"] < -0.01
    assert report["words"].startswith("regressed by more than 1%")
    assert told(engine, second_job)["regressed"]["last"]["job"] == first_job.id
    # The best there was is the night before the last one.
    _, _, report = night(engine, here, made, 2, Device())
    assert report["comparison"]["last"]["job"] == second_job.id
    assert report["comparison"]["best"]["job"] == first_job.id


def test_nights_that_measure_other_things_are_not_compared(engine: Engine, here: Bench) -> None:
    made = make(engine, here, spec=spec_of(here, budget={"trials": 2}))
    night(engine, here, made, 0, Untimed())
    other = spec_of(here, budget={"trials": 2}, costs=["step_ms.eager"])
    made = edit(engine, here, made, NIGHT + HOUR, spec=other)
    _, recorded, report = night(engine, here, made, 1, Device())
    assert report["comparison"]["last"] is None
    assert "not compared with earlier nights" in report["words"]
    assert recorded.front, "what lies on a front of other costs is tried first all the same"


def test_a_controller_sees_to_ticks_and_reports(
    engine: Engine, here: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon_module, "RESCUE", 0.1)
    made = make(engine, here, at=datetime.now(UTC), spec=spec_of(here, budget={"trials": 2}))
    with writing(engine) as connection:
        row = update(SCHEDULES).where(SCHEDULES.c.id == made.id)
        then = made.decided_until - DAY
        connection.execute(row.values(decided_until=then, next_at=then, catch_up_seconds=86400))
    deadline = time.monotonic() + 60
    with running(engine, here, Device(), chores=schedules.chores(engine)):
        while time.monotonic() < deadline:
            past = ticks(engine, made)
            if past and past[-1].report is not None:
                break
            time.sleep(0.1)
    assert past[-1].decision == "started"
    assert past[-1].report is not None
    assert past[-1].report["comparison"]["tonight"]["job"] == past[-1].job_id


def test_a_night_without_a_candidate_is_told_of(engine: Engine, here: Bench) -> None:
    made = make(engine, here)
    schedules.turn(engine, NIGHT)
    move(engine, ticks(engine, made)[0].job_id, "begin", "stop", "done")
    assert tell(engine) == 1
    report = ticks(engine, made)[0].report
    assert report is not None
    assert (report["state"], report["comparison"]) == ("SUCCEEDED", None)
    assert report["words"].startswith("nothing to compare")


def test_a_failed_night_says_why(engine: Engine, here: Bench) -> None:
    made = make(engine, here)
    schedules.turn(engine, NIGHT)
    move(engine, ticks(engine, made)[0].job_id, "begin", "refuse")
    tell(engine)
    report = ticks(engine, made)[0].report
    assert report is not None
    assert (report["state"], report["words"]) == ("FAILED", "asked to refuse")


def test_after_failures_in_a_row_it_is_paused(engine: Engine, here: Bench) -> None:
    made = make(engine, here, pause_after_failures=2)
    nights = [("refuse",), ("done",), ("refuse",), ("cancel", "done"), ("hold",)]
    counted = []
    for day, verbs in enumerate(nights):
        assert schedules.turn(engine, NIGHT + day * DAY) == 1
        end(engine, "begin", *verbs)
        counted.append(now(engine, made).failures)
    assert counted == [1, 0, 1, 1, 2]
    paused = now(engine, made)
    assert paused.paused
    assert "2 jobs in a row have failed" in paused.paused_why
    assert schedules.turn(engine, NIGHT + 5 * DAY) == 0
    again = schedules.resume(engine, ADA, made.id, "", NIGHT + 5 * DAY)
    assert (again.paused, again.failures) == (False, 0)
    with reading(engine) as connection:
        last = ticks(engine, made)[4].job_id
        kinds = [e.kind for e in jobs.read_events(connection, str(last), 0, 20)]
    assert "schedule_paused" in kinds


def test_a_held_job_that_ends_well_after_all_makes_good(engine: Engine, here: Bench) -> None:
    made = make(engine, here, pause_after_failures=3)
    schedules.turn(engine, NIGHT)
    end(engine, "begin", "hold")
    held = ticks(engine, made)[0]
    assert held.report is not None
    assert (held.report["state"], now(engine, made).failures) == ("HELD", 1)
    assert tell(engine) == 0
    move(engine, held.job_id, "resume", "begin", "refuse")
    assert tell(engine) == 1
    assert now(engine, made).failures == 1, "counted once"


def test_two_controllers_tell_of_a_night_once(
    engine: Engine, here: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(engine, here, pause_after_failures=5)
    schedules.turn(engine, NIGHT)
    move(engine, ticks(engine, made)[0].job_id, "begin", "refuse")
    whole = night_reports._report

    def late(*words: Any) -> Any:
        monkeypatch.setattr(night_reports, "_report", whole)
        assert tell(engine) == 1, "another controller, meanwhile"
        return whole(*words)

    monkeypatch.setattr(night_reports, "_report", late)
    assert tell(engine) == 0
    with reading(engine) as connection:
        assert schedules.read(connection, ADA, made.id).failures == 1


def recorded(name: str, teacher: float, **figures: tuple[int, float, str]) -> RecordedJob:
    objectives = (metric("average_overlap"), metric("step_ms.eager"))
    trials = tuple(
        RecordedTrial(
            number=number,
            state="COMPLETE",
            holds=True,
            figures={"average_overlap": 0.5, "step_ms.eager": ms},
            params={},
            ended=None,
            digest=digest,
            reason=reason,
        )
        for digest, (number, ms, reason) in figures.items()
    )
    return RecordedJob(
        name=name,
        objectives=objectives,
        metrics=objectives,
        limits=(),
        teacher={"step_ms.eager": teacher},
        trials=trials,
        ended="",
    )


def test_what_was_only_remembered_has_no_drift() -> None:
    last = recorded("last", 8.0, a=(3, 2.0, ""))
    known = recorded("tonight", 8.0, a=(0, 2.0, MEASURED_BEFORE))
    assert drifts(known, last) == ()
    assert in_words(()) == ""
    timed = recorded("tonight", 8.0, a=(0, 2.2, MEASURED_AGAIN), b=(1, 1.0, ""))
    (one,) = drifts(timed, last)
    assert (one.trial, one.last_trial, round(one.change, 6)) == (0, 3, 0.1)
    assert in_words([one]) == "step_ms.eager measured again: 1 of last night's front +10.0%"
