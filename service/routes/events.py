"""What happens to a job: as a stream of server-sent events, or as a page of JSON."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from datetime import datetime
from functools import partial
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field, JsonValue
from starlette.types import Message, Send

from service import jobs
from service.callers import Caller
from service.database import DatabaseError, reading
from service.errors import Fault, Problem
from service.event_feed import Ended, Feed
from service.jobs import ENDED, JobEvent, StoredJob
from service.routes._deps import ServiceDep, Viewer
from service.routes._headers import negotiated
from service.routes._pages import Limit
from service.routes.jobs import JobId, seen_job
from service.routes.problems import responses
from service.serving import Service

router = APIRouter(prefix="/jobs/{job_id}/events", tags=["events"])

JSON, STREAM = "application/json", "text/event-stream"
RETRY_MS = 2000  # after which a browser comes back
_HIGHEST = 2**31 - 1  # number of an event that a database can hold
_log = logging.getLogger("paretrack.events")


class EventPublic(BaseModel):
    """Something that happened to a job."""

    number: int = Field(description="1, 2, 3 ... in the order in which it happened.")
    at: datetime
    kind: str = Field(examples=["state", "trial_asked", "trial_rung", "trial_finished", "front"])
    data: dict[str, JsonValue]


class EventsPublic(BaseModel):
    """Some of what happened to a job."""

    items: list[EventPublic]
    next: int = Field(description="Ask for what comes `after` this number.")
    last: int = Field(description="The number of the job's last event so far.")
    ended: bool = Field(description="The job has ended, and this page goes up to its last event.")


_EITHER: Mapping[int | str, dict[str, Any]] = {
    200: {
        "model": EventsPublic,
        "description": "A stream that ends with the job (server-sent events: `id` is the event's "
        "number, `event` its kind, `data` the event as in JSON; at last `event: end`); or, with "
        "`once` or `Accept: application/json`, a page of what has happened so far.",
        "content": {
            STREAM: {
                "schema": {"type": "string"},
                "example": "retry: 2000\n\nid: 7\nevent: trial_asked\n"
                'data: {"number":7,"at":"2026-01-01T00:00:00+00:00","kind":"trial_asked",'
                '"data":{"number":0}}\n\n',
            }
        },
    }
}


@router.get("", response_model=None, responses={**_EITHER, **responses("not_acceptable")})
async def follow_events(
    job_id: JobId,
    request: Request,
    service: ServiceDep,
    caller: Viewer,
    after: Annotated[int, Query(ge=0, le=_HIGHEST, description="Only what came later.")] = 0,
    once: Annotated[bool, Query(description="A page instead of a stream.")] = False,
    limit: Limit = 500,
    last_event_id: Annotated[
        str | None, Header(max_length=20, description="As `after`, and counts before it.")
    ] = None,
    accept: Annotated[str | None, Header(max_length=1000)] = None,
) -> Any:
    """What happens to a job. A stream that breaks goes on where it was: browsers say by
    themselves, in Last-Event-ID, what they have."""
    after = after if last_event_id is None else _number(last_event_id)
    kind = JSON if once else negotiated(accept, (STREAM, JSON))
    if kind == JSON:
        return await anyio.to_thread.run_sync(_page, service, caller, job_id, after, limit)
    job = await anyio.to_thread.run_sync(_seen, service, caller, job_id)
    service.feed.check_room()
    allowed = partial(_may_follow, service, request.headers.get("authorization"), job_id)
    # Of a number that is yet to come, everything would be kept back.
    return _Stream(_frames(service.feed, job_id, min(after, job.events), allowed), service)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= _HIGHEST):
        detail = f"Last-Event-ID: expected the number of an event, got {text!r}"
        raise Problem("invalid", detail, [Fault(detail, parameter="Last-Event-ID")])
    return int(text)


def _seen(service: Service, caller: Caller, job_id: str) -> StoredJob:
    with reading(service.engine) as connection:
        return seen_job(connection, caller, job_id)


def _page(service: Service, caller: Caller, job_id: str, after: int, limit: int) -> JSONResponse:
    with reading(service.engine) as connection:
        job = seen_job(connection, caller, job_id)
        found = jobs.read_events(connection, job_id, after, limit)
    last = found[-1].number if found else min(after, job.events)
    page = {
        "items": [_said(event) for event in found],
        "next": last,
        "last": job.events,
        "ended": job.state in ENDED and last == job.events,
    }
    return JSONResponse(page)


def _said(event: JobEvent) -> dict[str, Any]:
    at = event.at.isoformat()
    return {"number": event.number, "at": at, "kind": event.kind, "data": event.data}


# --- the stream --------------------------------------------------------------------------------


class _Stream(StreamingResponse):
    """Gives up a reader who does not take what is sent, and leaves nothing behind."""

    def __init__(self, frames: AsyncGenerator[str], service: Service) -> None:
        # Proxies such as nginx must not collect it.
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(frames, headers=headers, media_type=STREAM)
        self._frames, self._patience = frames, service.pace.patience

    async def stream_response(self, send: Send) -> None:
        async def timely(message: Message) -> None:
            async with asyncio.timeout(self._patience):
                await send(message)

        async with aclosing(self._frames):
            try:
                await super().stream_response(timely)
            except TimeoutError:  # it comes back with the last number that it has
                _log.info("a follower does not read; it is cut off")


async def _frames(
    feed: Feed, job_id: str, after: int, allowed: Callable[[], Awaitable[bool]]
) -> AsyncGenerator[str]:
    yield f"retry: {RETRY_MS}\n\n"
    checked = time.monotonic()
    async with aclosing(feed.follow(job_id, after)) as told:
        async for news in told:
            if time.monotonic() - checked >= feed.pace.recheck:
                if not await allowed():
                    return
                checked = time.monotonic()
            if news is None:
                yield ": nothing new\n\n"
            elif isinstance(news, Ended):
                yield f"event: end\ndata: {json.dumps({'state': news.state})}\n\n"
            else:
                yield "".join(_frame(event) for event in news)


def _frame(event: JobEvent) -> str:
    data = json.dumps(_said(event), separators=(",", ":"))
    return f"id: {event.number}\nevent: {event.kind}\ndata: {data}\n\n"


async def _may_follow(service: Service, authorization: str | None, job_id: str) -> bool:
    """Whether who began to follow may still: tokens are revoked and end."""

    def look() -> None:
        _seen(service, service.caller(authorization), job_id)

    try:
        await anyio.to_thread.run_sync(look)
    except Problem:
        return False
    except DatabaseError:  # it proves nothing
        return True
    return True
