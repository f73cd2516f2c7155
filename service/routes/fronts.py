"""Fronts: of one job, how it grew, what it depends on; of several jobs side by side."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, Field

from service import trial_fronts
from service.database import reading
from service.errors import Fault, Problem
from service.routes._deps import ServiceDep, Viewer
from service.routes._headers import names_version
from service.routes.jobs import JobId, seen_search
from service.trial_fronts import Comparison, FrontPoint, JobFront, as_figures, read_front
from service.trial_reading import about, growth
from workers.metrics import Limit, Metric

router = APIRouter(prefix="/jobs", tags=["fronts"])

MOST_COMPARED = 6  # jobs
MetricName = Annotated[
    str | None,
    Query(max_length=80, description="A metric; without any, the job's own objectives."),
]


class MetricPublic(BaseModel):
    """What an axis shows."""

    name: str
    label: str
    unit: str
    better: str = Field(description="`higher` or `lower`.")


class BoundPublic(BaseModel):
    """A limit of the job. A hard one holds for everything on the front."""

    metric: str
    at_most: float | None
    at_least: float | None
    hard: bool


class FrontPointPublic(BaseModel):
    """A trial that no other dominates."""

    number: int
    figures: dict[str, float]
    ranges: dict[str, tuple[float, float]]
    flag: str
    has_tracker: bool


class FrontPublic(BaseModel):
    """The front of a job, and what it is drawn with."""

    job: str
    name: str
    events: int = Field(description="Of the job, when it was read; also the ETag.")
    metrics: list[MetricPublic]
    points: list[FrontPointPublic] = Field(description="By the metrics after the first.")
    knee: int | None = Field(description="The trial after which more cost stops paying off.")
    teacher: dict[str, float] = Field(description="Empty before it has been measured.")
    limits: list[BoundPublic]
    reference: dict[str, float] = Field(description="Where hypervolume is counted from.")
    hypervolume: float = Field(description="A share of a perfect accuracy at no cost.")


class StepPublic(BaseModel):
    """A trial that moved the front, and the hypervolume from then on."""

    number: int
    at: datetime
    hypervolume: float


class GrowthPublic(BaseModel):
    """The hypervolume as a step function of trials and of time."""

    steps: list[StepPublic]
    last: float
    trials: int = Field(description="Asked so far: the last step holds up to here.")
    began_at: datetime | None
    until: datetime = Field(description="The end of the job, or now.")


class ImportancesPublic(BaseModel):
    """How much each lever explains of each objective."""

    shares: dict[str, dict[str, float]] = Field(
        description="By metric, by lever: the share of the metric's variance among the trials "
        "that the lever explains alone (epsilon squared), from 0 to 1, the highest first. Shares "
        "need not add up to 1. Empty: too few trials are complete."
    )
    looked_at: int = Field(description="Trials, at most 2,000, evenly spread.")
    of: int = Field(description="Trials that are complete.")


class ComparedFrontPublic(FrontPublic):
    """One of several fronts; reference and hypervolume are those of the comparison."""


class AgainstPublic(BaseModel):
    """One job's front beside another's."""

    job: str
    other: str
    epsilon: float | None = Field(
        description="What it lacks to be nowhere behind the other, as a share of both fronts' "
        "range; 0 or less: nothing. null: one of them is empty."
    )
    dominated: int = Field(description="Its points that one of the other's dominates.")
    shared: int = Field(description="Its points that the other has as well.")
    alone: list[int] = Field(description="Its trials for which the other has nothing as good.")


class LeadPublic(BaseModel):
    """Who has the best of the first metric for a cost in this range."""

    start: float
    end: float | None = Field(description="null: from there on.")
    jobs: list[str] = Field(description="Several: they are equal.")


class ComparisonPublic(BaseModel):
    """Fronts of several jobs from one reference."""

    metrics: list[MetricPublic]
    reference: dict[str, float] = Field(description="The worst of the jobs' own in each metric.")
    fronts: list[ComparedFrontPublic]
    pairs: list[AgainstPublic]
    leads: list[LeadPublic] = Field(description="With two metrics only, of which one is a cost.")


def _metric(one: Metric) -> MetricPublic:
    return MetricPublic(name=one.name, label=one.label, unit=one.unit, better=one.better)


def _bound(one: Limit) -> BoundPublic:
    return BoundPublic(metric=one.metric, at_most=one.at_most, at_least=one.at_least, hard=one.hard)


def _point(one: FrontPoint) -> FrontPointPublic:
    return FrontPointPublic.model_construct(**vars(one))


def _words(front: JobFront, reference: Sequence[float] | None = None) -> dict[str, Any]:
    return {
        "job": front.job,
        "name": front.name,
        "events": front.events,
        "metrics": [_metric(one) for one in front.metrics],
        "points": [_point(one) for one in front.points],
        "knee": front.knee,
        "teacher": dict(front.teacher),
        "limits": [_bound(one) for one in front.limits],
        "reference": as_figures(front.metrics, reference or front.reference),
        "hypervolume": front.hypervolume(reference),
    }


def _axes(x: str | None, y: str | None, z: str | None) -> list[str]:
    named = [name for name in (x, y, z) if name is not None]
    if named and (x is None or y is None):
        missing = "x" if x is None else "y"
        detail = f"{missing}: a front needs two metrics at least; give x and y, and z if you like"
        raise Problem("invalid", detail, [Fault(detail, parameter=missing)])
    return named


@router.get("/compare", response_model=ComparisonPublic)
def compare_jobs(
    service: ServiceDep,
    caller: Viewer,
    jobs: Annotated[
        str,
        Query(max_length=600, description="2 to 6 ids with commas between them.", examples=["a,b"]),
    ],
    x: MetricName = None,
    y: MetricName = None,
    z: MetricName = None,
) -> ComparisonPublic:
    """Several fronts side by side: hypervolumes from one reference, who is ahead of whom, where."""
    names = [name.strip() for name in jobs.split(",") if name.strip()]
    if not 2 <= len(set(names)) == len(names) <= MOST_COMPARED:
        detail = f"jobs: expected 2 to {MOST_COMPARED} different ids, with commas between them"
        raise Problem("invalid", detail, [Fault(detail, parameter="jobs")])
    axes = _axes(x, y, z)
    with reading(service.engine) as connection:
        stored = [seen_search(connection, caller, name) for name in names]
        fronts = [read_front(connection, service.of_trials, job, axes) for job in stored]
    return _comparison(trial_fronts.compare(fronts))


def _comparison(found: Comparison) -> ComparisonPublic:
    return ComparisonPublic(
        metrics=[_metric(one) for one in found.metrics],
        reference=as_figures(found.metrics, found.reference),
        fronts=[ComparedFrontPublic(**_words(f, found.reference)) for f in found.fronts],
        pairs=[AgainstPublic(**{**vars(one), "alone": list(one.alone)}) for one in found.pairs],
        leads=[LeadPublic(**{**vars(one), "jobs": list(one.jobs)}) for one in found.leads],
    )


@router.get(
    "/{job_id}/front",
    response_model=FrontPublic,
    responses={304: {"description": "Nothing has happened to the job since."}},
)
def read_job_front(
    job_id: JobId,
    response: Response,
    service: ServiceDep,
    caller: Viewer,
    x: MetricName = None,
    y: MetricName = None,
    z: MetricName = None,
    if_none_match: Annotated[str | None, Header(max_length=1000)] = None,
) -> Any:
    """The front over the job's objectives, or over any two or three metrics that were measured."""
    axes = _axes(x, y, z)
    with reading(service.engine) as connection:
        job = seen_search(connection, caller, job_id)
        headers = {"ETag": f'"{job.events}"', "Cache-Control": "private, no-cache"}
        if names_version(if_none_match, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        found = read_front(connection, service.of_trials, job, axes)
    response.headers.update(headers)
    return FrontPublic.model_construct(**_words(found))


@router.get("/{job_id}/hypervolume", response_model=GrowthPublic)
def read_hypervolume(job_id: JobId, service: ServiceDep, caller: Viewer) -> Any:
    """How the front grew: every trial that moved it, and what the hypervolume was from then on."""
    with reading(service.engine) as connection:
        found = growth(connection, seen_search(connection, caller, job_id))
    steps = [StepPublic.model_construct(**vars(step)) for step in found.steps]
    return GrowthPublic.model_construct(**{**vars(found), "steps": steps})


@router.get("/{job_id}/importances", response_model=ImportancesPublic)
def read_importances(job_id: JobId, service: ServiceDep, caller: Viewer) -> Any:
    """Which levers the objectives depend on. It says what went together among the trials that the
    search chose to make, not what would cause what."""
    with reading(service.engine) as connection:
        job = seen_search(connection, caller, job_id)
        objectives = about(connection, job).objectives
        found = service.importances.of(connection, job, objectives)
    return ImportancesPublic.model_construct(**vars(found))
