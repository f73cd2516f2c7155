"""Exactly one process works on a job: a lease with an end, and a token that fences off the past.

A process that stopped for a while (a suspended machine, a full disk) cannot know that its lease
has passed to another. So each of its writes shows the token in the same transaction, and a token
that is no longer the newest writes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import Connection, Engine, Row, Table, bindparam, select, update

from search_spaces._errors import ParetrackError
from service._upserts import put_if_absent
from service.database import LeaseRow, database_now, writing
from service.outages import Patience

_LEASES = cast(Table, LeaseRow.__table__)
_TOKEN = select(_LEASES.c.token).where(_LEASES.c.name == bindparam("lease")).with_for_update()
_BY_NAME = select(_LEASES).where(_LEASES.c.name == bindparam("lease")).with_for_update()


class LeaseHeld(ParetrackError):  # noqa: N818 - says what happened
    """Another process works on this."""


class LeaseLost(ParetrackError):  # noqa: N818 - says what happened
    """Another process has taken this over; the one that hears this must stop."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to write about ``name``; a higher ``token`` beats a lower one."""

    name: str
    holder: str
    token: int
    acquired_at: datetime
    expires_at: datetime


def acquire(
    engine: Engine,
    name: str,
    holder: str,
    seconds: float,
    patience: Patience = Patience(),  # noqa: B008 - frozen
) -> Lease:
    """The lease on ``name`` for so many seconds, or LeaseHeld while another's has not ended."""
    tried: list[Lease] = []  # what was written, but perhaps not kept

    def once() -> Lease:
        with writing(engine) as connection:
            lease = take(connection, name, holder, seconds, mine=tried)
            tried.append(lease)
            return lease

    return patience.outlast(once)


def take(
    connection: Connection, name: str, holder: str, seconds: float, mine: Sequence[Lease] = ()
) -> Lease:
    """The same as a part of a transaction; ``mine``: what this process has written before."""
    _ensure_row(connection, name)
    row = connection.execute(_BY_NAME, {"lease": name}).one()
    now = database_now(connection)
    if row.expires_at > now and not any(_is(row, lease) for lease in mine):
        raise _held(name, row)
    lease = Lease(
        name=name,
        holder=holder,
        token=row.token + 1,
        acquired_at=now,
        expires_at=now + timedelta(seconds=seconds),
    )
    _write(connection, lease)
    return lease


def renew(engine: Engine, lease: Lease, seconds: float) -> Lease:
    """The same lease, until so many seconds from now; allowed as long as nobody took it over."""
    with writing(engine) as connection:
        fence(connection, lease)
        end = database_now(connection) + timedelta(seconds=seconds)
        renewed = replace(lease, expires_at=end)
        _write(connection, renewed)
        return renewed


def release(engine: Engine, lease: Lease) -> None:
    """Give the lease back; one that another has taken over is theirs and stays as it is."""
    with writing(engine) as connection:
        give_up(connection, lease)


def give_up(connection: Connection, lease: Lease) -> None:
    """The same as a part of a transaction."""
    # The token rises here already: its old holder writes nothing more.
    connection.execute(
        update(_LEASES)
        .where(_LEASES.c.name == lease.name, _LEASES.c.token == lease.token)
        .values(token=lease.token + 1, expires_at=database_now(connection))
    )


def fence(connection: Connection, lease: Lease) -> None:
    """Refuse what a lease that was lost wants to write, in the transaction that writes it."""
    # The row stays locked to the end of the transaction: a takeover waits until it is over.
    token = connection.execute(_TOKEN, {"lease": lease.name}).scalar()
    if token != lease.token:
        row = connection.execute(_BY_NAME, {"lease": lease.name}).one_or_none()
        raise LeaseLost(
            f"{lease.holder} has lost its lease on {lease.name!r} (token {lease.token}): "
            f"{_fate(row, lease)}; nothing was written, and this process must stop"
        )


def _is(row: Row[Any], lease: Lease) -> bool:
    written = (lease.token, lease.holder, lease.acquired_at)
    return (row.token, row.holder, row.acquired_at) == written


def _held(name: str, row: Row[Any]) -> LeaseHeld:
    return LeaseHeld(
        f"{name!r} is worked on by {row.holder} since {_said(row.acquired_at)}, its lease "
        f"lasts until {_said(row.expires_at)}; stop that process, or wait for the end"
    )


def _fate(row: Row[Any] | None, lease: Lease) -> str:
    if row is None:
        return "there is no such lease any more"
    if row.holder == lease.holder:
        return "it was given back or taken anew"
    return f"{row.holder} took it over {_said(row.acquired_at)} (token {row.token})"


def _ensure_row(connection: Connection, name: str) -> None:
    """Something to lock: of two processes that come first at once, one waits for the other."""
    never = datetime.fromtimestamp(0, UTC)
    row = {"name": name, "holder": "", "token": 0, "acquired_at": never, "expires_at": never}
    put_if_absent(connection, _LEASES, row)


def _write(connection: Connection, lease: Lease) -> None:
    connection.execute(
        update(_LEASES)
        .where(_LEASES.c.name == lease.name)
        .values(
            holder=lease.holder,
            token=lease.token,
            acquired_at=lease.acquired_at,
            expires_at=lease.expires_at,
        )
    )


def _said(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%d %H:%M:%S UTC")
