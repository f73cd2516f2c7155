"""How good a network is on videos: tracking accuracy, the cheap pair metrics, the validity gates.

Tracking accuracy (AO with its interval) is what users get. One-step IoU and the pair loss on fixed
pairs cost a tenth of it and rank candidates better after a short recovery. The gates ask whether
the benchmark measures tracking at all: a network must not do well without its template.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from search_spaces import Geometry, TrackerNetwork
from workers import datasets
from workers.accuracy import (
    GOT10K,
    AttributeAccuracy,
    Interval,
    Rules,
    Tracked,
    accuracy,
    by_attribute,
    interval,
)
from workers.losses import LossWeights, iou, tracking_loss
from workers.pairs import PLAIN, Pairs, PairSource, first_pairs
from workers.predictor import TorchPredictor, network_input
from workers.tracking import Crops, Memory, Predictor, Track, track_many

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class TrackingAccuracy:
    """The measures of some rules over a split, each with its interval over sequences.

    GOT-10k's rules know overlap only: the last three measures are None by them.
    """

    rules: str
    sequences: int
    average_overlap: Interval
    success_rate_50: Interval
    success_rate_75: Interval
    success: Interval | None  # the mean of the curve, which the field calls its area
    precision: Interval | None  # within 20 pixels
    normalised_precision: Interval | None
    by_attribute: dict[str, AttributeAccuracy]
    overlap_of: dict[str, float]  # AO of each sequence by name
    frames_per_second: float  # in lock-step, decoding left out: throughput, not latency


@dataclass(frozen=True, kw_only=True)
class PairAccuracy:
    """On fixed pairs: mean IoU of the best-scored box, and the loss."""

    pairs: int
    one_step_iou: float
    loss: float


@dataclass(frozen=True, kw_only=True)
class Validity:
    """Whether accuracy on this data needs the template. Passed: see ``failures``."""

    average_overlap: float
    other_template: float  # every sequence tracked with the next one's template
    zeroed_template: float
    frozen_box: float

    def failures(self) -> list[str]:
        limit = 0.6 * self.average_overlap
        found = [
            f"AO with {what} is {value:.3f}, over 0.6 of the true AO {self.average_overlap:.3f}"
            for what, value in (
                ("another sequence's template", self.other_template),
                ("a zeroed template", self.zeroed_template),
            )
            if value > limit
        ]
        if self.frozen_box > 0.17:
            found.append(f"AO of a frozen box is {self.frozen_box:.3f}, over 0.17")
        return found


def tracking_accuracy(
    predictor: Predictor,
    geometry: Geometry,
    sequences: list[datasets.Sequence],
    *,
    batch: int = 64,
    report: Progress | None = None,
) -> TrackingAccuracy:
    """Track every sequence and judge by GOT-10k's rules, whatever the data set."""
    tracks = track_many(predictor, sequences, geometry, batch=batch, report=report)
    return judge(tracks, sequences)


def judge(
    tracks: Sequence[Track],
    sequences: Sequence[datasets.Sequence],
    rules: Rules = GOT10K,
    first_pixel: int = 0,
) -> TrackingAccuracy:
    """How good the tracks are. ``first_pixel``: of the data set's files, as toolkits count."""
    pairs = zip(tracks, sequences, strict=True)
    judged = accuracy([_tracked(track, found, first_pixel) for track, found in pairs], rules)
    seconds = sum(float(track.seconds.sum()) for track in tracks)
    attributes = {sequence.name: sequence.attributes for sequence in sequences}
    curves = rules.name != GOT10K.name
    return TrackingAccuracy(
        rules=rules.name,
        sequences=len(sequences),
        average_overlap=interval(judged, "average_overlap"),
        success_rate_50=interval(judged, "success_rate_50"),
        success_rate_75=interval(judged, "success_rate_75"),
        success=interval(judged, "success") if curves else None,
        precision=interval(judged, "precision") if curves else None,
        normalised_precision=interval(judged, "normalised_precision") if curves else None,
        by_attribute=by_attribute(judged, "average_overlap", attributes),
        overlap_of=dict(zip(judged.names, judged.overlap.tolist(), strict=True)),
        frames_per_second=sum(len(track.boxes) for track in tracks) / max(seconds, 1e-9),
    )


def _tracked(track: Track, sequence: datasets.Sequence, first_pixel: int) -> Tracked:
    height, width = sequence.frames[0].shape[:2]
    return Tracked(
        name=sequence.name,
        predicted=track.boxes,
        truth=sequence.boxes,
        present=sequence.present,
        cover=sequence.cover,
        image_size=(width, height),
        first_pixel=first_pixel,
    )


def validation_pairs(
    sequences: list[datasets.Sequence], geometry: Geometry, count: int = 480, seed: int = 0
) -> list[Pairs]:
    """The fixed pairs that candidates are compared on: no flips, no colours, wide jitter."""
    return first_pairs(PairSource(sequences, geometry, PLAIN, seed), count)


@torch.no_grad()  # not inference mode: what is moved to a device here is trained later
def pair_accuracy(
    network: TrackerNetwork,
    geometry: Geometry,
    pairs: list[Pairs],
    weights: LossWeights | None = None,
    device: torch.device | str = "cpu",
) -> PairAccuracy:
    """One-step IoU and loss over fixed pairs."""
    network = network.to(device).eval()
    overlaps, losses = [], []
    for part in pairs:
        maps = network(
            network_input(part.templates, geometry).to(device),
            network_input(part.searches, geometry).to(device),
        )
        boxes = torch.from_numpy(part.boxes).to(device)
        same = torch.from_numpy(part.same).to(device)
        scores, found = network.decode(maps)
        best = found[torch.arange(len(boxes)), scores.argmax(1)]
        centred = torch.cat([boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]], dim=1)
        overlaps.append(iou(best, centred))
        loss = tracking_loss(
            network, maps, boxes, same, geometry.search_size, weights or LossWeights()
        )
        losses.append(float(loss.total) * len(part))
    total = sum(len(part) for part in pairs)
    return PairAccuracy(
        pairs=total,
        one_step_iou=float(torch.cat(overlaps).mean()),
        loss=sum(losses) / total,
    )


def validity(
    network: TrackerNetwork,
    geometry: Geometry,
    sequences: list[datasets.Sequence],
    *,
    device: torch.device | str = "cpu",
    report: Progress | None = None,
) -> Validity:
    """AO as it should be, without the right template, and of a box that never moves."""
    honest = TorchPredictor(network, geometry, device)
    predictors: tuple[Predictor, ...] = (
        honest,
        _ChangedTemplates(honest, lambda crops: np.roll(crops, 1, axis=0)),
        _ChangedTemplates(honest, np.zeros_like),
    )
    overlaps = []
    batch = min(64, len(sequences))
    while len(sequences) % batch == 1:  # a sequence alone could only swap with itself
        batch -= 1
    for number, predictor in enumerate(predictors):
        tracks = track_many(
            predictor, sequences, geometry, batch=batch, report=_share(report, number, 3)
        )
        overlaps.append(judge(tracks, sequences).average_overlap.value)
    frozen = judge([_frozen(sequence) for sequence in sequences], sequences)
    return Validity(
        average_overlap=overlaps[0],
        other_template=overlaps[1],
        zeroed_template=overlaps[2],
        frozen_box=frozen.average_overlap.value,
    )


class _ChangedTemplates:
    """A predictor that is shown templates other than those of its sequences."""

    def __init__(self, honest: Predictor, change: Callable[[Crops], Crops]) -> None:
        self._honest = honest
        self._change = change

    def template(self, crops: Crops) -> Memory:
        return self._honest.template(np.ascontiguousarray(self._change(crops)))

    def frame(self, crops: Crops, memory: Memory) -> tuple[NDArray[Any], NDArray[Any]]:
        return self._honest.frame(crops, memory)


def _frozen(sequence: datasets.Sequence) -> Track:
    n = len(sequence.frames)
    return Track(np.repeat(sequence.boxes[:1], n, axis=0), np.ones(n), np.zeros(n))


def _share(report: Progress | None, number: int, of: int) -> Progress | None:
    if report is None:
        return None
    return lambda done, total: report(number * total + done, of * total)
