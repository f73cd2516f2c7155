"""The audit: who did what, and why."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, JsonValue

from service import audit
from service.errors import Fault, Problem
from service.routes._deps import Operator, ServiceDep
from service.routes._pages import Cursor, Limit, Page, from_cursor, to_cursor

router = APIRouter(prefix="/audit", tags=["audit"])

_HIGHEST = 2**63 - 1


class EntryPublic(BaseModel):
    """One line of the audit."""

    id: int
    at: datetime
    who: str
    action: str = Field(examples=["job cancel", "token create"])
    subject: str = Field(examples=["job ostrack-under-8-ms-3f9c0a17be"])
    why: str
    detail: dict[str, JsonValue]


@router.get("", response_model=Page[EntryPublic])
def list_audit(
    service: ServiceDep,
    caller: Operator,
    subject: Annotated[
        str | None,
        Query(
            max_length=200, description="Only of this, as in `job ostrack-under-8-ms-3f9c0a17be`"
        ),
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[EntryPublic]:
    """Everything that was done, the newest first. Nothing of it is ever changed."""
    before = None if cursor is None else _before(cursor)
    found = audit.read_newest(service.engine, subject, before, limit + 1)
    following = to_cursor(found[limit - 1].id) if len(found) > limit else None
    return Page(items=[EntryPublic(**vars(entry)) for entry in found[:limit]], next=following)


def _before(cursor: str) -> int:
    number = from_cursor(cursor, int)[0]
    if not 0 <= number <= _HIGHEST:
        detail = "cursor: not one that this list has handed out; begin without one"
        raise Problem("invalid", detail, [Fault(detail, parameter="cursor")])
    return int(number)
