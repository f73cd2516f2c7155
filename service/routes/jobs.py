"""Jobs: submit, look at, change, pause, resume, stop, cancel, archive."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Header, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue, WithJsonSchema
from sqlalchemy import Connection, exists, or_, select

from service import jobs, submission
from service.callers import Caller, visible
from service.database import reading, writing
from service.errors import Fault, Problem, not_found
from service.job import SEARCH
from service.job_schema import job_schema, recipe_job_schema
from service.jobs import JOBS, LABELS, StoredJob
from service.routes._deps import ServiceDep, Submitter, Viewer
from service.routes._headers import names_version
from service.routes._if_match import IfMatch, etag_of, version_read
from service.routes._job_summary import Summary
from service.routes._newest import cut, newest_first, place_of
from service.routes._pages import Cursor, Limit, Page
from service.routes._preview import Preview, preview_of
from service.routes.problems import responses
from service.submission import Asked

router = APIRouter(prefix="/jobs", tags=["jobs"])

EXAMPLE_SPEC: dict[str, JsonValue] = {
    "name": "ostrack under 8 ms",
    "teacher": "ostrack-synthetic",
    "costs": ["macs_frame"],
    "limits": ["step_ms.onnx_runtime<=8"],
    "budget": {"trials": 40},
}
EXAMPLE_LONGER: dict[str, JsonValue] = {
    "name": "ostrack under 8 ms, trial 12 longer",
    "teacher": "ostrack-synthetic",
    "first": ["ostrack-under-8-ms-3f9c0a17be/12"],
    "steps": 400,
    "early_stopping": "none",
    "budget": {"trials": 1, "asked": 1},
}
EXAMPLE_TUNING: dict[str, JsonValue] = {
    "name": "a recipe for trial 12",
    "of": "ostrack-under-8-ms-3f9c0a17be/12",
    "trials": 12,
}
Kind = Literal["search", "tune_recipe"]
JobId = Annotated[str, Path(max_length=80, examples=["ostrack-under-8-ms-3f9c0a17be"])]
Label = Annotated[str, Field(min_length=1, max_length=100)]
State = Literal[
    "QUEUED", "RUNNING", "PAUSING", "PAUSED", "STOPPING", "CANCELLING", "SUCCEEDED", "FAILED",
    "CANCELLED", "HELD",
]  # fmt: skip


class JobCreate(BaseModel):
    """A job to be queued. Of a search, ``spec`` is the document that ``paretrack search`` reads; of
    the tuning of a recipe, what docs/recipes.md describes."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"spec": EXAMPLE_SPEC, "labels": ["release-3"], "priority": 0},
                {"spec": EXAMPLE_LONGER},
                {"kind": "tune_recipe", "spec": EXAMPLE_TUNING},
            ]
        },
    )
    kind: Kind = "search"
    spec: Annotated[
        dict[str, JsonValue], WithJsonSchema({"anyOf": [job_schema(), recipe_job_schema()]})
    ]
    labels: list[Label] = Field([], max_length=20)
    priority: int = Field(
        0, strict=True, ge=-100, le=100, description="10 are worth an hour of waiting."
    )


class JobUpdate(BaseModel):
    """Other words about a job; what is left out stays."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"labels": ["kept"], "priority": 5}]}
    )
    name: str | None = Field(None, min_length=1, max_length=200)
    labels: list[Label] | None = Field(None, max_length=20)
    priority: int | None = Field(None, strict=True, ge=-100, le=100)


class Reason(BaseModel):
    """Why something is done, for the audit."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"why": "the device is needed"}]}
    )
    why: str = Field("", max_length=500)


class JobPublic(BaseModel):
    """A job as it is now."""

    id: str
    kind: Kind
    name: str
    owner: str
    project: str | None
    tracker: str = Field(description="The family of its teacher.")
    labels: list[str]
    priority: int
    state: State
    reason: str = Field(description="Why it is in this state.")
    spec: dict[str, JsonValue]
    summary: Summary
    version: int = Field(description="Also in the ETag; send it as If-Match to change the job.")
    events: int = Field(description="The number of its last event.")
    attempts: int
    created_at: datetime
    queued_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    archived_at: datetime | None
    schedule_id: str | None
    links: dict[str, str]


def public(job: StoredJob, request: Request) -> JobPublic:
    """A job as it is shown."""
    base = request.app.url_path_for("read_job", job_id=job.id)
    of_search = ("trials", "front", "hypervolume", "events")
    nouns = of_search if job.kind == SEARCH else ("recipe", "events")
    links = {"self": str(base), **{noun: f"{base}/{noun}" for noun in nouns}}
    known = {name: getattr(job, name) for name in JobPublic.model_fields if name != "links"}
    known["labels"] = list(job.labels)
    return JobPublic(**known, links=links)


def etag(job: StoredJob) -> str:
    return etag_of(job.version)


def seen_job(connection: Connection, caller: Caller, job_id: str) -> StoredJob:
    """A job that this caller may see."""
    job = jobs.find(connection, job_id)
    if job is None or not caller.may_see(job.owner, job.project):
        raise not_found("job", job_id)
    return job


def seen_search(connection: Connection, caller: Caller, job_id: str) -> StoredJob:
    """The same; it must be a search, which alone has trials and a front."""
    job = seen_job(connection, caller, job_id)
    if job.kind != SEARCH:
        raise Problem(
            "not_found",
            f"job {job_id} tunes a recipe: it has no trials of a search and no front; what it has "
            "found is at its /recipe",
        )
    return job


# --- making ------------------------------------------------------------------------------------


@router.post(
    "",
    status_code=202,
    response_model=JobPublic,
    responses={
        200: {"model": JobPublic, "description": "The job that this key has made before"},
        **responses("in_flight", "other_body", "unsupported_media_type", "unreachable_limit"),
    },
)
def submit_job(
    body: JobCreate,
    request: Request,
    response: Response,
    service: ServiceDep,
    caller: Submitter,
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=255, description="Said again, it is the same job."),
    ] = None,
) -> JobPublic:
    """Queue a search, or the tuning of a recipe. Everything that can be checked without training is
    checked first."""
    asked = Asked(spec=body.spec, kind=body.kind, labels=tuple(body.labels), priority=body.priority)
    done = submission.submit(
        service.engine, service.settings, service.beside, caller, asked, idempotency_key
    )
    shown = public(done.job, request)
    response.status_code = 202 if done.is_new else 200
    response.headers["Location"] = shown.links["self"]
    response.headers["ETag"] = etag(done.job)
    return shown


@router.post("/preview", response_model=Preview, responses=responses("unreachable_limit"))
def preview_job(body: JobCreate, service: ServiceDep, caller: Viewer) -> Preview:
    """What the search would meet: the size of its space, what costs it can reach, whether its
    limits can be held. Nothing is queued."""
    if body.kind != SEARCH:
        detail = "kind: only a search has a preview; whatever can be checked of a tuning before it "
        detail += "is queued is checked when it is submitted"
        raise Problem("invalid", detail, [Fault(detail, pointer="/kind")])
    found = submission.checked(service.engine, service.settings, service.beside, caller, body.spec)
    return preview_of(service.engine, caller, found)


# --- looking -----------------------------------------------------------------------------------


@router.get("", response_model=Page[JobPublic])
def list_jobs(
    request: Request,
    service: ServiceDep,
    caller: Viewer,
    state: Annotated[list[State] | None, Query(description="One of these.")] = None,
    kind: Kind | None = None,
    tracker: Annotated[str | None, Query(max_length=64)] = None,
    label: Annotated[list[Label] | None, Query(description="All of these.")] = None,
    text: Annotated[str | None, Query(max_length=200, description="In its name or id.")] = None,
    owner: Annotated[str | None, Query(max_length=200)] = None,
    schedule: Annotated[str | None, Query(max_length=32)] = None,
    archived: bool = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[JobPublic]:
    """Jobs, the newest first."""
    query = select(JOBS).where(visible(caller, JOBS.c))
    exactly = {"kind": kind, "tracker": tracker, "owner": owner, "schedule_id": schedule}
    for column, wanted in exactly.items():
        if wanted is not None:
            query = query.where(JOBS.c[column] == wanted)
    if state:
        query = query.where(JOBS.c.state.in_(state))
    if text:
        query = query.where(
            or_(
                JOBS.c.name.icontains(text, autoescape=True),
                JOBS.c.id.icontains(text, autoescape=True),
            )
        )
    for each in label or []:
        with_it = (LABELS.c.job_id == JOBS.c.id) & (LABELS.c.label == each)
        query = query.where(exists().where(with_it))
    if not archived:
        query = query.where(JOBS.c.archived_at.is_(None))
    with reading(service.engine) as connection:
        rows = connection.execute(newest_first(query, JOBS, place_of(cursor), limit)).all()
        found, following = cut(jobs.stored(rows, connection), limit)
    return Page(items=[public(job, request) for job in found], next=following)


@router.get(
    "/{job_id}",
    response_model=JobPublic,
    responses={304: {"description": "It is as it was."}},
)
def read_job(
    job_id: JobId,
    request: Request,
    response: Response,
    service: ServiceDep,
    caller: Viewer,
    if_none_match: Annotated[str | None, Header(max_length=1000)] = None,
) -> Any:
    """One job, with what it has come to so far."""
    with reading(service.engine) as connection:
        job = seen_job(connection, caller, job_id)
    if names_version(if_none_match, etag(job)):
        return Response(status_code=304, headers={"ETag": etag(job)})
    response.headers["ETag"] = etag(job)
    return public(job, request)


# --- changing ----------------------------------------------------------------------------------


@router.patch(
    "/{job_id}",
    response_model=JobPublic,
    responses=responses("changed_meanwhile", "precondition_required"),
)
def edit_job(
    job_id: JobId,
    body: JobUpdate,
    request: Request,
    response: Response,
    service: ServiceDep,
    caller: Submitter,
    if_match: IfMatch = None,
) -> JobPublic:
    """Another name, other labels, another priority."""
    version = version_read(if_match)
    with writing(service.engine) as connection:
        seen_job(connection, caller, job_id)
        job = jobs.edit(
            connection,
            job_id,
            caller.who,
            version=version,
            name=body.name,
            labels=body.labels,
            priority=body.priority,
        )
    response.headers["ETag"] = etag(job)
    return public(job, request)


def _done(
    verb: str, job_id: str, body: Reason | None, request: Request, service: Any, caller: Caller
) -> JobPublic:
    why = "" if body is None else body.why
    with writing(service.engine) as connection:
        seen_job(connection, caller, job_id)
        said = why or f"{verb} asked by {caller.who}"
        job = jobs.change(connection, job_id, verb, caller.who, said)
    return public(job, request)


Why = Annotated[Reason | None, Body()]
_VERB: Mapping[str, Any] = {"response_model": JobPublic, "responses": responses("conflict")}


@router.post("/{job_id}/pause", **_VERB)
def pause_job(
    job_id: JobId, request: Request, service: ServiceDep, caller: Submitter, body: Why = None
) -> JobPublic:
    """Begin nothing new; what runs may finish. It can be resumed."""
    return _done("pause", job_id, body, request, service, caller)


@router.post("/{job_id}/resume", **_VERB)
def resume_job(
    job_id: JobId, request: Request, service: ServiceDep, caller: Submitter, body: Why = None
) -> JobPublic:
    """Go on with a paused or a held job."""
    return _done("resume", job_id, body, request, service, caller)


@router.post("/{job_id}/stop", **_VERB)
def stop_job(
    job_id: JobId, request: Request, service: ServiceDep, caller: Submitter, body: Why = None
) -> JobPublic:
    """Begin nothing new; the job ends well when what runs has finished."""
    return _done("stop", job_id, body, request, service, caller)


@router.post("/{job_id}/cancel", **_VERB)
def cancel_job(
    job_id: JobId, request: Request, service: ServiceDep, caller: Submitter, body: Why = None
) -> JobPublic:
    """End the job and what runs for it, now."""
    return _done("cancel", job_id, body, request, service, caller)


@router.delete("/{job_id}", response_model=JobPublic, responses=responses("conflict"))
def archive_job(
    job_id: JobId, request: Request, service: ServiceDep, caller: Submitter
) -> JobPublic:
    """Out of the list. Nothing is deleted: ?archived=true still finds it."""
    with writing(service.engine) as connection:
        seen_job(connection, caller, job_id)
        job = jobs.archive(connection, job_id, caller.who)
    return public(job, request)
