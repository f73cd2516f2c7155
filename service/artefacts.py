"""The files of a trial that people take home: what there is, opened safely, exported on demand.

They lie in the folder of its tracker, on storage that the workers share; the report is made from
what was measured. Names come from a fixed table, and no symbolic link is followed.
"""

import base64
import hashlib
import json
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import IO

from sqlalchemy import Connection

from service.beside import Errands, Refused, without
from service.errors import Problem, not_found
from service.trial_reading import TrialLine, WholeTrial, read_trial

BUNDLE = "bundle"  # folder of what was exported, in that of the tracker
REPORT = "report.json"
EXPORT_SECONDS = 110.0  # less than a client waits
_BINARY, _JSON = "application/octet-stream", "application/json"
_KNOWN = 10_000  # checksums that a process keeps

# Name -> where it lies in the folder, its media type, what it is.
TABLE: Mapping[str, tuple[str, str, str]] = {
    "model.safetensors": ("weights.safetensors", _BINARY, "The weights."),
    "architecture.json": ("architecture.json", _JSON, "What the network is."),
    REPORT: ("", _JSON, "What was measured."),
    "template.onnx": (f"{BUNDLE}/template.onnx", _BINARY, "The network for the template."),
    "frame.onnx": (f"{BUNDLE}/frame.onnx", _BINARY, "The network for every frame."),
    # Where weights are larger than an ONNX file may be, they lie beside it.
    "template.onnx.data": (f"{BUNDLE}/template.onnx.data", _BINARY, "Weights of template.onnx."),
    "frame.onnx.data": (f"{BUNDLE}/frame.onnx.data", _BINARY, "Weights of frame.onnx."),
    "tracker.json": (f"{BUNDLE}/tracker.json", _JSON, "What track.py needs to know."),
    "track.py": (f"{BUNDLE}/track.py", "text/x-python", "Tracks with numpy and ONNX Runtime."),
}
EXPORTED = ("template.onnx", "frame.onnx", "tracker.json", "track.py")


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """A file of a trial."""

    name: str
    bytes: int
    sha256: str
    media_type: str
    about: str

    @property
    def etag(self) -> str:
        return f'"{self.sha256}"'

    @property
    def digest(self) -> str:
        """As RFC 9530 writes it."""
        return f"sha-256=:{base64.b64encode(bytes.fromhex(self.sha256)).decode()}:"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What the artefacts of a trial are made from."""

    job_id: str
    line: TrialLine
    report: bytes

    @property
    def folder(self) -> Path | None:
        return Path(self.line.tracker) if self.line.tracker else None


@dataclass
class Checksums:
    """SHA-256 of files, read again only when size or time have changed."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _known: OrderedDict[tuple[str, int, int], str] = field(default_factory=OrderedDict)

    def of(self, path: Path, file: BufferedReader) -> str:
        """That of an open file, which is at its start."""
        said = os.fstat(file.fileno())
        key = (str(path), said.st_size, said.st_mtime_ns)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        found = hashlib.file_digest(file, "sha256").hexdigest()
        with self._lock:
            self._known[key] = found
            while len(self._known) > _KNOWN:
                self._known.popitem(last=False)
        return found


def trial(connection: Connection, job_id: str, number: int) -> Trial:
    """A trial of a job that the caller may see."""
    found = read_trial(connection, job_id, number)
    if found is None:
        raise not_found("trial", str(number))
    return Trial(job_id=job_id, line=found.line, report=_report(job_id, found))


def _report(job_id: str, found: WholeTrial) -> bytes:
    """Everything that was measured, in one document."""
    line = found.line
    document = {
        "job": job_id,
        "trial": line.number,
        "state": line.state,
        "reason": line.reason,
        "flag": line.flag,
        "digest": line.digest,
        "params": line.params,
        "figures": line.figures,
        "ranges": line.ranges,
        "architecture": found.architecture,
        "measurement": found.measurement,
        "decisions": [
            {**asdict(one), "decided_at": one.decided_at.isoformat()} for one in found.decisions
        ],
    }
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def listed(trial: Trial, checksums: Checksums) -> list[Artefact]:
    """What there is of a trial, in the order of the table."""
    found = (_described(trial, name, checksums) for name in TABLE)
    return [one for one in found if one is not None]


def described(trial: Trial, name: str, checksums: Checksums) -> Artefact:
    """One file of a trial, or what is to be done to have it."""
    if name not in TABLE:
        detail = f"no artefact {name!r}; there may be {', '.join(TABLE)}"
        raise Problem("not_found", detail)
    found = _described(trial, name, checksums)
    if found is None:
        raise Problem("not_found", f"trial {trial.line.number} has no {name}: {_why(trial, name)}")
    return found


def _described(trial: Trial, name: str, checksums: Checksums) -> Artefact | None:
    place, kind, about = TABLE[name]
    if name == REPORT:
        size, sha256 = len(trial.report), hashlib.sha256(trial.report).hexdigest()
        return Artefact(name=name, bytes=size, sha256=sha256, media_type=kind, about=about)
    file = _file(trial, name)
    if file is None:
        return None
    with file:
        size = os.fstat(file.fileno()).st_size
        sha256 = checksums.of(Path(trial.line.tracker, place), file)
    return Artefact(name=name, bytes=size, sha256=sha256, media_type=kind, about=about)


def note(trial: Trial) -> str:
    """What is not there, and why; or nothing."""
    if _is_there(trial, "model.safetensors"):
        return "" if is_exported(trial) else _why(trial, "frame.onnx")
    return _why(trial, "model.safetensors")


def _why(trial: Trial, name: str) -> str:
    """Why a file is not there, and what to do."""
    state = trial.line.state
    if trial.folder is None:
        return f"it is {state}, and only a trial that was judged to the end has a tracker"
    if "://" in trial.line.tracker:
        return "its tracker lies at an address that this service does not read files from"
    if name in EXPORTED and _is_there(trial, "model.safetensors"):
        return "it was not exported yet; POST to .../export"
    if name.endswith(".data"):
        return "it is a part of the ONNX files only where they would be over 2 GB"
    return (
        "its files are gone from the disk, or this machine does not see the folder that the "
        "workers write to"
    )


# --- opening ------------------------------------------------------------------------------------


@contextmanager
def opened(trial: Trial, name: str) -> Iterator[IO[bytes] | None]:
    """A file of a trial, read where it really lies; None: it is not there."""
    if name == REPORT:
        yield BytesIO(trial.report)
        return
    file = _file(trial, name)
    if file is None:
        yield None
        return
    with file:
        yield file


def _file(trial: Trial, name: str) -> BufferedReader | None:
    return None if trial.folder is None else _file_in(trial.folder, TABLE[name][0])


def _file_in(folder: Path, place: str) -> BufferedReader | None:
    """A plain file below a folder. Each step is taken in the folder that is open already, so that
    nobody who may write there can lead it out."""
    *folders, name = place.split("/")
    steps: list[int] = []
    try:
        steps.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
        for each in folders:
            way = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
            steps.append(os.open(each, way, dir_fd=steps[-1]))
        way = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe must not hold us up
        found = os.open(name, way, dir_fd=steps[-1])
    except OSError:  # not there, a link, not ours to read: it cannot be had
        return None
    finally:
        for step in steps:
            os.close(step)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        return None
    return os.fdopen(found, "rb")


def _is_there(trial: Trial, name: str) -> bool:
    with opened(trial, name) as file:
        return file is not None


# --- exporting ----------------------------------------------------------------------------------


def is_exported(trial: Trial) -> bool:
    return all(_is_there(trial, name) for name in EXPORTED)


def export(trial: Trial, errands: Errands) -> None:
    """Make the ONNX files of a trial, compared with the network; nothing where they are there."""
    if is_exported(trial):
        return
    if trial.folder is None or not _is_there(trial, "model.safetensors"):
        why = _why(trial, "model.safetensors")
        raise Problem("conflict", f"trial {trial.line.number} cannot be exported: {why}")
    job_id, number = trial.job_id, trial.line.number
    try:
        done = errands.ask(
            f"export {job_id}/{number}",
            "export",
            seconds=EXPORT_SECONDS,
            folder=str(trial.folder),
            provenance={"job": job_id, "trial": str(number)},
        )
    except Refused as error:
        raise Problem("conflict", f"trial {number} cannot be exported: {error}") from error
    if done is None:
        raise Problem(
            "unavailable",
            "the export took too long, or too much memory, and was given up; ask again",
            headers={"Retry-After": "30"},
        )


def export_there(folder: str, provenance: Mapping[str, str]) -> bool:
    """What the process beside the API does for ``export``. The bundle is there as a whole or not
    at all: it is written elsewhere and then renamed."""
    from datetime import UTC, datetime

    from workers.checkpoints import CheckpointError, load_tracker
    from workers.export import ExportError, export_bundle

    at = Path(folder)
    said = {**provenance, "date": datetime.now(UTC).isoformat("T", "seconds")}
    try:
        architecture, network = load_tracker(at)
        export_bundle(architecture, network, at / BUNDLE, provenance=said, replace=True)
    except (CheckpointError, ExportError) as error:
        raise Refused(without(at, error)) from error
    return True
