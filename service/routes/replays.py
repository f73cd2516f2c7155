"""Replays: sequences of a trial to look at, with the boxes of truth, teacher and candidate."""

from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field

from service import audit, replays
from service.callers import Caller
from service.database import reading, writing
from service.errors import Problem
from service.replays import Judged
from service.routes._deps import ServiceDep, Submitter, Viewer
from service.routes.jobs import JobId, seen_search
from service.routes.problems import responses
from service.routes.trials import TrialNumber
from service.serving import Service
from service.trial_layers import Question, question

router = APIRouter(prefix="/jobs/{job_id}/trials/{number}/replays", tags=["replays"])

_MOST = 300  # characters of a sequence's name
Sequence = Annotated[str, Path(max_length=_MOST, examples=["val-0007"])]
Box = tuple[float, float, float, float]


class ReplayLine(BaseModel):
    """A sequence that the trial was judged on."""

    sequence: str
    overlap: float = Field(description="Its average overlap.")
    made: bool = Field(description="Its replay is there; else POST.")


class ReplaysPublic(BaseModel):
    """The sequences that can be looked at, the best first."""

    items: list[ReplayLine]
    best: str
    median: str
    worst: str


class SidePublic(BaseModel):
    """What one tracker said, of the frames that are shown."""

    boxes: list[Box | None]
    overlap: list[float | None] = Field(
        description="By the rules; null: they do not count this frame."
    )
    average_overlap: float | None = Field(description="Of the whole sequence.")
    as_judged: bool = Field(
        description="The boxes of its evaluation; false: they are gone, and it has tracked again."
    )


class ReplayPublic(BaseModel):
    """A sequence and everybody's boxes, x, y, w, h in pixels of the video."""

    sequence: str
    attributes: list[str]
    rules: str = Field(description="Whose accuracy rules.", examples=["got10k"])
    total: int = Field(description="Frames of the sequence.")
    every: int = Field(description="Every so many frames, one is shown.")
    numbers: list[int] = Field(description="Of the frames that are shown, from 0.")
    rate: float | None = Field(description="Frames a second, where the video says so.")
    video_size: tuple[int, int] = Field(description="Width, height.")
    picture_size: tuple[int, int] = Field(description="Of the JPEGs.")
    lengths: list[int] = Field(
        description="Bytes of each JPEG: they lie one behind the other in .../frames."
    )
    present: list[bool] = Field(description="The target can be seen.")
    truth: list[Box | None]
    teacher: SidePublic
    candidate: SidePublic


def _judged(service: Service, caller: Caller, job_id: str, number: int) -> Judged:
    with reading(service.engine) as connection:
        job = seen_search(connection, caller, job_id)
        return replays.judged(connection, job, number)


@router.get("", response_model=ReplaysPublic, responses=responses("conflict"))
def list_replays(job_id: JobId, number: TrialNumber, service: ServiceDep, caller: Viewer) -> Any:
    """The sequences that the trial was judged on, and which of them can be looked at already."""
    of = _judged(service, caller, job_id, number)
    items = [
        ReplayLine(sequence=name, overlap=value, made=replays.is_made(service.settings, of, name))
        for name, value in of.overlap_of.items()
    ]
    found = {which: of.sequence(which) for which in ("best", "median", "worst")}
    return ReplaysPublic(items=items, **found)


@router.post("", response_model=ReplayPublic, responses=responses("conflict", "in_flight"))
def make_replay(
    job_id: JobId,
    number: TrialNumber,
    service: ServiceDep,
    caller: Submitter,
    sequence: Annotated[
        str | None, Query(max_length=_MOST, description="One that the trial was judged on.")
    ] = None,
    which: Annotated[
        replays.Which | None, Query(description="Instead of a name: by average overlap.")
    ] = None,
) -> Any:
    """Make a sequence ready to be looked at. It takes up to two minutes; one that is there already
    stays as it is."""
    of = _judged(service, caller, job_id, number)
    name = replays.chosen(of, sequence, which)
    if not replays.is_made(service.settings, of, name):
        with reading(service.engine) as connection:
            asked = question(connection, service.settings, of.job, number)
        teacher = _boxes_of_the_teacher(service, asked)
        replays.make(service.settings, of, name, service.errands, asked, teacher)
        with writing(service.engine) as connection:
            audit.record(
                connection, caller.who, "replay", f"job {job_id}", trial=number, sequence=name
            )
    return replays.read(service.settings, of, name)


def _boxes_of_the_teacher(service: Service, asked: Question) -> str | None:
    """The folder with those that it was judged by, whichever job that was; None: not known."""
    digest = None
    with suppress(Problem):  # of a teacher that is gone, making the replay says what is wrong
        digest = service.cuts.of(service.beside, service.settings, asked).teacher_digest
    with reading(service.engine) as connection:
        return replays.teacher_boxes(connection, digest)


@router.get("/{sequence}", response_model=ReplayPublic, responses=responses("conflict"))
def read_replay(
    job_id: JobId, number: TrialNumber, sequence: Sequence, service: ServiceDep, caller: Viewer
) -> Any:
    """Boxes and overlaps, frame by frame."""
    of = _judged(service, caller, job_id, number)
    return replays.read(service.settings, of, replays.known(of, sequence))


@router.get(
    "/{sequence}/frames",
    response_class=Response,
    responses={
        200: {
            "description": "The JPEGs, one behind the other",
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            },
        },
        **responses("conflict"),
    },
)
def read_frames(
    job_id: JobId, number: TrialNumber, sequence: Sequence, service: ServiceDep, caller: Viewer
) -> Response:
    """Its pictures. Where each begins follows from `lengths`."""
    of = _judged(service, caller, job_id, number)
    content = replays.pictures(service.settings, of, replays.known(of, sequence))
    headers = {"Cache-Control": "private, max-age=3600"}
    return Response(content, media_type="application/octet-stream", headers=headers)
