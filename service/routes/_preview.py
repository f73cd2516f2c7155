"""What a search would meet, as it is shown."""

from pydantic import BaseModel, Field
from sqlalchemy import Engine

from service import submission
from service.callers import Caller
from service.database import reading
from service.job import job_from_json
from service.submission import Checked


class CostRangePublic(BaseModel):
    """What a cost can be over the space."""

    metric: str
    unit: str
    smallest: float
    teacher: float


class LimitPublic(BaseModel):
    """Whether a limit can be held."""

    limit: str
    satisfiable: bool | None = Field(description="null: only a measurement can tell.")
    note: str


class Preview(BaseModel):
    """What a job would meet."""

    family: str
    teacher: dict[str, float] = Field(description="As an earlier job measured it; else empty.")
    size: float = Field(description="Candidates in the space.")
    layers_free: int
    widths_free: int
    costs: list[CostRangePublic]
    limits: list[LimitPublic]
    seconds: float | None = Field(description="Judging by earlier jobs; null: there are none.")
    trials: int = Field(description="Candidates that are trained at most, by the budget.")
    asked: int = Field(description="Candidates of all kinds at most, infeasible ones too.")
    first: int = Field(description="Of them, those that `spec.first` names.")


def preview_of(engine: Engine, caller: Caller, found: Checked) -> Preview:
    """With what earlier jobs of the caller tell."""
    seen, job = found.seen, job_from_json(found.spec)
    with reading(engine) as connection:
        teacher = submission.teacher_known(connection, seen["digests"][0])
        pace = submission.seconds_a_trial(connection, caller, seen["family"])
    return Preview(
        **{name: seen[name] for name in ("family", "size", "layers_free", "widths_free")},
        costs=[CostRangePublic(**cost) for cost in seen["costs"]],
        limits=[LimitPublic(**limit) for limit in seen["limits"]],
        teacher=teacher,
        seconds=None if pace is None else pace * job.budget.trials,
        trials=job.budget.trials,
        asked=job.budget.most_asked,
        first=len(job.first),
    )
