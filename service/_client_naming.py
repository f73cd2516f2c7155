"""Which job is meant: its id, or a name that only one has."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import islice

from service._client_errors import ClientError
from service._client_job import pages
from service._client_transport import Transport
from service._client_values import Job, read

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,79}")
_AT_ONCE = 100  # jobs on a page
_LOOKED_AT = 200  # of the newest jobs, for a suggestion
_SHOWN = 8


def find_job(transport: Transport, name: str) -> Job:
    """The job with this id, or the only one that has this name and is not archived."""
    if _ID.fullmatch(name):
        try:
            return read(Job, transport.get(f"/jobs/{name}"))
        except ClientError as error:
            if error.code != "not_found":
                raise
    named = [job for job in _listed(transport, text=name[:200]) if job.name == name]
    if len(named) == 1:
        return named[0]
    if named:
        raise ClientError("ambiguous", _several(name, named))
    raise ClientError("not_found", _unknown(transport, name), 404)


def _listed(transport: Transport, **words: str) -> Iterator[Job]:
    return (read(Job, item) for item in pages(transport, "/jobs", {"limit": _AT_ONCE, **words}))


def _several(name: str, named: list[Job]) -> str:
    lines = [f"- {job.id}, {job.state}, of {job.created_at:%Y-%m-%d %H:%M} UTC" for job in named]
    left = len(lines) - _SHOWN
    lines = [*lines[:_SHOWN], *([f"- and {left} more"] if left > 0 else [])]
    return "\n".join([f"{len(named)} jobs are named {name!r}; say which by its id:", *lines])


def _unknown(transport: Transport, name: str) -> str:
    there = list(islice(_listed(transport), _LOOKED_AT))
    words = list(dict.fromkeys([*(job.id for job in there), *(job.name for job in there)]))
    close = get_close_matches(name, words, n=3)
    like = f"did you mean {' or '.join(close)}? " if close else ""
    return (
        f"no job {name!r} at {transport.address.url} that you may see; {like}"
        "paretrack jobs lists what there is"
    )
