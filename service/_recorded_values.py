"""A job and its trials as values to be shown: what a record says, or a service.

Neither a database nor Optuna is needed: a client has none of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from search_spaces import ParetrackError
from service._coordinates import minimised, perfect_hypervolume
from service.front import Front, front, knee
from workers.metrics import METRICS, Limit, Metric, metric

Figures = Mapping[str, float]  # by the name of the metric
Ranges = Mapping[str, tuple[float, float]]  # where a figure lies, as its measurement says it


@dataclass(frozen=True, kw_only=True)
class RecordedTrial:
    """A trial as far as it has come."""

    number: int
    state: str  # RUNNING, COMPLETE, INFEASIBLE, STOPPED or FAILED
    holds: bool  # whether it holds every hard limit that it was measured for
    figures: Figures
    params: Mapping[str, Any]
    ended: datetime | None
    reason: str = ""
    flag: str = ""
    tracker: str = ""  # its folder, or ''
    digest: str = ""
    hypervolume: float | None = None  # of the front when it had ended
    ranges: Ranges = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RecordedJob:
    """A job and the front of its trials over some metrics: its objectives, or any others."""

    name: str
    objectives: tuple[Metric, ...]  # accuracy first
    metrics: tuple[Metric, ...]  # what the front is over
    limits: tuple[Limit, ...]
    teacher: Figures
    trials: tuple[RecordedTrial, ...]  # by number
    ended: str  # why, or '': it runs, or was killed
    stored_reference: tuple[float, ...] | None = None

    def point(self, figures: Figures) -> tuple[float, ...]:
        """The metrics of the front, each better where it is smaller."""
        return tuple(minimised(m, figures[m.name]) for m in self.metrics)

    @cached_property
    def eligible(self) -> list[RecordedTrial]:
        """Those that were judged to the end, hold the limits and have every metric."""
        names = [m.name for m in self.metrics]
        judged = [t for t in self.trials if t.state == "COMPLETE" and t.holds]
        return [t for t in judged if all(name in t.figures for name in names)]

    @cached_property
    def front(self) -> list[RecordedTrial]:
        """Those that no other dominates, by the last of the metrics: the cost."""
        found = self.eligible
        chosen = [found[i] for i in front([self.point(t.figures) for t in found]).tolist()]
        return sorted(chosen, key=lambda t: (self.point(t.figures)[1:], t.number))

    @cached_property
    def knee(self) -> int | None:
        """The number of the knee's trial, if the front has one."""
        found = knee([self.point(trial.figures) for trial in self.front])
        return None if found is None else self.front[found].number

    @cached_property
    def reference(self) -> tuple[float, ...]:
        """Where hypervolume is counted from: no accuracy at all, at the teacher's costs."""
        if self.stored_reference is not None and self.metrics == self.objectives:
            return self.stored_reference
        return tuple(0.0 if m.better == "higher" else self._worst(m.name) for m in self.metrics)

    def _worst(self, name: str) -> float:
        """The teacher's cost, or the highest, where the record has none of the teacher."""
        tried = (t.figures[name] for t in self.eligible)
        return self.teacher[name] if name in self.teacher else max(tried, default=0.0)

    def everything(self, reference: Sequence[float]) -> float:
        """The hypervolume of a perfect accuracy at no cost: what all others are expressed in."""
        return perfect_hypervolume(self.metrics, reference)

    @cached_property
    def hypervolumes(self) -> list[tuple[int, float]]:
        """The front's hypervolume after each trial that has ended, in their order: a share."""
        over = [t for t in self.trials if t.ended is not None]
        over.sort(key=lambda t: (t.ended, t.number))
        stored = [(t.number, t.hypervolume) for t in over if t.hypervolume is not None]
        if self.metrics == self.objectives and len(stored) == len(over):
            return stored
        growing, eligible = Front(self.reference), {t.number for t in self.eligible}
        whole = self.everything(self.reference)
        found = []
        for trial in over:
            if trial.number in eligible:
                growing.add(trial.number, self.point(trial.figures))
            found.append((trial.number, growing.hypervolume / whole))
        return found

    @property
    def hypervolume(self) -> float:
        return self.hypervolumes[-1][1] if self.hypervolumes else 0.0


def over(job: RecordedJob, names: Sequence[str]) -> RecordedJob:
    """The same job with the front over other metrics that its trials were measured for."""
    metrics = tuple(metric(name) for name in names)
    if len(set(names)) < len(names):
        raise ParetrackError(f"a front over {' and '.join(names)}: choose different metrics")
    seen = {name for trial in job.trials if trial.state == "COMPLETE" for name in trial.figures}
    for name in names:
        if seen and name not in seen:
            there = ", ".join(known for known in METRICS if known in seen)
            raise ParetrackError(
                f"job {job.name!r} has not measured {name}; what it has recorded: {there}"
            )
    return replace(job, metrics=metrics)
