"""Fronts of jobs as they are shown: over a job's own objectives, over any other metrics, and
those of several jobs side by side.

What is on a job's own front is written in its trials' rows; a front over other metrics is read off
the figures in memory (``known_figures``). ``service.recorded`` says the same from Optuna's record.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, select

from service._coordinates import minimised, perfect_hypervolume
from service._trial_summaries import SUMMARIES
from service.errors import Fault, Problem
from service.front import compared, hypervolume, knee
from service.jobs import StoredJob
from service.known_figures import KnownFigures
from service.trial_reading import About, about, ranges_from_json
from workers.metrics import METRICS, Limit, Metric, metric

_ROWS = SUMMARIES.c
_AT_ONCE = 500  # numbers in a query


@dataclass(frozen=True, kw_only=True)
class FrontPoint:
    """A trial on a front."""

    number: int
    figures: Mapping[str, float]  # of the front's metrics
    ranges: Mapping[str, tuple[float, float]]
    flag: str
    has_tracker: bool


@dataclass(frozen=True, kw_only=True)
class JobFront:
    """A job's front, and what it is drawn with."""

    job: str
    name: str
    events: int  # of the job: the same number, the same front
    metrics: tuple[Metric, ...]
    points: tuple[FrontPoint, ...]  # by the last metrics, the costs
    teacher: Mapping[str, float]
    limits: tuple[Limit, ...]
    reference: tuple[float, ...]  # better where smaller; where hypervolume is counted from
    knee: int | None  # the number of its trial

    @property
    def coordinates(self) -> list[tuple[float, ...]]:
        return [coordinates(self.metrics, point.figures) for point in self.points]

    def hypervolume(self, reference: Sequence[float] | None = None) -> float:
        """As a share of a perfect accuracy at no cost; from its own reference, or another."""
        corner = self.reference if reference is None else reference
        whole = perfect_hypervolume(self.metrics, corner)
        return hypervolume(self.coordinates, corner) / whole


def coordinates(metrics: Sequence[Metric], figures: Mapping[str, float]) -> tuple[float, ...]:
    return tuple(minimised(m, figures[m.name]) for m in metrics)


def as_figures(metrics: Sequence[Metric], point: Sequence[float]) -> dict[str, float]:
    """Coordinates as figures again; zero has no sign for a reader."""
    return {m.name: minimised(m, v) + 0.0 for m, v in zip(metrics, point, strict=True)}


def read_front(
    connection: Connection, known: KnownFigures, job: StoredJob, names: Sequence[str] = ()
) -> JobFront:
    """A job's front over some metrics; without names, over its own objectives."""
    said = about(connection, job)
    own = {m.name: m for m in said.objectives}
    metrics = tuple(metric(name) for name in names) or said.objectives
    if len({m.name for m in metrics}) < len(metrics):
        detail = f"a front over {' and '.join(names)}: choose different metrics"
        raise Problem("invalid", detail, [Fault(detail, parameter="y")])
    if {m.name for m in metrics} == own.keys():
        points = _points(connection, job.id, metrics, [_ROWS.on_front])
        return _front(job, said, metrics, points, _own_reference(said, metrics, points))
    best = known.best(connection, job, metrics)
    if best.measured:
        _check_measured(job, metrics, best.measured)
    numbers = best.numbers.tolist()
    points = [
        point
        for i in range(0, len(numbers), _AT_ONCE)
        for point in _points(
            connection, job.id, metrics, [_ROWS.number.in_(numbers[i : i + _AT_ONCE])]
        )
    ]
    return _front(job, said, metrics, points, _reference(said, metrics, best.worst))


def _check_measured(job: StoredJob, metrics: Sequence[Metric], measured: Sequence[str]) -> None:
    for number, asked in enumerate(metrics):
        if asked.name not in measured:
            there = ", ".join(name for name in METRICS if name in measured)
            detail = f"job {job.id} has not measured {asked.name}; what it has recorded: {there}"
            raise Problem("invalid", detail, [Fault(detail, parameter="xyz"[number])])


def _points(
    connection: Connection,
    job_id: str,
    metrics: Sequence[Metric],
    which: Sequence[ColumnElement[bool]],
) -> list[FrontPoint]:
    query = select(
        _ROWS.number, _ROWS.figures_json, _ROWS.ranges_json, _ROWS.flag, _ROWS.tracker
    ).where(_ROWS.job_id == job_id, *which)
    found = []
    for number, figures_json, ranges_json, flag, tracker in connection.execute(query):
        figures, ranges = json.loads(figures_json), ranges_from_json(ranges_json)
        point = FrontPoint(
            number=number,
            figures={m.name: figures[m.name] for m in metrics},
            ranges={m.name: ranges[m.name] for m in metrics if m.name in ranges},
            flag=flag,
            has_tracker=bool(tracker),
        )
        found.append(point)
    return found


def _own_reference(
    said: About, metrics: Sequence[Metric], points: Sequence[FrontPoint]
) -> tuple[float, ...]:
    """As the job has it, in the order that was asked for."""
    if said.reference is None:
        costs = [[coordinates([m], p.figures)[0] for p in points] for m in metrics]
        return _reference(said, metrics, [max(values, default=math.nan) for values in costs])
    of = {m.name: v for m, v in zip(said.objectives, said.reference, strict=True)}
    return tuple(of[m.name] for m in metrics)


def _reference(said: About, metrics: Sequence[Metric], worst: Sequence[float]) -> tuple[float, ...]:
    """No accuracy at all, at the teacher's costs, or the highest, where it has none."""
    costs = [
        said.teacher.get(m.name, 0.0 if math.isnan(most) else most)
        for m, most in zip(metrics, worst, strict=True)
    ]
    return tuple(0.0 if m.better == "higher" else c for m, c in zip(metrics, costs, strict=True))


def _front(
    job: StoredJob,
    said: About,
    metrics: tuple[Metric, ...],
    points: Sequence[FrontPoint],
    reference: tuple[float, ...],
) -> JobFront:
    placed = [(coordinates(metrics, point.figures), point) for point in points]
    placed.sort(key=lambda one: (one[0][1:], one[1].number))
    bend = knee([place for place, _ in placed])
    return JobFront(
        job=job.id,
        name=job.name,
        events=job.events,
        metrics=metrics,
        points=tuple(point for _, point in placed),
        teacher={m.name: said.teacher[m.name] for m in metrics if m.name in said.teacher},
        limits=said.limits,
        reference=reference,
        knee=None if bend is None else placed[bend][1].number,
    )


# --- several jobs ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Against:
    """One job's front beside another's."""

    job: str
    other: str
    epsilon: float | None  # what it lacks to cover the other, of both fronts' range; None: empty
    dominated: int  # its points that one of the other's dominates
    shared: int  # its points that the other has as well
    alone: tuple[int, ...]  # numbers of its trials for which the other has nothing as good


@dataclass(frozen=True, kw_only=True)
class Lead:
    """Who is best over a range of the second metric; None: nobody has anything there."""

    start: float
    end: float | None  # None: from there on
    jobs: tuple[str, ...]  # several: they are equal


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Fronts of several jobs over the same metrics, from one reference."""

    metrics: tuple[Metric, ...]
    reference: tuple[float, ...]  # the worst of the jobs' own in each metric
    fronts: tuple[JobFront, ...]
    pairs: tuple[Against, ...]  # every job against every other
    leads: tuple[Lead, ...]  # of two metrics; of three it is left empty

    def hypervolume(self, front: JobFront) -> float:
        return front.hypervolume(self.reference)


def compare(fronts: Sequence[JobFront]) -> Comparison:
    """Several fronts side by side. Nothing is left out: limits may differ between the jobs."""
    metrics = fronts[0].metrics
    for front in fronts:
        if {m.name for m in front.metrics} != {m.name for m in metrics}:
            theirs, ours = (" and ".join(m.name for m in f.metrics) for f in (front, fronts[0]))
            detail = (
                f"{fronts[0].job} is over {ours}, {front.job} over {theirs}: say with x and y "
                "over which metrics to compare them"
            )
            raise Problem("invalid", detail, [Fault(detail, parameter="jobs")])
    corners = [
        [dict(zip([m.name for m in f.metrics], f.reference, strict=True))[m.name] for m in metrics]
        for f in fronts
    ]
    reference = tuple(max(values) for values in zip(*corners, strict=True))
    pairs = [
        _against(metrics, ours, theirs, reference)
        for ours in fronts
        for theirs in fronts
        if ours is not theirs
    ]
    return Comparison(
        metrics=metrics,
        reference=reference,
        fronts=tuple(fronts),
        pairs=tuple(pairs),
        leads=tuple(_leads(fronts)) if len(metrics) == 2 else (),
    )


def _against(
    metrics: Sequence[Metric], ours: JobFront, theirs: JobFront, reference: Sequence[float]
) -> Against:
    here, there = ([coordinates(metrics, p.figures) for p in f.points] for f in (ours, theirs))
    side, _ = compared(here, there, reference)
    return Against(
        job=ours.job,
        other=theirs.job,
        epsilon=side.epsilon if math.isfinite(side.epsilon) else None,
        dominated=side.dominated,
        shared=side.shared,
        alone=tuple(ours.points[i].number for i in side.alone),
    )


def _leads(fronts: Sequence[JobFront]) -> list[Lead]:
    """At every cost, whose best for no more than that is the best of all."""
    metrics = fronts[0].metrics
    placed: list[tuple[float, float, str]] = []
    for front in fronts:
        points = (coordinates(metrics, point.figures) for point in front.points)
        placed += [(cost, value, front.job) for value, cost in points]
    best: dict[str, float] = {}
    found: list[tuple[float, tuple[str, ...]]] = []
    for cost, value, job in sorted(placed):
        best[job] = min(value, best.get(job, math.inf))
        top = min(best.values())
        leaders = tuple(f.job for f in fronts if best.get(f.job) == top)
        if found and found[-1][0] == cost:
            found.pop()
        if not found or found[-1][1] != leaders:
            found.append((cost, leaders))
    ends = [start for start, _ in found[1:]]
    second = metrics[1]
    return [
        Lead(
            start=minimised(second, start) + 0.0,
            end=None if end is None else minimised(second, end) + 0.0,
            jobs=leaders,
        )
        for (start, leaders), end in zip(found, [*ends, None], strict=True)
    ]
