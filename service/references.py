"""What a job takes over from earlier ones: the cut of a trial, a recipe that was tuned, the
parameters of trials to begin with.

It is put into the job's document when that is submitted, so that the job says by itself what it
is, whatever becomes of the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from service import jobs
from service.callers import Caller, visible
from service.first_trials import Origin, in_service, origins, with_params
from service.job import JobError, blamed
from service.jobs import JOBS, StoredJob
from service.recipe_job import KIND as TUNING
from service.teachers import OF_A_STORED_TRIAL
from service.trial_reading import read_trial

# Of a trial's own candidate; what it was searched with beside that is the job's.
_OF_A_CANDIDATE = ("kept_layers", "pruning", "refit", "recovery", "recipe")
_OF_A_JOB = ("teacher", "data")


@dataclass(frozen=True)
class Filled:
    """A document with what its references mean, and the trials that ``first`` named, by place."""

    spec: dict[str, Any]
    first: Mapping[int, Origin] = field(default_factory=dict)


def filled_in(connection: Connection, caller: Caller, spec: Mapping[str, Any]) -> Filled:
    """The document with what its references mean; what it says itself stands."""
    found = dict(spec)
    if isinstance(found.get("of"), str):
        said = {name: value for name, value in found.items() if value is not None}
        with blamed("of"):
            found = {**_cut_of(connection, caller, found["of"]), **said}
    if isinstance(found.get("recipe"), str):
        with blamed("recipe"):
            found["recipe"] = _tuned_by(connection, caller, found["recipe"])
    if not isinstance(found.get("first"), list):
        return Filled(found)
    named = origins(found["first"], found.get("teacher"), in_service(connection, caller))
    return Filled({**found, "first": with_params(found["first"], named)}, named)


def _cut_of(connection: Connection, caller: Caller, name: str) -> dict[str, Any]:
    """What a tuning of a trial's recipe begins with."""
    parts = OF_A_STORED_TRIAL.fullmatch(name)
    if parts is None:
        raise JobError(f"of: expected JOB/NUMBER of a trial, got {name[:100]!r}")
    job = _seen(connection, caller, parts[1])
    trial = None if job is None else read_trial(connection, job.id, int(parts[2]))
    if job is None or trial is None:
        raise JobError(f"of: there is no trial {name[:100]!r} that you may see")
    if trial.measurement is None or trial.architecture is None:
        raise JobError(
            f"of: trial {name} is {trial.line.state} and nothing was measured of it; choose one "
            "that was judged"
        )
    candidate = trial.measurement["candidate"]
    taken = {key: candidate[key] for key in _OF_A_CANDIDATE if candidate.get(key) is not None}
    asked = {key: job.spec[key] for key in _OF_A_JOB if job.spec.get(key) is not None}
    return {**asked, **taken, "architecture": dict(trial.architecture)}


def _tuned_by(connection: Connection, caller: Caller, name: str) -> Mapping[str, Any]:
    """The recipe that a job has come to."""
    job = _seen(connection, caller, name)
    if job is None or job.kind != TUNING:
        raise JobError(
            f"recipe: no job {name[:100]!r} that tuned a recipe and that you may see; give the id "
            "of one, or a recipe's fields"
        )
    recipe: Mapping[str, Any] | None = job.summary.get("recipe")
    if recipe is None:
        raise JobError(f"recipe: job {job.id} has no recipe: it is {job.state} ({job.reason})")
    return recipe


@dataclass(frozen=True)
class TunedBy:
    """A recipe, and the job that tuned it."""

    job: str
    teacher: str
    about: str
    recipe: Mapping[str, Any]


def tuned_recipes(connection: Connection, caller: Caller, most: int) -> list[TunedBy]:
    """Those that the caller may see, the newest first."""
    query = (
        select(JOBS)
        .where(visible(caller, JOBS.c), JOBS.c.kind == TUNING, JOBS.c.state == "SUCCEEDED")
        .where(JOBS.c.archived_at.is_(None))
        .order_by(JOBS.c.created_at.desc(), JOBS.c.id)
        .limit(most)
    )
    found = jobs.stored(connection.execute(query).all(), connection)
    return [
        TunedBy(job.id, str(job.spec["teacher"]), f"{job.name}: {job.reason}", recipe)
        for job in found
        if (recipe := job.summary.get("recipe")) is not None
    ]


def _seen(connection: Connection, caller: Caller, name: str) -> StoredJob | None:
    job = jobs.find(connection, name)
    return job if job is not None and caller.may_see(job.owner, job.project) else None
