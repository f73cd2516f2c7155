"""Teachers that a job may name: those that ship, those that were uploaded, trackers of trials.

An uploaded one is a row and a tracker's folder under PARETRACK_HOME/teachers. ``resolved`` turns a
name into that folder, once when a job is checked and again where it runs.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Row, Table, func, select, update

from search_spaces import ParetrackError
from service import audit, jobs
from service._trial_summaries import SUMMARIES
from service.callers import Caller, visible
from service.database import database_now
from service.errors import Fault, Problem, not_found
from service.job import Job, JobError
from service.recipe_job import RecipeJob
from service.settings import Settings
from service.tables import TeacherRow
from workers import teachers as shipped

TEACHERS = cast(Table, TeacherRow.__table__)
# Of a name: it stands in paths of the API, in jobs and in logs; never in a path of the disk.
PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
MOST = 100  # of one owner that are not archived
ABOUT = "about.json"  # in an uploaded teacher's folder: what it costs
# By its job's id, which is short; ``OF_A_TRIAL`` is also by the name of a job that no service has.
OF_A_STORED_TRIAL = re.compile(r"([^/]{1,80})/(\d{1,9})")
_WEIGHTS, _DESCRIPTION = "weights.safetensors", "architecture.json"


Asked = TypeVar("Asked", Job, RecipeJob)


@dataclass(frozen=True, kw_only=True)
class StoredTeacher:
    """A tracker that somebody uploaded."""

    name: str
    owner: str
    project: str | None
    family: str
    sha256: str
    bytes: int
    folder: str
    note: str
    created_at: datetime
    archived_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the files of a teacher tell, by metric."""

    family: str
    weights_bytes: int
    accuracy: Mapping[str, float]
    cost: Mapping[str, float]


def shipped_names() -> list[str]:
    return shipped.names()


def folder_in(settings: Settings) -> Path:
    """Where uploaded teachers lie."""
    return settings.home / "teachers"


def find(connection: Connection, name: str) -> StoredTeacher | None:
    row = connection.execute(select(TEACHERS).where(TEACHERS.c.name == name)).one_or_none()
    return None if row is None else _stored(row)


def seen(connection: Connection, caller: Caller, name: str) -> StoredTeacher:
    """An uploaded teacher that this caller may see."""
    found = find(connection, name)
    if found is None or not caller.may_see(found.owner, found.project):
        raise not_found("tracker", name)
    return found


def page(
    connection: Connection, caller: Caller, *, archived: bool, after: str, limit: int
) -> list[StoredTeacher]:
    """Those that the caller may see, by name."""
    columns = TEACHERS.c
    query = select(TEACHERS).where(visible(caller, columns), columns.name > after)
    if not archived:
        query = query.where(columns.archived_at.is_(None))
    return [_stored(row) for row in connection.execute(query.order_by(columns.name).limit(limit))]


def count(connection: Connection, owner: str) -> int:
    """How many an owner has."""
    mine = select(func.count()).where(TEACHERS.c.owner == owner, TEACHERS.c.archived_at.is_(None))
    return int(connection.execute(mine).scalar_one())


def archive(connection: Connection, caller: Caller, name: str) -> StoredTeacher:
    """Out of the list, and no new job may name it. Its files stay: jobs that wait need them."""
    found = seen(connection, caller, name)
    if found.archived_at is None:
        now = database_now(connection)
        connection.execute(update(TEACHERS).where(TEACHERS.c.name == name).values(archived_at=now))
        audit.record(connection, caller.who, "archive", f"tracker {name}")
        found = replace(found, archived_at=now)
    return found


def _stored(row: Row[Any]) -> StoredTeacher:
    return StoredTeacher(
        **{field.name: getattr(row, field.name) for field in fields(StoredTeacher)}
    )


# --- what a job names ---------------------------------------------------------------------------


def resolved(
    connection: Connection, settings: Settings, job: Asked, caller: Caller | None = None
) -> Asked:
    """The job with its teacher's folder instead of a name. With a ``caller``: of those that they
    may start from. A name that is none of these stays as it is."""
    found = folder(connection, settings, job.teacher, caller)
    return job if found is None else replace(job, teacher=str(found))


def folder(
    connection: Connection, settings: Settings, name: str, caller: Caller | None
) -> Path | None:
    """Where an uploaded teacher or the tracker of a trial lies; None: it is none of these."""
    if name in shipped.names():
        return None  # plan knows them
    if (uploaded := find(connection, name)) is not None:
        return _of_upload(settings, uploaded, caller)
    of_a_trial = OF_A_STORED_TRIAL.fullmatch(name)
    if of_a_trial is None:
        return None
    return _of_trial(connection, of_a_trial[1], int(of_a_trial[2]), caller)


def _of_upload(settings: Settings, found: StoredTeacher, caller: Caller | None) -> Path | None:
    if caller is not None:
        if not caller.may_see(found.owner, found.project):
            return None
        if found.archived_at is not None:
            raise _refused(f"{found.name!r} is archived; upload it under another name")
    return _there(folder_in(settings) / found.folder, f"{found.name!r}")


def _of_trial(
    connection: Connection, job_id: str, number: int, caller: Caller | None
) -> Path | None:
    job = jobs.find(connection, job_id)
    if job is None or (caller is not None and not caller.may_see(job.owner, job.project)):
        return None
    rows = SUMMARIES.c
    query = select(rows.state, rows.tracker).where(rows.job_id == job_id, rows.number == number)
    row = connection.execute(query).one_or_none()
    what = f"trial {number} of {job_id}"
    if row is None:
        raise _refused(f"there is no {what}")
    if not row.tracker:
        raise _refused(
            f"{what} is {row.state}; only a trial that was judged to the end has a tracker"
        )
    return _there(Path(row.tracker), what)


def _there(folder: Path, what: str) -> Path:
    if not (folder / _WEIGHTS).is_file():
        raise _refused(
            f"the files of {what} are not on this machine; they are gone, or PARETRACK_HOME is "
            "not the folder that all processes share"
        )
    return folder


def _refused(why: str) -> JobError:
    return JobError(f"teacher: {why}")


# --- what files tell ----------------------------------------------------------------------------


def known(folder: Path) -> Known:
    """What the files in a teacher's folder tell of it."""
    said, curve = _document(folder / ABOUT), _document(folder / "curve.json")
    judged = [moment["validation"] for moment in curve.get("curve", ()) if moment["validation"]]
    weights = folder / _WEIGHTS
    return Known(
        family=str(_document(folder / _DESCRIPTION).get("family", "")),
        weights_bytes=weights.stat().st_size if weights.is_file() else 0,
        accuracy=judged[-1] if judged else {},
        cost=said.get("cost", {}),
    )


def origin(folder: Path) -> str:
    """How a shipped teacher was made, in its own words."""
    return str(_document(folder / "curve.json").get("origin", ""))


def _document(path: Path) -> dict[str, Any]:
    """One of our own files, where it is there."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ParetrackError(f"{path.name} of this tracker is damaged: {error}") from error
    return found


def check_new(connection: Connection, caller: Caller, name: str) -> StoredTeacher | None:
    """Whether the caller may give this name to a new teacher; their own that has it already."""
    taken: Sequence[str] = shipped.names()
    found = find(connection, name)
    mine = found is not None and found.owner == caller.owner and found.archived_at is None
    if name in taken or (found is not None and not mine):
        detail = (
            f"the name {name!r} is taken, by a tracker that there is or has been; choose another"
        )
        raise Problem("conflict", detail, [Fault(detail, parameter="name")])
    if found is None and count(connection, caller.owner) >= MOST:
        raise Problem("conflict", f"you have {MOST} trackers here already; archive some (DELETE)")
    return found
