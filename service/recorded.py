"""What the record says of a job, as values to be shown: read only, while the job runs or later.

Neither a lease nor the teacher's weights are needed, and no torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from optuna.trial import FrozenTrial
from sqlalchemy import Connection, Engine

from search_spaces import ParetrackError
from service import _optuna_tables as tables
from service._coordinates import minimised, perfect_hypervolume
from service._frozen_trials import load_trials
from service._kept import find_measurement
from service._studies import known_study, read_attrs
from service.database import reading
from service.front import Front, front, knee
from service.spending import HYPERVOLUME
from workers.metrics import METRICS, Limit, Metric, limit_from_text, metric, value

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


def read_job(engine: Engine, name: str) -> RecordedJob:
    """What is recorded of a job now."""
    with reading(engine) as connection:
        study = known_study(engine, connection, name)
        attrs = read_attrs(connection, tables.STUDY_USER_ATTRS, study)
        if "job" not in attrs:
            raise ParetrackError(
                f"{name!r} has nothing to show: either its teacher is still being measured, or it "
                "is a study that is not from paretrack search"
            )
        job = _job(name, attrs, load_trials(connection, study))
        ranges = {trial.number: ranges_of(connection, trial) for trial in job.front}
    trials = tuple(replace(t, ranges=ranges.get(t.number, t.ranges)) for t in job.trials)
    return replace(job, trials=trials)


def _job(name: str, attrs: Mapping[str, Any], trials: Sequence[FrozenTrial]) -> RecordedJob:
    asked = attrs["job"]
    objectives = tuple(metric(each) for each in (asked["accuracy"], *asked["costs"]))
    reference = attrs.get("reference")
    return RecordedJob(
        name=name,
        objectives=objectives,
        metrics=objectives,
        limits=tuple(limit_from_text(text) for text in asked["limits"]),
        teacher=attrs["teacher"],
        trials=tuple(recorded_trial(trial, objectives) for trial in trials),
        ended="" if any(not t.state.is_finished() for t in trials) else attrs.get("ended", ""),
        stored_reference=None if reference is None else tuple(reference),
    )


def recorded_trial(trial: FrozenTrial, objectives: Sequence[Metric]) -> RecordedTrial:
    attrs = trial.user_attrs
    figures = {name: attrs[name] for name in METRICS if isinstance(attrs.get(name), int | float)}
    if trial.state.name == "COMPLETE":
        figures |= {m.name: v for m, v in zip(objectives, trial.values, strict=True)}
    return RecordedTrial(
        number=trial.number,
        state=attrs.get("state", trial.state.name),
        holds=all(violation <= 0 for violation in trial.constraints.values()),
        figures=figures,
        params=trial.params,
        ended=trial.datetime_complete,
        reason=attrs.get("reason") or "",
        flag=attrs.get("flag") or "",
        tracker=attrs.get("tracker") or "",
        digest=attrs.get("digest") or "",
        hypervolume=attrs.get(HYPERVOLUME),
        ranges={
            name: (low, high)
            for name in figures
            for low, high in [attrs.get(f"{name}_interval") or (None, None)]
            if low is not None and high is not None
        },
    )


_ENDS = {"value": ("low", "high"), "median_ms": ("p10_ms", "p90_ms")}


def ranges_of(connection: Connection, trial: RecordedTrial) -> dict[str, tuple[float, float]]:
    """With what the measurement says, where it is the one that the trial's figures are of."""
    found = dict(trial.ranges)
    measurement = find_measurement(connection, trial.digest, None) or {}
    for name, figure in trial.figures.items():
        asked = metric(name)
        if asked.path[-1] not in _ENDS or value(measurement, asked) != figure:
            continue
        ends = [replace(asked, path=(*asked.path[:-1], end)) for end in _ENDS[asked.path[-1]]]
        low, high = (value(measurement, end) for end in ends)
        if low is not None and high is not None:
            found[name] = (low, high)
    return found
