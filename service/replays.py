"""Sequences of a trial to look at: which there are, made on demand, kept below PARETRACK_HOME.

A replay is asked for by the name of a sequence, looked up among those that were judged; on the disk
it lies under a checksum of it, so that no name ever is a path. The newest ``KEPT`` stay.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Connection

from search_spaces import ParetrackError
from service import artefacts
from service._kept import find_measurement
from service.beside import Errands, Refused, without
from service.errors import Fault, Problem, not_found
from service.jobs import StoredJob
from service.settings import Settings
from service.trial_layers import Question
from service.trial_reading import read_trial
from workers.documents import document

if TYPE_CHECKING:
    from workers.candidate import Data

SECONDS = 110.0  # less than a client waits
MEMORY = 8 << 30  # bytes
KEPT = 500  # replays of all jobs, some 4 MB each
_HOUR = 3600.0
FOLDER, DOCUMENT, PICTURES = "replays", "replay.json", "frames.jpegs"

Which = Literal["best", "median", "worst"]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A trial and the average overlap of each of its sequences, the best first."""

    job: StoredJob
    number: int
    overlap_of: Mapping[str, float]
    trial: artefacts.Trial

    def sequence(self, which: Which) -> str:
        names = list(self.overlap_of)
        return names[{"best": 0, "median": len(names) // 2, "worst": len(names) - 1}[which]]


def judged(connection: Connection, job: StoredJob, number: int) -> Judged:
    """A trial of a job that the caller may see; it was judged by tracking."""
    found = read_trial(connection, job.id, number)
    if found is None:
        raise not_found("trial", str(number))
    accuracy = (found.measurement or {}).get("accuracy") or {}
    overlaps: dict[str, float] = {
        name: overlap
        for name, overlap in (accuracy.get("overlap_of") or {}).items()
        if overlap is not None and isfinite(overlap)
    }
    if not overlaps:
        detail = (
            f"trial {number} is {found.line.state} and was not judged on sequences: there is "
            "nothing to look at; choose one that is COMPLETE"
        )
        raise Problem("conflict", detail)
    best_first = sorted(overlaps.items(), key=lambda one: (-one[1], one[0]))
    return Judged(
        job=job,
        number=number,
        overlap_of=dict(best_first),
        trial=artefacts.trial(connection, job.id, number),
    )


def chosen(of: Judged, sequence: str | None, which: Which | None) -> str:
    """The name of the sequence that is meant."""
    if (sequence is None) == (which is None):
        detail = "say either sequence (a name) or which (best, median or worst)"
        raise Problem("invalid", detail, [Fault(detail, parameter="sequence")])
    if which is not None:
        return of.sequence(which)
    assert sequence is not None
    if sequence not in of.overlap_of:
        some = ", ".join(list(of.overlap_of)[:5])
        detail = (
            f"sequence: trial {of.number} was not judged on {sequence[:80]!r}; it was on "
            f"{len(of.overlap_of)} sequences: {some}{', …' if len(of.overlap_of) > 5 else ''}"
        )
        raise Problem("invalid", detail, [Fault(detail, parameter="sequence")])
    return sequence


def known(of: Judged, sequence: str) -> str:
    """The same of a path: what is not there is not found."""
    if sequence not in of.overlap_of:
        raise not_found("sequence", sequence[:80])
    return sequence


def folder(settings: Settings, of: Judged, sequence: str) -> Path:
    digest = of.trial.line.digest
    key = hashlib.sha256(f"{of.job.id}\0{of.number}\0{digest}\0{sequence}".encode()).hexdigest()
    return settings.home / FOLDER / key


def is_made(settings: Settings, of: Judged, sequence: str) -> bool:
    return (folder(settings, of, sequence) / DOCUMENT).is_file()


def read(settings: Settings, of: Judged, sequence: str) -> dict[str, Any]:
    """What was made; not found where nothing was."""
    try:
        text = (folder(settings, of, sequence) / DOCUMENT).read_text(encoding="utf-8")
    except OSError as error:
        raise _not_made(sequence) from error
    found: dict[str, Any] = json.loads(text)
    return found


def pictures(settings: Settings, of: Judged, sequence: str) -> bytes:
    """All JPEGs, one behind the other."""
    try:
        return (folder(settings, of, sequence) / PICTURES).read_bytes()
    except OSError as error:
        raise _not_made(sequence) from error


def _not_made(sequence: str) -> Problem:
    detail = f"no replay of {sequence!r} was made yet; POST to .../replays?sequence=NAME"
    return Problem("not_found", detail)


def teacher_boxes(connection: Connection, digest: str | None) -> str | None:
    """The folder with the boxes that the teacher was judged by, if one is known."""
    known = None if digest is None else find_measurement(connection, digest, None)
    found: str | None = (known or {}).get("tracker")
    return found


def make(
    settings: Settings,
    of: Judged,
    sequence: str,
    errands: Errands,
    asked: Question,
    teacher: str | None,
) -> None:
    """Make a replay. ``teacher``: the folder with its boxes, where it was judged before."""
    with artefacts.opened(of.trial, "model.safetensors") as file:
        if file is None:
            why = artefacts.note(of.trial)
            raise Problem("conflict", f"trial {of.number} cannot be looked at: {why}")
    try:
        done = errands.ask(
            f"replay {of.job.id}/{of.number}",
            "replay",
            seconds=SECONDS,
            memory=MEMORY,
            job=document(asked.job),
            home=str(settings.home),
            sequence=sequence,
            candidate=of.trial.line.tracker,
            teacher=teacher,
            folder=str(folder(settings, of, sequence)),
        )
    except Refused as error:
        detail = f"sequence {sequence!r} of trial {of.number} cannot be shown: {error}"
        raise Problem("conflict", detail) from error
    if done is None:
        raise Problem(
            "unavailable",
            "tracking this sequence again took too long, or too much memory, and was given up; "
            "ask for a shorter one",
            headers={"Retry-After": "30"},
        )
    _forget_the_oldest(settings.home / FOLDER)


def _forget_the_oldest(root: Path) -> None:
    """Also what was given up in the middle."""
    there = sorted(root.iterdir(), key=_made_at)
    made = [one for one in there if not one.name.startswith(".")]
    left = [
        one for one in there if one.name.startswith(".") and _made_at(one) < time.time() - _HOUR
    ]
    for one in made[:-KEPT] + left:
        shutil.rmtree(one, ignore_errors=True)


def _made_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # somebody else has forgotten it
        return 0.0


# --- there --------------------------------------------------------------------------------------


def replay_there(
    job: str, home: str, sequence: str, candidate: str, teacher: str | None, folder: str
) -> bool:
    """What the process beside the API does for ``replay``."""
    from service.job import job_from_json
    from service.plan import data_of
    from workers.replay import Player, replay, write_replay
    from workers.teachers import find

    asked = job_from_json(json.loads(job))
    data: Data | None = None
    mine = Path(candidate)
    try:
        data = data_of(asked.data, Settings(home=Path(home), database_url=None))
        its_own = Player(tracker=find(asked.teacher), judged=Path(teacher) if teacher else None)
        found, images = replay(data, sequence, Player(tracker=mine, judged=mine), its_own)
        write_replay(Path(folder), found, images)
    except ParetrackError as error:
        raise Refused(_told(error, data, asked.teacher, mine, Path(folder))) from error
    return True


def _told(
    error: ParetrackError, data: "Data | None", teacher: str, mine: Path, folder: Path
) -> str:
    """What is wrong, without where files lie on this machine."""
    from workers.datasets import DatasetError

    said: ParetrackError = error
    places = [mine, folder, *([data.root] if data else [])]
    for place in [*places, *([Path(teacher)] if Path(teacher).is_absolute() else [])]:
        said = ParetrackError(without(place, said))
    if isinstance(error, DatasetError):
        name = data.dataset if data else "its"
        return f"this machine does not have the {name} data as it was judged on: {said}"
    return str(said)
