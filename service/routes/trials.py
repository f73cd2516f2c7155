"""Trials of a job: all of them page by page or as a table, or one with all there is of it."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from math import isnan
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field, JsonValue

from service.database import reading
from service.errors import Fault, Problem, not_found
from service.routes._deps import ServiceDep, Viewer
from service.routes._headers import negotiated
from service.routes._pages import Cursor, Limit, Page, from_cursor, to_cursor
from service.routes.jobs import JobId, seen_search
from service.routes.problems import responses
from service.trial_csv import csv_lines
from service.trial_reading import Place, TrialLine, Which, about, order_from_text, page, read_trial

router = APIRouter(prefix="/jobs/{job_id}/trials", tags=["trials"])

JSON, CSV = "application/json", "text/csv"
_HIGHEST = 2**31 - 1  # number of a trial that a database can hold
TrialNumber = Annotated[int, Path(ge=0, le=_HIGHEST, examples=[17])]
TrialState = Literal["RUNNING", "COMPLETE", "INFEASIBLE", "STOPPED", "FAILED"]


class TrialPublic(BaseModel):
    """A trial as far as it has come."""

    number: int
    state: TrialState
    feasible: bool = Field(description="It breaks no hard limit that it was measured for.")
    on_front: bool
    figures: dict[str, float] = Field(description="By metric; objectives once it is complete.")
    ranges: dict[str, tuple[float, float]] = Field(
        description="Between what figures lie, where that is known: 95 % confidence of an "
        "accuracy, 10th and 90th percentile of a latency."
    )
    params: dict[str, JsonValue] = Field(description="The levers of the search.")
    hypervolume: float | None = Field(description="Of the front after it had ended, as a share.")
    moved: bool = Field(description="It moved the front when it ended.")
    began_at: datetime
    ended_at: datetime | None
    rung: int | None = Field(description="The highest that it has reached.")
    reason: str = Field(description="Why it is in this state.")
    flag: str = Field(description="What about it deserves a second look; or empty.")
    digest: str = Field(description="Of its candidate: the same one has the same.")
    has_tracker: bool


class DecisionPublic(BaseModel):
    """What was decided at a rung, and from what."""

    rung: int
    steps: int
    values: dict[str, float]
    verdict: str
    note: str
    decided_at: datetime


class FilePublic(BaseModel):
    """A file of its tracker."""

    name: str
    bytes: int


class WholeTrialPublic(TrialPublic):
    """All there is of a trial."""

    architecture: dict[str, JsonValue] | None = Field(
        description="null: it was given up before anything was measured that is kept."
    )
    measurement: dict[str, JsonValue] | None = Field(
        description="What the figures are read from, gate by gate."
    )
    decisions: list[DecisionPublic] = Field(description="By rung.")
    files: list[FilePublic] = Field(description="None if another machine has them.")


def _words(trial: TrialLine) -> dict[str, Any]:
    words = dict(vars(trial))
    return {**words, "has_tracker": bool(words.pop("tracker"))}


_EITHER: Mapping[int | str, dict[str, Any]] = {
    200: {
        "description": "A page of them (JSON), or all of them (CSV)",
        "content": {
            CSV: {
                "schema": {"type": "string"},
                "example": "number,state,feasible,on_front,average_overlap,macs_frame,...\r\n",
            }
        },
    }
}


@router.get(
    "",
    response_model=Page[TrialPublic],
    responses={**_EITHER, **responses("not_acceptable")},
)
def list_trials(
    job_id: JobId,
    service: ServiceDep,
    caller: Viewer,
    state: Annotated[list[TrialState] | None, Query(description="One of these.")] = None,
    feasible: Annotated[
        bool | None, Query(description="Whether it breaks no hard limit, as far as is known.")
    ] = None,
    on_front: bool | None = None,
    sort: Annotated[
        str,
        Query(
            max_length=80,
            description="`number` or one of the job's objectives; with `-` before it, the highest "
            "first. Trials that have no value of the objective come last.",
            examples=["-average_overlap"],
        ),
    ] = "number",
    limit: Limit = 50,
    cursor: Cursor = None,
    accept: Annotated[str | None, Header(max_length=1000)] = None,
) -> Any:
    """Trials of a job. With `Accept: text/csv` all that match, as one table; limit and cursor say
    nothing then."""
    which = Which(states=state or (), feasible=feasible, on_front=on_front)
    kind = negotiated(accept, (JSON, CSV))
    after = None if cursor is None else _place(cursor, sort)
    with reading(service.engine) as connection:
        job = seen_search(connection, caller, job_id)
        objectives = about(connection, job).objectives
        order = order_from_text(sort, objectives)
        if kind == JSON:
            found = page(connection, job_id, which, order, after, limit + 1)
    if kind == CSV:
        return StreamingResponse(
            csv_lines(service.engine, job_id, objectives, which, order),
            media_type="text/csv; charset=utf-8; header=present",
            headers={"Content-Disposition": f'attachment; filename="{job_id}.csv"'},
        )
    last = None
    if len(found) > limit:
        found = found[:limit]
        last = to_cursor(sort, *order.place(found[-1], objectives))
    return Page(items=[TrialPublic.model_construct(**_words(t)) for t in found], next=last)


def _place(cursor: str, sort: str) -> Place:
    sorted_by, value, number = from_cursor(cursor, str, object, int)
    is_value = value is None or (isinstance(value, float) and not isnan(value))
    if sorted_by != sort or not is_value or not -1 <= number <= _HIGHEST:
        detail = f"cursor: not one that this list, sorted by {sort[:80]}, has handed out"
        raise Problem("invalid", detail, [Fault(detail, parameter="cursor")])
    return value, number


@router.get("/{number}", response_model=WholeTrialPublic)
def show_trial(
    job_id: JobId, number: TrialNumber, service: ServiceDep, caller: Viewer
) -> WholeTrialPublic:
    """One trial with all there is: architecture, parameters, measurement, decisions, files."""
    with reading(service.engine) as connection:
        seen_search(connection, caller, job_id)
        found = read_trial(connection, job_id, number)
    if found is None:
        raise not_found("trial", str(number))
    rest = {name: value for name, value in asdict(found).items() if name != "line"}
    return WholeTrialPublic(**_words(found.line), **rest)
