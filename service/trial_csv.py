"""Trials as a table of comma-separated values, row by row, however many there are.

Numbers are written as they are. A text that a spreadsheet would take for a formula gets an
apostrophe before it.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Engine, select

from service._trial_summaries import SUMMARIES
from service.database import reading
from service.trial_reading import Order, Place, TrialLine, Which, page
from workers.metrics import METRICS, Metric

AT_ONCE = 500  # trials that are in memory
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")
_FIXED = ("rung", "began_at", "ended_at", "reason", "flag", "digest")


def csv_lines(
    engine: Engine, job_id: str, objectives: Sequence[Metric], which: Which, order: Order
) -> Iterator[str]:
    """The header, then all trials that match, some hundred at a time. Between two of these nothing
    is held in the database, however slowly the reader takes them.

    The columns are those that the trials have when it begins.
    """
    figures, params = _columns(engine, job_id, which)
    names = [m.name for m in objectives]
    figures = [*names, *(name for name in figures if name not in names)]
    header = ["number", "state", "feasible", "on_front", *figures]
    yield _text([[*header, *(f"params.{name}" for name in params), *_FIXED]])
    after: Place | None = None
    while True:
        with reading(engine) as connection:
            trials = page(connection, job_id, which, order, after, AT_ONCE)
        yield _text([_cells(trial, figures, params) for trial in trials])
        if len(trials) < AT_ONCE:
            return
        after = order.place(trials[-1], objectives)


def _columns(engine: Engine, job_id: str, which: Which) -> tuple[list[str], list[str]]:
    """The figures and the parameters that any of the trials has."""
    rows = SUMMARIES.c
    query = select(rows.figures_json, rows.params_json).where(*which.conditions(job_id))
    figures: set[str] = set()
    params: dict[str, None] = {}
    with reading(engine) as connection:
        for some in connection.execute(query.order_by(rows.number)).partitions(AT_ONCE):
            for one, other in some:
                figures.update(json.loads(one))
                params.update(dict.fromkeys(json.loads(other)))
    return [name for name in METRICS if name in figures], list(params)


def _cells(trial: TrialLine, figures: Sequence[str], params: Sequence[str]) -> list[Any]:
    return [
        trial.number,
        trial.state,
        trial.feasible,
        trial.on_front,
        *(trial.figures.get(name) for name in figures),
        *(trial.params.get(name) for name in params),
        trial.rung,
        trial.began_at.isoformat(),
        trial.ended_at.isoformat() if trial.ended_at else None,
        trial.reason,
        trial.flag,
        trial.digest,
    ]


def _text(rows: Sequence[Sequence[Any]]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\r\n").writerows(
        [[_harmless(cell) for cell in row] for row in rows]
    )
    return written.getvalue()


def _harmless(cell: Any) -> Any:
    """What is no formula, whoever opens it; true and false in small letters, as in JSON."""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, str) and cell.lstrip(" ").startswith(_FORMULA):
        return f"'{cell}"
    return cell
