"""Owners: how many of their jobs may run, and what share of the workers they get."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from service import owners
from service.database import reading, writing
from service.owners import Owner
from service.routes._deps import Operator, ServiceDep
from service.routes._pages import Cursor, Limit, Page, from_cursor, to_cursor

router = APIRouter(prefix="/owners", tags=["owners"])

OwnerName = Annotated[str, Path(min_length=1, max_length=200, examples=["ada"])]


class OwnerUpdate(BaseModel):
    """What is left out stays."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"most_running": 2, "weight": 2.0, "why": "the release is near"}]
        },
    )
    most_running: int | None = Field(
        None, strict=True, ge=0, le=10_000, description="Of their jobs at once; null: no limit."
    )
    weight: float = Field(
        1.0,
        strict=True,
        ge=0.01,
        le=100,
        description="Of their jobs, where several share the workers.",
    )
    why: str = Field("", max_length=500, description="For the audit.")


class OwnerPublic(BaseModel):
    """Somebody who has, or had, jobs."""

    name: str
    most_running: int | None
    weight: float
    waiting: int = Field(description="Jobs in the queue.")
    running: int = Field(description="Jobs that are worked on.")
    created_at: datetime


def public(owner: Owner) -> OwnerPublic:
    """An owner as they are shown."""
    return OwnerPublic(**vars(owner))


@router.get("", response_model=Page[OwnerPublic])
def list_owners(
    service: ServiceDep, caller: Operator, limit: Limit = 50, cursor: Cursor = None
) -> Page[OwnerPublic]:
    """Owners by name."""
    after = None if cursor is None else from_cursor(cursor, str)[0]
    with reading(service.engine) as connection:
        found = owners.list_owners(connection, after, limit + 1)
    following = to_cursor(found[limit - 1].name) if len(found) > limit else None
    return Page(items=[public(owner) for owner in found[:limit]], next=following)


@router.patch("/{name:path}", response_model=OwnerPublic)
def edit_owner(
    name: OwnerName, body: OwnerUpdate, service: ServiceDep, caller: Operator
) -> OwnerPublic:
    """Set how much may be theirs; also before their first job. It counts from the next claim."""
    changed = body.model_dump(include={"most_running", "weight"} & body.model_fields_set)
    with writing(service.engine) as connection:
        return public(owners.set_share(connection, name, changed, caller.who, body.why))
