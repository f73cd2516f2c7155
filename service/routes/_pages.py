"""Pages of a list: a cursor is where the next one begins, and nothing that a client should read."""

import base64
import binascii
import json
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field

from service.errors import Fault, Problem
from service.json_text import storable_text

T = TypeVar("T")
MOST = 500  # of one page

Limit = Annotated[int, Query(ge=1, le=MOST, description="How many at most.")]
Cursor = Annotated[
    str | None,
    Query(max_length=1000, description="Where to go on: `next` of the page before."),
]


class Page(BaseModel, Generic[T]):
    """Some of a list, in its order."""

    items: list[T]
    next: str | None = Field(description="The cursor of the next page; null: this is the last.")


def to_cursor(*place: Any) -> str:
    """Text that stands for a place in a list."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def from_cursor(cursor: str, *kinds: type) -> list[Any]:
    """The place again, or a problem if nobody ever handed this cursor out."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        place = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        place = None
    fits = isinstance(place, list) and len(place) == len(kinds)
    if not fits or not all(map(_fits, place or [], kinds)):
        detail = "cursor: not one that this list has handed out; begin without one"
        raise Problem("invalid", detail, [Fault(detail, parameter="cursor")])
    return list(place or [])


def _fits(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and (not isinstance(value, str) or storable_text(value))
