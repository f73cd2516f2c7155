"""Trials of earlier searches that a job begins with: JOB/NUMBER in its field ``first``.

Their parameters take their place, so that the job says by itself what it is. Parameters mean a cut
of one teacher; whether they are a point of the job's space is seen when its teacher is opened.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from search_spaces import ParetrackError
from service import _optuna_tables as tables
from service import jobs
from service._studies import known_study, read_attrs
from service._trial_summaries import SUMMARIES
from service.callers import Caller
from service.database import DatabaseError, reading
from service.job import OF_A_TRIAL, SEARCH, Job, JobError, pointer
from service.trials import read_trials


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A trial, and what its parameters are parameters of."""

    name: str  # JOB/NUMBER
    teacher: str
    space: Mapping[str, Any] | None
    params: Mapping[str, Any]


Find = Callable[[str, int], Origin]  # by the job and the number


def origins(first: Sequence[Any], teacher: Any, find: Find) -> dict[int, Origin]:
    """The trials that ``first`` names, by their place in it."""
    found = {}
    for place, said in enumerate(first):
        if not isinstance(said, str):
            continue
        try:
            found[place] = _found(said, teacher, find)
        except DatabaseError:
            raise
        except ParetrackError as error:
            raise JobError(f"first[{place}]: {error}", pointer("first", place)) from error
    return found


def _found(said: str, teacher: Any, find: Find) -> Origin:
    if OF_A_TRIAL.fullmatch(said) is None:
        raise JobError(f"expected JOB/NUMBER of a trial, or its parameters, got {said[:100]!r}")
    job, _, number = said.rpartition("/")
    origin = find(job, int(number))
    if isinstance(teacher, str) and not _is_same(teacher, origin.teacher):
        raise JobError(
            f"trial {origin.name} is a cut of {origin.teacher}, and this search cuts {teacher}: "
            "the same parameters are another network there; give that teacher, or leave the trial "
            "out"
        )
    return origin


def with_params(first: Sequence[Any], named: Mapping[int, Origin]) -> list[Any]:
    """The same with parameters instead of names."""
    return [
        dict(named[place].params) if place in named else said for place, said in enumerate(first)
    ]


def explained(
    error: JobError, named: Mapping[int, Origin], space: Mapping[str, Any] | None
) -> JobError:
    """The error about a trial's parameters with the trial, and the levers that differ."""
    for place, origin in named.items():
        if error.at == f"/first/{place}":
            said = f"{error}; that is trial {origin.name}{_apart(origin.space, space)}"
            return JobError(said, error.at)
    return error


# --- where they are -----------------------------------------------------------------------------


def in_service(connection: Connection, caller: Caller) -> Find:
    """Among the searches that a caller may see."""

    def find(job_id: str, number: int) -> Origin:
        job = jobs.find(connection, job_id)
        seen = job is not None and caller.may_see(job.owner, job.project)
        if job is None or not seen or job.kind != SEARCH:
            raise JobError(
                f"no search {job_id[:100]!r} that you may see; give the id of one, and the "
                "number of one of its trials"
            )
        rows = SUMMARIES.c
        mine = rows.job_id == job.id
        query = select(rows.params_json).where(mine, rows.number == number)
        params = connection.execute(query).scalar_one_or_none()
        if params is None:
            last = connection.execute(select(func.max(rows.number)).where(mine)).scalar()
            raise _no_trial(job.id, number, last)
        space = job.spec.get("space")
        return Origin(
            name=f"{job.id}/{number}", teacher=str(job.spec["teacher"]), space=space,
            params=json.loads(params),
        )  # fmt: skip

    return find


def filled_here(engine: Engine, job: Job) -> tuple[Job, dict[int, Origin]]:
    """A job of this machine with the trials that it names, out of the record that it has here."""

    def find(name: str, number: int) -> Origin:
        with reading(engine) as connection:
            study = known_study(engine, connection, name)
            asked = read_attrs(connection, tables.STUDY_USER_ATTRS, study).get("job")
        params = {trial.number: trial.params for trial in read_trials(engine, name)}
        if asked is None or number not in params:
            raise _no_trial(name, number, max(params, default=None))
        return Origin(
            name=f"{name}/{number}", teacher=asked["teacher"], space=asked["space"],
            params=params[number],
        )  # fmt: skip

    named = origins(job.first, job.teacher, find)
    return replace(job, first=tuple(with_params(job.first, named))), named


def _no_trial(job: str, number: int, last: int | None) -> JobError:
    there = "it has none yet" if last is None else f"its last one is {last}"
    return JobError(f"{job} has no trial {number}; {there}")


# --- what is the same ---------------------------------------------------------------------------


def _is_same(teacher: str, other: str) -> bool:
    """Whether two words for a teacher mean one: names, or folders of this machine."""
    here, there = Path(teacher), Path(other)
    return teacher == other or (
        here.is_dir() and there.is_dir() and here.resolve() == there.resolve()
    )


def _apart(theirs: Mapping[str, Any] | None, mine: Mapping[str, Any] | None) -> str:
    """Which levers two spaces have differently, in words."""
    if theirs == mine:
        return ""
    if theirs is None or mine is None:
        ways = ("everything" if one is None else f"only {', '.join(one)}" for one in (theirs, mine))
        return ", whose search could cut {}, and this one {}".format(*ways)
    differ = [name for name in {**theirs, **mine} if theirs.get(name) != mine.get(name)]
    said = "; ".join(
        f"the lever {name!r} was {_lever(theirs, name)} and is {_lever(mine, name)} here"
        for name in sorted(differ)
    )
    return f", of another space: {said}"


def _lever(space: Mapping[str, Any], name: str) -> str:
    return str(space[name]) if name in space else "not there"
