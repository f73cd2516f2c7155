"""Jobs as rows: what states there are, who may bring them about, and one function that does it.

Every change of state is one transaction with its event and its line in the audit. Who changes a
job holds its row: events have numbers without gaps, and no reader sees a later one first.
"""

import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Connection, Row, Table, bindparam, insert, select, update

from service import audit
from service.database import database_now
from service.deliveries import tell_webhooks
from service.errors import Fault, Problem, not_found
from service.job import SEARCH
from service.tables import JobEventRow, JobLabelRow, JobRow

JOBS = cast(Table, JobRow.__table__)
LABELS = cast(Table, JobLabelRow.__table__)
EVENTS = cast(Table, JobEventRow.__table__)

# State -> what a person reads.
STATES: Mapping[str, str] = {
    "QUEUED": "waits for a controller",
    "RUNNING": "is worked on",
    "PAUSING": "begins nothing new; what runs may finish",
    "PAUSED": "waits to be resumed",
    "STOPPING": "begins nothing new and ends when what runs has finished",
    "CANCELLING": "what runs is being ended",
    "SUCCEEDED": "has ended well; its front is final",
    "FAILED": "cannot be done as it was asked for",
    "CANCELLED": "was ended before it was done",
    "HELD": "has failed too often for reasons outside of it; an operator must look",
}
ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")
WORKED_ON = ("RUNNING", "PAUSING", "STOPPING", "CANCELLING")  # by the holder of the job's lease

# What is done to a job -> from which state to which. Whatever is not here is refused.
TRANSITIONS: Mapping[str, Mapping[str, str]] = {
    # by people; a job that nobody ever began ends at once, see ``_target``
    "pause": {"QUEUED": "PAUSED", "RUNNING": "PAUSING"},
    "resume": {"PAUSED": "QUEUED", "PAUSING": "RUNNING", "HELD": "QUEUED"},
    "stop": {
        "QUEUED": "STOPPING",
        "RUNNING": "STOPPING",
        "PAUSING": "STOPPING",
        "PAUSED": "STOPPING",
        "HELD": "STOPPING",
    },
    "cancel": {
        "QUEUED": "CANCELLING",
        "RUNNING": "CANCELLING",
        "PAUSING": "CANCELLING",
        "PAUSED": "CANCELLING",
        "STOPPING": "CANCELLING",
        "HELD": "CANCELLING",
    },
    # by the holder of the job's lease
    "begin": {"QUEUED": "RUNNING", "STOPPING": "STOPPING", "CANCELLING": "CANCELLING"},
    "done": {
        "RUNNING": "SUCCEEDED",
        "PAUSING": "SUCCEEDED",
        "STOPPING": "SUCCEEDED",
        "CANCELLING": "CANCELLED",
    },
    "refuse": dict.fromkeys(WORKED_ON, "FAILED"),
    "put_back": {  # paused; or to be begun again: its controller ends, or something was away
        "RUNNING": "QUEUED",
        "PAUSING": "PAUSED",
        "STOPPING": "STOPPING",
        "CANCELLING": "CANCELLING",
    },
    "hold": {"RUNNING": "HELD", "PAUSING": "HELD", "STOPPING": "FAILED", "CANCELLING": "CANCELLED"},
}
VERBS = ("pause", "resume", "stop", "cancel")  # those that people may say


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """What is asked for; ``spec`` is the document of the job itself."""

    name: str
    spec: Mapping[str, Any]
    owner: str
    tracker: str
    project: str | None = None
    kind: str = SEARCH
    labels: Sequence[str] = ()
    priority: int = 0
    schedule_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class StoredJob:
    """A job as it is now."""

    id: str
    kind: str
    name: str
    owner: str
    project: str | None
    tracker: str
    labels: tuple[str, ...]
    priority: int
    state: str
    reason: str
    spec: Mapping[str, Any]
    summary: Mapping[str, Any] = field(repr=False)
    version: int
    events: int
    attempts: int
    not_before: datetime | None
    queued_at: datetime
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    archived_at: datetime | None
    schedule_id: str | None


# --- making one --------------------------------------------------------------------------------


def new_id(name: str) -> str:
    """An id that says the name, as a part of a URL, a folder and a study's name."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:48].strip("-")
    return f"{plain or 'job'}-{secrets.token_hex(5)}"


def create(connection: Connection, asked: NewJob, who: str, why: str = "") -> StoredJob:
    """A job that waits; its first event is in the same transaction."""
    now, job_id = database_now(connection), new_id(asked.name)
    row = {
        "id": job_id, "kind": asked.kind, "name": asked.name, "owner": asked.owner,
        "project": asked.project, "tracker": asked.tracker, "priority": asked.priority,
        "state": "QUEUED", "reason": why, "spec_json": json.dumps(asked.spec),
        "summary_json": "{}", "version": 1, "events": 0, "attempts": 0, "not_before": None,
        "queued_at": now, "created_at": now, "started_at": None, "ended_at": None,
        "archived_at": None, "schedule_id": asked.schedule_id,
    }  # fmt: skip
    connection.execute(insert(JOBS), row)
    _put_labels(connection, job_id, asked.labels)
    _moved(connection, job_id, "", "QUEUED", "submit", who, why)
    found = find(connection, job_id)
    assert found is not None
    return found


def _put_labels(connection: Connection, job_id: str, labels: Iterable[str]) -> None:
    connection.execute(LABELS.delete().where(LABELS.c.job_id == job_id))
    rows = [{"job_id": job_id, "label": label} for label in dict.fromkeys(labels)]
    if rows:
        connection.execute(insert(LABELS), rows)


# --- reading -----------------------------------------------------------------------------------

_FIND = select(JOBS).where(JOBS.c.id == bindparam("job"))
_LOCK = _FIND.with_for_update()


def find(connection: Connection, job_id: str, *, lock: bool = False) -> StoredJob | None:
    """The job with this id; with ``lock`` nobody else can change it in this transaction."""
    row = connection.execute(_LOCK if lock else _FIND, {"job": job_id}).one_or_none()
    return None if row is None else stored([row], connection)[0]


def known(connection: Connection, job_id: str, *, lock: bool = False) -> StoredJob:
    """The same; it must be there."""
    found = find(connection, job_id, lock=lock)
    if found is None:
        raise not_found("job", job_id)
    return found


def stored(rows: Sequence[Row[Any]], connection: Connection) -> list[StoredJob]:
    """Rows of the table as values, with their labels."""
    ids = [row.id for row in rows]
    labels: dict[str, list[str]] = {job_id: [] for job_id in ids}
    query = select(LABELS).where(LABELS.c.job_id.in_(ids)).order_by(LABELS.c.label)
    for job_id, label in connection.execute(query):
        labels[job_id].append(label)
    return [_value(row, labels[row.id]) for row in rows]


def _value(row: Row[Any], labels: Sequence[str]) -> StoredJob:
    columns = dict(row._mapping)
    spec, summary = json.loads(columns.pop("spec_json")), json.loads(columns.pop("summary_json"))
    return StoredJob(**columns, labels=tuple(labels), spec=spec, summary=summary)


# --- changing ----------------------------------------------------------------------------------


def change(
    connection: Connection, job_id: str, verb: str, who: str, why: str = "", **columns: Any
) -> StoredJob:
    """Do something to a job, if that can be done in its state; other columns change with it."""
    job = known(connection, job_id, lock=True)
    target = _target(job, verb)
    now = database_now(connection)
    columns |= {"state": target, "reason": why}
    if target == "QUEUED":
        columns.setdefault("queued_at", now)
    if target in ENDED:
        columns.setdefault("ended_at", now)
    connection.execute(update(JOBS).where(JOBS.c.id == job_id).values(**columns))
    _moved(connection, job_id, job.state, target, verb, who, why)
    return known(connection, job_id)


def _target(job: StoredJob, verb: str) -> str:
    """Where a verb leads from the job's state."""
    target = TRANSITIONS[verb].get(job.state)
    if target is None or job.archived_at is not None:
        can = [other for other in VERBS if job.state in TRANSITIONS[other]]
        raise Problem(
            "conflict",
            f"job {job.id} {STATES[job.state]} ({job.state}), so it cannot be asked to {verb}; "
            + (f"what it can be asked: {', '.join(can)}" if can else "it stays as it is"),
        )
    never_begun = job.started_at is None and job.state in ("QUEUED", "PAUSED", "HELD")
    return "CANCELLED" if never_begun and verb in ("stop", "cancel") else target


def edit(
    connection: Connection,
    job_id: str,
    who: str,
    *,
    version: int | None,
    name: str | None = None,
    labels: Sequence[str] | None = None,
    priority: int | None = None,
) -> StoredJob:
    """Other words about a job; refused if somebody changed it since ``version`` was read."""
    job = known(connection, job_id, lock=True)
    if version is not None and version != job.version:
        raise Problem(
            "changed_meanwhile",
            f"job {job_id} is at version {job.version}, you have read {version}: read it again",
            [Fault(f"expected {job.version}", parameter="If-Match")],
        )
    new = {"name": name, "priority": priority}
    changed: dict[str, Any]
    changed = {k: v for k, v in new.items() if v is not None and v != getattr(job, k)}
    if changed:
        connection.execute(update(JOBS).where(JOBS.c.id == job_id).values(**changed))
    if labels is not None and tuple(sorted(set(labels))) != job.labels:
        _put_labels(connection, job_id, labels)
        changed["labels"] = sorted(set(labels))
    if changed:
        audit.record(connection, who, "job edit", f"job {job_id}", **changed)
        add_events(connection, job_id, [("edited", changed)])
    return known(connection, job_id)


def archive(connection: Connection, job_id: str, who: str) -> StoredJob:
    """Out of sight; nothing of an ended job is deleted."""
    job = known(connection, job_id, lock=True)
    if job.archived_at is not None:
        return job
    if job.state not in ENDED:
        raise Problem("conflict", f"job {job_id} {STATES[job.state]}: stop or cancel it first")
    now = database_now(connection)
    connection.execute(update(JOBS).where(JOBS.c.id == job_id).values(archived_at=now))
    audit.record(connection, who, "job archive", f"job {job_id}")
    add_events(connection, job_id, [("archived", {})])
    return known(connection, job_id)


def summarise(
    connection: Connection, job_id: str, summary: Mapping[str, Any], *, got_on: bool = False
) -> None:
    """What lists and pages show of a job; the holder of its lease says it. ``got_on``: something
    came of this attempt, so those before it count no more."""
    values: dict[str, Any] = {
        "summary_json": json.dumps(summary),
        "version": JOBS.c.version + 1,
        **({"attempts": 0} if got_on else {}),
    }
    connection.execute(update(JOBS).where(JOBS.c.id == job_id).values(**values))


# --- events ------------------------------------------------------------------------------------


def add_events(
    connection: Connection, job_id: str, happened: Sequence[tuple[str, Mapping[str, Any]]]
) -> int:
    """Tell what happened, in order; the number of the last."""
    last: int = connection.execute(
        update(JOBS)
        .where(JOBS.c.id == job_id)
        .values(events=JOBS.c.events + len(happened), version=JOBS.c.version + 1)
        .returning(JOBS.c.events)
    ).scalar_one()
    now = database_now(connection)
    first = last - len(happened) + 1
    numbered = [(number, *told) for number, told in enumerate(happened, first)]
    rows = [
        {"job_id": job_id, "number": number, "at": now, "kind": kind, "data_json": json.dumps(data)}
        for number, kind, data in numbered
    ]
    if rows:
        connection.execute(insert(EVENTS), rows)
        tell_webhooks(connection, job_id, now, numbered)
    return last


@dataclass(frozen=True)
class JobEvent:
    """Something that happened to a job."""

    job_id: str
    number: int
    at: datetime
    kind: str
    data: Mapping[str, Any]


def read_events(connection: Connection, job_id: str, after: int, limit: int) -> list[JobEvent]:
    """The next events after a number."""
    query = (
        select(EVENTS)
        .where(EVENTS.c.job_id == job_id, EVENTS.c.number > after)
        .order_by(EVENTS.c.number)
        .limit(limit)
    )
    rows = connection.execute(query)
    return [JobEvent(r.job_id, r.number, r.at, r.kind, json.loads(r.data_json)) for r in rows]


def _moved(
    connection: Connection, job_id: str, before: str, after: str, verb: str, who: str, why: str
) -> None:
    """The trace that every change of state leaves."""
    told = {"from": before, "to": after, "verb": verb, "who": who, "why": why}
    audit.record(connection, who, f"job {verb}", f"job {job_id}", why, **{"from": before}, to=after)
    add_events(connection, job_id, [("state", told)])
