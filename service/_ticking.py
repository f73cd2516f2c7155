"""What becomes of a schedule's ticks, in the database: a tick's row, its job, and that it is
decided are one transaction of whoever holds the schedule's row.

A buffered job waits in the queue, held back by ``not_before``, until no other job of its schedule
is unfinished.
"""

import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, select, update

from service import audit, jobs, queue
from service._continuing import tonight
from service._schedule_rows import (
    SCHEDULES,
    TICKS,
    Schedule,
    Tick,
    known,
    put_decided,
    put_tick,
    schedule_of,
)
from service.calendar import on_the_wall
from service.database import DatabaseError, database_now, reading, writing
from service.errors import Problem
from service.jobs import ENDED, JOBS, NewJob
from service.ticks import Decision, DueTick, decide, due

HELD_BACK = datetime(9000, 1, 1, tzinfo=UTC)  # the ``not_before`` of a buffered job
_DONE_WITH = (*ENDED, "HELD")  # a held job may wait for days: the nights go on
_NAME = 200  # characters of a job's name that its row can hold

_log = logging.getLogger("paretrack.schedules")


def turn(engine: Engine, now: datetime | None = None) -> int:
    """Decide every tick that is due, and let go of what waited for others; how many jobs begin.

    Any number of controllers may do this at the same time: a tick gets one job.
    """
    begun = 0
    for schedule_id in _with_due_ticks(engine, now):
        try:
            begun += _decided(engine, schedule_id, now)
        except DatabaseError:
            raise
        except Exception as error:  # one that cannot be read must not keep the others
            _log.error("cannot decide", extra={"schedule": schedule_id}, exc_info=error)
    return begun + _let_go(engine)


def _with_due_ticks(engine: Engine, now: datetime | None) -> list[str]:
    with reading(engine) as connection:
        at = now or database_now(connection)
        query = select(SCHEDULES.c.id).where(SCHEDULES.c.next_at <= at)
        return list(connection.execute(query.order_by(SCHEDULES.c.next_at)).scalars())


def _decided(engine: Engine, schedule_id: str, now: datetime | None) -> int:
    with writing(engine) as connection:
        at = now or database_now(connection)
        still = (SCHEDULES.c.id == schedule_id) & (SCHEDULES.c.next_at <= at)
        query = select(SCHEDULES).where(still).with_for_update(skip_locked=True)
        row = connection.execute(query).one_or_none()
        if row is None:  # another controller has it, or had it
            return 0
        _, ticks = settle(connection, schedule_of(row), at)
    for tick in ticks:
        said = {"schedule": schedule_id, "tick": tick.at.isoformat(), "job": tick.job_id}
        _log.info("%s: %s", tick.decision, tick.note, extra=said)
    return sum(tick.job_id is not None for tick in ticks)


def settle(
    connection: Connection, schedule: Schedule, now: datetime
) -> tuple[Schedule, list[Tick]]:
    """Decide all ticks of a schedule that are due; the caller holds its row."""
    terms = schedule.terms
    listed = due(
        terms.calendar,
        schedule.decided_until,
        now,
        terms.catch_up_seconds,
        schedule_id=schedule.id,
        jitter_seconds=terms.jitter_seconds,
    )
    ticks = []
    for tick in listed:
        standing = _standing(connection, schedule) if tick.in_time else _Standing()
        decision = decide(
            tick,
            overlap=terms.overlap,
            paused=schedule.paused,
            unfinished=bool(standing.unfinished),
            buffered=bool(standing.buffered),
        )
        ticks.append(_done(connection, schedule, tick.at, decision, standing, now, by_hand=False))
    until = listed[-1].at if listed else schedule.decided_until
    return put_decided(connection, schedule, until), ticks


def drop(connection: Connection, schedule: Schedule, now: datetime, note: str) -> Schedule:
    """Nothing comes of the ticks up to now that have not begun, for their jitter."""
    for tick in due(schedule.terms.calendar, schedule.decided_until, now, 0):
        decision = Decision(decision="skipped", note=note)
        _done(connection, schedule, tick.at, decision, _Standing(), now, by_hand=False)
    return put_decided(connection, schedule, max(now, schedule.decided_until))


def trigger(connection: Connection, schedule: Schedule, who: str, why: str, now: datetime) -> Tick:
    """A tick by hand, now, whether the schedule is paused or not; the caller holds its row."""
    standing = _standing(connection, schedule)
    tick = DueTick(at=now, late=timedelta(), in_time=True)
    decision = decide(
        tick,
        overlap=schedule.terms.overlap,
        unfinished=bool(standing.unfinished),
        buffered=bool(standing.buffered),
    )
    if decision.decision == "skipped":
        waiting = ", ".join([*standing.unfinished, *standing.buffered])
        raise Problem(
            "conflict",
            f"schedule {schedule.id}: {decision.note} ({waiting}), and its overlap is "
            f"{schedule.terms.overlap}: wait, cancel that job, or allow them to overlap",
        )
    note = f"by hand, {who}" + (f": {why}" if why else "")
    decision = Decision(decision=decision.decision, note=note, cancel_other=decision.cancel_other)
    at = _free_instant(connection, schedule.id, now)
    return _done(connection, schedule, at, decision, standing, now, by_hand=True)


def _free_instant(connection: Connection, schedule_id: str, now: datetime) -> datetime:
    """The first from now on that has no tick, and that no calendar has one at."""
    while True:
        query = select(TICKS.c.at).where(TICKS.c.schedule_id == schedule_id, TICKS.c.at == now)
        whole_minute = now.second == 0 and now.microsecond == 0
        if not whole_minute and connection.execute(query).first() is None:
            return now
        now += timedelta(microseconds=1)


# --- one tick ----------------------------------------------------------------------------------


class _Standing:
    """The unfinished jobs of a schedule: those that may be worked on, and the one that waits."""

    def __init__(self, rows: Sequence[Any] = ()) -> None:
        self.unfinished = [row.id for row in rows if row.not_before != HELD_BACK]
        self.buffered = [row.id for row in rows if row.not_before == HELD_BACK]
        self.to_cancel = [row.id for row in rows if row.state != "CANCELLING"]


def _standing(connection: Connection, schedule: Schedule) -> _Standing:
    query = (
        select(JOBS.c.id, JOBS.c.state, JOBS.c.not_before)
        .where(JOBS.c.schedule_id == schedule.id, JOBS.c.state.not_in(_DONE_WITH))
        .order_by(JOBS.c.id)
    )
    if schedule.terms.overlap == "cancel":  # none may end before it is cancelled
        query = query.with_for_update()
    return _Standing(connection.execute(query).all())


def _done(
    connection: Connection,
    schedule: Schedule,
    at: datetime,
    decision: Decision,
    standing: _Standing,
    now: datetime,
    *,
    by_hand: bool,
) -> Tick:
    """What was decided, with all that comes of it."""
    job_id, note = None, decision.note
    if decision.cancel_other:
        for other in standing.to_cancel:
            why = f"the next one of {schedule.who} begins"
            jobs.change(connection, other, "cancel", schedule.who, why)
    if decision.decision in ("started", "buffered"):
        job_id, went_on = _made(connection, schedule, at, decision)
        note = "; ".join(said for said in (note, went_on) if said)
    tick = Tick(
        schedule_id=schedule.id,
        at=at,
        decision=decision.decision,
        note=note,
        job_id=job_id,
        by_hand=by_hand,
        decided_at=now,
        report=None,
    )
    put_tick(connection, tick)
    return tick


def _made(
    connection: Connection, schedule: Schedule, at: datetime, decision: Decision
) -> tuple[str, str]:
    spec, went_on = dict(schedule.terms.spec), ""
    if decision.decision == "started":
        spec, went_on = tonight(connection, schedule, spec)
    when = f" {on_the_wall(schedule.terms.calendar, at):%Y-%m-%d %H:%M}"
    asked = NewJob(
        name=str(spec["name"])[: _NAME - len(when)] + when,
        spec=spec,
        owner=schedule.owner,
        project=schedule.project,
        tracker=schedule.tracker,
        labels=schedule.terms.labels,
        priority=schedule.terms.priority,
        schedule_id=schedule.id,
    )
    queue.ensure_owner(connection, schedule.owner)
    job = jobs.create(connection, asked, schedule.who, decision.note)
    if decision.decision == "buffered":
        held_back = update(JOBS).where(JOBS.c.id == job.id).values(not_before=HELD_BACK)
        connection.execute(held_back)
    return job.id, went_on


# --- what waits for the job before it ----------------------------------------------------------


def _let_go(engine: Engine) -> int:
    with reading(engine) as connection:
        query = select(JOBS.c.id, JOBS.c.schedule_id).where(
            JOBS.c.not_before == HELD_BACK, JOBS.c.state.in_(("QUEUED", "PAUSED"))
        )
        waiting = connection.execute(query).all()
    return sum(_let_one_go(engine, row.schedule_id, row.id) for row in waiting)


def _let_one_go(engine: Engine, schedule_id: str, job_id: str) -> bool:
    """Whether the job is free now, to go on from where the one that it waited for has ended."""
    with writing(engine) as connection:
        schedule = known(connection, schedule_id, lock=True)
        job = jobs.known(connection, job_id, lock=True)
        waits = job.not_before == HELD_BACK and job.state in ("QUEUED", "PAUSED")
        if not waits or _standing(connection, schedule).unfinished:
            return False
        spec, went_on = tonight(connection, schedule, job.spec)
        why = "; ".join(said for said in ("the job before has ended", went_on) if said)
        freed = {"not_before": None, "queued_at": database_now(connection), "reason": why}
        freed["spec_json"] = json.dumps(spec)
        connection.execute(update(JOBS).where(JOBS.c.id == job_id).values(**freed))
        audit.record(connection, schedule.who, "job let go", f"job {job_id}", why)
        jobs.add_events(connection, job_id, [("let_go", {"why": why})])
        return True
