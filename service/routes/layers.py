"""Layers of a trial: its network beside its teacher's."""

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field, JsonValue

from service._kept import find_measurement
from service.database import reading
from service.layer_times import Spread, Spreads, spreads
from service.routes._deps import ServiceDep, Viewer
from service.routes.jobs import JobId, seen_search
from service.routes.problems import responses
from service.routes.trials import TrialNumber
from service.trial_layers import Part, question
from service.trial_reading import read_trial, without_paths

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
    """A module of the teacher that computes something, has parameters of its own, or takes time."""

    path: str = Field(description="Empty: the tracker itself, outside of its modules.")
    kind: str = Field(examples=["Conv2d"])
    macs: int = Field(description="A frame, of the teacher.")
    macs_left: int
    parameters: int
    parameters_left: int
    ms: dict[str, float | None] = Field(
        description="By probe, milliseconds of a step of the teacher that are the module's own, "
        "without the modules inside. 0: none, such as of a normalisation that is merged into its "
        "convolution; null: not measured.",
        examples=[{"eager": 0.31, "onnx_runtime": 0.052}],
    )
    ms_left: dict[str, float | None]


class SpreadPublic(BaseModel):
    """What the milliseconds of the parts are held against."""

    parts_ms: float = Field(description="Of all parts together.")
    profiled_ms: float = Field(
        description="Of a whole step while it was looked at, which takes time itself, what passes "
        "between the parts included."
    )
    step_ms: float = Field(description="The probe's median of a step, measured without looking.")
    runs: int


class SpreadsPublic(BaseModel):
    """How one probe's step spread over the parts, of teacher and trial."""

    probe: str
    teacher: SpreadPublic | None = Field(description="null: not measured, as the next one.")
    left: SpreadPublic | None
    why: str | None = Field(description="Why there is none of the trial; null: no failure.")


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
    spreads: list[SpreadsPublic] = Field(
        description="Of each probe that timed teacher or trial: a trial is looked at when it was "
        "judged to the end."
    )
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
        trial = read_trial(connection, job.id, number)
    times = spreads(teacher, None if trial is None else trial.measurement)
    words = {name: value for name, value in vars(found).items() if name != "teacher_digest"}
    return LayersPublic.model_construct(
        **{
            **words,
            "layers": [LayerPublic.model_construct(**vars(one)) for one in found.layers],
            "widths": [WidthPublic.model_construct(**vars(one)) for one in found.widths],
            "parts": _parts(found.parts, times),
        },
        spreads=[_public(each) for each in times],
        teacher=None if teacher is None else without_paths(teacher),
    )


def _parts(parts: Iterable[Part], times: list[Spreads]) -> list[PartPublic]:
    """Those that there is anything to say of."""
    found = []
    for part in parts:
        both = {each.probe: each.of(part) for each in times}
        if part.macs or part.parameters or any(ms for pair in both.values() for ms in pair):
            words = {name: value for name, value in vars(part).items() if name != "path_left"}
            ms, left = ({probe: pair[i] for probe, pair in both.items()} for i in (0, 1))
            found.append(PartPublic.model_construct(**words, ms=ms, ms_left=left))
    return found


def _public(each: Spreads) -> SpreadsPublic:
    return SpreadsPublic.model_construct(
        probe=each.probe, teacher=_sums(each.teacher), left=_sums(each.left), why=each.why
    )


def _sums(spread: Spread | None) -> SpreadPublic | None:
    if spread is None:
        return None
    return SpreadPublic.model_construct(
        parts_ms=sum(spread.self_ms.values()),
        profiled_ms=spread.profiled_ms,
        step_ms=spread.step_ms,
        runs=spread.runs,
    )
