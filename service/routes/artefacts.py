"""Artefacts of a trial: its files, streamed; and its export to ONNX."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request, Response
from pydantic import BaseModel, Field

from service import artefacts, audit
from service.callers import Caller
from service.database import reading, writing
from service.routes._deps import ServiceDep, Submitter, Viewer
from service.routes._files import Conditions, file_answer
from service.routes.jobs import JobId, seen_search
from service.routes.problems import responses
from service.routes.trials import TrialNumber
from service.serving import Service

router = APIRouter(prefix="/jobs/{job_id}/trials/{number}", tags=["artefacts"])

Name = Annotated[str, Path(max_length=80, examples=["frame.onnx"])]
_RangeHeader = Annotated[
    str | None, Header(max_length=1000, description="One part, as bytes=1000- or bytes=-500.")
]
_IfRange = Annotated[
    str | None, Header(max_length=1000, description="The ETag: else all of it, if it has changed.")
]
_IfNoneMatch = Annotated[str | None, Header(max_length=1000)]
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_PART = dict.fromkeys(("application/octet-stream", "application/json", "text/x-python"), _BYTES)
_WHOLE = {**_PART, "application/json": {"schema": {"type": "object"}}}
_FILE: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        200: {"description": "All of it", "content": _WHOLE},
        206: {"description": "The part that was asked for", "content": _PART},
        304: {"description": "It is as it was."},
        **responses("range_not_satisfiable"),
    },
}


class ArtefactPublic(BaseModel):
    """A file of a trial."""

    name: str = Field(examples=["frame.onnx"])
    bytes: int
    sha256: str = Field(description="Also its ETag.")
    media_type: str
    about: str
    links: dict[str, str]


class Artefacts(BaseModel):
    """The files of a trial."""

    items: list[ArtefactPublic]
    exported: bool = Field(description="Whether the ONNX files are there; POST .../export.")
    note: str = Field(description="What is not there, and why; or empty.")


def _trial(service: Service, caller: Caller, job_id: str, number: int) -> artefacts.Trial:
    with reading(service.engine) as connection:
        seen_search(connection, caller, job_id)
        return artefacts.trial(connection, job_id, number)


def _listed(request: Request, service: Service, trial: artefacts.Trial) -> Artefacts:
    base = request.app.url_path_for(
        "list_artefacts", job_id=trial.job_id, number=str(trial.line.number)
    )
    items = [
        ArtefactPublic(**vars(one), links={"self": f"{base}/{one.name}"})
        for one in artefacts.listed(trial, service.checksums)
    ]
    exported, note = artefacts.is_exported(trial), artefacts.note(trial)
    return Artefacts(items=items, exported=exported, note=note)


@router.get("/artefacts", response_model=Artefacts)
def list_artefacts(
    job_id: JobId, number: TrialNumber, request: Request, service: ServiceDep, caller: Viewer
) -> Artefacts:
    """What there is of a trial: its tracker, its report and, once exported, its ONNX files."""
    return _listed(request, service, _trial(service, caller, job_id, number))


@router.get("/artefacts/{name}", **_FILE)
def download_artefact(
    job_id: JobId,
    number: TrialNumber,
    name: Name,
    service: ServiceDep,
    caller: Viewer,
    range: _RangeHeader = None,
    if_range: _IfRange = None,
    if_none_match: _IfNoneMatch = None,
) -> Response:
    """One of them, or the part that Range asks for. A download that broke off goes on with
    `Range: bytes=N-` and `If-Range: ETAG`."""
    asked = Conditions(range=range, if_range=if_range, if_none_match=if_none_match)
    return _file(service, caller, job_id, number, name, asked, body=True)


@router.head("/artefacts/{name}", **_FILE)
def describe_artefact(
    job_id: JobId,
    number: TrialNumber,
    name: Name,
    service: ServiceDep,
    caller: Viewer,
    if_none_match: _IfNoneMatch = None,
) -> Response:
    """Its size and checksum."""
    asked = Conditions(if_none_match=if_none_match)  # of HEAD, no part can be asked for
    return _file(service, caller, job_id, number, name, asked, body=False)


def _file(
    service: Service,
    caller: Caller,
    job_id: str,
    number: int,
    name: str,
    asked: Conditions,
    *,
    body: bool,
) -> Response:
    trial = _trial(service, caller, job_id, number)
    found = artefacts.described(trial, name, service.checksums)
    return file_answer(found, partial(artefacts.opened, trial, name), asked, body=body)


@router.post(
    "/export",
    response_model=Artefacts,
    responses=responses("conflict", "in_flight"),
)
def export_trial(
    job_id: JobId, number: TrialNumber, request: Request, service: ServiceDep, caller: Submitter
) -> Artefacts:
    """Make template.onnx and frame.onnx, each compared with the network before it is kept, and
    what tracks with them. It takes up to two minutes; a trial that is exported already stays as
    it is."""
    trial = _trial(service, caller, job_id, number)
    if not artefacts.is_exported(trial):
        artefacts.export(trial, service.errands)
        with writing(service.engine) as connection:
            audit.record(connection, caller.who, "export", f"job {job_id}", trial=number)
    return _listed(request, service, trial)
