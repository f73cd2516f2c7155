"""Lists that show the newest first, page by page: by ``created_at``, then ``id``."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from sqlalchemy import Select, Table, and_, or_

from service.errors import Fault, Problem
from service.routes._pages import from_cursor, to_cursor


class _Dated(Protocol):
    @property
    def created_at(self) -> datetime: ...

    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=_Dated)
Place = tuple[datetime, str]


def place_of(cursor: str | None) -> Place | None:
    """Behind what the page begins; None: at the beginning."""
    if cursor is None:
        return None
    at, row_id = from_cursor(cursor, str, str)
    try:
        then = datetime.fromisoformat(at)
    except ValueError:
        then = None
    if then is None or then.tzinfo is None or not 1 < then.year < 9999:
        detail = "cursor: not one that this list has handed out; begin without one"
        raise Problem("invalid", detail, [Fault(detail, parameter="cursor")])
    return then, row_id


def newest_first(query: Select[Any], table: Table, place: Place | None, limit: int) -> Select[Any]:
    """One more than the page has, so that one sees whether there is another."""
    if place is not None:
        then, row_id = place
        at = table.c.created_at
        query = query.where(or_(at < then, and_(at == then, table.c.id < row_id)))
    return query.order_by(table.c.created_at.desc(), table.c.id.desc()).limit(limit + 1)


def cut(found: Sequence[T], limit: int) -> tuple[Sequence[T], str | None]:
    """The page, and the cursor of the next one if there is one."""
    if len(found) <= limit:
        return found, None
    last = found[limit - 1]
    return found[:limit], to_cursor(last.created_at.isoformat(), last.id)
