"""Trials of a job as they are shown: page by page, or one with all that is known of it.

Everything is read from ``trial_summaries`` and by keys: no study is ever loaded, so that a job of
50,000 trials answers as quickly as one of 50.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, func, select, tuple_

from service import _optuna_tables as optuna_tables
from service._kept import AGAIN, find_measurement
from service._trial_summaries import SUMMARIES
from service.database import RungRow, database_now
from service.errors import Fault, Problem
from service.job import job_from_json
from service.jobs import ENDED, StoredJob
from workers.metrics import METRICS, Limit, Metric, limit_from_text, metric, value

_RUNGS = cast(Table, RungRow.__table__)
_ROWS = SUMMARIES.c
VALUES = 3  # of a trial's objectives that have columns of their own
_MOST_FILES = 200  # of a tracker's folder that are listed

Place = tuple[float | None, int]  # a trial's value in the order, and its number


@dataclass(frozen=True, kw_only=True)
class About:
    """What a job is over. Before its ends are measured there is no teacher and no reference."""

    objectives: tuple[Metric, ...]  # accuracy first
    limits: tuple[Limit, ...]
    teacher: Mapping[str, float]  # by the name of the metric
    reference: tuple[float, ...] | None  # of the objectives, each better where it is smaller


def about(connection: Connection, job: StoredJob) -> About:
    """What the record says the job is over, or what was asked for, where there is none yet."""
    studies, attrs = optuna_tables.STUDIES.c, optuna_tables.STUDY_USER_ATTRS
    query = (
        select(attrs.c.key, attrs.c.value_json)
        .join_from(attrs, optuna_tables.STUDIES, attrs.c.study_id == studies.study_id)
        .where(studies.study_name == job.id)
        .where(attrs.c.key.in_(("job", "teacher", "reference")))
    )
    known = {key: json.loads(value) for key, value in connection.execute(query)}
    if "job" in known:
        names = (known["job"]["accuracy"], *known["job"]["costs"])
        limits = known["job"]["limits"]
    else:
        asked = job_from_json({**job.spec, "name": job.id})
        names, limits = asked.metrics, asked.limits
    reference = known.get("reference")
    return About(
        objectives=tuple(metric(name) for name in names),
        limits=tuple(limit_from_text(text) for text in limits),
        teacher={k: v for k, v in known.get("teacher", {}).items() if k in METRICS},
        reference=None if reference is None else tuple(reference),
    )


@dataclass(frozen=True, kw_only=True)
class TrialLine:
    """A trial as a list shows it."""

    number: int
    state: str
    feasible: bool  # it breaks no hard limit that it was measured for
    on_front: bool
    figures: Mapping[str, float]
    ranges: Mapping[str, tuple[float, float]]
    params: Mapping[str, Any]
    hypervolume: float | None
    moved: bool
    began_at: datetime
    ended_at: datetime | None
    rung: int | None
    reason: str
    flag: str
    digest: str
    tracker: str  # its folder, or ''


@dataclass(frozen=True, kw_only=True)
class Which:
    """Some of a job's trials."""

    states: Sequence[str] = ()  # one of these; none: whatever it is
    feasible: bool | None = None
    on_front: bool | None = None

    def conditions(self, job_id: str) -> list[ColumnElement[bool]]:
        found = [_ROWS.job_id == job_id]
        if self.states:
            found.append(_ROWS.state.in_(self.states))
        if self.feasible is not None:
            found.append(_ROWS.holds.is_(self.feasible))
        if self.on_front is not None:
            found.append(_ROWS.on_front.is_(self.on_front))
        return found


@dataclass(frozen=True)
class Order:
    """By an objective (its place among them) or, without one, by number. Those that have no value
    of the objective come last, either way."""

    objective: int | None = None
    descending: bool = False

    def place(self, trial: TrialLine, objectives: Sequence[Metric]) -> Place:
        """Where the trial stands; a page goes on after the place of the last one before."""
        if self.objective is None:
            return None, trial.number
        has_value = trial.state == "COMPLETE"
        name = objectives[self.objective].name
        return (trial.figures[name] if has_value else None), trial.number


def order_from_text(text: str, objectives: Sequence[Metric]) -> Order:
    """ "number", "-number", "macs_frame", "-average_overlap": with the sign, the highest first."""
    names = [m.name for m in objectives][:VALUES]
    name = text.removeprefix("-")
    if name == "number":
        return Order(None, text.startswith("-"))
    if name not in names:
        can = ", ".join(["number", *names])
        detail = f"sort: expected one of {can}, with - before it for the highest first"
        raise Problem("invalid", detail, [Fault(detail, parameter="sort")])
    return Order(names.index(name), text.startswith("-"))


def page(
    connection: Connection,
    job_id: str,
    which: Which,
    order: Order,
    after: Place | None,
    limit: int,
) -> list[TrialLine]:
    """The next trials in an order. A trial that stays as it is comes exactly once, whatever is
    added between two pages; one that ends meanwhile leaves the end of the list for its place."""
    found: list[TrialLine] = []
    for query in _queries(job_id, which, order, after):
        if len(found) < limit:
            rows = connection.execute(query.limit(limit - len(found)))
            found += [_line(row) for row in rows]
    return found


def _queries(
    job_id: str, which: Which, order: Order, after: Place | None
) -> Iterator[Select[tuple[Any, ...]]]:
    """First those that have a value, then those that have none: each can be read off an index."""
    query = select(SUMMARIES).where(*which.conditions(job_id))
    value, number = after or (None, -1)
    if order.objective is not None:
        column: ColumnElement[Any] = _ROWS[f"value{order.objective}"]
        if which.on_front:  # few: the sum keeps SQLite from going through all in their order
            column = column + 0
        may_have_one = not which.states or "COMPLETE" in which.states
        if may_have_one and (after is None or value is not None):
            valued = query.where(column.is_not(None))
            if after is not None:
                here, there = tuple_(column, _ROWS.number), tuple_(value, number)
                valued = valued.where(here < there if order.descending else here > there)
            keys = (column, _ROWS.number)
            yield valued.order_by(*(k.desc() if order.descending else k for k in keys))
        query = query.where(column.is_(None))
        after = after if value is None else None
    if after is not None:
        query = query.where(_ROWS.number < number if order.descending else _ROWS.number > number)
    yield query.order_by(_ROWS.number.desc() if order.descending else _ROWS.number)


def _line(row: Row[Any]) -> TrialLine:
    return TrialLine(
        number=row.number,
        state=row.state,
        feasible=row.holds,
        on_front=row.on_front,
        figures=json.loads(row.figures_json),
        ranges=ranges_from_json(row.ranges_json),
        params=json.loads(row.params_json),
        hypervolume=row.hypervolume,
        moved=row.moved,
        began_at=row.began_at,
        ended_at=row.ended_at,
        rung=row.rung,
        reason=row.reason,
        flag=row.flag,
        digest=row.digest,
        tracker=row.tracker,
    )


def ranges_from_json(text: str) -> dict[str, tuple[float, float]]:
    return {name: (low, high) for name, (low, high) in json.loads(text).items()}


# --- one trial ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What was decided about a trial at a rung, and from what."""

    rung: int
    steps: int
    values: Mapping[str, float]
    verdict: str
    note: str
    decided_at: datetime


@dataclass(frozen=True)
class File:
    """Something that lies in a tracker's folder."""

    name: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class WholeTrial:
    """All there is of a trial. ``measurement`` is what its figures were read from."""

    line: TrialLine
    architecture: Mapping[str, Any] | None
    measurement: Mapping[str, Any] | None
    decisions: tuple[Decision, ...]
    files: tuple[File, ...]


def read_trial(connection: Connection, job_id: str, number: int) -> WholeTrial | None:
    """The trial with this number, if there is one."""
    query = select(SUMMARIES).where(_ROWS.job_id == job_id, _ROWS.number == number)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    line, its_id = _line(row), _id(connection, job_id, number)
    rungs = _rungs(connection, its_id)
    measured = [json.loads(r.measurement_json) for r in rungs if r.measurement_json]
    measurement = measured[-1] if measured else None
    architecture = _architecture(measurement)
    if line.state in ("COMPLETE", "INFEASIBLE"):  # of others, another job may know more than it had
        known = find_measurement(connection, line.digest, None) or {}
        architecture = _architecture(known) or architecture
        again = {**known, **_measured_again(connection, its_id)}
        own = (each for each in (again, measurement) if each and _says(each, line.figures))
        measurement = next(own, None)
    return WholeTrial(
        line=line,
        architecture=architecture,
        measurement=None if measurement is None else without_paths(measurement),
        decisions=tuple(
            Decision(
                rung=r.rung,
                steps=r.steps,
                values=json.loads(r.values_json),
                verdict=r.verdict,
                note=r.note,
                decided_at=r.decided_at,
            )
            for r in rungs
        ),
        files=files_of(line.tracker),
    )


def _id(connection: Connection, job_id: str, number: int) -> int | None:
    """What Optuna knows the trial by."""
    trials, studies = optuna_tables.TRIALS.c, optuna_tables.STUDIES.c
    study = select(studies.study_id).where(studies.study_name == job_id).scalar_subquery()
    query = select(trials.trial_id).where(trials.study_id == study, trials.number == number)
    found: int | None = connection.execute(query).scalar()
    return found


def _rungs(connection: Connection, its_id: int | None) -> Sequence[Row[Any]]:
    query = select(_RUNGS).where(_RUNGS.c.trial_id == its_id).order_by(_RUNGS.c.rung)
    return connection.execute(query).all()


def _measured_again(connection: Connection, its_id: int | None) -> dict[str, Any]:
    """What this job has measured of a candidate that was known."""
    attrs = optuna_tables.USER_ATTRS.c
    query = select(attrs.value_json).where(attrs.trial_id == its_id, attrs.key == AGAIN)
    found = connection.execute(query).scalar()
    return {} if found is None else cast(dict[str, Any], json.loads(found))


def _says(measurement: Mapping[str, Any], figures: Mapping[str, float]) -> bool:
    """Whether the figures may have been read from it, and not from one that another job made."""
    known = {name: METRICS[name] for name in figures if name in METRICS}
    return all(value(measurement, asked) == figures[name] for name, asked in known.items())


def _architecture(measurement: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = (measurement or {}).get("candidate", {}).get("architecture")
    return found


def without_paths(measurement: Mapping[str, Any]) -> dict[str, Any]:
    """Without where files lie on the machine that measured: a caller cannot use it, nor needs to
    know. The architecture stands by itself."""
    candidate = {
        name: value
        for name, value in measurement.get("candidate", {}).items()
        if name not in ("teacher", "architecture")
    }
    if isinstance(candidate.get("data"), dict):
        candidate["data"] = {k: v for k, v in candidate["data"].items() if k != "root"}
    rest = {k: v for k, v in measurement.items() if k not in ("tracker", "candidate")}
    return {**rest, "candidate": candidate}


def files_of(folder: str) -> tuple[File, ...]:
    """What lies in a tracker's folder, if this machine sees it: plain files, by name."""
    if not folder or not Path(folder).is_dir():
        return ()
    files = [f for f in Path(folder).iterdir() if f.is_file() and not f.is_symlink()]
    return tuple(File(f.name, f.stat().st_size) for f in sorted(files)[:_MOST_FILES])


# --- hypervolume -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Step:
    """A trial that moved the front, and what the front came to then."""

    number: int
    at: datetime
    hypervolume: float  # a share


@dataclass(frozen=True, kw_only=True)
class Growth:
    """The hypervolume as a step function of the trials and of the time."""

    steps: tuple[Step, ...]  # in the order of their ends
    last: float
    trials: int  # asked so far
    began_at: datetime | None
    until: datetime  # the end of the job, or now


def growth(connection: Connection, job: StoredJob) -> Growth:
    """How the front grew: every trial that moved it."""
    query = (
        select(_ROWS.number, _ROWS.ended_at, _ROWS.hypervolume)
        .where(_ROWS.job_id == job.id, _ROWS.moved)
        .where(_ROWS.hypervolume.is_not(None), _ROWS.ended_at.is_not(None))
        .order_by(_ROWS.ended_at, _ROWS.number)
    )
    rows = connection.execute(query).all()
    steps = tuple(Step(number=n, at=at, hypervolume=volume) for n, at, volume in rows)
    newest = connection.scalar(select(func.max(_ROWS.number)).where(_ROWS.job_id == job.id))
    ended = job.ended_at if job.state in ENDED else None
    return Growth(
        steps=steps,
        last=steps[-1].hypervolume if steps else 0.0,
        trials=0 if newest is None else newest + 1,
        began_at=job.started_at,
        until=ended or database_now(connection),
    )
