"""Schedules and their ticks as rows, and as values."""

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Connection, Row, Table, insert, select, update

from service.calendar import Calendar, jittered, next_ticks
from service.errors import not_found
from service.tables import ScheduleRow, TickRow
from service.ticks import Overlap

SCHEDULES = cast(Table, ScheduleRow.__table__)
TICKS = cast(Table, TickRow.__table__)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What somebody wants of a schedule; all of it can be edited."""

    name: str
    calendar: Calendar
    spec: Mapping[str, Any]  # the document of each tick's job
    labels: tuple[str, ...] = ()
    priority: int = 0
    overlap: Overlap = "skip"
    catch_up_seconds: int = 3600
    jitter_seconds: int = 0
    continues: bool = True  # each night from the front of the night before
    pause_after_failures: int | None = None  # in a row; None: never


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A schedule as it is now."""

    id: str
    owner: str
    project: str | None
    terms: Terms
    tracker: str  # the family of the teacher
    paused: bool
    paused_why: str
    failures: int  # in a row
    decided_until: datetime
    next_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None

    @property
    def who(self) -> str:
        """For the audit of what it does by itself."""
        return f"schedule {self.id}"

    def begins(self, tick: datetime) -> datetime:
        """When the job of a tick is to begin."""
        return jittered(self.id, tick, self.terms.jitter_seconds)


@dataclass(frozen=True, kw_only=True)
class Tick:
    """What was decided for one instant; ``report`` is how its night went, once it has ended."""

    schedule_id: str
    at: datetime
    decision: str
    note: str
    job_id: str | None
    by_hand: bool
    decided_at: datetime
    report: Mapping[str, Any] | None


def new_id(name: str) -> str:
    """An id that says the name, as a part of a URL."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:20].strip("-")
    return f"{plain or 'schedule'}-{secrets.token_hex(5)}"


# --- reading -----------------------------------------------------------------------------------


def find(connection: Connection, schedule_id: str, *, lock: bool = False) -> Schedule | None:
    """The schedule with this id; with ``lock`` nobody else decides or changes it meanwhile."""
    query = select(SCHEDULES).where(SCHEDULES.c.id == schedule_id)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else schedule_of(row)


def known(connection: Connection, schedule_id: str, *, lock: bool = False) -> Schedule:
    """The same; it must be there."""
    found = find(connection, schedule_id, lock=lock)
    if found is None:
        raise not_found("schedule", schedule_id)
    return found


def schedule_of(row: Row[Any]) -> Schedule:
    job = json.loads(row.job_json)
    terms = Terms(
        name=row.name,
        calendar=Calendar(cron=row.cron, timezone=row.timezone, gap=row.gap, fold=row.fold),
        spec=job["spec"],
        labels=tuple(job["labels"]),
        priority=job["priority"],
        overlap=row.overlap,
        catch_up_seconds=row.catch_up_seconds,
        jitter_seconds=row.jitter_seconds,
        continues=row.continues,
        pause_after_failures=row.pause_after_failures,
    )
    same = (
        "id", "owner", "project", "paused", "paused_why", "failures", "decided_until", "next_at",
        "version", "created_at", "updated_at", "archived_at",
    )  # fmt: skip
    values = {name: getattr(row, name) for name in same}
    return Schedule(terms=terms, tracker=job["tracker"], **values)


def tick_of(row: Row[Any]) -> Tick:
    report = None if row.comparison_json is None else json.loads(row.comparison_json)
    same = ("schedule_id", "at", "decision", "note", "job_id", "by_hand", "decided_at")
    return Tick(report=report, **{name: getattr(row, name) for name in same})


# --- writing -----------------------------------------------------------------------------------


def put_new(connection: Connection, schedule: Schedule) -> Schedule:
    row = {
        **_terms_row(schedule.terms, schedule.tracker),
        **{name: getattr(schedule, name) for name in _PLAIN},
        "next_at": _next_at(schedule),
    }
    connection.execute(insert(SCHEDULES), row)
    return known(connection, schedule.id)


_PLAIN = (
    "id", "owner", "project", "paused", "paused_why", "failures", "decided_until", "version",
    "created_at", "updated_at", "archived_at",
)  # fmt: skip


def put(connection: Connection, schedule: Schedule, now: datetime, **changes: Any) -> Schedule:
    """The schedule with other values, as the next version of it; the caller holds its row."""
    changed = replace(schedule, **changes, version=schedule.version + 1, updated_at=now)
    values = {
        **_terms_row(changed.terms, changed.tracker),
        **{name: getattr(changed, name) for name in _PLAIN if name != "id"},
        "next_at": _next_at(changed),
    }
    connection.execute(update(SCHEDULES).where(SCHEDULES.c.id == schedule.id).values(**values))
    return replace(changed, next_at=values["next_at"])


def put_decided(connection: Connection, schedule: Schedule, until: datetime) -> Schedule:
    """Every tick up to there has its row. No new version: whoever edits need not read it again."""
    decided = replace(schedule, decided_until=until)
    values = {"decided_until": until, "next_at": _next_at(decided)}
    connection.execute(update(SCHEDULES).where(SCHEDULES.c.id == schedule.id).values(**values))
    return replace(decided, next_at=values["next_at"])


def put_tick(connection: Connection, tick: Tick) -> None:
    """A new one; a second at the same instant is refused by the table."""
    row = {name: value for name, value in vars(tick).items() if name != "report"}
    connection.execute(insert(TICKS), {**row, "comparison_json": None})


def _next_at(schedule: Schedule) -> datetime | None:
    """When the next tick's job is to begin."""
    if schedule.archived_at is not None:
        return None
    following = next_ticks(schedule.terms.calendar, schedule.decided_until, 1)
    return schedule.begins(following[0]) if following else None


def _terms_row(terms: Terms, tracker: str) -> dict[str, Any]:
    job = {
        "spec": dict(terms.spec),
        "labels": list(terms.labels),
        "priority": terms.priority,
        "tracker": tracker,
    }
    calendar = terms.calendar
    return {
        "name": terms.name,
        "job_json": json.dumps(job),
        "cron": calendar.cron,
        "timezone": calendar.timezone,
        "gap": calendar.gap,
        "fold": calendar.fold,
        "overlap": terms.overlap,
        "catch_up_seconds": terms.catch_up_seconds,
        "jitter_seconds": terms.jitter_seconds,
        "continues": terms.continues,
        "pause_after_failures": terms.pause_after_failures,
    }
