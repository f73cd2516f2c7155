"""START HERE: the story of one candidate, from a teacher and an architecture to a measurement."""

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

from search_spaces import Architecture, Geometry, ParetrackError, TrackerNetwork, load
from workers import datasets
from workers._files import write_text
from workers.accuracy import RULES, rules_named
from workers.candidate import Candidate, Data, Measurement
from workers.checkpoints import load_tracker, save_tracker, weights_sha256
from workers.cost import measure_cost
from workers.datasets import Boxes
from workers.documents import document
from workers.judge import judge, pair_accuracy, validation_pairs
from workers.latency import PROBES
from workers.predictor import TorchPredictor, frame_by_frame
from workers.pruning import METHODS, cut
from workers.recovery import RECOVERIES, _resuming
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
MEASUREMENT = "measurement.json"
BOXES = "boxes.npz"


def evaluate(
    candidate: Candidate, out: Path, *, device: str = "cpu", watch: Watch | None = None
) -> Measurement:
    """Judge one candidate: cut, count, time, recover, track. Its files are written to ``out``.

    One that fails for a reason of its own comes back as FAILED with the reason; a bug raises.
    Killed in the middle of its recovery, the same candidate goes on there in the same folder.
    """
    check_names(candidate)
    geometry = load(candidate.architecture.family).geometry(candidate.architecture)
    architecture, teacher = load_tracker(candidate.teacher)
    judged = sequences(candidate.data, candidate.data.judged_on, candidate.data.judged_count)
    _make_room(out)
    start = Measurement(
        state="COMPLETE",
        candidate=candidate,
        teacher_sha256=weights_sha256(teacher.state_dict()),
        dataset_version=datasets.version(candidate.data.dataset),
        environment=environment(device),
    )
    story = _Story(start, watch or _nobody)
    try:
        with story.step("build"):
            network = first_network(candidate, architecture, teacher)
        _tell(story, candidate, network, teacher, geometry, judged, out, device)
    except (datasets.DatasetError, OSError):
        raise  # nothing that the candidate could help
    except (ParetrackError, torch.OutOfMemoryError) as error:
        story.add(state="FAILED", reason=str(error))
    write_text(out / MEASUREMENT, document(story.measurement.to_json()))
    _resuming.forget(out)
    return story.measurement


def _tell(
    story: "_Story",
    candidate: Candidate,
    network: TrackerNetwork,
    teacher: TrackerNetwork,
    geometry: Geometry,
    judged: list[datasets.Sequence],
    out: Path,
    device: str,
) -> None:
    """The cheap chapters come first; each adds to the measurement."""
    with story.step("cost"):
        story.add(cost=measure_cost(network, geometry))
    frames = frame_by_frame(judged[0], geometry)
    for name in candidate.probes:
        with story.step(f"latency, {name}"):
            found = PROBES[name](network, geometry, device=device, track=frames)
            story.add(latency={**story.measurement.latency, name: found})
    with story.step("inherited accuracy"):
        pairs = validation_pairs(judged, geometry)
        story.add(inherited=pair_accuracy(network, geometry, pairs, device=device))
    if candidate.recipe is not None:
        with story.step("recovery"):
            curve = _recover(story, network, teacher, geometry, out, device)
            recovered = pair_accuracy(network, geometry, pairs, device=device)
            story.add(curve=tuple(curve), recovered=recovered)
    with story.step("accuracy"):
        predictor = TorchPredictor(network, geometry, device)
        tracks = track_many(predictor, judged, geometry, report=story.progress("accuracy"))
        rules = rules_named(accuracy_rules(candidate.data))
        first_pixel = datasets.first_pixel(candidate.data.dataset)
        story.add(accuracy=judge(tracks, judged, rules, first_pixel))
    _write_boxes(out, {s.name: track.boxes for s, track in zip(judged, tracks, strict=True)})
    save_tracker(out, candidate.architecture, network.cpu())
    story.add(tracker=out)


def first_network(
    candidate: Candidate, architecture: Architecture, teacher: TrackerNetwork
) -> TrackerNetwork:
    """The candidate's network as it is before any recovery."""
    if candidate.weights == "random":
        return fresh_network(candidate.architecture, candidate.seed)
    return cut(
        teacher,
        architecture,
        candidate.architecture,
        candidate.kept_layers,
        candidate.pruning,
        candidate.seed,
    )


def sequences(data: Data, split: str, count: int | None) -> list[datasets.Sequence]:
    """The sequences of a split, or the first ``count`` of them, all with their truth."""
    found = datasets.dataset(data.dataset).load(data.root, split, count=count)
    datasets.demand_truth(found)
    return found


def accuracy_rules(data: Data) -> str:
    """The name of the rules that data are judged by."""
    return datasets.rules(data.dataset) if data.rules is None else data.rules


def _make_room(out: Path) -> None:
    """A folder without the files of an earlier candidate: no mixture of two may be left."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in ("architecture.json", "weights.safetensors", BOXES, MEASUREMENT):
            (out / name).unlink(missing_ok=True)
    except OSError as error:
        raise ParetrackError(f"{out} cannot be written: {error}; give another --out") from error


def _recover(
    story: "_Story",
    network: TrackerNetwork,
    teacher: TrackerNetwork,
    geometry: Geometry,
    out: Path,
    device: str,
) -> list[Moment]:
    """Train by the candidate's recipe, from where a killed evaluation left it."""
    candidate = story.measurement.candidate
    assert candidate.recipe is not None
    data = candidate.data
    recipe = replace(candidate.recipe, seed=candidate.seed)
    learnt_from = sequences(data, data.train, data.train_count)
    return RECOVERIES[candidate.recovery](
        network,
        teacher,
        geometry,
        learnt_from,
        recipe,
        device=device,
        report=story.moment,
        saving=_resuming.saving(out, story.measurement, network, recipe, learnt_from),
    )


def _write_boxes(folder: Path, boxes: dict[str, Boxes]) -> None:
    """What the candidate said about every sequence, for pictures and for other rules."""
    names = sorted(boxes)
    np.savez_compressed(
        folder / BOXES,
        names=np.array(names),
        lengths=np.array([len(boxes[name]) for name in names]),
        boxes=np.concatenate([boxes[name] for name in names]),
    )


def read_boxes(folder: Path) -> dict[str, Boxes]:
    """The boxes of every sequence that ``evaluate`` wrote."""
    with np.load(folder / BOXES, allow_pickle=False) as stored:
        parts = np.split(stored["boxes"], np.cumsum(stored["lengths"])[:-1])
        return dict(zip(stored["names"].tolist(), parts, strict=True))


def check_names(candidate: Candidate) -> None:
    """Whether all that a candidate asks for by name exists; the error lists what does."""
    asked: list[tuple[str, str, Mapping[str, object]]]
    asked = [("data set", candidate.data.dataset, datasets.DATASETS)]
    asked += [("set of accuracy rules", accuracy_rules(candidate.data), RULES)]
    asked += [("pruning method", candidate.pruning, METHODS)]
    asked += [("recovery", candidate.recovery, RECOVERIES)]
    asked += [("probe", name, PROBES) for name in candidate.probes]
    for kind, name, known in asked:
        if name not in known:
            raise ParetrackError(f"no {kind} named {name!r}; there are {', '.join(sorted(known))}")


class _Story:
    """The measurement while it grows, how long each step took, and who hears of it."""

    def __init__(self, start: Measurement, watch: Watch) -> None:
        self._watch = watch
        self._seconds: dict[str, float] = {}
        self.measurement = start

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
