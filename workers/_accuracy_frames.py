"""Boxes to overlaps and errors, frame by frame, after the rules had their say.

The arithmetic keeps each toolkit's order of operations: an overlap of exactly 1 or an error of
exactly 20 pixels falls on one side of its threshold by the last bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_spaces import ParetrackError
from workers._accuracy_rules import Rules, Verdict

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]


class AccuracyError(ParetrackError):
    """Boxes that cannot be compared as they are."""


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """A sequence and what a tracker said about it. Boxes are (x, y, w, h), one row a frame."""

    name: str
    predicted: Floats
    truth: Floats  # a row with NaN is a frame without an annotated box
    present: Flags | None = None  # False: fully occluded or out of view
    cover: NDArray[np.int64] | None = None  # GOT-10k's visible share of the target, 0 to 8
    image_size: tuple[float, float] | None = None  # width, height
    # 1 where the annotation files count pixels from 1 and these boxes no longer do: toolkits take
    # the numbers of the files, and for some a box is usable only if its x and y are above 0
    first_pixel: int = 0


@dataclass(frozen=True)
class Judged:
    """The frames of all sequences, one after the other.

    By the rules a frame can be a miss or a hit whatever its boxes (infinite: no threshold changes
    that), or leave the count (NaN).
    """

    sequence: Indices
    overlap: Floats
    centre: Floats
    normalised: Floats


@dataclass(frozen=True)
class _Boxes:
    """Those frames of all sequences that the rules look at."""

    sequence: Indices
    predicted: Floats
    truth: Floats
    present: Flags


def judge(tracked: Sequence[Tracked], rules: Rules) -> Judged:
    """The overlap and the centre errors of every frame by these rules."""
    for one in tracked:
        _check(one, rules)
    boxes = _as_the_rules_take_them(tracked, rules)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        overlap = _overlap(boxes.predicted, boxes.truth, rules)
        predicted, truth = _centres(boxes.predicted), _centres(boxes.truth)
        scaled_prediction, scaled_truth = _scaled(predicted, truth, boxes.truth[:, 2:], rules)
        centre = _distance(predicted, truth)
        normalised = _distance(scaled_prediction, scaled_truth)
    usable = centre_usable = normalised_usable = _usable(boxes.truth, rules)
    if rules.centre_usable == "positive centre":
        centre_usable, normalised_usable = _every(truth > 0), _every(scaled_truth > 0)
    absent, unusable = rules.absent, rules.unusable
    present = boxes.present
    _decide(overlap, -np.inf, (usable, unusable.overlap), (present, absent.overlap))
    _decide(centre, np.inf, (centre_usable, unusable.centre), (present, absent.centre))
    _decide(
        normalised, np.inf, (normalised_usable, unusable.normalised), (present, absent.normalised)
    )
    return Judged(boxes.sequence, overlap, centre, normalised)


def _decide(values: Floats, miss: float, *cases: tuple[Flags, Verdict]) -> None:
    """Put verdicts in place of the values of the frames that fail a test; a later one wins."""
    values[np.isnan(values)] = miss
    verdicts = {"missed": miss, "hit": -miss, "dropped": np.nan}
    for passed, verdict in cases:
        if verdict != "judged":
            values[~passed] = verdicts[verdict]


def _check(tracked: Tracked, rules: Rules) -> None:
    """Refuse whatever would be compared wrongly."""
    name = tracked.name
    predicted, truth = np.asarray(tracked.predicted), np.asarray(tracked.truth)
    for what, boxes in (("predicted", predicted), ("annotated", truth)):
        if boxes.ndim != 2 or boxes.shape[1] != 4 or not len(boxes):
            raise AccuracyError(
                f"{name}: expected {what} boxes of shape (frames, 4), got {boxes.shape}"
            )
    for what, rows in (
        ("predicted boxes", predicted),
        ("flags of presence", tracked.present),
        ("values of cover", tracked.cover),
    ):
        if rows is not None and len(rows) != len(truth):
            raise AccuracyError(
                f"{name}: {len(rows)} {what} for {len(truth)} annotated frames; there must be one "
                "for each, the first included (some toolkits cut the longer list: do so beforehand "
                "where that is wanted)"
            )
    _refuse_rows(name, "a value that is not a finite number", ~_every(np.isfinite(predicted)))
    if rules.negative_prediction == "refused":
        problem = f"a negative width or height, which the rules of {rules.name} refuse"
        _refuse_rows(name, problem, ~_every(predicted[:, 2:] >= 0))
    if rules.into_image and tracked.image_size is None:
        raise AccuracyError(
            f"{name}: the rules of {rules.name} clip boxes to the image: give its image_size"
        )


def _refuse_rows(name: str, problem: str, rows: Flags) -> None:
    if rows.any():
        raise AccuracyError(
            f"{name}: {int(rows.sum())} of the predicted boxes have {problem}; the first of them "
            f"is in frame {int(rows.argmax())}, counted from 0. Every frame needs a box: where the "
            "tracker has none, repeat its last one"
        )


def _as_the_rules_take_them(tracked: Sequence[Tracked], rules: Rules) -> _Boxes:
    """All frames in a row, with the boxes changed as the rules change them."""
    lengths = [len(one.truth) for one in tracked]
    sequence = np.repeat(np.arange(len(tracked)), lengths)
    first = np.diff(sequence, prepend=-1) > 0
    predicted = np.concatenate([_as_in_files(one.predicted, one) for one in tracked])
    truth = np.concatenate([_as_in_files(one.truth, one) for one in tracked])
    if rules.empty_prediction == "previous box":
        # this toolkit looks for empty boxes before it forces the first one to be right
        predicted = _previous_for_empty(predicted, truth, first)
    if rules.first_frame == "the truth":
        predicted[first] = truth[first]
    if rules.into_image:
        sizes = np.repeat([one.image_size or (0, 0) for one in tracked], lengths, axis=0)
        predicted, truth = _into_image(predicted, sizes), _into_image(truth, sizes)
    present = np.concatenate([_present(one, rules) for one in tracked])
    kept = ~first if rules.first_frame == "excluded" else np.ones_like(first)
    return _Boxes(sequence[kept], predicted[kept], truth[kept], present[kept])


def _as_in_files(boxes: Floats, tracked: Tracked) -> Floats:
    first = tracked.first_pixel
    shifted: Floats = np.asarray(boxes, np.float64) + np.array([first, first, 0, 0])
    return shifted


def _present(tracked: Tracked, rules: Rules) -> Flags:
    if rules.absent_by == "cover" and tracked.cover is not None:
        return np.asarray(tracked.cover) > 0
    if tracked.present is not None:
        return np.asarray(tracked.present, np.bool_)
    return np.ones(len(tracked.truth), np.bool_)


def _previous_for_empty(predicted: Floats, truth: Floats, first: Flags) -> Floats:
    replaced = ~_every(predicted[:, 2:] != 0) & _every(~np.isnan(truth)) & ~first
    source = np.maximum.accumulate(np.where(replaced, 0, np.arange(len(predicted))))
    return predicted[source]


def _into_image(boxes: Floats, sizes: Floats) -> Floats:
    """A box left of the image is moved into it, not cut: so does the toolkit."""
    corner = np.clip(boxes[:, :2], 0, sizes)
    return np.hstack([corner, np.clip(boxes[:, 2:], 0, sizes - corner)])


def _usable(truth: Floats, rules: Rules) -> Flags:
    if rules.usable == "annotated":
        return _every(~np.isnan(truth))
    judged_by = truth if rules.usable == "positive corner and size" else truth[:, 2:]
    return _every(judged_by > 0)


def _every(columns: Flags) -> Flags:
    """Whether all columns of a row are true."""
    rows: Flags = np.logical_and.reduce(columns, axis=1)
    return rows


def _overlap(predicted: Floats, truth: Floats, rules: Rules) -> Floats:
    """Intersection over union."""
    ends, true_ends = predicted[:, :2] + predicted[:, 2:], truth[:, :2] + truth[:, 2:]
    start = np.maximum(predicted[:, :2], truth[:, :2])
    if rules.corners == "last pixel":
        sides = np.minimum(ends - 1.0, true_ends - 1.0) - start + 1.0
    else:
        sides = np.minimum(ends, true_ends) - start
    shared = np.maximum(sides, 0.0).prod(axis=1)
    union = predicted[:, 2:].prod(axis=1) + truth[:, 2:].prod(axis=1) - shared
    overlap: Floats = shared / (union + rules.union_epsilon)
    return overlap if rules.corners == "last pixel" else np.clip(overlap, 0.0, 1.0)


def _centres(boxes: Floats) -> Floats:
    return boxes[:, :2] + (boxes[:, 2:] - 1.0) / 2


def _scaled(predicted: Floats, truth: Floats, size: Floats, rules: Rules) -> tuple[Floats, Floats]:
    """Two centres whose distance is the normalised error."""
    if rules.normalised_by == "size of at least a pixel":
        difference = (predicted - truth) / np.maximum(size, 1.0)
        return difference, np.zeros_like(difference)
    if rules.normalised_by == "size + 1e-16":
        size = size + 1e-16
    return predicted / size, truth / size


def _distance(first: Floats, second: Floats) -> Floats:
    difference = first - second
    distance: Floats = np.sqrt((difference * difference).sum(axis=1))
    return distance
