"""A job of many trials, made by writing rows: nothing is searched, and it takes seconds.

The figures pull apart, so that there is a front, and it grows: accuracy rises with cost, with
noise. What the rows say fits together: states, values, front, hypervolumes, events, summary.
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from optuna.distributions import IntDistribution, distribution_to_json
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Connection, Engine, Table, insert, select, text, update

from service import _optuna_tables as optuna_tables
from service import jobs, queue
from service._coordinates import minimised, perfect_hypervolume
from service._studies import create_study, put_attrs
from service._trial_summaries import SUMMARIES, summary
from service.callers import EMBEDDED
from service.database import writing
from service.front import Front
from service.jobs import JOBS, NewJob, StoredJob
from service.spending import HYPERVOLUME
from workers.metrics import metric

OBJECTIVES = ("average_overlap", "macs_frame")
LEVERS = {f"width.layer{n}": IntDistribution(1, 16) for n in range(16)}
AT_ONCE = 2_000  # rows of a table in one statement
_REFERENCE = (0.0, 1e9)
_TEACHER = {"average_overlap": 0.7, "macs_frame": 1e9, "parameters": 1e7, "one_step_iou": 0.75}
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_OPTUNA_STATES = {"COMPLETE": TrialState.COMPLETE, "RUNNING": TrialState.RUNNING}


@dataclass(frozen=True, kw_only=True)
class Made:
    """A trial, before it is rows."""

    number: int
    state: str
    params: Mapping[str, int]
    figures: Mapping[str, float]

    @property
    def began(self) -> datetime:
        return _BEGAN + timedelta(seconds=self.number)

    @property
    def ended(self) -> datetime | None:
        return None if self.state == "RUNNING" else self.began + timedelta(seconds=10)


def make_big_job(
    engine: Engine,
    trials: int = 50_000,
    *,
    owner: str = EMBEDDED.owner,
    name: str = "big",
    seed: int = 0,
    with_study: bool = False,
    ended: bool = True,
) -> StoredJob:
    """A job with that many trials; ``with_study``: Optuna's tables have them, too."""
    spec = {"name": name, "teacher": "none", "accuracy": OBJECTIVES[0], "costs": [OBJECTIVES[1]]}
    with writing(engine) as connection:
        queue.ensure_owner(connection, owner)
        new = NewJob(name=name, spec=spec, owner=owner, tracker="siamrpn")
        job = jobs.create(connection, new, owner)
        study = _study(connection, job.id)
        made = list(_trials(trials, random.Random(seed)))
        rows = list(_summaries(job.id, made))
        _insert(connection, SUMMARIES, rows)
        if with_study:
            _insert_study(connection, study, made, {row["number"]: row for row in rows})
        told = [("trial_finished", {"number": t.number, "state": t.state}) for t in made if t.ended]
        for i in range(0, len(told), AT_ONCE):
            jobs.add_events(connection, job.id, told[i : i + AT_ONCE])
        jobs.summarise(connection, job.id, summary(connection, job.id, _about(job.id)))
        after = {"started_at": _BEGAN, "state": "SUCCEEDED" if ended else "RUNNING"}
        if ended:
            after["ended_at"] = _BEGAN + timedelta(seconds=trials + 10)
        connection.execute(update(JOBS).where(JOBS.c.id == job.id).values(**after))
        if connection.dialect.name == "postgresql":
            connection.execute(text("ANALYZE"))  # as autovacuum does by itself within a minute
        return jobs.known(connection, job.id)


def _about(job_id: str) -> dict[str, Any]:
    asked = {"name": job_id, "accuracy": OBJECTIVES[0], "costs": [OBJECTIVES[1]], "limits": []}
    return {
        "job": {**asked, "budget": {"trials": 40}},
        "teacher": _TEACHER,
        "reference": list(_REFERENCE),
    }


def _study(connection: Connection, job_id: str) -> int:
    directions = [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]
    study = create_study(connection, job_id, directions, OBJECTIVES)
    table = optuna_tables.STUDY_USER_ATTRS
    put_attrs(connection, table, "study_id", study, _about(job_id))
    return study


def _trials(count: int, chance: random.Random) -> Iterator[Made]:
    for number in range(count):
        params = {name: chance.randint(1, 16) for name in LEVERS}
        # Weighed, so that levers are not all as important.
        share = sum(v * (i + 1) for i, v in enumerate(params.values())) / (16 * 136)
        macs = 1e9 * share**2
        overlap = 0.7 * (1 - (1 - share) ** 3) + chance.gauss(0, 0.02)
        luck = chance.random()
        state = "COMPLETE" if luck < 0.7 else "INFEASIBLE" if luck < 0.85 else "STOPPED"
        state = "RUNNING" if number >= count - 3 else "FAILED" if luck > 0.99 else state
        figures: dict[str, float] = {"macs_frame": round(macs), "parameters": round(1e7 * share)}
        if state in ("COMPLETE", "STOPPED"):
            figures |= {"one_step_iou": overlap + chance.gauss(0.05, 0.01)}
        if state == "COMPLETE":
            figures |= {
                "average_overlap": overlap,
                "step_ms.onnx_runtime": 8 * share + chance.random(),
                "track_ms.onnx_runtime": 9 * share + chance.random(),
                "peak_memory": round(1e8 * share + 1e6 * chance.random()),
            }
        yield Made(number=number, state=state, params=params, figures=figures)


def _summaries(job_id: str, trials: Sequence[Made]) -> Iterator[dict[str, Any]]:
    metrics = [metric(name) for name in OBJECTIVES]
    front, whole = Front(_REFERENCE), perfect_hypervolume(metrics, _REFERENCE)
    moved, volume = set(), {}
    for trial in trials:
        if trial.state == "COMPLETE":
            point = [minimised(m, trial.figures[m.name]) for m in metrics]
            if front.add(trial.number, point).moved:
                moved.add(trial.number)
        volume[trial.number] = front.hypervolume / whole
    members = set(front.numbers)
    for trial in trials:
        complete = trial.state == "COMPLETE"
        overlap = trial.figures.get("average_overlap", 0.0)
        yield {
            "job_id": job_id,
            "number": trial.number,
            "state": trial.state,
            "holds": trial.state != "INFEASIBLE",
            "value0": trial.figures["average_overlap"] if complete else None,
            "value1": trial.figures["macs_frame"] if complete else None,
            "value2": None,
            "on_front": trial.number in members,
            "hypervolume": volume[trial.number] if trial.ended else None,
            "moved": trial.number in moved,
            "began_at": trial.began,
            "ended_at": trial.ended,
            "rung": 1 if complete else 0,
            "reason": "" if complete else "why it is so, in a sentence of the usual length",
            "flag": "",
            "digest": f"{trial.number:064x}",
            "tracker": f"/nowhere/{job_id}/trials/{trial.number}" if complete else "",
            "params_json": json.dumps(trial.params),
            "figures_json": json.dumps(trial.figures),
            "ranges_json": json.dumps({"average_overlap": [overlap - 0.02, overlap + 0.02]}),
        }


# --- Optuna's own tables -----------------------------------------------------------------------


def _insert_study(
    connection: Connection,
    study: int,
    trials: Sequence[Made],
    rows: Mapping[int, Mapping[str, Any]],
) -> None:
    made = [
        {
            "number": t.number,
            "study_id": study,
            "state": _OPTUNA_STATES.get(t.state, TrialState.PRUNED),
            "datetime_start": t.began.replace(tzinfo=None),
            "datetime_complete": t.ended.replace(tzinfo=None) if t.ended else None,
        }
        for t in trials
    ]
    _insert(connection, optuna_tables.TRIALS, made)
    columns = optuna_tables.TRIALS.c
    query = select(columns.number, columns.trial_id).where(columns.study_id == study)
    ids: dict[int, int] = dict(connection.execute(query).all())
    kinds = {name: distribution_to_json(one) for name, one in LEVERS.items()}
    for i in range(0, len(trials), AT_ONCE):
        some = trials[i : i + AT_ONCE]
        _insert(
            connection,
            optuna_tables.PARAMS,
            [
                {
                    "trial_id": ids[t.number],
                    "param_name": name,
                    "param_value": float(value),
                    "distribution_json": kinds[name],
                }
                for t in some
                for name, value in t.params.items()
            ],
        )
        values = [
            row
            for t in some
            if t.state == "COMPLETE"
            for row in optuna_tables.value_rows(
                ids[t.number], [t.figures[name] for name in OBJECTIVES]
            )
        ]
        _insert(connection, optuna_tables.VALUES, values)
        attrs = [
            {"trial_id": ids[t.number], "key": key, "value_json": json.dumps(value)}
            for t in some
            for key, value in _attrs(t, rows[t.number]).items()
        ]
        _insert(connection, optuna_tables.USER_ATTRS, attrs)


def _attrs(trial: Made, row: Mapping[str, Any]) -> dict[str, Any]:
    """As a search leaves them at a trial."""
    found: dict[str, Any] = {"digest": row["digest"], **trial.figures}
    if trial.ended:
        said = {name: row[name] for name in ("state", "reason", "flag", "tracker")}
        found |= {**said, HYPERVOLUME: row["hypervolume"]}
    return found


def _insert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    for i in range(0, len(rows), AT_ONCE):
        connection.execute(insert(table), rows[i : i + AT_ONCE])
