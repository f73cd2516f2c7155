"""All trials of a study at once: what ``study.get_trials()`` says, in a fraction of its time."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy import ColumnElement, Connection, Table, and_, select

from service import _optuna_tables as tables


def load_trials(
    connection: Connection, study_id: int, numbers: Collection[int] | None = None
) -> list[FrozenTrial]:
    """The trials of a study by number, in six queries: all, or those with some numbers."""
    which = tables.TRIALS.c.study_id == study_id
    if numbers is not None:
        which = and_(which, tables.TRIALS.c.number.in_(numbers))

    def rows(table: Table, *names: str) -> Sequence[Any]:
        return _rows(connection, which, table, *names)

    params, distributions = _params(
        rows(tables.PARAMS, "param_name", "param_value", "distribution_json")
    )
    values = _values(rows(tables.VALUES, "objective", "value", "value_type"))
    steps = _steps(
        rows(tables.INTERMEDIATE, "step", "intermediate_value", "intermediate_value_type")
    )
    user = _attrs(rows(tables.USER_ATTRS, "key", "value_json"))
    system = _attrs(rows(tables.SYSTEM_ATTRS, "key", "value_json"))
    trials = connection.execute(
        select(tables.TRIALS).where(which).order_by(tables.TRIALS.c.trial_id)
    )
    return [
        FrozenTrial(
            number=number,
            state=state,
            value=None,
            values=values.get(trial_id),
            datetime_start=_local(start),
            datetime_complete=_local(complete),
            params=params[trial_id],
            distributions=distributions[trial_id],
            user_attrs=user[trial_id],
            system_attrs=system[trial_id],
            intermediate_values=steps[trial_id],
            trial_id=trial_id,
        )
        for trial_id, number, _study_id, state, start, complete in trials
    ]


def _rows(
    connection: Connection, which: ColumnElement[bool], table: Table, *names: str
) -> Sequence[Any]:
    """What a table says about some trials, in the order it was written."""
    (key,) = table.primary_key
    return connection.execute(
        select(table.c.trial_id, *(table.c[name] for name in names))
        .join_from(table, tables.TRIALS, table.c.trial_id == tables.TRIALS.c.trial_id)
        .where(which)
        .order_by(key)
    ).all()


def _params(
    rows: Iterable[Any],
) -> tuple[dict[int, dict[str, Any]], dict[int, dict[str, BaseDistribution]]]:
    """Few distinct distributions stand behind many rows: each is read from JSON once."""
    read: dict[str, BaseDistribution] = {}
    params: dict[int, dict[str, Any]] = defaultdict(dict)
    distributions: dict[int, dict[str, BaseDistribution]] = defaultdict(dict)
    for trial_id, name, value, as_json in rows:
        distribution = read.get(as_json)
        if distribution is None:
            distribution = read[as_json] = json_to_distribution(as_json)
        params[trial_id][name] = distribution.to_external_repr(value)
        distributions[trial_id][name] = distribution
    return params, distributions


def _values(rows: Iterable[Any]) -> dict[int, list[float]]:
    number = models.TrialValueModel.stored_repr_to_value
    values: dict[int, list[float]] = defaultdict(list)
    for trial_id, _objective, value, kind in sorted(rows, key=lambda row: (row[0], row[1])):
        values[trial_id].append(number(value, kind))
    return values


def _steps(rows: Iterable[Any]) -> dict[int, dict[int, float]]:
    number = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value
    steps: dict[int, dict[int, float]] = defaultdict(dict)
    for trial_id, step, value, kind in rows:
        steps[trial_id][step] = number(value, kind)
    return steps


def _attrs(rows: Iterable[Any]) -> dict[int, dict[str, Any]]:
    attrs: dict[int, dict[str, Any]] = defaultdict(dict)
    for trial_id, key, value in rows:
        attrs[trial_id][key] = json.loads(value)
    return attrs


def _local(utc: datetime | None) -> datetime | None:
    """As Optuna hands it out: in local time, without saying so."""
    if utc is None:
        return None
    return utc.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
