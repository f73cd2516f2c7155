"""Ticks in the database: one job each, whoever looks and however often, by every policy."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, update

from service import audit, jobs, queue, schedules
from service._schedule_rows import SCHEDULES
from service.calendar import Calendar
from service.callers import Caller, Role
from service.database import reading, writing
from service.errors import Problem
from tests.service.jobs import Bench
from tests.service.scheduled import (
    ADA,
    DAY,
    HOUR,
    NIGHT,
    NIGHTLY,
    START,
    Here,
    decisions,
    edit,
    end,
    job_of,
    jobs_of,
    make,
    move,
    now,
    spec_of,
    ticks,
    with_front,
)

HOURLY = Calendar(cron="0 * * * *", timezone="UTC")


def test_a_tick_becomes_a_job_with_the_schedules_words(engine: Engine, here: Bench) -> None:
    made = make(engine, here, labels=("nightly",), priority=5)
    assert made.next_at == NIGHT
    assert schedules.turn(engine, NIGHT - timedelta(seconds=1)) == 0
    assert schedules.turn(engine, NIGHT) == 1
    (tick,) = ticks(engine, made)
    assert (tick.at, tick.decision, tick.note, tick.by_hand) == (NIGHT, "started", "on time", False)
    job = job_of(engine, tick)
    assert job.spec == spec_of(here)
    assert (job.name, job.labels, job.priority) == ("night 2026-01-11 02:30", ("nightly",), 5)
    assert (job.owner, job.tracker, job.schedule_id) == ("ada", "siamrpn", made.id)
    assert now(engine, made).next_at == NIGHT + DAY
    assert schedules.turn(engine, NIGHT) == 0
    who = [entry.who for entry in audit.read(engine, f"job {job.id}")]
    assert who == [f"schedule {made.id}"]


def test_three_controllers_begin_one_job_a_tick(engine: Engine, here: Bench) -> None:
    both = [make(engine, here, calendar=HOURLY, overlap="allow") for _ in range(2)]
    hours = 12
    barrier, begun, broken = threading.Barrier(3), list[int](), list[BaseException]()

    def controller() -> None:
        try:
            for step in range(2 * hours + 1):  # every half hour
                barrier.wait(60)
                begun.append(schedules.turn(engine, START + step * HOUR / 2))
        except BaseException as error:
            broken.append(error)
            barrier.abort()

    threads = [threading.Thread(target=controller) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not broken
    assert sum(begun) == 2 * hours
    for made in both:
        assert [t.at for t in ticks(engine, made)] == [
            START + h * HOUR for h in range(1, hours + 1)
        ]
        job_ids = [t.job_id for t in ticks(engine, made)]
        assert sorted(map(str, job_ids)) == sorted(job.id for job in jobs_of(engine, made))


def test_who_was_down_over_midnight_catches_up_inside_the_window(
    engine: Engine, here: Bench
) -> None:
    midnight = Calendar(cron="0 0 * * *", timezone="Europe/London")
    patient = make(engine, here, calendar=midnight, catch_up_seconds=3600)
    strict = make(engine, here, calendar=midnight, catch_up_seconds=600)
    back = START.replace(hour=0) + DAY + timedelta(minutes=40)
    assert schedules.turn(engine, back) == 1
    (caught,) = ticks(engine, patient)
    assert (caught.decision, caught.note) == ("started", "40 min late, within the catch-up window")
    (missed,) = ticks(engine, strict)
    assert (missed.decision, missed.job_id) == ("missed", None)
    assert "40 min late" in missed.note


def test_of_several_nights_only_the_last_is_caught_up_with(engine: Engine, here: Bench) -> None:
    made = make(engine, here, catch_up_seconds=7 * 86400)
    assert schedules.turn(engine, NIGHT + 2 * DAY + HOUR) == 1
    assert decisions(engine, made) == ["missed", "missed", "started"]
    assert now(engine, made).next_at == NIGHT + 3 * DAY


def test_a_tick_while_the_job_before_runs_is_skipped(engine: Engine, here: Bench) -> None:
    made = make(engine, here)
    schedules.turn(engine, NIGHT)
    move(engine, ticks(engine, made)[0].job_id, "begin")
    assert schedules.turn(engine, NIGHT + DAY) == 0
    assert decisions(engine, made) == ["started", "skipped"]
    assert ticks(engine, made)[1].note == "the job before has not ended"
    move(engine, ticks(engine, made)[0].job_id, "done")
    assert schedules.turn(engine, NIGHT + 2 * DAY) == 1


def test_one_is_buffered_until_the_job_before_has_ended(engine: Engine, here: Bench) -> None:
    made = make(engine, here, overlap="buffer")
    schedules.turn(engine, NIGHT)
    first = queue.claim(engine, "a controller", 600)
    assert first is not None
    for day in (1, 2):
        schedules.turn(engine, NIGHT + day * DAY)
    assert decisions(engine, made) == ["started", "buffered", "skipped"]
    waiting = job_of(engine, ticks(engine, made)[1])
    assert waiting.state == "QUEUED"
    assert queue.claim(engine, "another", 600) is None, "it waits"
    with_front(engine, first.job.id, 3)
    queue.end(engine, first, "done", "the budget is spent")
    assert schedules.turn(engine, NIGHT + 2 * DAY) == 1
    second = queue.claim(engine, "another", 600)
    assert second is not None
    assert second.job.id == waiting.id
    assert second.job.spec["fronts"] == [first.job.id], "what it waited for is what it goes on from"
    with reading(engine) as connection:
        kinds = [event.kind for event in jobs.read_events(connection, waiting.id, 0, 10)]
    assert "let_go" in kinds


def test_a_buffered_job_can_be_cancelled(engine: Engine, here: Bench) -> None:
    made = make(engine, here, overlap="buffer")
    for day in (0, 1):
        schedules.turn(engine, NIGHT + day * DAY)
    first, waiting = ticks(engine, made)
    assert move(engine, waiting.job_id, "cancel").state == "CANCELLED"
    schedules.turn(engine, NIGHT + 2 * DAY)
    assert decisions(engine, made) == ["started", "buffered", "buffered"]
    assert job_of(engine, first).state == "QUEUED"


@pytest.mark.parametrize(("verbs", "state"), [(("begin",), "CANCELLING"), ((), "CANCELLED")])
def test_the_job_before_is_cancelled(
    engine: Engine, here: Bench, verbs: tuple[str, ...], state: str
) -> None:
    made = make(engine, here, overlap="cancel")
    schedules.turn(engine, NIGHT)
    move(engine, ticks(engine, made)[0].job_id, *verbs)
    assert schedules.turn(engine, NIGHT + DAY) == 1
    before, after = (job_of(engine, tick) for tick in ticks(engine, made))
    assert (before.state, after.state) == (state, "QUEUED")
    assert made.id in before.reason
    assert schedules.turn(engine, NIGHT + 2 * DAY) == 1, "one that is being cancelled is let be"


def test_both_go_on_where_that_is_allowed(engine: Engine, here: Bench) -> None:
    made = make(engine, here, overlap="allow")
    for day in (0, 1):
        assert schedules.turn(engine, NIGHT + day * DAY) == 1
    assert [job.state for job in jobs_of(engine, made)] == ["QUEUED", "QUEUED"]
    assert "both go on" in ticks(engine, made)[1].note


def test_a_held_job_does_not_end_the_nights(engine: Engine, here: Bench) -> None:
    made = make(engine, here)
    schedules.turn(engine, NIGHT)
    move(engine, ticks(engine, made)[0].job_id, "begin", "hold")
    assert schedules.turn(engine, NIGHT + DAY) == 1


def test_a_paused_schedule_skips_and_does_not_catch_up(engine: Engine, here: Bench) -> None:
    made = make(engine, here, catch_up_seconds=7 * 86400)
    paused = schedules.pause(engine, ADA, made.id, "the device is away", START)
    assert (paused.paused, paused.paused_why, paused.version) == (True, "the device is away", 2)
    assert schedules.turn(engine, NIGHT) == 0
    assert ticks(engine, made)[0].note == "the schedule is paused"
    resumed = schedules.resume(engine, ADA, made.id, "", NIGHT + DAY + HOUR)
    assert not resumed.paused
    assert schedules.turn(engine, NIGHT + DAY + HOUR) == 0
    assert decisions(engine, made) == ["skipped", "skipped"], "both were due while it was paused"
    assert schedules.turn(engine, NIGHT + 2 * DAY) == 1


def test_a_trigger_begins_a_job_now(engine: Engine, here: Bench) -> None:
    made = make(engine, here)
    schedules.pause(engine, ADA, made.id, "", START)
    tick = schedules.trigger(engine, ADA, made.id, "a new device", START + HOUR)
    assert (tick.by_hand, tick.decision) == (True, "started")
    assert tick.note == "by hand, ada: a new device"
    assert job_of(engine, tick).state == "QUEUED"
    with pytest.raises(Problem, match="has not ended") as refused:
        schedules.trigger(engine, ADA, made.id, "", START + 2 * HOUR)
    assert refused.value.code == "conflict"
    assert tick.job_id is not None
    assert tick.job_id in refused.value.detail
    assert len(ticks(engine, made)) == 1
    assert now(engine, made).next_at == NIGHT


def test_triggers_at_one_instant_are_several_ticks(engine: Engine, here: Bench) -> None:
    made = make(engine, here, overlap="allow")
    at = [schedules.trigger(engine, ADA, made.id, "", NIGHT - HOUR).at for _ in range(3)]
    assert len(set(at)) == 3
    assert all(one - (NIGHT - HOUR) < timedelta(milliseconds=1) for one in at)
    assert NIGHT - HOUR not in at, "a calendar may have a tick at a whole minute"
    schedules.trigger(engine, ADA, made.id, "", NIGHT)
    assert [t.by_hand for t in ticks(engine, made)] == [True, True, True, False, True]


def test_what_is_due_before_an_edit_is_decided_by_the_terms_before(
    engine: Engine, here: Bench
) -> None:
    made = make(engine, here)
    later = Calendar(cron="0 4 * * *", timezone="Europe/London")
    edited = edit(
        engine, here, made, NIGHT + timedelta(seconds=2), calendar=later, spec=spec_of(here, seed=7)
    )
    assert (edited.version, edited.next_at) == (2, NIGHT.replace(hour=4, minute=0))
    (tick,) = ticks(engine, made)
    assert (tick.at, tick.decision) == (NIGHT, "started")
    assert job_of(engine, tick).spec["seed"] == 0
    end(engine, "begin", "done")
    assert schedules.turn(engine, NIGHT.replace(hour=4, minute=0)) == 1
    assert job_of(engine, ticks(engine, made)[1]).spec["seed"] == 7
    with pytest.raises(Problem) as refused:
        edit(engine, here, made, NIGHT, version=1, priority=3)
    assert refused.value.code == "changed_meanwhile"
    assert edit(engine, here, edited, NIGHT, name=edited.terms.name).version == 2, "nothing new"


def test_a_document_that_cannot_be_run_is_refused(engine: Engine, here: Bench) -> None:
    made = make(engine, here)
    with pytest.raises(Problem) as refused:
        edit(engine, here, made, START, spec=spec_of(here) | {"steps": -1})
    assert refused.value.faults[0].pointer == "/job/spec/steps"
    assert now(engine, made).version == 1


def test_jobs_begin_with_jitter_and_an_edit_loses_none(engine: Engine, here: Bench) -> None:
    made = make(engine, here, jitter_seconds=3600)
    begins = made.next_at
    assert begins is not None
    assert NIGHT < begins < NIGHT + HOUR
    assert schedules.turn(engine, begins - timedelta(milliseconds=1)) == 0
    edited = edit(engine, here, made, begins - timedelta(seconds=1), priority=9)
    assert edited.next_at == begins, "it is as far as it was"
    assert schedules.turn(engine, begins) == 1
    (tick,) = ticks(engine, made)
    assert (tick.at, tick.note) == (NIGHT, "on time")
    following = now(engine, made).next_at
    assert following is not None
    moved = edit(engine, here, edited, following - timedelta(seconds=1), calendar=HOURLY)
    assert decisions(engine, made) == ["started", "skipped"]
    assert ticks(engine, made)[1].note == schedules.EDITED
    assert moved.next_at is not None
    assert moved.next_at > following - timedelta(seconds=1)


@pytest.mark.parametrize("where", ["before the job", "before the tick", "after both"])
def test_an_end_in_the_middle_leaves_neither_tick_nor_job(
    engine: Engine, here: Bench, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    made = make(engine, here)

    def killed(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    place = {"before the job": "queue.ensure_owner", "before the tick": "put_tick"}
    with monkeypatch.context() as patch:
        patch.setattr(f"service._ticking.{place.get(where, 'put_decided')}", killed)
        with pytest.raises(KeyboardInterrupt):
            schedules.turn(engine, NIGHT)
    assert (ticks(engine, made), jobs_of(engine, made)) == ([], [])
    assert now(engine, made).next_at == NIGHT
    assert schedules.turn(engine, NIGHT) == 1
    assert len(jobs_of(engine, made)) == 1


def test_a_schedule_that_cannot_be_read_keeps_no_other(
    engine: Engine, here: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    broken, good = make(engine, here), make(engine, here)
    with writing(engine) as connection:
        row = update(SCHEDULES).where(SCHEDULES.c.id == broken.id)
        connection.execute(row.values(timezone="Europe/Atlantis"))
    assert schedules.turn(engine, NIGHT) == 1
    assert decisions(engine, good) == ["started"]
    assert "cannot decide" in caplog.text


def test_an_archived_schedule_ticks_no_more(engine: Engine, here: Bench) -> None:
    made = make(engine, here)
    archived = schedules.archive(engine, ADA, made.id)
    assert archived.next_at is None
    assert schedules.archive(engine, ADA, made.id).archived_at == archived.archived_at
    assert schedules.turn(engine, NIGHT) == 0
    with pytest.raises(Problem, match="archived"):
        schedules.trigger(engine, ADA, made.id)
    with reading(engine) as connection:
        assert schedules.list_schedules(connection, ADA) == []
        assert len(schedules.list_schedules(connection, ADA, archived=True)) == 1


def test_a_schedule_is_its_owners_and_its_projects(engine: Engine, here: Bench) -> None:
    made = make(engine, here)
    bob = Caller(owner="bob", role=Role.SUBMITTER, project="street")
    with pytest.raises(Problem) as refused:
        schedules.pause(engine, bob, made.id)
    assert refused.value.code == "not_found"
    with writing(engine) as connection:
        row = update(SCHEDULES).where(SCHEDULES.c.id == made.id)
        connection.execute(row.values(project="street"))
    assert schedules.pause(engine, bob, made.id).paused


def test_the_next_ticks_are_told_by_the_clock_on_the_wall() -> None:
    before_spring = datetime(2026, 3, 28, 12, tzinfo=UTC)
    found = schedules.coming(NIGHTLY, before_spring, 2)
    assert [f"{one.local:%d %H:%M %z}" for one in found] == ["29 02:30 +0100", "30 02:30 +0100"]
    gap = Calendar(cron="30 1 * * *", timezone="Europe/London")
    assert f"{schedules.coming(gap, before_spring, 1)[0].local:%H:%M}" == "02:30"


def test_turns_use_the_databases_clock(engine: Engine, here: Bench) -> None:
    made = schedules.create(
        engine, here.settings, Here(), ADA,
        schedules.Terms(name="soon", calendar=HOURLY, spec=spec_of(here)),
    )  # fmt: skip
    with writing(engine) as connection:
        then = made.created_at - 2 * HOUR
        row = update(SCHEDULES).where(SCHEDULES.c.id == made.id)
        connection.execute(row.values(decided_until=then, next_at=then))
    assert schedules.turn(engine) == 1


@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    looks=st.lists(st.integers(1, 20 * 3600), min_size=1, max_size=8),
    jitter=st.sampled_from([0, 1800]),
    catch_up=st.sampled_from([0, 3600, 86400]),
)
def test_whenever_one_looks_every_tick_has_one_row(
    engine: Engine, here: Bench, looks: list[int], jitter: int, catch_up: int
) -> None:
    with reading(engine) as connection:
        others = schedules.list_schedules(connection, ADA)
    for other in others:  # of the example before
        schedules.archive(engine, ADA, other.id)
    every_two = Calendar(cron="0 */2 * * *", timezone="Australia/Lord_Howe")
    before = datetime(2026, 4, 4, 3, tzinfo=UTC)  # the night has a fold of half an hour
    made = make(
        engine, here, at=before, calendar=every_two, overlap="allow",
        jitter_seconds=jitter, catch_up_seconds=catch_up,
    )  # fmt: skip
    at, begun = before, 0
    for seconds in looks:
        at += timedelta(seconds=seconds)
        begun += schedules.turn(engine, at)
    wanted = [
        one.at for one in schedules.coming(every_two, before, 100, made) if one.begins_at <= at
    ]
    found = ticks(engine, made)
    assert [tick.at for tick in found] == wanted
    assert [t.job_id is not None for t in found] == [t.decision == "started" for t in found]
    assert begun == len(jobs_of(engine, made)) <= len(looks)
