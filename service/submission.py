"""A job from what somebody asks for to its row in the queue, once however often it is asked for."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from statistics import median
from typing import Any, cast

from sqlalchemy import Connection, Engine, Table, delete, select, update

from search_spaces import ParetrackError
from service import jobs, queue
from service._kept import find_measurement
from service._upserts import put_if_absent
from service.callers import Caller, Role, visible
from service.checking import Beside
from service.database import database_now, reading, writing
from service.errors import Fault, Problem
from service.job import Job, job_from_json
from service.jobs import JOBS, NewJob, StoredJob
from service.settings import Settings
from service.tables import IdempotencyRow

KEPT_HOURS = 24  # after which a key may be used for something else
FLYING_SECONDS = 180  # after which a request that was never answered may be made again

_KEYS = cast(Table, IdempotencyRow.__table__)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a caller asks for, beside the search itself."""

    spec: Mapping[str, Any]
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
    known = _reserved(engine, caller, key, asked)
    if known is not None:
        return Submitted(known, False)
    try:
        return Submitted(_made(engine, settings, beside, caller, asked, key, schedule_id), True)
    except BaseException:
        _free(engine, caller, key)
        raise


def checked(
    engine: Engine, settings: Settings, beside: Beside, caller: Caller, spec: Mapping[str, Any]
) -> tuple[Job, dict[str, Any]]:
    """The job that a document describes, and what is known of it before it runs."""
    try:
        job = job_from_json(dict(spec))
        with reading(engine) as connection:
            _check_earlier(connection, caller, job)
        _check_paths(settings, caller, job)
        seen = beside.look(replace(job, warm_start=(), fronts=()), settings)
    except Problem:
        raise
    except ParetrackError as error:
        raise invalid(error) from error
    for number, limit in enumerate(seen["limits"]):
        if limit["satisfiable"] is False:
            detail = f"no candidate of this space can hold {limit['limit']}: {limit['note']}"
            at = f"/spec/limits/{number}"
            raise Problem("unreachable_limit", detail, [Fault(detail, pointer=at)])
    return job, seen


def invalid(error: ParetrackError) -> Problem:
    """What is wrong with a job, and in which field: its messages begin with that."""
    message = str(error)
    field = message.partition(":")[0]
    known = set(Job.__dataclass_fields__)
    is_field = field.partition(".")[0].partition("[")[0] in known
    pointer = "/spec/" + field.replace(".", "/") if is_field else "/spec"
    return Problem("invalid", message, [Fault(message, pointer=pointer)])


def _check_earlier(connection: Connection, caller: Caller, job: Job) -> None:
    """What a job learns from must be the caller's to see."""
    for field in ("warm_start", "fronts"):
        for number, name in enumerate(getattr(job, field)):
            found = jobs.find(connection, name)
            if found is None or not caller.may_see(found.owner, found.project):
                detail = f"{field}: no job {name!r} that you may see; give the id of one"
                raise Problem("invalid", detail, [Fault(detail, pointer=f"/spec/{field}/{number}")])


def _check_paths(settings: Settings, caller: Caller, job: Job) -> None:
    """Files of the machine are the operator's to name."""
    if caller.role == Role.OPERATOR:
        return
    from workers.teachers import names

    if job.teacher not in names():
        detail = (
            f"teacher: {job.teacher!r} is none of those on offer ({', '.join(names())}); only an "
            "operator may name a folder"
        )
        raise Problem("invalid", detail, [Fault(detail, pointer="/spec/teacher")])
    if job.data.root is not None:
        detail = "data.root: only an operator may name a folder; leave it out"
        raise Problem("invalid", detail, [Fault(detail, pointer="/spec/data/root")])


def _made(
    engine: Engine,
    settings: Settings,
    beside: Beside,
    caller: Caller,
    asked: Asked,
    key: str | None,
    schedule_id: str | None,
) -> StoredJob:
    job, seen = checked(engine, settings, beside, caller, asked.spec)
    new = NewJob(
        name=job.name,
        spec=asked.spec,
        owner=caller.owner,
        project=caller.project,
        tracker=seen["family"],
        labels=asked.labels,
        priority=asked.priority,
        schedule_id=schedule_id,
    )
    with writing(engine) as connection:
        queue.ensure_owner(connection, caller.owner)
        stored = jobs.create(connection, new, caller.who, asked.why)
        if key is not None:
            mine = (_KEYS.c.owner == caller.owner) & (_KEYS.c.key == key)
            connection.execute(update(_KEYS).where(mine).values(job_id=stored.id))
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
        .order_by(JOBS.c.created_at.desc())
        .limit(5)
    )
    paces = []
    for summary, started, ended in connection.execute(query):
        asked = json.loads(summary).get("asked", 0)
        if asked and started is not None and ended is not None:
            paces.append((ended - started).total_seconds() / asked)
    return median(paces) if paces else None


# --- the same request again --------------------------------------------------------------------


def _reserved(engine: Engine, caller: Caller, key: str, asked: Asked) -> StoredJob | None:
    """The job that this key has made already; else None, and the key is this request's now."""
    body = json.dumps([asked.spec, sorted(asked.labels), asked.priority], sort_keys=True)
    digest = hashlib.sha256(body.encode()).hexdigest()
    with writing(engine) as connection:
        now = database_now(connection)
        _forget(connection, now - timedelta(hours=KEPT_HOURS), now)
        row = {"owner": caller.owner, "key": key, "body_sha256": digest, "job_id": None}
        mine = (_KEYS.c.owner == caller.owner) & (_KEYS.c.key == key)
        before = connection.execute(select(_KEYS).where(mine)).one_or_none()
        if before is None:
            put_if_absent(connection, _KEYS, {**row, "created_at": now})
            before = connection.execute(select(_KEYS).where(mine)).one()
            if before.created_at == now and before.job_id is None:
                return None
        if before.body_sha256 != digest:
            raise Problem(
                "other_body",
                "this Idempotency-Key was used for another request; take a new key for a new job",
                [Fault("used for another request", parameter="Idempotency-Key")],
            )
        if before.job_id is None:
            raise Problem(
                "in_flight",
                "the same request is being worked on; ask again in a moment",
                headers={"Retry-After": "2"},
            )
        return jobs.known(connection, before.job_id)


def _forget(connection: Connection, old: Any, now: Any) -> None:
    never = now - timedelta(seconds=FLYING_SECONDS)
    unanswered = _KEYS.c.job_id.is_(None) & (_KEYS.c.created_at < never)
    connection.execute(delete(_KEYS).where((_KEYS.c.created_at < old) | unanswered))


def _free(engine: Engine, caller: Caller, key: str) -> None:
    """A request that was refused may be mended and made again with the same key."""
    mine = (_KEYS.c.owner == caller.owner) & (_KEYS.c.key == key) & _KEYS.c.job_id.is_(None)
    with writing(engine) as connection:
        connection.execute(delete(_KEYS).where(mine))
