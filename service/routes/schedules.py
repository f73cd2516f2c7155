"""Schedules: searches every night, or whenever a calendar says; what became of each tick."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from service import schedules
from service.calendar import Calendar, CalendarError, describe
from service.database import database_now, reading
from service.errors import Fault, Problem
from service.routes._deps import ServiceDep, Submitter, Viewer
from service.routes._if_match import IfMatch, etag_of, version_read
from service.routes._newest import cut, place_of
from service.routes._pages import Cursor, Limit, Page, from_cursor, to_cursor
from service.routes._schedule_models import (
    CalendarPublic,
    ComingPublic,
    JobAsked,
    PreviewAsked,
    PreviewPublic,
    ScheduleCreate,
    SchedulePublic,
    ScheduleUpdate,
    TickJob,
    TickPublic,
)
from service.routes.jobs import JobCreate, Reason
from service.routes.problems import responses
from service.schedules import MOST_COMING, PastTick, Schedule, Terms, Tick

router = APIRouter(prefix="/schedules", tags=["schedules"])

ScheduleId = Annotated[str, Path(max_length=32, examples=["every-night-3f9c0a17be"])]
Count = Annotated[int, Query(ge=1, le=MOST_COMING, description="How many.")]


def public(schedule: Schedule, request: Request) -> SchedulePublic:
    """A schedule as it is shown."""
    terms, base = schedule.terms, str(_path(request, schedule.id))
    calendar = CalendarPublic(**vars(terms.calendar))
    same = SchedulePublic.model_fields.keys() & vars(schedule).keys()
    known = {name: getattr(schedule, name) for name in same}
    known |= {n: getattr(terms, n) for n in SchedulePublic.model_fields.keys() & vars(terms).keys()}
    known["calendar"] = calendar
    links = {"self": base, **{n: f"{base}/{n}" for n in ("ticks", "next")}}
    links["jobs"] = f"{request.app.url_path_for('list_jobs')}?schedule={schedule.id}"
    asked = JobAsked(spec=dict(terms.spec), labels=list(terms.labels), priority=terms.priority)
    return SchedulePublic(**known, words=describe(terms.calendar), job=asked, links=links)


def _path(request: Request, schedule_id: str) -> Any:
    return request.app.url_path_for("read_schedule", schedule_id=schedule_id)


def _calendar(asked: CalendarPublic) -> Calendar:
    try:
        return Calendar(**asked.model_dump())
    except CalendarError as error:
        field = str(error).partition(" ")[0]
        at = f"/calendar/{field if field in CalendarPublic.model_fields else 'timezone'}"
        raise Problem("invalid", str(error), [Fault(str(error), pointer=at)]) from error


def _terms(body: ScheduleCreate) -> Terms:
    plain = {"overlap", "catch_up_seconds", "jitter_seconds", "continues", "pause_after_failures"}
    return Terms(
        name=body.name,
        calendar=_calendar(body.calendar),
        **_job_terms(body.job),
        **body.model_dump(include=plain),
    )


def _job_terms(job: JobCreate) -> dict[str, Any]:
    return {"spec": job.spec, "labels": tuple(job.labels), "priority": job.priority}


# --- making and looking --------------------------------------------------------------------------


@router.post(
    "",
    status_code=201,
    response_model=SchedulePublic,
    responses=responses("unreachable_limit"),
)
def create_schedule(
    body: ScheduleCreate,
    request: Request,
    response: Response,
    service: ServiceDep,
    caller: Submitter,
) -> SchedulePublic:
    """Search by a calendar. The job is checked now, and not again at every tick."""
    made = schedules.create(service.engine, service.settings, service.beside, caller, _terms(body))
    shown = public(made, request)
    response.headers["Location"] = shown.links["self"]
    response.headers["ETag"] = etag_of(made.version)
    return shown


@router.post("/preview", response_model=PreviewPublic)
def preview_schedule(body: PreviewAsked, service: ServiceDep, caller: Viewer) -> PreviewPublic:
    """What a calendar means: in words, and its next ticks. Nothing is stored."""
    calendar = _calendar(body.calendar)
    with reading(service.engine) as connection:
        now = database_now(connection)
    found = schedules.coming(calendar, now, body.count)
    return PreviewPublic(
        words=describe(calendar), ticks=[ComingPublic(**vars(one)) for one in found]
    )


@router.get("", response_model=Page[SchedulePublic])
def list_schedules(
    request: Request,
    service: ServiceDep,
    caller: Viewer,
    text: Annotated[str | None, Query(max_length=200, description="In its name or id.")] = None,
    archived: bool = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[SchedulePublic]:
    """Schedules, the newest first."""
    after = place_of(cursor)
    with reading(service.engine) as connection:
        listed = schedules.list_schedules(
            connection, caller, text=text, archived=archived, after=after, limit=limit + 1
        )
    found, following = cut(listed, limit)
    return Page(items=[public(one, request) for one in found], next=following)


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None or not 1 < found.year < 9999:
        detail = "cursor: not one that this list has handed out; begin without one"
        raise Problem("invalid", detail, [Fault(detail, parameter="cursor")])
    return found


@router.get("/{schedule_id}", response_model=SchedulePublic)
def read_schedule(
    schedule_id: ScheduleId,
    request: Request,
    response: Response,
    service: ServiceDep,
    caller: Viewer,
) -> SchedulePublic:
    """One schedule."""
    with reading(service.engine) as connection:
        found = schedules.read(connection, caller, schedule_id)
    response.headers["ETag"] = etag_of(found.version)
    return public(found, request)


@router.get("/{schedule_id}/next", response_model=list[ComingPublic])
def next_ticks(
    schedule_id: ScheduleId, service: ServiceDep, caller: Viewer, n: Count = 10
) -> list[ComingPublic]:
    """Its next ticks; none of a schedule that is archived. A paused one skips them."""
    with reading(service.engine) as connection:
        found = schedules.read(connection, caller, schedule_id)
        now = database_now(connection)
    if found.archived_at is not None:
        return []
    begun = now - timedelta(seconds=found.terms.jitter_seconds)
    coming = schedules.coming(found.terms.calendar, max(found.decided_until, begun), n, found)
    return [ComingPublic(**vars(one)) for one in coming]


@router.get("/{schedule_id}/ticks", response_model=Page[TickPublic])
def list_ticks(
    schedule_id: ScheduleId,
    service: ServiceDep,
    caller: Viewer,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[TickPublic]:
    """What became of its ticks, the latest first."""
    before = None if cursor is None else _instant(from_cursor(cursor, str)[0])
    with reading(service.engine) as connection:
        schedule = schedules.read(connection, caller, schedule_id)
        found = schedules.history(connection, schedule_id, limit + 1, before=before)
    more, found = len(found) > limit, found[:limit]
    following = to_cursor(found[-1].tick.at.isoformat()) if more else None
    return Page(items=[_tick(schedule, one) for one in found], next=following)


def _tick(schedule: Schedule, past: PastTick) -> TickPublic:
    tick = past.tick
    job = None
    if tick.job_id is not None and past.job_name is not None and past.job_state is not None:
        job = TickJob(id=tick.job_id, name=past.job_name, state=past.job_state)
    same = ("at", "decision", "note", "by_hand", "decided_at", "report")
    local = schedules.on_the_wall(schedule.terms.calendar, tick.at)
    return TickPublic(job=job, local=local, **{name: getattr(tick, name) for name in same})


# --- changing ------------------------------------------------------------------------------------


@router.patch(
    "/{schedule_id}",
    response_model=SchedulePublic,
    responses=responses(
        "changed_meanwhile", "precondition_required", "conflict", "unreachable_limit"
    ),
)
def edit_schedule(
    schedule_id: ScheduleId,
    body: ScheduleUpdate,
    request: Request,
    response: Response,
    service: ServiceDep,
    caller: Submitter,
    if_match: IfMatch = None,
) -> SchedulePublic:
    """Other terms from now on; what was due already is decided by those before."""
    changed = schedules.edit(
        service.engine,
        service.settings,
        service.beside,
        caller,
        schedule_id,
        _changes(body),
        version_read(if_match),
    )
    response.headers["ETag"] = etag_of(changed.version)
    return public(changed, request)


def _changes(body: ScheduleUpdate) -> dict[str, Any]:
    """By the names of ``Terms``. Only ``pause_after_failures`` can be made null."""
    said: dict[str, Any] = {n: getattr(body, n) for n in body.model_fields_set}
    kept = {n: v for n, v in said.items() if v is not None or n == "pause_after_failures"}
    if body.calendar is not None:
        kept["calendar"] = _calendar(body.calendar)
    if kept.pop("job", None) is not None and body.job is not None:
        kept |= _job_terms(body.job)
    return kept


_VERB: Mapping[str, Any] = {"response_model": SchedulePublic, "responses": responses("conflict")}


@router.post("/{schedule_id}/pause", **_VERB)
def pause_schedule(
    schedule_id: ScheduleId,
    request: Request,
    service: ServiceDep,
    caller: Submitter,
    body: Reason | None = None,
) -> SchedulePublic:
    """Begin no job any more, until it is resumed; those that were begun go on."""
    why = "" if body is None else body.why
    return public(schedules.pause(service.engine, caller, schedule_id, why), request)


@router.post("/{schedule_id}/resume", **_VERB)
def resume_schedule(
    schedule_id: ScheduleId,
    request: Request,
    service: ServiceDep,
    caller: Submitter,
    body: Reason | None = None,
) -> SchedulePublic:
    """Begin jobs again, from the next tick on; failures count from none."""
    why = "" if body is None else body.why
    return public(schedules.resume(service.engine, caller, schedule_id, why), request)


@router.post(
    "/{schedule_id}/trigger",
    status_code=201,
    response_model=TickPublic,
    responses=responses("conflict"),
)
def trigger_schedule(
    schedule_id: ScheduleId,
    service: ServiceDep,
    caller: Submitter,
    body: Reason | None = None,
) -> TickPublic:
    """A job now, beside the calendar; also of a paused schedule. Refused where the job before has
    not ended and the schedule's policy is to skip then."""
    why = "" if body is None else body.why
    tick: Tick = schedules.trigger(service.engine, caller, schedule_id, why)
    with reading(service.engine) as connection:
        schedule = schedules.read(connection, caller, schedule_id)
        found = schedules.history(connection, schedule_id, 1, at=tick.at)
    return _tick(schedule, found[0])


@router.delete("/{schedule_id}", response_model=SchedulePublic)
def archive_schedule(
    schedule_id: ScheduleId, request: Request, service: ServiceDep, caller: Submitter
) -> SchedulePublic:
    """No more ticks, and out of the list. Its jobs and its history stay."""
    return public(schedules.archive(service.engine, caller, schedule_id), request)
