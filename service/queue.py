"""Which job is worked on next, and by whom: claimed by a lease, taken back from whoever is gone.

A job's turn comes by points: its priority, ten for every hour that it has waited, ten less for
every job of the same owner that is worked on already. So nobody starves, and nobody fills the
house. A claim is one transaction; claims come one after the other, on SQLite because one process
writes at a time, on PostgreSQL by an advisory lock, past jobs that somebody else is changing.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Connection, Engine, Table, and_, func, or_, select, text

from service import jobs, leases
from service._upserts import put_if_absent
from service.database import LeaseRow, database_now, reading, writing
from service.jobs import JOBS, WORKED_ON, StoredJob
from service.tables import OwnerRow

POINTS_AN_HOUR = 10.0  # of waiting
POINTS_OF_OTHERS = 10.0  # less, for every job of the owner that is worked on
ATTEMPTS = 5  # that end by no fault of the job without anything done, and it is held
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 600.0  # seconds before a job is begun again
LOOKED_AT = 1000  # waiting jobs that a claim chooses among
_CLAIMING = 7_236_018  # the advisory lock of PostgreSQL under which jobs are claimed; any number

_LEASES = cast(Table, LeaseRow.__table__)
_OWNERS = cast(Table, OwnerRow.__table__)
_OWNED = _LEASES.c.name == "job " + JOBS.c.id


@dataclass(frozen=True)
class Claimed:
    """A job, and the right to work on it."""

    job: StoredJob
    lease: leases.Lease


def lease_name(job_id: str) -> str:
    return f"job {job_id}"


def claim(
    engine: Engine, holder: str, seconds: float, kinds: Sequence[str] = ("search",)
) -> Claimed | None:
    """The job whose turn it is, for as long as the lease lasts; None where nothing can begin."""
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_CLAIMING})"))
        now = database_now(connection)
        running = _running(connection)
        for row in _in_turn(connection, now, running, kinds):
            most = _most_running(connection, row.owner)
            begins = row.state == "QUEUED"
            if begins and most is not None and running[row.owner] >= most:
                continue
            if _locked(connection, row):
                return _begun(connection, row, holder, seconds, now)
    return None


def _in_turn(
    connection: Connection, now: datetime, running: Counter[str], kinds: Sequence[str]
) -> Iterator[Any]:
    """Those that could begin now, the first first."""
    left = and_(
        JOBS.c.state.in_(("STOPPING", "CANCELLING")),
        or_(_LEASES.c.expires_at.is_(None), _LEASES.c.expires_at <= now),
    )
    query = (
        select(JOBS.c.id, JOBS.c.owner, JOBS.c.state, JOBS.c.priority, JOBS.c.queued_at)
        .join_from(JOBS, _LEASES, _OWNED, isouter=True)
        .where(or_(JOBS.c.state == "QUEUED", left), JOBS.c.kind.in_(kinds))
        .where(or_(JOBS.c.not_before.is_(None), JOBS.c.not_before <= now))
        .order_by(JOBS.c.priority.desc(), JOBS.c.queued_at)
    )
    rows = connection.execute(query.limit(LOOKED_AT)).all()
    yield from sorted(rows, key=lambda row: _turn(row, now, running))


def _turn(row: Any, now: datetime, running: Counter[str]) -> tuple[bool, float, datetime]:
    hours = (now - row.queued_at).total_seconds() / 3600
    points = row.priority + POINTS_AN_HOUR * hours - POINTS_OF_OTHERS * running[row.owner]
    return row.state == "QUEUED", -points, row.queued_at  # what only has to end comes first


def _locked(connection: Connection, row: Any) -> bool:
    """Whether the job is ours to change in this transaction, and still as it was seen."""
    query = select(JOBS.c.id).where(JOBS.c.id == row.id, JOBS.c.state == row.state)
    return connection.execute(query.with_for_update(skip_locked=True)).first() is not None


def _begun(connection: Connection, row: Any, holder: str, seconds: float, now: datetime) -> Claimed:
    lease = leases.take(connection, lease_name(row.id), holder, seconds)
    job = jobs.known(connection, row.id)
    started = job.started_at or now
    changed = jobs.change(connection, row.id, "begin", holder, started_at=started, not_before=None)
    return Claimed(changed, lease)


# --- owners ------------------------------------------------------------------------------------


def ensure_owner(connection: Connection, name: str) -> None:
    """Everybody who has a job has a row, that an operator can change."""
    now = database_now(connection)
    row = {"name": name, "most_running": None, "weight": 1.0, "created_at": now}
    put_if_absent(connection, _OWNERS, row)


def weight_of(connection: Connection, owner: str) -> float:
    """Of an owner's jobs among those that share workers."""
    found = connection.execute(select(_OWNERS.c.weight).where(_OWNERS.c.name == owner)).scalar()
    return 1.0 if found is None else float(found)


def _most_running(connection: Connection, owner: str) -> int | None:
    query = select(_OWNERS.c.most_running).where(_OWNERS.c.name == owner)
    return connection.execute(query).scalar()


def _running(connection: Connection) -> Counter[str]:
    """How many jobs of each owner are worked on."""
    query = select(JOBS.c.owner, func.count()).where(JOBS.c.state.in_(WORKED_ON))
    return Counter(dict(tuple(row) for row in connection.execute(query.group_by(JOBS.c.owner))))


# --- the end of a claim ------------------------------------------------------------------------


def end(
    engine: Engine, claimed: Claimed, verb: str, why: str, *, failed: bool = False
) -> StoredJob:
    """What becomes of a job that its holder works on no more. ``failed``: an attempt is spent."""
    with writing(engine) as connection:
        leases.fence(connection, claimed.lease)
        job = _ended(connection, claimed.job.id, verb, claimed.lease.holder, why, failed)
        leases.give_up(connection, claimed.lease)
        return job


def rescue(engine: Engine, who: str) -> list[StoredJob]:
    """Take back the jobs whose holders are gone: their leases have ended, and they had not."""
    return [job for job_id in _abandoned(engine) if (job := _rescued(engine, job_id, who))]


def _abandoned(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        query = (
            select(JOBS.c.id)
            .join_from(JOBS, _LEASES, _OWNED)
            .where(JOBS.c.state.in_(("RUNNING", "PAUSING")))
            .where(_LEASES.c.expires_at <= database_now(connection))
        )
        return list(connection.execute(query).scalars())


def _rescued(engine: Engine, job_id: str, who: str) -> StoredJob | None:
    with writing(engine) as connection:
        job = jobs.known(connection, job_id, lock=True)
        if job.state not in ("RUNNING", "PAUSING"):
            return None
        try:  # whoever held it writes nothing more
            lease = leases.take(connection, lease_name(job_id), who, 0.0)
        except leases.LeaseHeld:
            return None
        leases.give_up(connection, lease)
        why = "its controller has not been heard of any more"
        return _ended(connection, job_id, "put_back", who, why, failed=True)


def _ended(
    connection: Connection, job_id: str, verb: str, who: str, why: str, failed: bool
) -> StoredJob:
    job = jobs.known(connection, job_id, lock=True)
    if verb != "put_back" or not failed:
        return jobs.change(connection, job_id, verb, who, why)
    attempts = job.attempts + 1
    if attempts >= ATTEMPTS:
        why = f"{why}; that was the {attempts}th time in a row that nothing came of it"
        return jobs.change(connection, job_id, "hold", who, why, attempts=attempts)
    later = database_now(connection) + timedelta(seconds=pause(attempts))
    return jobs.change(
        connection, job_id, "put_back", who, why, attempts=attempts, not_before=later
    )


def pause(attempts: int) -> float:
    """Seconds until a job is begun again: longer every time, and not the same for all."""
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 3.0 ** (attempts - 1))
    return longest * random.uniform(0.5, 1.0)
