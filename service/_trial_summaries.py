"""Rows by which trials are listed and drawn, made from Optuna's: part of the journal's batches."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from optuna.trial import FrozenTrial
from sqlalchemy import Connection, Table, and_, func, or_, select, update

from service import _optuna_tables as optuna_tables
from service._coordinates import minimised, perfect_hypervolume
from service._frozen_trials import load_trials
from service._timings import put_timings
from service._upserts import put
from service.database import RungRow
from service.front import Front
from service.recorded import RecordedTrial, ranges_of, recorded_trial
from service.tables import TrialSummaryRow
from workers.metrics import Metric, metric

THUMBNAIL = 60  # points of a front in a summary

SUMMARIES = cast(Table, TrialSummaryRow.__table__)
_RUNGS = cast(Table, RungRow.__table__)


def untold(connection: Connection, job_id: str, study: int) -> Sequence[int]:
    """The numbers of the trials whose rows do not say what the record says."""
    trials, rows = optuna_tables.TRIALS.c, SUMMARIES.c
    query = (
        select(trials.number)
        .join_from(
            optuna_tables.TRIALS,
            SUMMARIES,
            and_(rows.job_id == job_id, rows.number == trials.number),
            isouter=True,
        )
        .where(trials.study_id == study)
        .where(or_(rows.number.is_(None), rows.state == "RUNNING"))
    )
    return list(connection.execute(query).scalars())


def put_rows(
    connection: Connection,
    job_id: str,
    study: int,
    about: Mapping[str, Any],
    numbers: Sequence[int],
) -> list[int]:
    """Say of some trials what the record says; those that moved the front, in their order."""
    objectives = objectives_of(about)
    frozen = load_trials(connection, study, numbers)
    trials = {t.number: recorded_trial(t, objectives) for t in frozen}
    front = _front(connection, job_id, about)
    before = set(front.numbers)
    moved = [n for n in _by_end(trials.values()) if _joins(front, objectives, trials[n])]
    rungs = _rungs(connection, frozen)
    rows = [_row(job_id, t, trials[t.number], objectives, rungs.get(t.number)) for t in frozen]
    for row in rows:
        row["on_front"], row["moved"] = row["number"] in front.numbers, row["number"] in moved
        if row["on_front"]:
            found = ranges_of(connection, trials[row["number"]])
            row["ranges_json"] = json.dumps(found)
    put(connection, SUMMARIES, rows, "job_id", "number")
    put_timings(connection, job_id, frozen, rows)
    left = before - set(front.numbers) - trials.keys()
    if left:
        connection.execute(
            update(SUMMARIES)
            .where(SUMMARIES.c.job_id == job_id, SUMMARIES.c.number.in_(left))
            .values(on_front=False)
        )
    return moved


def summary(connection: Connection, job_id: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """What a list shows of the job: counts, budget, the front in small."""
    rows, objectives = SUMMARIES.c, objectives_of(about)
    counted = select(rows.state, func.count()).where(rows.job_id == job_id).group_by(rows.state)
    states: dict[str, int] = {row[0]: row[1] for row in connection.execute(counted)}
    members = connection.execute(
        select(rows.number, rows.figures_json)
        .where(rows.job_id == job_id, rows.on_front)
        .order_by(rows.value1, rows.number)
    ).all()
    points = [_figures(figures, objectives) for _, figures in members]
    last = select(func.max(rows.hypervolume)).where(rows.job_id == job_id, rows.moved)
    return {
        "metrics": [m.name for m in objectives],
        "asked": sum(states.values()),
        "states": states,
        "budget": about["job"]["budget"],
        "teacher": about["teacher"],
        "front_size": len(members),
        "front": points[:: max(1, -(-len(points) // THUMBNAIL))],
        "best": points[-1] if points else None,
        "hypervolume": connection.execute(last).scalar() or 0.0,
    }


def objectives_of(about: Mapping[str, Any]) -> tuple[Metric, ...]:
    """Of the job that a study's attributes describe, accuracy first."""
    asked = about["job"]
    return tuple(metric(name) for name in (asked["accuracy"], *asked["costs"]))


def whole_of(about: Mapping[str, Any]) -> float:
    """What hypervolumes are shares of."""
    return perfect_hypervolume(objectives_of(about), about["reference"])


def _front(connection: Connection, job_id: str, about: Mapping[str, Any]) -> Front:
    """As the rows have it now."""
    rows, objectives = SUMMARIES.c, objectives_of(about)
    front = Front(about["reference"])
    members = select(rows.number, rows.figures_json).where(rows.job_id == job_id, rows.on_front)
    for number, figures in connection.execute(members):
        front.add(number, _point(json.loads(figures), objectives))
    return front


def _joins(front: Front, objectives: Sequence[Metric], trial: RecordedTrial) -> bool:
    """Whether a trial moves the front, which takes it in if it belongs there."""
    if trial.state != "COMPLETE" or not trial.holds or trial.number in front.numbers:
        return False
    return front.add(trial.number, _point(trial.figures, objectives)).moved


def _by_end(trials: Any) -> list[int]:
    ended = [t for t in trials if t.ended is not None]
    return [t.number for t in sorted(ended, key=lambda t: (t.ended, t.number))]


def _point(figures: Mapping[str, float], objectives: Sequence[Metric]) -> tuple[float, ...]:
    return tuple(minimised(m, figures[m.name]) for m in objectives)


def _figures(stored: str, objectives: Sequence[Metric]) -> list[float]:
    figures = json.loads(stored)
    return [figures[m.name] for m in objectives]


def _rungs(connection: Connection, frozen: Sequence[FrozenTrial]) -> dict[int, int]:
    """The highest rung that each has reached, by its number."""
    number = {t._trial_id: t.number for t in frozen}
    query = (
        select(_RUNGS.c.trial_id, func.max(_RUNGS.c.rung))
        .where(_RUNGS.c.trial_id.in_(number))
        .group_by(_RUNGS.c.trial_id)
    )
    return {number[trial_id]: rung for trial_id, rung in connection.execute(query)}


def _row(
    job_id: str,
    frozen: FrozenTrial,
    trial: RecordedTrial,
    objectives: Sequence[Metric],
    rung: int | None,
) -> dict[str, Any]:
    complete = trial.state == "COMPLETE"
    values = [trial.figures[m.name] if complete else None for m in objectives][:3]
    return {
        "job_id": job_id,
        "number": trial.number,
        "state": trial.state,
        "holds": trial.holds,
        **{f"value{i}": v for i, v in enumerate([*values, None, None][:3])},
        "hypervolume": trial.hypervolume,
        "began_at": _utc(frozen.datetime_start),
        "ended_at": _utc(frozen.datetime_complete),
        "rung": rung,
        "reason": trial.reason,
        "flag": trial.flag,
        "digest": trial.digest,
        "tracker": trial.tracker,
        "params_json": json.dumps(trial.params),
        "figures_json": json.dumps(trial.figures),
        "ranges_json": json.dumps(trial.ranges),
    }


def _utc(local: datetime | None) -> datetime | None:
    """Optuna says local times without a zone."""
    return None if local is None else local.astimezone(UTC)
