"""Somebody's weights from the network to a tracker's folder, which is there whole or not at all.

The bytes are a stranger's: they are counted and summed while they come, and are read in a process
that may have so much memory and so much time, and that ends afterwards. Nothing in them is run.
"""

import hashlib
import json
import secrets
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from search_spaces import ParetrackError
from service import audit, teachers
from service._upserts import put_if_absent
from service.beside import Errands, Refused, without
from service.callers import Caller
from service.content_digest import Expected
from service.database import database_now, reading, writing
from service.errors import Fault, Problem
from service.settings import Settings
from service.teachers import ABOUT, TEACHERS, StoredTeacher

CONVERT_SECONDS = 110.0  # less than a client waits
# Of the process that reads a file. Torch alone has 200 MB; with the published OSTrack-256 (370 MB)
# it has less than BASE_MEMORY and the file once.
BASE_MEMORY, TIMES_THE_FILE = 1 << 30, 4
AT_ONCE = 16  # uploads that are on their way, over all processes
_UNFINISHED = ".incoming-"
_FORGOTTEN = 3600.0  # seconds without a byte after which an upload is nobody's


@dataclass(frozen=True, kw_only=True)
class Described:
    """What the uploader says that it is; without a preset or an architecture the file must say."""

    preset: str | None = None
    family: str | None = None
    architecture: Mapping[str, Any] | None = None
    note: str = ""


class Incoming:
    """A file that is on its way, in a folder that is gone when it ends."""

    def __init__(self, folder: Path, room: int) -> None:
        """``room``: bytes that are announced."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _tidy(folder)
            if shutil.disk_usage(folder).free < 3 * room:
                raise _no_room("it would fill the disk")
            self.folder = folder / f"{_UNFINISHED}{secrets.token_hex(8)}"
            self.folder.mkdir(mode=0o700)
            self._path = self.folder / "upload"
            self._file = self._path.open("wb")
        except OSError as error:
            raise _no_room(error.strerror or str(error)) from error
        self.bytes, self._start = 0, b""
        self._sha256, self._sha512 = hashlib.sha256(), hashlib.sha512()

    def write(self, chunk: bytes) -> None:
        self._start = (self._start + chunk)[:9] if len(self._start) < 9 else self._start
        self.bytes += len(chunk)
        self._sha256.update(chunk)
        self._sha512.update(chunk)
        try:
            self._file.write(chunk)
        except OSError as error:
            raise _no_room(error.strerror or str(error)) from error

    def whole(self, announced: int | None, expected: Expected) -> Path:
        """The file, once all of it is there and is what was sent."""
        if announced is not None and announced != self.bytes:
            raise Problem("malformed", f"{announced} bytes were announced, {self.bytes} came")
        if self.bytes == 0:
            raise Problem("invalid", "the body is empty; send the bytes of the weights' file")
        expected.check({"sha-256": self._sha256.digest(), "sha-512": self._sha512.digest()})
        # The ending decides who reads it, and so who says what is wrong with it.
        ending = ".safetensors" if self._start[8:9] == b"{" else ".pth"
        try:
            self._file.close()
            return self._path.rename(self._path.with_suffix(ending))
        except OSError as error:
            raise _no_room(error.strerror or str(error)) from error

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def remove(self) -> None:
        """Whatever is left of it."""
        with suppress(OSError):  # what could not be written then cannot be written now
            self._file.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _tidy(folder: Path) -> None:
    """Drop what nobody works on any more: its process was killed, or its caller is silent."""
    on_their_way = 0
    for path in folder.glob(f"{_UNFINISHED}*"):
        with suppress(FileNotFoundError):  # it has just ended
            touched = max(each.stat().st_mtime for each in (path, *path.iterdir()))
            if touched >= time.time() - _FORGOTTEN:
                on_their_way += 1
            else:
                shutil.rmtree(path, ignore_errors=True)
    if on_their_way >= AT_ONCE:
        detail = f"{on_their_way} trackers are being uploaded; try again when some have come"
        raise Problem("unavailable", detail, headers={"Retry-After": "60"})


def _no_room(why: str) -> Problem:
    detail = f"the tracker cannot be kept here now ({why}); an operator must make room"
    return Problem("unavailable", detail, headers={"Retry-After": "60"})


def begin(engine: Engine, settings: Settings, caller: Caller, name: str, room: int) -> Incoming:
    """Make ready for a file, if it may be kept under this name."""
    with reading(engine) as connection:
        teachers.check_new(connection, caller, name)
    return Incoming(teachers.folder_in(settings), room)


def keep(
    engine: Engine,
    settings: Settings,
    errands: Errands,
    caller: Caller,
    name: str,
    file: Path,
    incoming: Incoming,
    described: Described,
) -> tuple[StoredTeacher, bool]:
    """Make a tracker of a file that is there, and a row; the tracker, and whether it is new."""
    with reading(engine) as connection:
        before = teachers.check_new(connection, caller, name)
    if before is not None:
        return _the_same(before, incoming), False
    family = _converted(errands, name, file, incoming, described)
    row = {
        "name": name,
        "owner": caller.owner,
        "project": caller.project,
        "family": family,
        "sha256": incoming.sha256,
        "bytes": incoming.bytes,
        "folder": secrets.token_hex(8),
        "note": described.note,
        "archived_at": None,
    }
    with writing(engine) as connection:
        put_if_absent(connection, TEACHERS, {**row, "created_at": database_now(connection)})
        stored = teachers.find(connection, name)
        assert stored is not None
        if stored.folder != row["folder"]:  # somebody was quicker
            teachers.check_new(connection, caller, name)
            return _the_same(stored, incoming), False
        audit.record(
            connection, caller.who, "upload", f"tracker {name}",
            bytes=incoming.bytes, sha256=incoming.sha256,
        )  # fmt: skip
        (incoming.folder / "tracker").rename(teachers.folder_in(settings) / stored.folder)
    return stored, True


def _the_same(before: StoredTeacher, incoming: Incoming) -> StoredTeacher:
    """What was uploaded earlier, if this is it once more."""
    if before.sha256 == incoming.sha256:
        return before
    detail = f"you have another tracker named {before.name!r}; a name is given once, choose another"
    raise Problem("conflict", detail, [Fault(detail, parameter="name")])


def _converted(
    errands: Errands, name: str, file: Path, incoming: Incoming, described: Described
) -> str:
    """The family of the tracker that now lies in ``incoming.folder / "tracker"``."""
    words = {k: v for k, v in asdict(described).items() if k != "note"}
    try:
        family = errands.ask(
            f"upload {name}",
            "convert",
            seconds=CONVERT_SECONDS,
            memory=BASE_MEMORY + TIMES_THE_FILE * incoming.bytes,
            file=str(file),
            into=str(incoming.folder / "tracker"),
            **words,
        )
    except Refused as error:
        raise Problem("invalid", str(error)) from error
    if family is None:
        detail = "reading the file took more time or memory than it may; is it a checkpoint?"
        raise Problem("invalid", detail)
    return str(family)


# --- there --------------------------------------------------------------------------------------


def convert(
    file: str,
    into: str,
    preset: str | None,
    family: str | None,
    architecture: Mapping[str, Any] | None,
) -> str:
    """What the process beside the API does: as ``paretrack checkpoint import``."""
    from workers.checkpoints import import_checkpoint, save_tracker
    from workers.cost import cost_of
    from workers.metrics import METRICS, value

    path = Path(file)
    try:
        chosen = _architecture(path, preset, architecture)
        if family not in (None, chosen.family):
            raise ParetrackError(f"family: it is of the family {chosen.family}, not of {family}")
        network = import_checkpoint(path, chosen)
        counted = {"cost": asdict(cost_of(chosen))}
    except ParetrackError as error:
        raise Refused(without(path, error)) from error
    except (RuntimeError, OverflowError) as error:  # torch's words for what is too large
        first = str(error).partition("\n")[0][:300]
        raise Refused(f"no tracker can be made of this file: {first}") from error
    save_tracker(Path(into), chosen, network)
    figures = {name: value(counted, asked) for name, asked in METRICS.items()}
    cost = {name: figure for name, figure in figures.items() if figure is not None}
    (Path(into) / ABOUT).write_text(json.dumps({"cost": cost}), encoding="utf-8")
    return str(chosen.family)


def _architecture(path: Path, preset: str | None, given: Mapping[str, Any] | None) -> Any:
    from search_spaces import architecture_from_json, load, names
    from workers.checkpoints import noted_architecture

    presets = {name: a for known in names() for name, a in load(known).PRESETS.items()}
    if given is not None:
        return architecture_from_json(given)
    if preset is not None:
        if preset not in presets:
            raise ParetrackError(f"preset: no {preset!r}; choose one of {', '.join(presets)}")
        return presets[preset]
    found = noted_architecture(path) if path.suffix == ".safetensors" else None
    if found is None:
        raise ParetrackError(
            "the file does not say which network its weights belong to, as those of Paretrack "
            f"do; give ?preset= (one of {', '.join(presets)}) or ?architecture="
        )
    return found
