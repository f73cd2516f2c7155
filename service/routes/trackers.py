"""Trackers to start from: families with their presets, teachers that ship, teachers uploaded."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import BaseModel, Field

from service import catalogue, teacher_uploads, teachers
from service.callers import Caller
from service.content_digest import Expected, expected
from service.database import reading, writing
from service.errors import Fault, Problem
from service.json_text import check_json, storable_text
from service.routes._deps import ServiceDep, Submitter, Viewer
from service.routes._pages import Cursor, Limit, from_cursor, to_cursor
from service.routes.problems import responses
from service.serving import Service
from service.teacher_uploads import Described, Incoming
from service.teachers import StoredTeacher
from workers.teachers import find as find_shipped

router = APIRouter(prefix="/trackers", tags=["trackers"])

BINARY = "application/octet-stream"
AT_ONCE = 1 << 20  # bytes that are written together
Name = Annotated[str, Path(pattern=teachers.PATTERN, max_length=64, examples=["my-ostrack"])]


class FamilyPublic(BaseModel):
    """A tracker family."""

    name: str = Field(examples=["ostrack"])
    about: str
    presets: list[str] = Field(description="Networks of it that are known by name.")


class TrackerPublic(BaseModel):
    """A trained tracker that a job may name as its teacher."""

    name: str
    kind: Literal["shipped", "uploaded"]
    family: str
    owner: str | None = Field(description="null: it ships with Paretrack.")
    project: str | None
    note: str = Field(description="In the words of whoever made or uploaded it.")
    weights_bytes: int
    sha256: str | None = Field(description="Of what was uploaded.")
    accuracy: dict[str, float] = Field(description="By metric, where its files say so.")
    cost: dict[str, float] = Field(description="By metric, where its files say so.")
    created_at: datetime | None
    archived_at: datetime | None
    links: dict[str, str]


class Trackers(BaseModel):
    """What a job can start from. The tracker of a trial can be, too: name it JOB/NUMBER."""

    families: list[FamilyPublic]
    items: list[TrackerPublic] = Field(description="Those that ship first, then by name.")
    next: str | None = Field(description="The cursor of the next page; null: this is the last.")


def _shipped(name: str, request: Request) -> TrackerPublic:
    folder = find_shipped(name)
    known = teachers.known(folder)
    return TrackerPublic(
        name=name,
        kind="shipped",
        **vars(known),
        owner=None,
        project=None,
        note=teachers.origin(folder),
        sha256=None,
        created_at=None,
        archived_at=None,
        links=_links(name, known.family, request),
    )


def _uploaded(found: StoredTeacher, service: Service, request: Request) -> TrackerPublic:
    own = {k: v for k, v in vars(found).items() if k not in ("folder", "bytes", "family")}
    known = vars(teachers.known(teachers.folder_in(service.settings) / found.folder))
    links = _links(found.name, found.family, request)
    return TrackerPublic(kind="uploaded", **{**known, "family": found.family}, **own, links=links)


def _links(name: str, family: str, request: Request) -> dict[str, str]:
    at = request.app.url_path_for
    levers = at("list_levers", family=family)
    return {
        "self": str(at("read_tracker", name=name)),
        "levers": f"{levers}?teacher={name}",
    }


@router.get("", response_model=Trackers)
def list_trackers(
    request: Request,
    service: ServiceDep,
    caller: Viewer,
    archived: bool = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Trackers:
    """Families and their presets, the teachers that ship, and those uploaded that you may see."""
    after = "" if cursor is None else str(from_cursor(cursor, str)[0])
    if not storable_text(after):
        detail = "cursor: not one that this list has handed out; begin without one"
        raise Problem("invalid", detail, [Fault(detail, parameter="cursor")])
    with reading(service.engine) as connection:
        found = teachers.page(connection, caller, archived=archived, after=after, limit=limit + 1)
    last = to_cursor(found[limit - 1].name) if len(found) > limit else None
    shipped = [] if cursor else [_shipped(name, request) for name in teachers.shipped_names()]
    return Trackers(
        families=[FamilyPublic(**_words(one)) for one in catalogue.families()],
        items=[*shipped, *(_uploaded(one, service, request) for one in found[:limit])],
        next=last,
    )


def _words(family: catalogue.Family) -> dict[str, Any]:
    return {**vars(family), "presets": list(family.presets)}


@router.get("/{name}", response_model=TrackerPublic)
def read_tracker(
    name: Name, request: Request, service: ServiceDep, caller: Viewer
) -> TrackerPublic:
    """One of them."""
    if name in teachers.shipped_names():
        return _shipped(name, request)
    with reading(service.engine) as connection:
        found = teachers.seen(connection, caller, name)
    return _uploaded(found, service, request)


@router.delete("/{name}", response_model=TrackerPublic, responses=responses("conflict"))
def archive_tracker(
    name: Name, request: Request, service: ServiceDep, caller: Submitter
) -> TrackerPublic:
    """No new job may name it, and its name stays taken. Jobs that have it already go on."""
    if name in teachers.shipped_names():
        raise Problem("conflict", f"{name} ships with Paretrack; it stays")
    with writing(service.engine) as connection:
        found = teachers.archive(connection, caller, name)
    return _uploaded(found, service, request)


# --- uploading ----------------------------------------------------------------------------------


@router.put(
    "/{name}",
    status_code=201,
    response_model=TrackerPublic,
    responses={
        200: {"model": TrackerPublic, "description": "You have uploaded the same before"},
        **responses("conflict", "in_flight", "unsupported_media_type"),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The file itself.",
            "content": {BINARY: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def upload_tracker(
    name: Name,
    request: Request,
    response: Response,
    service: ServiceDep,
    caller: Submitter,
    preset: Annotated[
        str | None, Query(max_length=64, description="The network that the weights belong to.")
    ] = None,
    family: Annotated[
        str | None, Query(max_length=64, description="Refuse another; or leave it out.")
    ] = None,
    architecture: Annotated[
        str | None,
        Query(
            max_length=20_000,
            description="Instead of a preset: an architecture.json. A model.safetensors of "
            "Paretrack needs neither.",
        ),
    ] = None,
    note: Annotated[str, Query(max_length=500, description="For people.")] = "",
    content_digest: Annotated[
        str | None, Header(max_length=1000, description="sha-256=:BASE64: (RFC 9530).")
    ] = None,
) -> TrackerPublic:
    """Upload weights: safetensors, or a .pth of PyTorch, of which nothing is ever executed. A name
    is given once; the same file again is the same tracker."""
    described = _described(preset, family, architecture, note)
    digests, room = expected(content_digest), _announced(request)
    _check_kind(request)
    incoming = await run_sync(
        teacher_uploads.begin, service.engine, service.settings, caller, name, room or 0
    )
    try:
        await _receive(request, incoming)
        stored, is_new = await run_sync(
            _kept, service, caller, name, incoming, described, room, digests
        )
    finally:
        with anyio.CancelScope(shield=True):
            await run_sync(incoming.remove)
    shown = await run_sync(_uploaded, stored, service, request)
    response.status_code = 201 if is_new else 200
    response.headers["Location"] = shown.links["self"]
    return shown


async def _receive(request: Request, incoming: Incoming) -> None:
    """All of the body to the disk, a piece at a time."""
    piece = bytearray()
    async for chunk in request.stream():
        piece += chunk
        if len(piece) >= AT_ONCE:
            await run_sync(incoming.write, bytes(piece))
            piece.clear()
    if piece:
        await run_sync(incoming.write, bytes(piece))


def _kept(
    service: Service,
    caller: Caller,
    name: str,
    incoming: Incoming,
    described: Described,
    announced: int | None,
    digests: Expected,
) -> tuple[StoredTeacher, bool]:
    file = incoming.whole(announced, digests)
    return teacher_uploads.keep(
        service.engine, service.settings, service.errands, caller, name, file, incoming, described
    )


def _described(
    preset: str | None, family: str | None, architecture: str | None, note: str
) -> Described:
    presets = [name for one in catalogue.families() for name in one.presets]
    families = [one.name for one in catalogue.families()]
    for what, said, known in (("preset", preset, presets), ("family", family, families)):
        if said is not None and said not in known:
            raise _wrong(what, f"no {said!r}; choose one of {', '.join(known)}")
    if preset is not None and architecture is not None:
        raise _wrong("architecture", "give this or a preset, not both")
    return Described(
        preset=preset, family=family, architecture=_object(architecture), note=note.strip()
    )


def _object(text: str | None) -> Mapping[str, Any] | None:
    if text is None:
        return None
    try:
        check_json(text.encode())
    except Problem as problem:
        raise _wrong("architecture", problem.detail) from problem
    found = json.loads(text)
    if not isinstance(found, dict):
        raise _wrong("architecture", f"expected an object, got {type(found).__name__}")
    return found


def _wrong(parameter: str, why: str) -> Problem:
    detail = f"{parameter}: {why}"
    return Problem("invalid", detail, [Fault(detail, parameter=parameter)])


def _check_kind(request: Request) -> None:
    kind = request.headers.get("content-type", BINARY).partition(";")[0].strip().lower()
    if kind != BINARY:
        detail = f"send the bytes of the file as {BINARY}, got {kind[:80]!r}"
        raise Problem("unsupported_media_type", detail)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem("unsupported_media_type", "send the bytes as they are, not compressed")


def _announced(request: Request) -> int | None:
    """The length that was said, where one was; that it is a number is looked at before."""
    said = request.headers.get("content-length")
    return None if said is None else int(said)
