"""A job called night to be recorded, and the rows that are then in the database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import Engine, event, text

from service import _optuna_tables as tables
from service.leases import acquire
from service.trials import Record

DIRECTIONS = ("maximize", "minimize")
METRICS = ("average_overlap", "step_ms")
DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "layers": IntDistribution(2, 12),
    "width": IntDistribution(8, 64, step=8),
    "wide": IntDistribution(1, 1024, log=True),
    "rate": FloatDistribution(1e-6, 1e-1, log=True),
    "share": FloatDistribution(0.0, 1.0, step=0.25),
    "head": CategoricalDistribution(("corner", "center", "größe")),
    "mixed": CategoricalDistribution((None, True, False, "x", 2.5, 7)),
}
PARAMS = {
    "layers": 7,
    "width": 24,
    "wide": 1000,
    "rate": 0.1 / 3,
    "share": 0.75,
    "head": "größe",
    "mixed": None,
}
ATTRS = {"state": "COMPLETE", "reason": None, "digest": "a" * 64, "macs": 1.5e9, "list": [1, "b"]}


def open_record(engine: Engine, name: str = "night", **changes: Any) -> Record:
    how = {
        "directions": DIRECTIONS,
        "metric_names": METRICS,
        "attrs": {"spec": {"trials": 40}},
        "lease": acquire(engine, f"{name} {changes}", "test", 600),
    }
    return Record.open(engine, name, **{**how, **changes})


def begin(record: Record, **params: Any) -> int:
    return record.begin({**PARAMS, **params}, DISTRIBUTIONS, {"digest": "a"}, {"grid": 3})


def complete(record: Record, *values: float, **constraints: float) -> int:
    number = begin(record)
    record.finish(number, TrialState.COMPLETE, values, constraints, {"state": "COMPLETE"})
    return number


def by_optuna(storage: RDBStorage, name: str = "night") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=storage)


def stored(engine: Engine, study: str | None = None) -> dict[str, list[Any]]:
    """Every row of Optuna's tables as it lies in the database; of one study: without ids and
    times, that differ for reasons of their own."""
    found = {}
    with engine.connect() as connection:
        for table, columns in tables.COLUMNS.items():
            names = [column.split()[0] for column in columns.split(", ")]
            kind = "typeof" if engine.dialect.name == "sqlite" else "pg_typeof"
            said = ", ".join(f"t.{n}, {kind}(t.{n})" for n in names)
            join = "trials o" if table.startswith("trial_") else "studies o"
            key = "trial_id" if table.startswith("trial_") else "study_id"
            inner = "JOIN studies s ON s.study_id = o.study_id"
            number = "o.number" if join == "trials o" else "0"
            rows = connection.execute(
                text(
                    f"SELECT s.study_name, {number}, {said} FROM {table} t "
                    f"JOIN {join} ON o.{key} = t.{key} {inner} ORDER BY 1, 2, 3"
                )
            ).all()
            found[table] = [_comparable(names, row) for row in rows if study in (None, row[0])]
    return found


def _comparable(names: list[str], row: Any) -> dict[str, Any]:
    told = {"number": row[1]}
    for name, value, kind in zip(names, row[2::2], row[3::2], strict=True):
        if name.endswith("_id") or name == "study_name":
            continue
        told[name] = (str(kind), "a time" if name.startswith("datetime") and value else value)
    return told


@contextmanager
def counted(engine: Engine, what: str) -> Iterator[list[int]]:
    """How often something happened in the database."""
    times = [0]

    def count(*_: Any) -> None:
        times[0] += 1

    event.listen(engine, what, count)
    yield times
    event.remove(engine, what, count)
