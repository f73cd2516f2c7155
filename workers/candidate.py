"""The values that travel: a candidate goes to a worker, a measurement comes back."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_type_hints

from search_spaces import Architecture, ParetrackError, architecture_to_json, value_from_json
from workers.cost import Cost
from workers.documents import document, plain
from workers.judge import PairAccuracy, TrackingAccuracy
from workers.latency import Latency, Split
from workers.metrics import Limit
from workers.training import Moment, Recipe


@dataclass(frozen=True, kw_only=True)
class Data:
    """Which sequences a candidate learns from and is judged on."""

    dataset: str
    root: Path
    train: str = "train"
    judged_on: str = "val"
    train_count: int | None = None  # only so many sequences; None: all
    judged_count: int | None = None
    rules: str | None = None  # whose accuracy rules; None: those of the data set


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One architecture and how it is recovered, to be judged."""

    teacher: Path  # a folder with architecture.json and weights.safetensors
    architecture: Architecture  # the teacher's own: nothing is cut
    kept_layers: tuple[int, ...] | None = None  # of the teacher's; None: all
    weights: Literal["inherited", "random"] = "inherited"  # random: what inheritance is worth
    pruning: str = "magnitude"
    refit: int = 128  # training pairs on which a cut network is fitted to its teacher; 0: none
    recovery: str = "finetune"
    recipe: Recipe | None = None  # None: judged with the weights as inherited
    data: Data
    probes: tuple[str, ...] = ("eager", "onnx_runtime")
    limits: tuple[Limit, ...] = ()  # a hard one on a cost ends the story before any training
    seed: int = 0

    def __post_init__(self) -> None:
        if self.refit < 0:
            raise ParetrackError(f"pairs to refit on are 0 (none) or more, got {self.refit}")


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One test on the way: how long it took and how it ended."""

    name: str
    seconds: float
    verdict: Literal["passed", "infeasible", "failed"]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What came back. ``reason`` says why, where the state is not COMPLETE.

    AT_RUNG: judged after a part of its recovery, it waits. INFEASIBLE: it breaks a limit.
    """

    state: Literal["COMPLETE", "AT_RUNG", "INFEASIBLE", "FAILED"]
    reason: str | None = None
    candidate: Candidate
    teacher_sha256: str  # of its weights
    dataset_version: str
    cost: Cost | None = None
    latency: dict[str, Latency] = field(default_factory=dict)
    inherited: PairAccuracy | None = None  # before recovery
    recovered: PairAccuracy | None = None  # after ``steps`` of recovery
    steps: int = 0
    accuracy: TrackingAccuracy | None = None
    curve: tuple[Moment, ...] = ()
    gates: tuple[Gate, ...] = ()  # in the order of their coming
    seconds: dict[str, float] = field(default_factory=dict)  # by name of the gate
    environment: dict[str, str] = field(default_factory=dict)
    # By probe: where its step spends the time. Of those that got to the end, and not of those that
    # were measured before this was; why there is none, its gate says.
    split: dict[str, Split] = field(default_factory=dict)
    tracker: Path | None = None  # folder of the candidate as it was judged

    def to_json(self) -> dict[str, Any]:
        """What is stored and shown; the architectures as their families read them back."""
        found: dict[str, Any] = plain(self)
        found["candidate"]["architecture"] = architecture_to_json(self.candidate.architecture)
        return found


def read_measurement(path: Path, candidate: Candidate) -> Measurement:
    """The measurement of this candidate that lies there; one of another candidate is an error."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    asked = Measurement(
        state="COMPLETE", candidate=candidate, teacher_sha256="", dataset_version=""
    ).to_json()["candidate"]
    if stored.pop("candidate") != asked:
        raise ParetrackError(f"{path} is the measurement of another candidate")
    kinds = get_type_hints(Measurement)
    read = {name: value_from_json(kinds[name], value) for name, value in stored.items()}
    return Measurement(candidate=candidate, **read)


def digest(candidate: Candidate, teacher_sha256: str, dataset_version: str) -> str:
    """A checksum of all that decides a candidate's accuracy, its recovery included.

    Not of where its files lie, what it is limited by, or how it is timed.
    """
    told = plain(candidate)
    told["architecture"] = architecture_to_json(candidate.architecture)
    for name in ("teacher", "limits", "probes"):
        del told[name]
    del told["data"]["root"]
    told |= {"teacher": teacher_sha256, "dataset_version": dataset_version}
    return hashlib.sha256(document(told).encode()).hexdigest()
