"""A job from what somebody asks for to its row in the queue, once however often it is asked for."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from sqlalchemy import Connection, Engine, select

from search_spaces import ParetrackError
from service import idempotency, jobs, queue, teachers
from service._kept import find_measurement
from service.beside import Beside
from service.callers import Caller, Role, visible
from service.checking import looked_at, tuning_looked_at
from service.database import DatabaseError, reading, writing
from service.errors import Fault, Problem
from service.first_trials import Origin, explained
from service.job import SEARCH, Job, JobError, blamed, job_from_json, pointer
from service.jobs import JOBS, NewJob, StoredJob
from service.recipe_job import recipe_job_from_json
from service.references import Filled, filled_in
from service.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a caller asks for, beside the search or the tuning itself."""

    spec: Mapping[str, Any]
    kind: str = SEARCH
    labels: tuple[str, ...] = ()
    priority: int = 0
    why: str = ""


@dataclass(frozen=True)
class Submitted:
    """The job, and whether this request has made it."""

    job: StoredJob
    is_new: bool


def submit(
    engine: Engine,
    settings: Settings,
    beside: Beside,
    caller: Caller,
    asked: Asked,
    key: str | None = None,
    schedule_id: str | None = None,
) -> Submitted:
    """Check what is asked for and queue it. The same ``key`` with the same words: the same job."""
    if key is None:
        return Submitted(_made(engine, settings, beside, caller, asked, None, schedule_id), True)
    request = {"spec": asked.spec, "labels": sorted(asked.labels), "priority": asked.priority}
    request |= {} if asked.kind == SEARCH else {"kind": asked.kind}
    taken = idempotency.take(engine, caller, key, request)
    if isinstance(taken, str):
        with reading(engine) as connection:
            return Submitted(jobs.known(connection, taken), False)
    try:
        return Submitted(_made(engine, settings, beside, caller, asked, taken, schedule_id), True)
    except BaseException:
        idempotency.free(engine, taken)
        raise


Look = Callable[[Beside], dict[str, Any]]  # at a job, in a process that may import torch


@dataclass(frozen=True)
class Checked:
    """A job that can be queued: its document in full, and what is known of it before it runs."""

    name: str
    spec: Mapping[str, Any]
    seen: Mapping[str, Any]


def checked(
    engine: Engine,
    settings: Settings,
    beside: Beside,
    caller: Caller,
    spec: Mapping[str, Any],
    kind: str = SEARCH,
) -> Checked:
    """The job that a document describes, if nothing is wrong with it."""
    try:
        with reading(engine) as connection:
            full = filled_in(connection, caller, spec)
            look = (_search if kind == SEARCH else _tuning)(connection, settings, caller, full)
        seen = look(beside)  # no transaction: it may take a minute
        return Checked(full.spec["name"], full.spec, seen)
    except (Problem, DatabaseError):
        raise
    except ParetrackError as error:
        raise invalid(error) from error


def _tuning(connection: Connection, settings: Settings, caller: Caller, full: Filled) -> Look:
    job = _check_paths(connection, settings, caller, recipe_job_from_json(full.spec))
    return lambda beside: tuning_looked_at(beside, job, settings)


def _search(connection: Connection, settings: Settings, caller: Caller, full: Filled) -> Look:
    asked = job_from_json(full.spec)
    _check_earlier(connection, caller, asked)
    job = _check_paths(connection, settings, caller, asked)
    return lambda beside: _search_looked_at(beside, job, settings, full.first)


def _search_looked_at(
    beside: Beside, job: Job, settings: Settings, first: Mapping[int, Origin]
) -> dict[str, Any]:
    """As any search is looked at; one whose limits cannot be held is refused."""
    try:
        seen = looked_at(beside, replace(job, warm_start=(), fronts=()), settings)
    except JobError as error:
        raise explained(error, first, job.space) from error
    for number, limit in enumerate(seen["limits"]):
        if limit["satisfiable"] is False:
            detail = f"no candidate of this space can hold {limit['limit']}: {limit['note']}"
            at = f"/spec/limits/{number}"
            raise Problem("unreachable_limit", detail, [Fault(detail, pointer=at)])
    return seen


def invalid(error: ParetrackError) -> Problem:
    """What is wrong with a job, and in which field, where one is to blame."""
    at = error.at if isinstance(error, JobError) else ""
    return Problem("invalid", str(error), [Fault(str(error), pointer=f"/spec{at}")])


def _check_earlier(connection: Connection, caller: Caller, job: Job) -> None:
    """What a job learns from must be the caller's to see."""
    for field in ("warm_start", "fronts"):
        for number, name in enumerate(getattr(job, field)):
            found = jobs.find(connection, name)
            seen = found is not None and caller.may_see(found.owner, found.project)
            if found is None or not seen or found.kind != SEARCH:
                detail = f"{field}: no search {name!r} that you may see; give the id of one"
                raise JobError(detail, pointer(field, number))


def _check_paths(
    connection: Connection, settings: Settings, caller: Caller, job: teachers.Asked
) -> teachers.Asked:
    """Files of the machine are the operator's to name. The job with the folder of its teacher."""
    with blamed("teacher"):
        found = teachers.resolved(connection, settings, job, caller)
    if caller.role == Role.OPERATOR:
        return found
    shipped = teachers.shipped_names()
    if found.teacher == job.teacher and job.teacher not in shipped:
        detail = (
            f"teacher: {job.teacher!r} is none of those on offer: {', '.join(shipped)}, the name "
            "of a tracker that you uploaded, or JOB/NUMBER of a trial that you may see; only an "
            "operator may name a folder"
        )
        raise JobError(detail, "/teacher")
    if job.data.root is not None:
        detail = "data.root: only an operator may name a folder; leave it out"
        raise JobError(detail, "/data/root")
    return found


def _made(
    engine: Engine,
    settings: Settings,
    beside: Beside,
    caller: Caller,
    asked: Asked,
    taken: idempotency.Taken | None,
    schedule_id: str | None,
) -> StoredJob:
    found = checked(engine, settings, beside, caller, asked.spec, asked.kind)
    new = NewJob(
        name=found.name,
        spec=found.spec,
        kind=asked.kind,
        owner=caller.owner,
        project=caller.project,
        tracker=found.seen["family"],
        labels=asked.labels,
        priority=asked.priority,
        schedule_id=schedule_id,
    )
    with writing(engine) as connection:
        queue.ensure_owner(connection, caller.owner)
        stored = jobs.create(connection, new, caller.who, asked.why)
        if taken is not None:
            idempotency.made(connection, taken, stored.id)
    return stored


# --- what earlier jobs tell ---------------------------------------------------------------------


def teacher_known(connection: Connection, digest: str) -> dict[str, float]:
    """What any job has measured of a teacher, by metric."""
    from workers.metrics import METRICS, value

    found = find_measurement(connection, digest, None)
    if found is None:
        return {}
    figures = {name: value(found, asked) for name, asked in METRICS.items()}
    return {name: figure for name, figure in figures.items() if figure is not None}


def seconds_a_trial(connection: Connection, caller: Caller, family: str) -> float | None:
    """As it was in the caller's last jobs of a family; None where there is none."""
    query = (
        select(JOBS.c.summary_json, JOBS.c.started_at, JOBS.c.ended_at)
        .where(visible(caller, JOBS.c), JOBS.c.tracker == family, JOBS.c.state == "SUCCEEDED")
        .where(JOBS.c.kind == SEARCH)
        .order_by(JOBS.c.created_at.desc())
        .limit(5)
    )
    paces = []
    for summary, started, ended in connection.execute(query):
        asked = json.loads(summary).get("asked", 0)
        if asked and started is not None and ended is not None:
            paces.append((ended - started).total_seconds() / asked)
    return median(paces) if paces else None
