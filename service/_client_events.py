"""Events of a job as they happen, over as many connections as it takes (server-sent events)."""

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from service._client_errors import NO_ANSWER, NOT_PARETRACK, WAITED, ClientError
from service._client_transport import Transport, is_passing
from service._client_values import Event, read

STREAM = "text/event-stream"
SILENCE = 45.0  # seconds without even a heartbeat, which comes every 15: the connection is dead
PATIENCE = 600.0  # seconds that a service may be away, as when it is brought up anew
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0  # seconds between two connections


@dataclass(frozen=True)
class Frame:
    """One message of a stream; without a kind it is a sign of life."""

    kind: str
    data: str


def follow(
    transport: Transport,
    path: str,
    after: int = 0,
    *,
    patience: float = PATIENCE,
    deadline: float | None = None,
    lost: Callable[[ClientError], None] = lambda error: None,
) -> Iterator[Event]:
    """Every event after a number, each once, until the job has ended. ``deadline``: of the clock
    ``time.monotonic``; ``lost`` hears of every connection that could not be made, or broke."""
    heard, attempt = time.monotonic(), 0
    while True:
        error: ClientError | None = None
        try:
            for frame in _connected(transport, path, after, deadline):
                heard, attempt = time.monotonic(), 0
                if frame.kind == "end":
                    return
                if frame.kind:
                    event = _event(frame)
                    if event.number > after:
                        after = event.number
                        yield event
                _check(deadline)
        except ClientError as problem:
            if not is_passing(problem):
                raise
            error = problem
            lost(error)
        error = error or ClientError(NO_ANSWER, f"{transport.address} ended the stream of events")
        _check(deadline)
        if time.monotonic() - heard > patience:
            raise error
        wait = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempt, 10)) * random.uniform(0.5, 1.0)
        wait = max(wait, error.after or 0.0)
        if deadline is not None:
            wait = min(wait, max(0.0, deadline - time.monotonic()))
        transport.sleep(wait)
        attempt += 1


def _connected(
    transport: Transport, path: str, after: int, deadline: float | None
) -> Iterator[Frame]:
    """The messages of one connection."""
    headers = {"Accept": STREAM, "Last-Event-ID": str(after), "Cache-Control": "no-store"}
    left = SILENCE if deadline is None else max(0.05, min(SILENCE, deadline - time.monotonic()))
    with transport.stream(path, headers=headers, read=left) as response:
        if not response.headers.get("content-type", "").startswith(STREAM):
            raise ClientError(
                NOT_PARETRACK,
                f"{transport.address} answers with no stream of events: does whatever stands "
                "before it let one through?",
                response.status_code,
            )
        yield from frames(response.iter_bytes())


def frames(chunks: Iterable[bytes]) -> Iterator[Frame]:
    """The messages in a stream, however it was cut; one that is not complete is left out."""
    kind, data, seen = "", list[str](), False
    for line in _lines(chunks):
        if line.startswith(":"):
            yield Frame("", "")
        elif line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                kind, seen = value, True
            elif name == "data":
                data.append(value)
                seen = True
        elif seen:
            yield Frame(kind or "message", "\n".join(data))
            kind, data, seen = "", [], False


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """A line ends with LF, CR LF or CR, and with nothing else that Unicode knows."""
    rest = b""
    for chunk in chunks:
        rest += chunk
        # A CR at the end may be half of a CR LF.
        whole, held = (rest[:-1], b"\r") if rest.endswith(b"\r") else (rest, b"")
        *lines, rest = whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        rest += held
        yield from (line.decode("utf-8", "replace") for line in lines)


def _event(frame: Frame) -> Event:
    try:
        return read(Event, json.loads(frame.data))
    except ValueError as error:
        raise ClientError(NOT_PARETRACK, f"an event is not JSON: {frame.data[:100]!r}") from error


def _check(deadline: float | None) -> None:
    if deadline is not None and time.monotonic() >= deadline:
        raise ClientError(WAITED, "it has not ended in the time that was given; it goes on")
