"""Files as answers: whole, or the part that was asked for (RFC 9110, section 14)."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO

from fastapi import Response
from fastapi.responses import StreamingResponse

from service.artefacts import Artefact
from service.errors import Fault, Problem
from service.routes._headers import names_version

AT_ONCE = 1 << 18  # bytes
_ONE_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*")

Open = Callable[[], AbstractContextManager[IO[bytes] | None]]


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a request says about the part that it wants."""

    range: str | None = None
    if_range: str | None = None
    if_none_match: str | None = None


def part(asked: Conditions, etag: str, size: int) -> tuple[int, int] | None:
    """First byte and the one behind the last; None: all of it. Several parts at once, and what
    cannot be read, are as if nothing was said: that is the server's to choose."""
    if asked.range is None or (asked.if_range is not None and asked.if_range.strip() != etag):
        return None
    read = _ONE_RANGE.fullmatch(asked.range.strip().lower())
    if read is None or read.group(1) == read.group(2) == "":
        return None
    first, last = read.groups()
    if first == "":
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), size if last == "" else min(size, int(last) + 1)
        if last != "" and int(last) < start:
            return None
    if start >= size:
        detail = f"it has {size} bytes, and none at {asked.range[:60]!r}"
        whole = {"Content-Range": f"bytes */{size}"}
        raise Problem(
            "range_not_satisfiable", detail, [Fault(detail, parameter="Range")], headers=whole
        )
    return start, end


def file_answer(artefact: Artefact, opened: Open, asked: Conditions, *, body: bool) -> Response:
    """The file, or a part of it, or that it is as it was. ``body``: False for HEAD."""
    headers = {
        "ETag": artefact.etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Repr-Digest": artefact.digest,
        "Content-Disposition": f'attachment; filename="{artefact.name}"',
    }
    if names_version(asked.if_none_match, artefact.etag):
        return Response(status_code=304, headers=headers)
    some = part(asked, artefact.etag, artefact.bytes)
    start, end = some or (0, artefact.bytes)
    headers["Content-Length"] = str(end - start)
    if some is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{artefact.bytes}"
    status = 200 if some is None else 206
    if not body:
        return Response(status_code=status, headers=headers, media_type=artefact.media_type)
    chunks = _chunks(opened, start, end)
    return StreamingResponse(chunks, status, headers, media_type=artefact.media_type)


def _chunks(opened: Open, start: int, end: int) -> Iterator[bytes]:
    """A file that is gone or shorter by now breaks the answer off: its length was said before."""
    with opened() as file:
        if file is None:
            return
        file.seek(start)
        while start < end and (chunk := file.read(min(AT_ONCE, end - start))):
            start += len(chunk)
            yield chunk
