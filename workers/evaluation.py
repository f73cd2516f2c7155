"""START HERE: the story of one candidate, from a teacher and an architecture to a measurement.

The cheapest test comes first, and one that breaks a limit costs no training: count, time, cut and
refit, judge with inherited weights, recover rung by rung, track; then see where the time goes.
"""

import os
import platform
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch

from search_spaces import Architecture, Geometry, ParetrackError, TrackerNetwork, load
from workers import _kept_pairs, boxes_file, datasets, metrics
from workers._files import write_text
from workers._story import Happening, InfeasibleError, Story, Watch
from workers.accuracy import RULES, rules_named
from workers.candidate import Candidate, Data, Measurement, read_measurement
from workers.checkpoints import load_tracker, save_tracker, weights_sha256
from workers.cost import cost_of
from workers.documents import document
from workers.judge import judge, pair_accuracy
from workers.latency import PROBES, SPLITS, Split
from workers.pairs import Augmentation
from workers.predictor import TorchPredictor, frame_by_frame, network_input
from workers.pruning import METHODS, Origins, cut_with_origins
from workers.pruning.refit import refit
from workers.recovery import RECOVERIES, _resuming
from workers.tracking import track_many
from workers.training import Moment, fresh_network

__all__ = ["Happening", "Until", "Watch", "check_names", "environment", "evaluate", "sequences"]

MEASUREMENT = "measurement.json"
INHERITED = "inherited"  # the tracker before recovery, until the candidate's story ends
TIMED = "timed-{}"  # what a probe keeps for its split, until then as well
Until = int | Literal["gates"] | None


@dataclass(frozen=True, kw_only=True)
class _Case:
    """What the chapters need. What they find out goes into the story."""

    candidate: Candidate
    geometry: Geometry
    whole: Architecture  # the teacher's
    teacher: TrackerNetwork
    judged: list[datasets.Sequence]
    out: Path
    device: str
    story: Story


def evaluate(
    candidate: Candidate,
    out: Path,
    *,
    until: Until = None,
    device: str = "cpu",
    watch: Watch | None = None,
) -> Measurement:
    """Judge one candidate; its files go to ``out``. One that breaks a limit is INFEASIBLE.

    ``until``: "gates": what costs no training and no data; a number: recovery up to that step,
    then the state is AT_RUNG; None: to the end, tracking included. Called again for the same
    candidate and folder, after a rung or after it was killed, it goes on where it was.
    One that fails for a reason of its own comes back as FAILED with the reason; a bug raises.
    """
    check_names(candidate)
    case = _opened(candidate, out, device, watch)
    story = case.story
    try:
        story.add(state=_tell(case, until))
    except (datasets.DatasetError, OSError):
        raise  # nothing that the candidate could help
    except InfeasibleError as limit:
        story.add(state="INFEASIBLE", reason=str(limit))
    except (ParetrackError, torch.OutOfMemoryError) as error:
        story.add(state="FAILED", reason=str(error))
    write_text(out / MEASUREMENT, document(story.measurement.to_json()))
    if story.measurement.state != "AT_RUNG":
        _resuming.forget(out)
        _forget_what_was_kept(out)
    return story.measurement


def _tell(case: _Case, until: Until) -> Literal["COMPLETE", "AT_RUNG"]:
    """The chapters in order; the state that the candidate is in after them."""
    if case.story.measurement.cost is None:
        _cheap_tests(case, until)
    if until == "gates":
        return "AT_RUNG"
    network = _begun(case)
    _judge_pairs(case, network, until)
    if until is not None:
        return "AT_RUNG"
    _judge_tracking(case, network)
    save_tracker(case.out, case.candidate.architecture, network.cpu())
    case.story.add(tracker=case.out)
    _split_steps(case, network)
    return "COMPLETE"


def _cheap_tests(case: _Case, until: Until) -> None:
    """Cost and latency need neither trained weights nor, but for one video, data."""
    story, candidate = case.story, case.candidate
    with story.step("cost"):
        story.add(cost=cost_of(candidate.architecture))
        story.demand_limits()
    if not candidate.probes:
        return
    network = fresh_network(candidate.architecture, candidate.seed).eval()
    frames = frame_by_frame(case.judged[0], case.geometry)
    for name in candidate.probes:
        with story.step(f"latency, {name}"):
            found = PROBES[name](
                network,
                case.geometry,
                device=case.device,
                track=frames,
                keep=None if until == "gates" else case.out / TIMED.format(name),
            )
            story.add(latency={**story.measurement.latency, name: found})
            story.demand_limits()


def _begun(case: _Case) -> TrackerNetwork:
    """The network before recovery: cut and refitted, or as an earlier rung left it."""
    kept = case.out / INHERITED
    if case.story.measurement.inherited is not None and kept.exists():
        return load_tracker(kept)[1]
    with case.story.step("build"):
        network, origins = first_network(case.candidate, case.whole, case.teacher)
    if origins and case.candidate.refit:
        with case.story.step("refit"):
            _refit(case, network, origins)
    save_tracker(kept, case.candidate.architecture, network)
    return network


def _judge_pairs(case: _Case, network: TrackerNetwork, until: int | None) -> None:
    """One-step IoU and loss with inherited weights, and after the recovery or a part of it."""
    story, geometry, device = case.story, case.geometry, case.device
    pairs = _kept_pairs.to_judge_on(_kept_pairs.shown(case.judged), geometry)
    if story.measurement.inherited is None:
        with story.step("inherited accuracy"):
            story.add(inherited=pair_accuracy(network, geometry, pairs, device=device))
    if case.candidate.recipe is not None and until != 0:
        with story.step("recovery"):
            curve = _recover(case, network, until)
            recovered = pair_accuracy(network, geometry, pairs, device=device)
            story.add(curve=tuple(curve), recovered=recovered, steps=curve[-1].step)


def _judge_tracking(case: _Case, network: TrackerNetwork) -> None:
    story, judged, data = case.story, case.judged, case.candidate.data
    with story.step("accuracy"):
        predictor = TorchPredictor(network, case.geometry, case.device)
        tracks = track_many(predictor, judged, case.geometry, report=story.progress("accuracy"))
        rules = rules_named(accuracy_rules(data))
        story.add(accuracy=judge(tracks, judged, rules, datasets.first_pixel(data.dataset)))
    said = {s.name: track.boxes for s, track in zip(judged, tracks, strict=True)}
    boxes_file.write_boxes(case.out, said)


class _NoSplitError(ParetrackError):
    """Why it is not known where a step spends its time."""


def _split_steps(case: _Case, network: TrackerNetwork) -> None:
    """Where each probe's step spends its time. What goes wrong stays in the note of the gate: the
    candidate has been judged."""
    story = case.story
    for name in story.measurement.latency:
        with suppress(_NoSplitError), story.step(f"latency by layer, {name}"):
            story.add(split={**story.measurement.split, name: _split(case, network, name)})


def _split(case: _Case, network: TrackerNetwork, probe: str) -> Split:
    if probe not in SPLITS:
        raise _NoSplitError(f"the probe {probe} does not tell modules apart")
    timed, kept = case.story.measurement.latency[probe], case.out / TIMED.format(probe)
    try:
        return SPLITS[probe](network, case.geometry, timed, device=case.device, kept=kept)
    except ParetrackError as error:
        raise _NoSplitError(str(error)) from error
    except Exception as error:  # of torch's or ONNX Runtime's own, which have no common kind
        raise _NoSplitError(f"{type(error).__name__}: {error}") from error


def _opened(candidate: Candidate, out: Path, device: str, watch: Watch | None) -> _Case:
    """Teacher, data and folder, and what an earlier call has found out about this candidate."""
    architecture, teacher = load_tracker(candidate.teacher)
    data = candidate.data
    start = Measurement(
        state="COMPLETE",
        candidate=candidate,
        teacher_sha256=weights_sha256(teacher.state_dict()),
        dataset_version=datasets.version(data.dataset),
        environment=environment(device),
    )
    judged = sequences(data, data.judged_on, data.judged_count)
    earlier = _earlier(out, start)
    if earlier is None:
        _make_room(out)
    return _Case(
        candidate=candidate,
        geometry=load(candidate.architecture.family).geometry(candidate.architecture),
        whole=architecture,
        teacher=teacher,
        judged=judged,
        out=out,
        device=device,
        story=Story(earlier or start, watch),
    )


def _earlier(out: Path, start: Measurement) -> Measurement | None:
    """What was measured up to a rung, if it was of this very candidate, here."""
    with suppress(OSError, ValueError, ParetrackError):  # whatever else lies there is not ours
        found = read_measurement(out / MEASUREMENT, start.candidate)
        unfinished = replace(found, state=start.state)
        same = (found.teacher_sha256, found.dataset_version, found.environment) == (
            start.teacher_sha256,
            start.dataset_version,
            start.environment,
        )
        return unfinished if same and found.state == "AT_RUNG" else None
    return None


def first_network(
    candidate: Candidate, architecture: Architecture, teacher: TrackerNetwork
) -> tuple[TrackerNetwork, Origins]:
    """The candidate's network before any refit or recovery; if it was cut, what its layers were."""
    if candidate.weights == "random":
        return fresh_network(candidate.architecture, candidate.seed), {}
    network, origins = cut_with_origins(
        teacher,
        architecture,
        candidate.architecture,
        candidate.kept_layers,
        candidate.pruning,
        candidate.seed,
    )
    return network, origins if candidate.architecture != architecture else {}


def _refit(case: _Case, network: TrackerNetwork, origins: Origins) -> None:
    """Fit what the cut has left to the teacher, on the first pairs that a recovery would see."""
    candidate, data = case.candidate, case.candidate.data
    try:
        looked_at = sequences(data, data.train, data.train_count)
    except datasets.DatasetError as error:
        raise datasets.DatasetError(
            f"{error} (the refit looks at the split {data.train!r}; refit 0 does without)"
        ) from error
    jitter = candidate.recipe.augmentation if candidate.recipe else Augmentation()
    pairs = _kept_pairs.to_refit_on(
        _kept_pairs.shown(looked_at), case.geometry, jitter, candidate.seed, candidate.refit
    )
    refit(
        network.to(case.device),
        case.teacher.to(case.device),
        origins,
        network_input(pairs.templates, case.geometry),
        network_input(pairs.searches, case.geometry),
        report=case.story.progress("refit"),
    )
    network.cpu()
    case.teacher.cpu()


def _recover(case: _Case, network: TrackerNetwork, until: int | None) -> list[Moment]:
    """Train by the candidate's recipe, from where a rung or a killed evaluation left it."""
    candidate, data = case.candidate, case.candidate.data
    assert candidate.recipe is not None
    recipe = replace(candidate.recipe, seed=candidate.seed)
    learnt_from = sequences(data, data.train, data.train_count)
    return RECOVERIES[candidate.recovery](
        network,
        case.teacher,
        case.geometry,
        learnt_from,
        recipe,
        device=case.device,
        report=case.story.moment,
        saving=_resuming.saving(case.out, case.story.measurement, network, recipe, learnt_from),
        until=until,
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
        for name in ("architecture.json", "weights.safetensors", boxes_file.NAME, MEASUREMENT):
            (out / name).unlink(missing_ok=True)
        _forget_what_was_kept(out)
    except OSError as error:
        raise ParetrackError(f"{out} cannot be written: {error}; give another --out") from error


def _forget_what_was_kept(out: Path) -> None:
    """What only the rest of a candidate's story needs."""
    shutil.rmtree(out / INHERITED, ignore_errors=True)
    for path in out.glob(TIMED.format("*")):
        path.unlink(missing_ok=True)


def check_names(candidate: Candidate) -> None:
    """Whether all that a candidate asks for by name exists; the error lists what does."""
    asked: list[tuple[str, str, Mapping[str, object]]]
    asked = [("data set", candidate.data.dataset, datasets.DATASETS)]
    asked += [("set of accuracy rules", accuracy_rules(candidate.data), RULES)]
    asked += [("pruning method", candidate.pruning, METHODS)]
    asked += [("recovery", candidate.recovery, RECOVERIES)]
    asked += [("probe", name, PROBES) for name in candidate.probes]
    for limit in candidate.limits:
        metrics.metric(limit.metric)
    for kind, name, known in asked:
        if name not in known:
            raise ParetrackError(f"no {kind} named {name!r}; there are {', '.join(sorted(known))}")


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
