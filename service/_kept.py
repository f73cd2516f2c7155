"""What is kept beside Optuna's rows: what trials had reached at rungs, and what was measured."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Connection, Table, bindparam, delete, select

from service import _optuna_tables as tables
from service._upserts import put, put_if_absent
from service.database import MeasurementRow, RungRow, database_now

_RUNGS = cast(Table, RungRow.__table__)
_MEASUREMENTS = cast(Table, MeasurementRow.__table__)
AGAIN = "measured_again"  # the attribute of a trial with what it says anew of a known candidate
_FORGET_RUNGS = delete(_RUNGS).where(_RUNGS.c.trial_id == bindparam("id"))


@dataclass(frozen=True, kw_only=True)
class ReachedRung:
    """What a trial had reached after so many steps, and what was decided."""

    number: int
    rung: int
    steps: int
    values: Mapping[str, float]
    verdict: str
    note: str
    measurement: Mapping[str, Any] | None  # what the decision was made from


def put_rung(connection: Connection, trial_id: int, reached: ReachedRung) -> None:
    """What a trial reached; said again, all but a measurement that is not given is replaced."""
    row = {
        "trial_id": trial_id,
        "rung": reached.rung,
        "steps": reached.steps,
        "values_json": json.dumps(dict(reached.values)),
        "verdict": reached.verdict,
        "note": reached.note,
        "decided_at": database_now(connection),
    }
    if reached.measurement is not None:
        row["measurement_json"] = _json(reached.measurement)
    put(connection, _RUNGS, [row], "trial_id", "rung")


def forget_rungs(connection: Connection, trial_id: int) -> None:
    """Of a deleted trial with this id: SQLite gives it again, PostgreSQL does not."""
    if connection.dialect.name == "sqlite":
        connection.execute(_FORGET_RUNGS, {"id": trial_id})


def load_rungs(connection: Connection, study_id: int) -> list[ReachedRung]:
    """What was decided in a study, in the order of the decisions."""
    columns = _RUNGS.c
    rows = connection.execute(
        select(
            tables.TRIALS.c.number,
            columns.rung,
            columns.steps,
            columns.values_json,
            columns.verdict,
            columns.note,
            columns.measurement_json,
        )
        .join_from(_RUNGS, tables.TRIALS, columns.trial_id == tables.TRIALS.c.trial_id)
        .where(tables.TRIALS.c.study_id == study_id)
        .order_by(columns.decided_at, tables.TRIALS.c.number, columns.rung)
    )
    return [
        ReachedRung(
            number=number,
            rung=rung,
            steps=steps,
            values=json.loads(values),
            verdict=verdict,
            note=note,
            measurement=None if measurement is None else json.loads(measurement),
        )
        for number, rung, steps, values, verdict, note, measurement in rows
    ]


def put_measurement(
    connection: Connection,
    job: str,
    digest: str,
    steps: int,
    tracked: bool,
    measurement: Mapping[str, Any],
) -> None:
    """Keep a measurement of a candidate; the first one stays."""
    row = {
        "digest": digest,
        "steps": steps,
        "tracked": tracked,
        "job": job,
        "measured_at": database_now(connection),
        "measurement_json": _json(measurement),
    }
    put_if_absent(connection, _MEASUREMENTS, row)


def find_measurement(
    connection: Connection, digest: str, steps: int | None
) -> dict[str, Any] | None:
    """After exactly ``steps``, before it was tracked; without ``steps``, the most that is known."""
    columns = _MEASUREMENTS.c
    query = select(columns.measurement_json).where(columns.digest == digest)
    if steps is not None:
        query = query.where(columns.steps == steps, columns.tracked.is_(False))
    query = query.order_by(columns.tracked.desc(), columns.steps.desc()).limit(1)
    found = connection.execute(query).scalar()
    return None if found is None else cast(dict[str, Any], json.loads(found))


def _json(measurement: Mapping[str, Any]) -> str:
    return json.dumps(measurement, separators=(",", ":"))
