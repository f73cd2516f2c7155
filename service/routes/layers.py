"""Layers of a trial: its network beside its teacher's."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field, JsonValue

from service._kept import find_measurement
from service.database import reading
from service.routes._deps import ServiceDep, Viewer
from service.routes.jobs import JobId, seen_search
from service.routes.problems import responses
from service.routes.trials import TrialNumber
from service.trial_layers import question
from service.trial_reading import without_paths

router = APIRouter(prefix="/jobs/{job_id}/trials/{number}/layers", tags=["trials"])


class LayerPublic(BaseModel):
    """A layer of the teacher that a search may leave out as a whole."""

    path: str = Field(examples=["backbone.blocks.3"])
    kept: bool
    tokens: int | None = Field(description="That leave it; null: it does not work on tokens.")
    tokens_left: int | None


class WidthPublic(BaseModel):
    """Units of one kind at one place: channels, heads, head_dims."""

    name: str
    kind: str
    layer: str
    width: int = Field(description="Of the teacher.")
    left: int = Field(description="Of the trial; 0: the layer around it was left out.")


class PartPublic(BaseModel):
    """A module of the teacher that computes something, or has parameters of its own."""

    path: str = Field(description="Empty: the tracker itself, outside of its modules.")
    kind: str = Field(examples=["Conv2d"])
    macs: int = Field(description="A frame, of the teacher.")
    macs_left: int
    parameters: int
    parameters_left: int


class LayersPublic(BaseModel):
    """What was cut, in the order of the network."""

    family: str
    search_size: int = Field(description="Pixels along a side of the search crop.")
    map_size: int = Field(description="Cells along a side of the score map.")
    layers: list[LayerPublic]
    widths: list[WidthPublic]
    parts: list[PartPublic]
    macs: int = Field(description="A frame, of the teacher.")
    macs_left: int
    parameters: int
    parameters_left: int
    teacher: dict[str, JsonValue] | None = Field(
        description="What was measured of the teacher; null: not yet, or no more known."
    )


@router.get("", response_model=LayersPublic, responses=responses("conflict"))
def read_layers(job_id: JobId, number: TrialNumber, service: ServiceDep, caller: Viewer) -> Any:
    """The trial's network beside its teacher's: what stayed of each layer, and what it costs. Known
    of every trial, since it follows from its parameters."""
    with reading(service.engine) as connection:
        job = seen_search(connection, caller, job_id)
        asked = question(connection, service.settings, job, number)
    found = service.cuts.of(service.beside, service.settings, asked)
    with reading(service.engine) as connection:
        teacher = find_measurement(connection, found.teacher_digest, None)
    words = {name: value for name, value in vars(found).items() if name != "teacher_digest"}
    return LayersPublic.model_construct(
        **{
            **words,
            "layers": [LayerPublic.model_construct(**vars(one)) for one in found.layers],
            "widths": [WidthPublic.model_construct(**vars(one)) for one in found.widths],
            "parts": [PartPublic.model_construct(**vars(one)) for one in found.parts],
        },
        teacher=None if teacher is None else without_paths(teacher),
    )
