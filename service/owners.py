"""Who jobs belong to, and how much of the workers may be theirs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Connection, Table, func, select, update

from search_spaces import ParetrackError
from service import audit
from service.jobs import JOBS, WORKED_ON
from service.queue import ensure_owner
from service.tables import OwnerRow

_OWNERS = cast(Table, OwnerRow.__table__)


@dataclass(frozen=True, kw_only=True)
class Owner:
    """An owner, with how many of their jobs wait and are worked on."""

    name: str
    most_running: int | None  # None: as many as there are controllers for
    weight: float  # of their jobs, where several share the workers
    waiting: int
    running: int
    created_at: datetime


def list_owners(connection: Connection, after: str | None, limit: int) -> list[Owner]:
    """By name, behind the one called ``after``."""
    query = select(_OWNERS).order_by(_OWNERS.c.name).limit(limit)
    if after is not None:
        query = query.where(_OWNERS.c.name > after)
    return _with_counts(connection, connection.execute(query).all())


def set_share(
    connection: Connection, name: str, changed: dict[str, Any], who: str, why: str
) -> Owner:
    """Another ``most_running`` or ``weight``; also for somebody who has no job yet."""
    if not (0 < len(name) <= 200 and name.isprintable()):
        raise ParetrackError("not the name of an owner: expected 1 to 200 printable characters")
    ensure_owner(connection, name)
    this = _OWNERS.c.name == name
    if changed:
        connection.execute(update(_OWNERS).where(this).values(**changed))
        audit.record(connection, who, "owner edit", f"owner {name}", why, **changed)
    return _with_counts(connection, connection.execute(select(_OWNERS).where(this)).all())[0]


def _with_counts(connection: Connection, rows: Sequence[Any]) -> list[Owner]:
    counted = (
        select(JOBS.c.owner, JOBS.c.state, func.count())
        .where(JOBS.c.owner.in_([row.name for row in rows]))
        .where(JOBS.c.state.in_(("QUEUED", *WORKED_ON)))
        .group_by(JOBS.c.owner, JOBS.c.state)
    )
    waiting: dict[str, int] = {}
    running: dict[str, int] = {}
    for owner, state, count in connection.execute(counted):
        which = waiting if state == "QUEUED" else running
        which[owner] = which.get(owner, 0) + count
    return [
        Owner(**row._mapping, waiting=waiting.get(row.name, 0), running=running.get(row.name, 0))
        for row in rows
    ]
