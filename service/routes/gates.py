"""Gates of a job: a funnel from all candidates to those that were judged to the end."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from service.database import reading
from service.gates import Stage
from service.routes._deps import ServiceDep, Viewer
from service.routes.jobs import JobId, seen_search

router = APIRouter(prefix="/jobs/{job_id}/gates", tags=["gates"])


class FellPublic(BaseModel):
    """Candidates that came no further, for the same reason."""

    state: str = Field(examples=["INFEASIBLE"])
    reason: str = Field(
        description="Without what differs from trial to trial.", examples=["limit macs_frame<=10M"]
    )
    count: int
    example: int = Field(description="The number of the last of these trials.")


class StagePublic(BaseModel):
    """One test of a candidate, or the comparison at a rung."""

    name: str = Field(
        description="A gate of a measurement (`cost`, `latency, PROBE`, `build`, `refit`, "
        "`inherited accuracy`, `recovery`, `accuracy`), `rung N`, or: `known before` (another job "
        "has measured it), `limits on accuracy`, `lost` (with its worker), `unrecorded`."
    )
    steps: int | None = Field(description="Of recovery, at a rung.")
    came: int = Field(description="Candidates that ended and had come here.")
    fell: list[FellPublic] = Field(description="The most frequent first.")
    seconds: float | None = Field(description="Spent here in all; null: it takes none of its own.")
    median: float | None = Field(description="Seconds of a candidate.")


class GatesPublic(BaseModel):
    """How the candidates of a job fared, the cheapest test first."""

    asked: int = Field(description="Candidates so far, those that are running too.")
    states: dict[str, int] = Field(description="Of all of them.")
    stages: list[StagePublic] = Field(description="In their order; to which any candidate came.")


def _stage(one: Stage) -> StagePublic:
    fell = [FellPublic.model_construct(**vars(each)) for each in one.fell]
    return StagePublic.model_construct(**{**vars(one), "fell": fell})


@router.get("", response_model=GatesPublic)
def read_gates(job_id: JobId, service: ServiceDep, caller: Viewer) -> Any:
    """How many candidates came to each test, how many fell there and why, and how long it took."""
    with reading(service.engine) as connection:
        job = seen_search(connection, caller, job_id)
        found = service.gates.of(connection, job)
    stages = [_stage(one) for one in found.stages]
    return GatesPublic.model_construct(**{**vars(found), "stages": stages})
