"""Who did what to what, and why: a row in the same transaction as the deed, never changed again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Connection, Engine, Select, Table, insert, select

from service.database import database_now, reading
from service.logs import redacted, without_secrets
from service.tables import AuditRow

_AUDIT = cast(Table, AuditRow.__table__)
_WIDEST = 200  # characters of ``who`` and ``subject`` that the table holds


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the audit."""

    id: int
    at: datetime
    who: str
    action: str
    subject: str
    why: str
    detail: Mapping[str, Any]


def record(
    connection: Connection, who: str, action: str, subject: str, why: str = "", **detail: Any
) -> None:
    """Kept if and only if the transaction is that it is a part of. What looks secret is not."""
    row = {
        "at": database_now(connection),
        "who": _fitting(who),
        "action": action,
        "subject": _fitting(subject),
        "why": redacted(why),
        "detail_json": json.dumps(without_secrets(detail), sort_keys=True),
    }
    connection.execute(insert(_AUDIT), row)


def read(engine: Engine, subject: str | None, after: int = 0, limit: int = 100) -> list[Entry]:
    """What was done to a subject (None: to anything), oldest first, behind the entry ``after``."""
    query = select(_AUDIT).where(_AUDIT.c.id > after).order_by(_AUDIT.c.id)
    return _entries(engine, query, subject, limit)


def read_newest(
    engine: Engine, subject: str | None, before: int | None = None, limit: int = 100
) -> list[Entry]:
    """The same from the other end: newest first, older than the entry ``before``."""
    query = select(_AUDIT).order_by(_AUDIT.c.id.desc())
    if before is not None:
        query = query.where(_AUDIT.c.id < before)
    return _entries(engine, query, subject, limit)


def _entries(engine: Engine, query: Select[Any], subject: str | None, limit: int) -> list[Entry]:
    query = query.limit(limit)
    if subject is not None:
        query = query.where(_AUDIT.c.subject == _fitting(subject))
    with reading(engine) as connection:
        rows = connection.execute(query).all()
    return [
        Entry(
            id=row.id,
            at=row.at,
            who=row.who,
            action=row.action,
            subject=row.subject,
            why=row.why,
            detail=json.loads(row.detail_json),
        )
        for row in rows
    ]


def _fitting(name: str) -> str:
    return name if len(name) <= _WIDEST else name[: _WIDEST - 1] + "…"
