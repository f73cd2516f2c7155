"""How well a tracker did: AO, SR, success, precision, by the rules of the field's toolkits.

The toolkits disagree on which frames count and on what a frame without a usable box is worth. Their
habits are values (``Rules``); one implementation serves them all, to the rounding of each. AO and
SR of the product's own benchmark follow GOT-10k, and every figure can be had with its interval.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from workers._accuracy_frames import AccuracyError, Floats, Indices, Tracked, judge
from workers._accuracy_rules import GOT10K, RULES, Rules, rules_named

__all__ = [
    "GOT10K",
    "RULES",
    "Accuracy",
    "AccuracyError",
    "AttributeAccuracy",
    "Interval",
    "Measure",
    "Rules",
    "Tracked",
    "accuracy",
    "average_overlap",
    "by_attribute",
    "difference",
    "interval",
    "rules_named",
]

Measure = Literal[
    "average_overlap",
    "success_rate_50",
    "success_rate_75",
    "success",
    "precision",
    "normalised_precision",
]
PIXELS = tuple(range(51))
RESAMPLES = 10_000
_DRAWS_AT_ONCE = 2_000_000  # keeps a block of resamples under 50 MB


@dataclass(frozen=True, eq=False)
class Accuracy:
    """How well a tracker did by some rules. Arrays have one row a sequence.

    A row is NaN where the rules leave the sequence no frame: all absent, or a single frame of which
    the first does not count. Such a sequence takes no part in the means.
    """

    rules: Rules
    names: tuple[str, ...]
    frames: NDArray[np.int64]  # those whose overlap was computed, not decided by a rule
    overlap: Floats  # mean over these frames
    success: Floats  # share of frames with more overlap than each of rules.success_steps
    precision: Floats  # share of frames whose centre error is at most 0, 1, ... 50 pixels
    normalised: Floats  # the same for rules.normalised_steps

    def per_sequence(self, measure: Measure) -> Floats:
        """The measure of each sequence."""
        if measure == "average_overlap":
            return self.overlap
        if measure == "success":
            return _row_means(self.success)
        if measure == "precision":
            return self.precision[:, 20]
        if measure == "normalised_precision":
            at_a_fifth = self.rules.normalised_score == "at 0.2"
            return self.normalised[:, 20] if at_a_fifth else _row_means(self.normalised)
        last = self.success.shape[1] - 1
        if measure == "success_rate_50":
            return self.success[:, last // 2]
        if measure == "success_rate_75":
            return self.success[:, last * 3 // 4]
        raise AccuracyError(
            f"no measure called {measure!r}; choose one of {', '.join(get_args(Measure))}"
        )

    def value(self, measure: Measure) -> float:
        """The measure over all sequences, as the toolkit reports it; a share, not per cent."""
        return _mean(*_counting(self, self.per_sequence(measure)))


@dataclass(frozen=True)
class Interval:
    """A value and the range that held it in 95 of 100 redraws of the sequences."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class AttributeAccuracy:
    """A measure over the sequences that have an attribute."""

    interval: Interval
    sequences: int


def accuracy(tracked: Sequence[Tracked], rules: Rules = GOT10K) -> Accuracy:
    """How well a tracker did on these sequences by these rules."""
    names = tuple(one.name for one in tracked)
    repeated = sorted(name for name, times in Counter(names).items() if times > 1)
    if repeated or not names:
        raise AccuracyError(
            f"expected sequences of different names, got {', '.join(repeated) or 'none'} "
            f"{'more than once' if repeated else 'at all'}; judge the repetitions of a tracker "
            "one by one and average their values"
        )
    judged = judge(tracked, rules)
    computed = np.isfinite(judged.overlap)
    frames = np.bincount(judged.sequence[computed], minlength=len(names))
    totals = np.bincount(judged.sequence[computed], judged.overlap[computed], len(names))
    shares = _Shares(judged.sequence, len(names))
    return Accuracy(
        rules=rules,
        names=names,
        frames=frames,
        overlap=_divided(totals, frames),
        success=shares.above(judged.overlap, rules.success_steps),
        precision=shares.within(judged.centre, PIXELS),
        normalised=shares.within(judged.normalised, rules.normalised_steps),
    )


def average_overlap(tracked: Tracked, rules: Rules = GOT10K) -> float:
    """The mean overlap on one sequence; NaN where the rules leave it no frame."""
    return float(accuracy([tracked], rules).overlap[0])


def interval(
    judged: Accuracy,
    measure: Measure = "average_overlap",
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """The measure with its 95 % interval: percentile bootstrap over sequences.

    With fewer than some twenty sequences the interval is too narrow; with one it is 0 to 1.
    """
    values, weights = _counting(judged, judged.per_sequence(measure))
    return _bootstrap(values, weights, (0.0, 1.0), seed, resamples)


def difference(
    first: Accuracy,
    second: Accuracy,
    measure: Measure = "average_overlap",
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """How much better ``first`` is than ``second``, redrawing the sequences for both at once.

    They differ where the interval does not hold 0. The pairing takes out how hard each sequence
    is, so the interval is narrower than those of the two trackers suggest.
    """
    if first.names != second.names or first.rules != second.rules:
        raise AccuracyError(
            "two trackers can be compared on the same sequences, in the same order, by the same "
            f"rules; got {len(first.names)} sequences by {first.rules.name} and "
            f"{len(second.names)} by {second.rules.name}"
        )
    gains = first.per_sequence(measure) - second.per_sequence(measure)
    values, weights = _counting(first, gains)
    return _bootstrap(values, weights, (-1.0, 1.0), seed, resamples)


def by_attribute(
    judged: Accuracy,
    measure: Measure,
    attributes: Mapping[str, frozenset[str]],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, AttributeAccuracy]:
    """The measure over the sequences of each attribute, given the attributes of each sequence.

    An attribute none of whose sequences has a frame to judge is not listed.
    """
    unknown = [name for name in judged.names if name not in attributes]
    if unknown:
        raise AccuracyError(f"no attributes given for {', '.join(unknown[:5])}")
    has_frames = ~np.isnan(judged.per_sequence(measure))
    named = {attribute for name in judged.names for attribute in attributes[name]}
    breakdown = {}
    for attribute in sorted(named):
        having = np.array([attribute in attributes[name] for name in judged.names]) & has_frames
        if having.any():
            part = _part(judged, np.flatnonzero(having))
            within = interval(part, measure, seed=seed, resamples=resamples)
            breakdown[attribute] = AttributeAccuracy(within, len(part.names))
    return breakdown


def _part(judged: Accuracy, rows: Indices) -> Accuracy:
    return Accuracy(
        rules=judged.rules,
        names=tuple(judged.names[row] for row in rows),
        frames=judged.frames[rows],
        overlap=judged.overlap[rows],
        success=judged.success[rows],
        precision=judged.precision[rows],
        normalised=judged.normalised[rows],
    )


def _counting(judged: Accuracy, values: Floats) -> tuple[Floats, Floats]:
    """The values of the sequences that count, and how much each does."""
    counting = ~np.isnan(values)
    if not counting.any():
        raise AccuracyError(
            f"the rules of {judged.rules.name} leave no frame to judge in "
            f"{', '.join(judged.names[:5])}; is the target absent throughout?"
        )
    by_frame = judged.rules.mean_over == "frames"
    weights = judged.frames if by_frame else np.ones(len(values))
    return values[counting], weights[counting].astype(np.float64)


def _mean(values: Floats, weights: Floats) -> float:
    return float((values * weights).sum() / weights.sum())


def _bootstrap(
    values: Floats, weights: Floats, bounds: tuple[float, float], seed: int, resamples: int
) -> Interval:
    value = _mean(values, weights)
    if len(values) == 1:  # one sequence says nothing of the next
        return Interval(value, *bounds)
    generator = np.random.default_rng(seed)
    block = max(1, _DRAWS_AT_ONCE // len(values))
    means = []
    for done in range(0, resamples, block):
        rows = min(block, resamples - done)
        drawn = generator.integers(len(values), size=(rows, len(values)))
        means.append((values * weights)[drawn].sum(axis=1) / weights[drawn].sum(axis=1))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return Interval(value, min(float(low), value), max(float(high), value))


@dataclass(frozen=True)
class _Shares:
    """Shares of the frames of each sequence; frames of NaN are left out."""

    sequence: Indices
    rows: int

    def above(self, values: Floats, steps: Sequence[float]) -> Floats:
        """Share of values above each step."""
        counts = self._counts(values, steps)
        return _divided(counts[:, :0:-1].cumsum(axis=1)[:, ::-1], counts.sum(axis=1))

    def within(self, values: Floats, steps: Sequence[float]) -> Floats:
        """Share of values at or below each step."""
        counts = self._counts(values, steps)
        return _divided(counts.cumsum(axis=1)[:, :-1], counts.sum(axis=1))

    def _counts(self, values: Floats, steps: Sequence[float]) -> NDArray[np.int64]:
        """How many frames of each sequence lie above exactly 0, 1, ... of the steps."""
        kept = ~np.isnan(values)
        columns = len(steps) + 1
        cell = self.sequence[kept] * columns + np.searchsorted(np.asarray(steps), values[kept])
        return np.bincount(cell, minlength=self.rows * columns).reshape(self.rows, columns)


def _row_means(curves: Floats) -> Floats:
    means: Floats = curves.mean(axis=1)
    return means


def _divided(counts: NDArray[np.float64 | np.int64], totals: NDArray[np.int64]) -> Floats:
    """Counts per total; NaN where there is none."""
    shape = totals.reshape(-1, *[1] * (counts.ndim - 1))
    out = np.full(counts.shape, np.nan)
    np.divide(counts, shape, out=out, where=shape > 0)
    return out
