"""All trials of a job as points over two metrics, in columns; or those that something happened to.

Nothing is kept between two requests: 50,000 rows are read and turned into text within half a
second, and who follows a job asks only for what came since.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from service._trial_summaries import SUMMARIES
from service.errors import Fault, Problem
from service.jobs import EVENTS, StoredJob
from service.known_figures import KnownFigures
from service.trial_fronts import FrontPoint, as_figures, read_front
from service.trial_reading import About, about
from workers.metrics import METRICS, Limit, Metric, metric

STATES = ("RUNNING", "COMPLETE", "INFEASIBLE", "STOPPED", "FAILED")
DIGITS = 9  # of a figure that are told; a count is told whole
_AT_ONCE = 500  # rows whose figures are parsed together, or numbers in a query
_READ_ANEW = 5_000  # events since: then all trials are read in about the same time
_ANEW = ("taken_up", "state")  # a controller has told, or may have, what another did not
_OF_TRIALS = ("trial_asked", "trial_rung", "trial_finished", "front")
_ROWS = SUMMARIES.c


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Trials by number, one list for each thing that is said of them."""

    number: list[int]
    state: list[int]  # its place in ``STATES``
    feasible: list[int]  # 1, or 0: it breaks a hard limit
    x: list[float | None]
    y: list[float | None]


@dataclass(frozen=True, kw_only=True)
class Points:
    """Trials of a job over two metrics, and what they are drawn with."""

    job: str
    name: str
    state: str
    events: int  # of the job, when this was read
    since: int | None  # only what events after this one tell of; None: all trials
    metrics: tuple[Metric, ...]  # that these trials were measured for, and the job's objectives
    objectives: tuple[Metric, ...]
    x: Metric
    y: Metric
    trials: Columns
    front: tuple[FrontPoint, ...]  # all of it, over x and y
    knee: int | None
    limits: tuple[Limit, ...]  # of x and of y
    teacher: dict[str, float]  # of x and y, what is known
    reference: dict[str, float]


def read_points(
    connection: Connection,
    known: KnownFigures,
    job: StoredJob,
    x: str | None = None,
    y: str | None = None,
    since: int | None = None,
) -> Points:
    """The trials over x and y; with ``since``, those that something has happened to after that
    event, unless all are better read anew."""
    said = about(connection, job)
    axes = _axes(said, x, y)
    numbers = None if since is None else _told_since(connection, job, since)
    rows = _all(connection, job.id) if numbers is None else _some(connection, job.id, numbers)
    trials, measured = _columns(rows, axes)
    names = {*measured, *(m.name for m in said.objectives)}
    if numbers is None and measured:
        _check_measured(job, axes, names)
    front = read_front(connection, known, job, [axis.name for axis in axes])
    return Points(
        job=job.id,
        name=job.name,
        state=job.state,
        events=job.events,
        since=None if numbers is None else since,
        metrics=tuple(one for name, one in METRICS.items() if name in names),
        objectives=said.objectives,
        x=axes[0],
        y=axes[1],
        trials=trials,
        front=front.points,
        knee=front.knee,
        limits=tuple(one for one in said.limits if one.metric in (axes[0].name, axes[1].name)),
        teacher={name: value for name, value in front.teacher.items() if math.isfinite(value)},
        reference={
            name: value
            for name, value in as_figures(axes, front.reference).items()
            if math.isfinite(value)
        },
    )


def _axes(said: About, x: str | None, y: str | None) -> tuple[Metric, Metric]:
    """What is asked for; else the first cost, and the accuracy."""
    names = [one.name for one in said.objectives]
    across = x or next(name for name in [*names[1:], names[0]] if name != y)
    up = y or next(name for name in names if name != across)
    if across == up:
        detail = f"a plot of {up} against itself: choose different metrics for x and y"
        raise Problem("invalid", detail, [Fault(detail, parameter="y")])
    return metric(across), metric(up)


def _check_measured(job: StoredJob, axes: Sequence[Metric], measured: set[str]) -> None:
    for parameter, axis in zip("xy", axes, strict=True):
        if axis.name not in measured:
            there = ", ".join(name for name in METRICS if name in measured)
            detail = f"job {job.id} has not measured {axis.name}; what it has recorded: {there}"
            raise Problem("invalid", detail, [Fault(detail, parameter=parameter)])


# --- rows --------------------------------------------------------------------------------------


def _told_since(connection: Connection, job: StoredJob, since: int) -> list[int] | None:
    """The numbers of the trials that something has happened to; None: read all of them."""
    if not 0 <= job.events - since <= _READ_ANEW:
        return None
    query = select(EVENTS.c.kind, EVENTS.c.data_json).where(
        EVENTS.c.job_id == job.id,
        EVENTS.c.number > since,
        EVENTS.c.kind.in_((*_OF_TRIALS, *_ANEW)),
    )
    found: set[int] = set()
    for kind, data in connection.execute(query):
        if kind in _ANEW:
            return None
        found.add(json.loads(data)["number"])
    return sorted(found)


_WHAT = (_ROWS.number, _ROWS.state, _ROWS.holds, _ROWS.figures_json)
_Rows = Iterator[Sequence[Row[int, str, bool, str]]]


def _all(connection: Connection, job_id: str) -> _Rows:
    query = select(*_WHAT).where(_ROWS.job_id == job_id).order_by(_ROWS.number)
    yield from connection.execute(query).partitions(_AT_ONCE)


def _some(connection: Connection, job_id: str, numbers: Sequence[int]) -> _Rows:
    for i in range(0, len(numbers), _AT_ONCE):
        chosen = _ROWS.number.in_(numbers[i : i + _AT_ONCE])
        query = select(*_WHAT).where(_ROWS.job_id == job_id, chosen).order_by(_ROWS.number)
        yield connection.execute(query).all()


def _columns(pieces: _Rows, axes: tuple[Metric, Metric]) -> tuple[Columns, set[str]]:
    """The trials in columns, and the names of the metrics that any of them has."""
    place = {state: code for code, state in enumerate(STATES)}
    found = Columns(number=[], state=[], feasible=[], x=[], y=[])
    measured: set[str] = set()
    for rows in pieces:
        # A few hundred: while a text is parsed no other thread gets a turn.
        figures = json.loads(f"[{','.join(row.figures_json for row in rows)}]")
        measured.update(*figures)
        found.number.extend(row.number for row in rows)
        found.state.extend(place[row.state] for row in rows)
        found.feasible.extend(int(row.holds) for row in rows)
        for axis, column in zip(axes, (found.x, found.y), strict=True):
            column.extend(short(each.get(axis.name)) for each in figures)
    return found, measured


def short(value: float | None) -> float | None:
    """With as many digits as are told; None for what is no number of JSON. A count is an int."""
    if value is None or not math.isfinite(value):
        return None
    is_count = value == int(value) and abs(value) < 2**53
    return int(value) if is_count else float(f"{value:.{DIGITS}g}")


# --- as text -----------------------------------------------------------------------------------


def as_document(found: Points) -> dict[str, Any]:
    """What is said over HTTP; plain lists, which no model has to look through one by one."""
    axes = (found.x, found.y)
    front = found.front
    return {
        "job": found.job,
        "name": found.name,
        "state": found.state,
        "events": found.events,
        "since": found.since,
        "metrics": [_axis(one) for one in found.metrics],
        "objectives": [one.name for one in found.objectives],
        "x": _axis(found.x),
        "y": _axis(found.y),
        "states": list(STATES),
        "trials": vars(found.trials),
        "front": {
            "number": [point.number for point in front],
            "x": [short(point.figures[found.x.name]) for point in front],
            "y": [short(point.figures[found.y.name]) for point in front],
            **{
                f"{name}_{side}": [_end(point, axis, place) for point in front]
                for name, axis in zip("xy", axes, strict=True)
                for place, side in enumerate(("low", "high"))
            },
            "flag": [point.flag for point in front],
            "has_tracker": [int(point.has_tracker) for point in front],
        },
        "knee": found.knee,
        "limits": [vars(one) for one in found.limits],
        "teacher": found.teacher,
        "reference": found.reference,
    }


def _axis(one: Metric) -> dict[str, str]:
    return {"name": one.name, "label": one.label, "unit": one.unit, "better": one.better}


def _end(point: FrontPoint, axis: Metric, place: int) -> float | None:
    """Of the range in which the figure lies, where that is known."""
    known = point.ranges.get(axis.name)
    return None if known is None else short(known[place])
