"""Schedules: searches that begin again and again, by a cron expression in a time zone.

Every tick is one row, written with its job and with the schedule's next tick in one transaction:
see service/_ticking.py. What a tick's job goes on from is in service/_continuing.py, how its night
went is told by service/night_reports.py. A schedule's document is checked when it is made or
edited, and not again at every tick.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, and_, or_, select

from service import audit, night_reports, queue
from service._schedule_rows import (
    SCHEDULES,
    TICKS,
    Schedule,
    Terms,
    Tick,
    find,
    known,
    new_id,
    put,
    put_new,
    schedule_of,
    tick_of,
)
from service._ticking import drop, settle, turn
from service._ticking import trigger as _trigger
from service.beside import Beside
from service.calendar import Calendar, describe, next_ticks, on_the_wall
from service.callers import Caller, visible
from service.database import database_now, reading, writing
from service.errors import Fault, Problem, not_found
from service.jobs import JOBS
from service.settings import Settings
from service.submission import checked

__all__ = [
    "Coming", "PastTick", "Schedule", "Terms", "Tick", "archive", "chores", "coming", "create",
    "edit", "history", "list_schedules", "on_the_wall", "pause", "read", "resume", "trigger",
    "turn",
]  # fmt: skip

MOST_COMING = 100
EDITED = "the calendar was changed before it had begun"


def create(
    engine: Engine,
    settings: Settings,
    beside: Beside,
    caller: Caller,
    terms: Terms,
    now: datetime | None = None,
) -> Schedule:
    """Check the document and begin to tick. Nothing that is past is caught up with."""
    family = _checked(engine, settings, beside, caller, terms.spec)
    with writing(engine) as connection:
        at = now or database_now(connection)
        queue.ensure_owner(connection, caller.owner)
        made = put_new(
            connection,
            Schedule(
                id=new_id(terms.name),
                owner=caller.owner,
                project=caller.project,
                terms=terms,
                tracker=family,
                paused=False,
                paused_why="",
                failures=0,
                decided_until=at,
                next_at=None,
                version=1,
                created_at=at,
                updated_at=at,
                archived_at=None,
            ),
        )
        said = describe(terms.calendar)
        audit.record(connection, caller.who, "schedule create", made.who, calendar=said)
    return made


def _checked(
    engine: Engine,
    settings: Settings,
    beside: Beside,
    caller: Caller,
    spec: Mapping[str, Any],
) -> str:
    """The family of the document's teacher, if it is one that can be run."""
    try:
        return str(checked(engine, settings, beside, caller, spec).seen["family"])
    except Problem as problem:  # in the body of a schedule the document lies in another place
        problem.faults = [
            replace(f, pointer=f.pointer and "/job" + f.pointer) for f in problem.faults
        ]
        raise


# --- reading -----------------------------------------------------------------------------------


def read(
    connection: Connection, caller: Caller, schedule_id: str, *, lock: bool = False
) -> Schedule:
    """A schedule that this caller may see."""
    found = find(connection, schedule_id, lock=lock)
    if found is None or not caller.may_see(found.owner, found.project):
        raise not_found("schedule", schedule_id)
    return found


def list_schedules(
    connection: Connection,
    caller: Caller,
    *,
    text: str | None = None,
    archived: bool = False,
    after: tuple[datetime, str] | None = None,
    limit: int = 50,
) -> list[Schedule]:
    """The newest first, behind the one that was made at ``after``."""
    columns = SCHEDULES.c
    query = select(SCHEDULES).where(visible(caller, columns))
    if text:
        query = query.where(
            or_(
                columns.name.icontains(text, autoescape=True),
                columns.id.icontains(text, autoescape=True),
            )
        )
    if not archived:
        query = query.where(columns.archived_at.is_(None))
    if after is not None:
        at, last = after
        earlier = and_(columns.created_at == at, columns.id < last)
        query = query.where(or_(columns.created_at < at, earlier))
    query = query.order_by(columns.created_at.desc(), columns.id.desc()).limit(limit)
    return [schedule_of(row) for row in connection.execute(query)]


@dataclass(frozen=True, kw_only=True)
class PastTick:
    """A tick, and its job as it is now."""

    tick: Tick
    job_state: str | None
    job_name: str | None


def history(
    connection: Connection,
    schedule_id: str,
    limit: int,
    *,
    before: datetime | None = None,
    at: datetime | None = None,
) -> list[PastTick]:
    """What became of the ticks, the latest first; before an instant, or at one."""
    query = (
        select(TICKS, JOBS.c.state, JOBS.c.name)
        .join_from(TICKS, JOBS, TICKS.c.job_id == JOBS.c.id, isouter=True)
        .where(TICKS.c.schedule_id == schedule_id)
        .order_by(TICKS.c.at.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(TICKS.c.at < before)
    if at is not None:
        query = query.where(TICKS.c.at == at)
    rows = connection.execute(query)
    return [PastTick(tick=tick_of(r), job_state=r.state, job_name=r.name) for r in rows]


@dataclass(frozen=True, kw_only=True)
class Coming:
    """A tick that is to come."""

    at: datetime
    local: datetime  # what the clock on the wall shows then
    begins_at: datetime  # with the schedule's jitter


def coming(
    calendar: Calendar, after: datetime, count: int, schedule: Schedule | None = None
) -> list[Coming]:
    """The next ticks of a calendar; of a schedule, when their jobs begin."""
    return [
        Coming(
            at=at,
            local=on_the_wall(calendar, at),
            begins_at=at if schedule is None else schedule.begins(at),
        )
        for at in next_ticks(calendar, after, count)
    ]


# --- changing ----------------------------------------------------------------------------------


def edit(
    engine: Engine,
    settings: Settings,
    beside: Beside,
    caller: Caller,
    schedule_id: str,
    changes: Mapping[str, Any],
    version: int | None,
    now: datetime | None = None,
) -> Schedule:
    """Other terms, by the names of ``Terms``, from now on: what was due is decided by those before.

    Refused if somebody changed it since ``version`` was read.
    """
    with reading(engine) as connection:
        _check_version(_unarchived(read(connection, caller, schedule_id)), version)
    family = None
    if "spec" in changes:
        family = _checked(engine, settings, beside, caller, changes["spec"])
    with writing(engine) as connection:
        found = _unarchived(read(connection, caller, schedule_id, lock=True))
        _check_version(found, version)
        at = now or database_now(connection)
        found, _ = settle(connection, found, at)
        terms = replace(found.terms, **changes)
        if terms.calendar != found.terms.calendar:
            found = drop(connection, found, at, EDITED)
        changed = [name for name in changes if getattr(terms, name) != getattr(found.terms, name)]
        if not changed:
            return found
        found = put(connection, found, at, terms=terms, tracker=family or found.tracker)
        audit.record(connection, caller.who, "schedule edit", found.who, changed=changed)
        return found


def _check_version(schedule: Schedule, version: int | None) -> None:
    if version is not None and version != schedule.version:
        raise Problem(
            "changed_meanwhile",
            f"schedule {schedule.id} is at version {schedule.version}, you have read {version}: "
            "read it again",
            [Fault(f"expected {schedule.version}", parameter="If-Match")],
        )


def _unarchived(schedule: Schedule) -> Schedule:
    if schedule.archived_at is not None:
        detail = f"schedule {schedule.id} is archived, so it stays as it is; make a new one"
        raise Problem("conflict", detail)
    return schedule


def pause(
    engine: Engine, caller: Caller, schedule_id: str, why: str = "", now: datetime | None = None
) -> Schedule:
    """No job begins by itself any more; those that were begun go on. Again: nothing changes."""
    with writing(engine) as connection:
        found = _unarchived(read(connection, caller, schedule_id, lock=True))
        if found.paused:
            return found
        at = now or database_now(connection)
        said = why or f"paused by {caller.who}"
        found = put(connection, found, at, paused=True, paused_why=said)
        audit.record(connection, caller.who, "schedule pause", found.who, why)
        return found


def resume(
    engine: Engine, caller: Caller, schedule_id: str, why: str = "", now: datetime | None = None
) -> Schedule:
    """Tick again. What was due meanwhile is not caught up with, and failures count from none."""
    with writing(engine) as connection:
        found = _unarchived(read(connection, caller, schedule_id, lock=True))
        if not found.paused:
            return found
        at = now or database_now(connection)
        found, _ = settle(connection, found, at)
        found = put(connection, found, at, paused=False, paused_why="", failures=0)
        audit.record(connection, caller.who, "schedule resume", found.who, why)
        return found


def trigger(
    engine: Engine, caller: Caller, schedule_id: str, why: str = "", now: datetime | None = None
) -> Tick:
    """A job now, by the schedule's policy of overlaps; also of a schedule that is paused."""
    with writing(engine) as connection:
        found = _unarchived(read(connection, caller, schedule_id, lock=True))
        at = now or database_now(connection)
        found, _ = settle(connection, found, at)
        tick = _trigger(connection, found, caller.who, why, at)
        audit.record(connection, caller.who, "schedule trigger", found.who, why, job=tick.job_id)
        return tick


def archive(engine: Engine, caller: Caller, schedule_id: str) -> Schedule:
    """Out of sight, and it ticks no more; its jobs and its history stay. Again: the same."""
    with writing(engine) as connection:
        found = read(connection, caller, schedule_id, lock=True)
        if found.archived_at is not None:
            return found
        at = database_now(connection)
        found = put(connection, found, at, archived_at=at)
        audit.record(connection, caller.who, "schedule archive", found.who)
        return known(connection, schedule_id)


# --- what every controller does ----------------------------------------------------------------


def chores(engine: Engine) -> list[Callable[[], object]]:
    """To be done again and again, by any number of controllers at once."""

    def decide_ticks() -> object:
        return turn(engine)

    def tell_nights() -> object:
        return night_reports.tell(engine)

    return [tell_nights, decide_ticks]  # a night that has ended is what the next continues from
