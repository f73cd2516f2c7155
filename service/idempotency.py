"""A request that is said again is answered once: keys of callers, and what they have made.

A key is taken before the work on its request begins, and names the job in the transaction that
makes it. Who dies in between leaves a key that another may take after a while; should the first
not be dead but slow, its job is not made: a key belongs to whoever has taken it last.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Connection, Engine, Table, delete, select, update

from service._upserts import put_if_absent
from service.callers import Caller
from service.database import database_now, writing
from service.errors import Fault, Problem
from service.tables import IdempotencyRow

KEPT_HOURS = 24  # after which a key may be used for something else
FLYING_SECONDS = 20  # after which a request that was not answered may be made by another

_KEYS = cast(Table, IdempotencyRow.__table__)


@dataclass(frozen=True)
class Taken:
    """A key that is this request's."""

    owner: str
    key: str
    at: datetime

    @property
    def row(self) -> Any:
        """As long as nobody else has taken it."""
        of_it = (_KEYS.c.owner == self.owner) & (_KEYS.c.key == self.key)
        return of_it & _KEYS.c.job_id.is_(None) & (_KEYS.c.created_at == self.at)


def take(engine: Engine, caller: Caller, key: str, request: Mapping[str, Any]) -> Taken | str:
    """The key, for this request; or the id of the job that the same request has made already."""
    digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
    of_it = (_KEYS.c.owner == caller.owner) & (_KEYS.c.key == key)
    with writing(engine) as connection:
        now = database_now(connection)
        _forget(connection, now)
        row = {"owner": caller.owner, "key": key, "body_sha256": digest, "job_id": None}
        put_if_absent(connection, _KEYS, {**row, "created_at": now})
        stored = connection.execute(select(_KEYS).where(of_it)).one()
    if stored.body_sha256 != digest:
        raise Problem(
            "other_body",
            "this Idempotency-Key was used for another request; take a new key for a new job",
            [Fault("used for another request", parameter="Idempotency-Key")],
        )
    if stored.job_id is not None:
        return str(stored.job_id)
    if stored.created_at != now:
        raise _in_flight()
    return Taken(caller.owner, key, now)


def made(connection: Connection, taken: Taken, job_id: str) -> None:
    """The key names the job, in the transaction that makes the job; or none is made."""
    named = connection.execute(update(_KEYS).where(taken.row).values(job_id=job_id))
    if named.rowcount != 1:
        raise _in_flight()


def free(engine: Engine, taken: Taken) -> None:
    """A request that was refused may be mended and made again with the same key."""
    with writing(engine) as connection:
        connection.execute(delete(_KEYS).where(taken.row))


def _forget(connection: Connection, now: datetime) -> None:
    old = _KEYS.c.created_at < now - timedelta(hours=KEPT_HOURS)
    never = _KEYS.c.job_id.is_(None) & (
        _KEYS.c.created_at < now - timedelta(seconds=FLYING_SECONDS)
    )
    connection.execute(delete(_KEYS).where(old | never))


def _in_flight() -> Problem:
    return Problem(
        "in_flight",
        "the same request is being worked on; ask again in a moment",
        headers={"Retry-After": "2"},
    )
