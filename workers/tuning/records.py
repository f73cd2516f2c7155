"""What is known of a tuning's trials, each in a file of its own.

The record is ours, not Tune's: a tuning that was killed goes on from what lies here.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from search_spaces import value_from_json
from workers._files import write_text
from workers.documents import document

METRICS: Mapping[str, Literal["higher", "lower"]] = {"one_step_iou": "higher", "pair_loss": "lower"}
_RECORD, _ENDED = "trial.json", "ended.txt"
End = Literal["complete", "stopped", "failed"]


@dataclass(frozen=True, kw_only=True)
class Rung:
    """How good a trial was after so many steps."""

    step: int
    one_step_iou: float
    pair_loss: float
    seconds: float  # of training and judging since the rung before


@dataclass(frozen=True, kw_only=True)
class Takeover:
    """PBT: at this step the trial went on with the weights of another one."""

    step: int
    trial: int


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One trial of a tuning. Number 0 is the starting recipe."""

    number: int
    values: Mapping[str, Any]  # its hyper-parameters; PBT changes them
    step: int = 0
    rungs: tuple[Rung, ...] = ()
    takeovers: tuple[Takeover, ...] = ()
    failed: str | None = None

    def score(self, metric: str) -> float | None:
        """At its last rung; what is higher is better."""
        if not self.rungs or self.failed is not None:
            return None
        value: float = getattr(self.rungs[-1], metric)
        return value if METRICS[metric] == "higher" else -value

    @property
    def seconds(self) -> float:
        return sum(rung.seconds for rung in self.rungs)


def trial_folder(folder: Path, number: int) -> Path:
    return folder / "trials" / str(number)


def read_record(folder: Path, number: int, values: Mapping[str, Any]) -> TrialRecord:
    """What lies there of the trial, or a new record."""
    path = trial_folder(folder, number) / _RECORD
    if not path.exists():
        return TrialRecord(number=number, values=values)
    return value_from_json(TrialRecord, json.loads(path.read_text(encoding="utf-8")))


def write_record(folder: Path, record: TrialRecord) -> None:
    place = trial_folder(folder, record.number)
    place.mkdir(parents=True, exist_ok=True)
    write_text(place / _RECORD, document(record))


def write_end(folder: Path, number: int, end: End) -> None:
    place = trial_folder(folder, number)
    place.mkdir(parents=True, exist_ok=True)
    write_text(place / _ENDED, end + "\n")


def read_end(folder: Path, number: int) -> str | None:
    path = trial_folder(folder, number) / _ENDED
    return path.read_text(encoding="utf-8").strip() if path.exists() else None


def forget_weights(folder: Path, number: int) -> None:
    """Those of a trial that has ended: it goes on no more."""
    for path in trial_folder(folder, number).glob("*.state"):
        path.unlink(missing_ok=True)


def read_all(folder: Path, values: Iterable[Mapping[str, Any]]) -> list[TrialRecord]:
    return [read_record(folder, number, mine) for number, mine in enumerate(values)]


def ranked(records: Iterable[TrialRecord], metric: str) -> list[TrialRecord]:
    """The best first: who came furthest, then by the metric. What failed is left out."""
    scored = [(record, record.score(metric)) for record in records]
    known = [(record, score) for record, score in scored if score is not None]
    known.sort(key=lambda pair: (-pair[0].step, -pair[1], pair[0].number))
    return [record for record, _ in known]


def reached(record: TrialRecord, rung: Rung) -> TrialRecord:
    return replace(record, step=rung.step, rungs=(*record.rungs, rung))
