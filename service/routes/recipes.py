"""What the tuning of a recipe has come to."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field, JsonValue

from service.database import reading
from service.errors import Problem
from service.jobs import StoredJob
from service.recipe_job import KIND
from service.routes._deps import ServiceDep, Viewer
from service.routes.jobs import JobId, State, seen_job

router = APIRouter(prefix="/jobs/{job_id}/recipe", tags=["recipes"])


class TuningTrialPublic(BaseModel):
    """A recipe that was tried; number 0 is the starting recipe."""

    number: int
    state: str = Field(examples=["STOPPED"])
    step: int = Field(description="Of its recovery, at which it was judged last.")
    figure: float | None = Field(description="By the tuning's metric, there.")
    seconds: float = Field(description="Of training and judging.")
    values: dict[str, JsonValue] = Field(description="What is varied, by a recipe's field.")


class GainPublic(BaseModel):
    """Starting recipe and winner with one seed."""

    seed: int
    start: float
    winner: float
    better: float


class TunedPublic(BaseModel):
    """A tuning as it is now; until it has ended there is no recipe."""

    job: str
    name: str
    state: State
    reason: str
    teacher: str
    metric: str | None
    steps: int | None
    trials: list[TuningTrialPublic] = Field(description="The starting recipe and the best ten.")
    recipe: dict[str, JsonValue] | None = Field(
        description="The winner's, if each of its runs is better than each of the start's; else "
        "the starting recipe. A job takes it by this job's id in `spec.recipe`."
    )
    holds: bool | None = Field(description="Whether the recipe is better than the starting one.")
    winner: int | None = Field(description="The number of the trial whose recipe it is.")
    gains: list[GainPublic] = Field(
        description="With the seed that chose the winner, then with another."
    )
    ended_at: Annotated[datetime | None, Field(description="Of the job.")]


@router.get("")
def show_recipe(job_id: JobId, service: ServiceDep, caller: Viewer) -> TunedPublic:
    """What a tuning has come to so far: the best recipes tried, and in the end the one to use."""
    with reading(service.engine) as connection:
        job = seen_job(connection, caller, job_id)
    if job.kind != KIND:
        raise Problem(
            "not_found",
            f"job {job_id} is a search: what it has found is at its /front; a recipe comes of jobs "
            f"of the kind {KIND}",
        )
    return tuned(job)


def tuned(job: StoredJob) -> TunedPublic:
    """A tuning as it is shown."""
    said: dict[str, Any] = dict(job.summary)
    return TunedPublic(
        job=job.id,
        name=job.name,
        state=job.state,  # type: ignore[arg-type]  # one of those that there are
        reason=job.reason,
        teacher=str(job.spec["teacher"]),
        metric=said.get("metric"),
        steps=said.get("steps"),
        trials=[TuningTrialPublic(**one) for one in said.get("trials", ())],
        recipe=said.get("recipe"),
        holds=said.get("holds"),
        winner=said.get("winner"),
        gains=[GainPublic(**{k: g[k] for k in _GAIN}) for g in said.get("gains", ())],
        ended_at=job.ended_at,
    )


_GAIN = tuple(GainPublic.model_fields)
