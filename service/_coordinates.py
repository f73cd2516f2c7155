"""Metrics as coordinates of points that are better where they are smaller."""

import math
from collections.abc import Sequence

from workers.metrics import Metric


def minimised(metric: Metric, figure: float) -> float:
    """A figure as its coordinate."""
    return -figure if metric.better == "higher" else figure


def perfect_hypervolume(metrics: Sequence[Metric], reference: Sequence[float]) -> float:
    """That of a perfect accuracy at no cost, in which all others are expressed; never 0."""
    best = [1.0 if m.better == "higher" else 0.0 for m in metrics]
    return math.prod(end + one for end, one in zip(reference, best, strict=True)) or 1.0
