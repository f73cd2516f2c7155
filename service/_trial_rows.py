"""The row of a trial, begun, looked for, ended, and the rows beside it that belong to it.

Each function that takes a connection is a part of a transaction.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import TrialState
from sqlalchemy import Connection, Table, bindparam, insert, select, update

from service import _optuna_tables as tables
from service._kept import forget_rungs
from service._studies import attr_rows
from service._upserts import put

Beside = Mapping[Table, list[dict[str, Any]]]
KEYS = {  # what tells the rows of one trial apart
    tables.PARAMS: "param_name",
    tables.VALUES: "objective",
    tables.USER_ATTRS: "key",
    tables.SYSTEM_ATTRS: "key",
}

# Made once: SQLAlchemy compiles a statement once, but to build it anew costs as much as to run it.
_LOCK_STUDY = (
    select(tables.STUDIES.c.study_id)
    .where(tables.STUDIES.c.study_id == bindparam("study"))
    .with_for_update()
)
_LAST_NUMBER = (
    select(tables.TRIALS.c.number)
    .where(
        # Back by primary key to our last one, over a few trials of others at most; the sum keeps
        # the planner from the index on studies, with which the time grows with the trials.
        tables.TRIALS.c.study_id + 0 == bindparam("study"),
        tables.TRIALS.c.trial_id >= bindparam("last"),
    )
    .order_by(tables.TRIALS.c.trial_id.desc())
    .limit(1)
)
_TRIAL = select(tables.TRIALS.c.trial_id, tables.TRIALS.c.state, tables.TRIALS.c.datetime_complete)
_FIND_TRIAL = _TRIAL.where(
    tables.TRIALS.c.study_id == bindparam("study"), tables.TRIALS.c.number == bindparam("n")
)
_FIND_STATE = _TRIAL.where(tables.TRIALS.c.trial_id == bindparam("id"))
_FIND_BEGUN = select(tables.TRIALS.c.number, tables.TRIALS.c.trial_id).where(
    tables.TRIALS.c.study_id == bindparam("study"),
    tables.TRIALS.c.trial_id > bindparam("last"),
    tables.TRIALS.c.datetime_start == bindparam("start"),
)
_END_TRIAL = (
    update(tables.TRIALS)
    .where(tables.TRIALS.c.trial_id == bindparam("id"), tables.TRIALS.c.state == TrialState.RUNNING)
    .values(state=bindparam("ended"), datetime_complete=bindparam("end"))
)
_FIRST_DISTRIBUTION = (
    select(tables.PARAMS.c.distribution_json)
    .join_from(tables.PARAMS, tables.TRIALS, tables.PARAMS.c.trial_id == tables.TRIALS.c.trial_id)
    .where(
        tables.TRIALS.c.study_id == bindparam("study"),
        tables.PARAMS.c.param_name == bindparam("name"),
    )
    .limit(1)
)


class TrialRow(NamedTuple):
    """What it says of how far a trial is."""

    trial_id: int
    state: TrialState
    end: datetime | None


def next_number(connection: Connection, study_id: int, last_id: int) -> int | None:
    """One more than the last, which is the one with ``last_id`` or a later one; None without a
    study. Locked as Optuna locks, should somebody add trials to the study with Optuna itself."""
    if connection.execute(_LOCK_STUDY, {"study": study_id}).first() is None:
        return None
    last = connection.execute(_LAST_NUMBER, {"study": study_id, "last": last_id}).scalar()
    return 0 if last is None else last + 1


def insert_trial(connection: Connection, study_id: int, number: int, start: datetime) -> int:
    """The id of a new trial that runs."""
    inserted = connection.execute(
        insert(tables.TRIALS),
        {
            "number": number,
            "study_id": study_id,
            "state": TrialState.RUNNING,
            "datetime_start": start,
        },
    )
    (trial_id,) = inserted.inserted_primary_key or (None,)
    forget_rungs(connection, cast(int, trial_id))
    return cast(int, trial_id)


def find_begun(
    connection: Connection, study_id: int, last_id: int, start: datetime
) -> tuple[int, int] | None:
    """The number and id of the trial that began at this microsecond, after the one with
    ``last_id``."""
    known = {"study": study_id, "last": last_id, "start": start}
    found = connection.execute(_FIND_BEGUN, known).first()
    return None if found is None else (found.number, found.trial_id)


def rows_of_begin(
    trial_id: int,
    params: Mapping[str, Any],
    distributions: Mapping[str, BaseDistribution],
    user_attrs: Mapping[str, Any],
    system_attrs: Mapping[str, Any],
) -> Beside:
    """What lies beside the row of a trial that begins."""
    return {
        tables.PARAMS: tables.param_rows(trial_id, params, distributions),
        tables.USER_ATTRS: attr_rows("trial_id", trial_id, user_attrs),
        tables.SYSTEM_ATTRS: attr_rows("trial_id", trial_id, system_attrs),
    }


def rows_of_end(
    trial_id: int,
    values: Sequence[float] | None,
    constraints: Mapping[str, float],
    user_attrs: Mapping[str, Any],
) -> Beside:
    """What comes to lie beside the row of a trial that ends."""
    named = {f"{tables.CONSTRAINT}{name}": float(value) for name, value in constraints.items()}
    return {
        tables.VALUES: tables.value_rows(trial_id, values or ()),
        tables.SYSTEM_ATTRS: attr_rows("trial_id", trial_id, named),
        tables.USER_ATTRS: attr_rows("trial_id", trial_id, user_attrs),
    }


def put_beside(connection: Connection, beside: Beside) -> None:
    """Insert rows of a trial; one that is there takes the new values."""
    for table, rows in beside.items():
        put(connection, table, rows, "trial_id", KEYS[table])


def find_trial(
    connection: Connection, study_id: int, number: int, trial_id: int | None
) -> TrialRow | None:
    """By its id where that is known."""
    if trial_id is not None:
        found = connection.execute(_FIND_STATE, {"id": trial_id}).one_or_none()
    else:
        found = connection.execute(_FIND_TRIAL, {"study": study_id, "n": number}).one_or_none()
    return None if found is None else TrialRow(*found)


def end_trial(connection: Connection, trial_id: int, state: TrialState, end: datetime) -> bool:
    """Whether it ran until now."""
    ended = {"id": trial_id, "ended": state, "end": end}
    return connection.execute(_END_TRIAL, ended).rowcount == 1


def first_distribution(connection: Connection, study_id: int, name: str) -> BaseDistribution | None:
    """What a parameter was in the first trial that has it."""
    known = {"study": study_id, "name": name}
    stored = connection.execute(_FIRST_DISTRIBUTION, known).scalar()
    return None if stored is None else json_to_distribution(stored)
