"""The values that travel: a candidate goes to a worker, a measurement comes back."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from search_spaces import Architecture, architecture_to_json
from workers.cost import Cost
from workers.documents import plain
from workers.judge import PairAccuracy, TrackingAccuracy
from workers.latency import Latency
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
    recovery: str = "finetune"
    recipe: Recipe | None = None  # None: judged with the weights as inherited
    data: Data
    probes: tuple[str, ...] = ("eager", "onnx_runtime")
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What came back. ``reason`` says why, where the state is not COMPLETE."""

    state: Literal["COMPLETE", "FAILED"]
    reason: str | None = None
    candidate: Candidate
    teacher_sha256: str  # of its weights
    dataset_version: str
    cost: Cost | None = None
    latency: dict[str, Latency] = field(default_factory=dict)
    inherited: PairAccuracy | None = None  # before recovery
    recovered: PairAccuracy | None = None
    accuracy: TrackingAccuracy | None = None
    curve: tuple[Moment, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)  # of each step of the story
    environment: dict[str, str] = field(default_factory=dict)
    tracker: Path | None = None  # folder of the candidate as it was judged

    def to_json(self) -> dict[str, Any]:
        """What is stored and shown; the architectures as their families read them back."""
        found: dict[str, Any] = plain(self)
        found["candidate"]["architecture"] = architecture_to_json(self.candidate.architecture)
        return found
