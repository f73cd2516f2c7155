"""START HERE: the story of one candidate, from a teacher and an architecture to a measurement."""

import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from search_spaces import Geometry, ParetrackError, TrackerNetwork, load
from workers import datasets
from workers._files import write_text
from workers.candidate import Candidate, Data, Measurement
from workers.checkpoints import load_tracker, save_tracker
from workers.cost import measure_cost
from workers.datasets import Boxes
from workers.judge import judge, pair_accuracy, validation_pairs
from workers.latency import PROBES
from workers.predictor import TorchPredictor, frame_by_frame
from workers.pruning import METHODS, cut
from workers.recovery import RECOVERIES
from workers.tracking import track_many
from workers.training import Moment, fresh_network


@dataclass(frozen=True)
class Happening:
    """What a candidate is going through, for whoever watches."""

    step: str
    done: int = 0
    total: int = 0
    moment: Moment | None = None  # of the recovery


Watch = Callable[[Happening], None]


def evaluate(
    candidate: Candidate, out: Path, *, device: str = "cpu", watch: Watch | None = None
) -> Measurement:
    """Judge one candidate: cut, count, time, recover, track. Its files are written to ``out``.

    One that fails for a reason of its own comes back as FAILED with the reason; a bug raises.
    """
    check_names(candidate)
    story = _Story(candidate, device, watch or _nobody)
    try:
        _tell(story, candidate, out, device)
    except ParetrackError as error:
        story.add(state="FAILED", reason=str(error))
    measurement = story.measurement
    write_text(out / "measurement.json", json.dumps(measurement.to_json(), indent=1))
    return measurement


def _tell(story: "_Story", candidate: Candidate, out: Path, device: str) -> None:
    """The cheap chapters come first; each adds to the measurement."""
    data = candidate.data
    geometry = load(candidate.architecture.family).geometry(candidate.architecture)
    with story.step("build"):
        teacher, network = build_candidate(candidate)
    with story.step("cost"):
        story.add(cost=measure_cost(network, geometry))
    frames = frame_by_frame(sequences(data, data.judged_on, 1)[0], geometry)
    for name in candidate.probes:
        with story.step(f"latency, {name}"):
            found = PROBES[name](network, geometry, track=frames)
            story.add(latency={**story.measurement.latency, name: found})
    with story.step("data"):
        judged = sequences(data, data.judged_on, data.judged_count)
        pairs = validation_pairs(judged, geometry)
    with story.step("inherited accuracy"):
        story.add(inherited=pair_accuracy(network, geometry, pairs, device=device))
    if candidate.recipe is not None:
        with story.step("recovery"):
            curve = _recover(candidate, teacher, network, geometry, device, story)
            recovered = pair_accuracy(network, geometry, pairs, device=device)
            story.add(curve=tuple(curve), recovered=recovered)
    with story.step("accuracy"):
        predictor = TorchPredictor(network, geometry, device)
        tracks = track_many(predictor, judged, geometry, report=story.progress("accuracy"))
        story.add(accuracy=judge(tracks, judged))
    _write_boxes(out, {s.name: track.boxes for s, track in zip(judged, tracks, strict=True)})
    save_tracker(out, candidate.architecture, network.cpu())
    story.add(tracker=out)


def build_candidate(candidate: Candidate) -> tuple[TrackerNetwork, TrackerNetwork]:
    """The teacher and the candidate's network, as it is before any recovery."""
    architecture, teacher = load_tracker(candidate.teacher)
    if candidate.weights == "random":
        return teacher, fresh_network(candidate.architecture, candidate.seed)
    network = cut(
        teacher,
        architecture,
        candidate.architecture,
        candidate.kept_layers,
        candidate.pruning,
        candidate.seed,
    )
    return teacher, network


def sequences(data: Data, split: str, count: int | None) -> list[datasets.Sequence]:
    """The sequences of a split, or the first ``count`` of them."""
    return datasets.dataset(data.dataset).load(data.root, split, count=count)


def _recover(
    candidate: Candidate,
    teacher: TrackerNetwork,
    network: TrackerNetwork,
    geometry: Geometry,
    device: str,
    story: "_Story",
) -> list[Moment]:
    assert candidate.recipe is not None
    return RECOVERIES[candidate.recovery](
        network,
        teacher,
        geometry,
        sequences(candidate.data, candidate.data.train, candidate.data.train_count),
        replace(candidate.recipe, seed=candidate.seed),
        device=device,
        report=story.moment,
    )


def _write_boxes(folder: Path, boxes: dict[str, Boxes]) -> None:
    """What the candidate said about every sequence, for pictures and for other rules."""
    folder.mkdir(parents=True, exist_ok=True)
    named: dict[str, Any] = dict(boxes)
    np.savez_compressed(folder / "boxes.npz", **named)


def read_boxes(folder: Path) -> dict[str, Boxes]:
    """The boxes of every sequence that ``evaluate`` wrote."""
    with np.load(folder / "boxes.npz", allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def check_names(candidate: Candidate) -> None:
    """Whether all that a candidate asks for by name exists; the error lists what does."""
    asked: list[tuple[str, str, Mapping[str, object]]]
    asked = [("pruning method", candidate.pruning, METHODS)]
    asked += [("recovery", candidate.recovery, RECOVERIES)]
    asked += [("probe", name, PROBES) for name in candidate.probes]
    for kind, name, known in asked:
        if name not in known:
            raise ParetrackError(f"no {kind} named {name!r}; there are {', '.join(sorted(known))}")


class _Story:
    """The measurement while it grows, how long each step took, and who hears of it."""

    def __init__(self, candidate: Candidate, device: str, watch: Watch) -> None:
        self._watch = watch
        self._seconds: dict[str, float] = {}
        self.measurement = Measurement(
            state="COMPLETE", architecture=candidate.architecture, environment=environment(device)
        )

    def add(self, **parts: Any) -> None:
        self.measurement = replace(self.measurement, **parts)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self._watch(Happening(name))
        began = time.monotonic()
        try:
            yield
        finally:
            self._seconds[name] = time.monotonic() - began
            self.add(seconds=dict(self._seconds))

    def progress(self, name: str) -> Callable[[int, int], None]:
        return lambda done, total: self._watch(Happening(name, done, total))

    def moment(self, moment: Moment) -> None:
        self._watch(Happening("recovery", moment.step, moment.steps, moment))


def _nobody(happening: Happening) -> None:
    """Nobody watches."""


def environment(device: str) -> dict[str, str]:
    """What the figures depend on and a reader cannot see."""
    packages = ("torch", "numpy", "onnxruntime", "opencv-python-headless", "torch-pruning")
    return {
        "paretrack": version("paretrack"),
        "python": platform.python_version(),
        "machine": f"{platform.machine()} {platform.processor() or platform.system()}".strip(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "device": device,
        **{name: version(name) for name in packages},
    }
