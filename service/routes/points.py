"""Trials as points: what a plot of a whole search is drawn from, and kept up to date with."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, Field

from service.database import reading
from service.routes._deps import ServiceDep, Viewer
from service.routes._headers import names_version
from service.routes.fronts import BoundPublic, MetricPublic
from service.routes.jobs import JobId, State, seen_search
from service.trial_points import as_document, read_points

router = APIRouter(prefix="/jobs/{job_id}/points", tags=["fronts"])

_HIGHEST = 2**31 - 1  # number of an event that a database can hold
_X = Query(max_length=80, description="A metric; without it the job's first cost.")
_Y = Query(max_length=80, description="A metric; without it the job's accuracy.")


class ColumnsPublic(BaseModel):
    """Trials by number, one list for each thing that is said of them."""

    number: list[int]
    state: list[int] = Field(description="Its place in `states`.")
    feasible: list[int] = Field(description="1, or 0: it breaks a hard limit.")
    x: list[float | None] = Field(description="null: not measured, or not yet.")
    y: list[float | None]


class FrontColumnsPublic(BaseModel):
    """The trials that no other dominates over x and y, the whole front each time."""

    number: list[int]
    x: list[float]
    y: list[float]
    x_low: list[float | None] = Field(
        description="Between what the figure lies, where that is known: 95 % confidence of an "
        "accuracy, 10th and 90th percentile of a latency."
    )
    x_high: list[float | None]
    y_low: list[float | None]
    y_high: list[float | None]
    flag: list[str] = Field(description="What about it deserves a second look; or empty.")
    has_tracker: list[int]


class PointsPublic(BaseModel):
    """Trials over two metrics, and what they are drawn with."""

    job: str
    name: str
    state: State
    events: int = Field(description="Of the job, when it was read: the next `since`.")
    since: int | None = Field(
        description="These are the trials that events after this one tell of. null: these are all "
        "trials, also where `since` was asked for; forget what was read before."
    )
    metrics: list[MetricPublic] = Field(
        description="Which these trials were measured for, and the job's objectives."
    )
    objectives: list[str] = Field(description="Of the job, accuracy first.")
    x: MetricPublic
    y: MetricPublic
    states: list[str]
    trials: ColumnsPublic
    front: FrontColumnsPublic
    knee: int | None = Field(description="The trial after which more cost stops paying off.")
    limits: list[BoundPublic] = Field(description="Those on x and on y.")
    teacher: dict[str, float] = Field(description="Its x and y; empty before it is measured.")
    reference: dict[str, float] = Field(description="Where hypervolume is counted from.")


@router.get(
    "",
    response_model=PointsPublic,
    responses={304: {"description": "Nothing has happened to the job since."}},
)
def read_job_points(
    job_id: JobId,
    service: ServiceDep,
    caller: Viewer,
    x: Annotated[str | None, _X] = None,
    y: Annotated[str | None, _Y] = None,
    since: Annotated[
        int | None,
        Query(ge=0, le=_HIGHEST, description="`events` of an earlier answer over the same axes."),
    ] = None,
    if_none_match: Annotated[str | None, Header(max_length=1000)] = None,
) -> Any:
    """All trials of a search as points over any two metrics; with `since`, what has changed."""
    with reading(service.engine) as connection:
        job = seen_search(connection, caller, job_id)
        # Weak: it stands for the same answer in any coding.
        headers = {"ETag": f'W/"{job.events}"', "Cache-Control": "private, no-cache"}
        if names_version(if_none_match, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        found = read_points(connection, service.of_trials, job, x or None, y or None, since)
    text = json.dumps(as_document(found), separators=(",", ":"), allow_nan=False)
    return Response(text, media_type="application/json", headers=headers)
