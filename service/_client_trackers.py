"""Trackers of a service that a search can start from, as a client sees and uploads them."""

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from search_spaces._errors import ParetrackError
from service._client_downloads import Progress
from service._client_errors import ClientError
from service._client_job import pages
from service._client_transport import Transport
from service._client_values import Figures, read
from service.document_file import read_object

AT_ONCE = 1 << 18  # bytes of a file that are read
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DESCRIPTION, _WEIGHTS = "architecture.json", ("weights.safetensors", "model.safetensors")
_LONGEST_HEADER = 100 << 20  # bytes, of any safetensors file


@dataclass(frozen=True, kw_only=True)
class Tracker:
    """A trained tracker that a job may name as its teacher, as it was when it was read."""

    name: str
    kind: str  # shipped or uploaded
    family: str
    owner: str | None  # None: it ships with Paretrack
    project: str | None
    note: str
    weights_bytes: int
    sha256: str | None  # of what was uploaded
    accuracy: Figures
    cost: Figures
    created_at: datetime | None
    archived_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Family:
    """A tracker family, and the networks of it that are known by name."""

    name: str
    about: str
    presets: tuple[str, ...]


class Trackers:
    """Those of a service: listed, found, uploaded."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def families(self) -> tuple[Family, ...]:
        """What there can be, and the presets that an upload may name."""
        found = self._transport.get("/trackers", limit=1)
        return tuple(read(Family, item) for item in found["families"])

    def list(self, *, archived: bool = False, page: int = 50) -> Iterator[Tracker]:
        """Those that ship, then those uploaded, by name; page by page as they are needed."""
        for item in pages(
            self._transport, "/trackers", {"archived": archived or None, "limit": page}
        ):
            yield read(Tracker, item)

    def get(self, name: str) -> Tracker:
        """The one of this name."""
        return self._asked("GET", name)

    def archive(self, name: str) -> Tracker:
        """No new job may start from it, and its name stays taken; jobs that have it go on."""
        return self._asked("DELETE", name)

    def upload(
        self,
        path: str | Path,
        name: str,
        *,
        preset: str | None = None,
        architecture: Mapping[str, Any] | None = None,
        family: str | None = None,
        note: str = "",
        progress: Progress = lambda done, total: None,
    ) -> Tracker:
        """Keep weights there as a tracker: a tracker's folder, a safetensors file, or a .pth. What
        is not of Paretrack must be told its network, a preset or an architecture. A name is given
        once; the same file under it once more is the same tracker, so this may be repeated."""
        if _NAME.fullmatch(name) is None:
            raise ClientError("invalid", f"name: {_EXPECTED}, got {name[:100]!r}")
        file, found = _weights(Path(path))
        if preset is None and architecture is None and found is not None and not _says_itself(file):
            architecture = read_object(found, "an architecture")
        words = {
            "preset": preset,
            "architecture": None if architecture is None else _described(architecture),
            "family": family,
            "note": note or None,
        }
        sent = _Sent(file, progress)
        try:
            response = self._transport.put(_path(name), sent.chunks, words, sent.headers)
        except ClientError as error:
            if error.code == "too_large":
                error.detail = f"{file} has {sent.size:,} bytes: {error.detail}"
            raise
        return read(Tracker, self._transport.document(response))

    def _asked(self, method: str, name: str) -> Tracker:
        """Done twice it is as done once."""
        try:
            if _NAME.fullmatch(name) is None:
                raise ClientError("not_found", f"{_EXPECTED}, got {name[:100]!r}", 404)
            response = self._transport.ask(method, _path(name), again=True)
        except ClientError as error:
            if error.code == "not_found":
                raise ClientError("not_found", self._unknown(name), 404) from error
            raise
        return read(Tracker, self._transport.document(response))

    def _unknown(self, name: str) -> str:
        close = get_close_matches(name, [one.name for one in self.list()], n=3)
        like = f"did you mean {' or '.join(close)}? " if close else ""
        return (
            f"no tracker {name[:100]!r} at {self._transport.address.url} that you may see; {like}"
            "paretrack tracker list shows what there is"
        )


_EXPECTED = (
    "expected up to 64 letters, digits, '.', '_' and '-' that begin with a letter or a digit"
)


def _path(name: str) -> str:
    return f"/trackers/{quote(name, safe='')}"


# --- what is sent -------------------------------------------------------------------------------


class _Sent:
    """A file as it is sent: summed first, then piece by piece, as often as it takes."""

    def __init__(self, file: Path, progress: Progress) -> None:
        self._file, self._progress = file, progress
        digest, self.size = hashlib.sha256(), 0
        for chunk in _read(file):
            digest.update(chunk)
            self.size += len(chunk)
        if self.size == 0:
            raise ParetrackError(f"{file} is empty; expected the weights of a tracker")
        said = base64.b64encode(digest.digest()).decode()
        self.headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(self.size),
            "Content-Digest": f"sha-256=:{said}:",
        }

    def chunks(self) -> Iterator[bytes]:
        """All of it, from the beginning."""
        done = 0
        self._progress(0, self.size)
        for chunk in _read(self._file):
            done += len(chunk)
            if done > self.size:
                break
            yield chunk
            self._progress(done, self.size)
        if done != self.size:
            raise ParetrackError(f"{self._file} has changed while it was sent; send it again")


def _read(file: Path) -> Iterator[bytes]:
    try:
        with file.open("rb") as opened:
            yield from iter(partial(opened.read, AT_ONCE), b"")
    except OSError as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: OSError) -> ParetrackError:
    return ParetrackError(f"{file} cannot be uploaded: {error.strerror or error}")


def _weights(path: Path) -> tuple[Path, Path | None]:
    """The file with the weights, and the description beside it if this is a tracker's folder."""
    if not path.exists():
        raise ParetrackError(f"{path} is not there; expected a file of weights, or a folder")
    if not path.is_dir():
        return path, None
    there = [path / name for name in _WEIGHTS if (path / name).is_file()]
    if not there:
        raise ParetrackError(
            f"{path} is no tracker's folder: expected {' or '.join(_WEIGHTS)} in it"
        )
    description = path / _DESCRIPTION
    return there[0], description if description.is_file() else None


def _says_itself(file: Path) -> bool:
    """Whether a safetensors file has our note of its architecture; the service reads that."""
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if length > min(_LONGEST_HEADER, os.fstat(opened.fileno()).st_size):
                return False
            header = json.loads(opened.read(length))
    except OSError as error:
        raise _unreadable(file, error) from error
    except (ValueError, RecursionError):
        return False  # no safetensors: the service says what is wrong with it
    notes = header.get("__metadata__") if isinstance(header, dict) else None
    return isinstance(notes, dict) and "architecture" in str(notes.get("paretrack", ""))


def _described(architecture: Mapping[str, Any]) -> str:
    """An architecture as it is sent beside a file."""
    try:
        return json.dumps(architecture, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ClientError("invalid", f"architecture: it must be JSON: {error}") from error
