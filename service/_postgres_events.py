"""A trial begins or ends on PostgreSQL: one message to the server, and one answer.

Step by step, as on SQLite, an event is ten round trips, with a turn of the client at each. Here two
statements travel together, and PostgreSQL makes one transaction of what comes in one message. The
first waits for the locks; the second, which sees what is there from then on, writes all the rows if
the lease is still ours. Where it does not find what it expects it writes nothing: the caller then
goes step by step, and hears why.

A message may still be on its way when the line breaks, and be carried out after it was said again.
So whatever comes second does nothing: a trial ends only while it runs, and none begins where one
began at the same microsecond. And the server begins with none before it has the whole of it: a
process that is stopped in the middle holds no lock.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any

from optuna.trial import TrialState
from sqlalchemy import Connection, Table
from sqlalchemy.exc import DBAPIError

from service import _optuna_tables as tables
from service._trial_rows import KEYS, Beside
from service.leases import Lease

_UNPREPARED = ("26000", "42P05")  # SQLSTATE: a prepared statement is not there, or there already


def _put(table: Table, trial: str) -> str:
    """Inserts the rows that come as JSON, which PostgreSQL reads as those of the table."""
    key = KEYS[table]
    names = [c.name for c in table.columns if not c.primary_key and c.name != "trial_id"]
    changed = ", ".join(f"{name} = excluded.{name}" for name in names if name != key)
    return f"""put_{table.name} AS (
        INSERT INTO {table.name} (trial_id, {", ".join(names)})
        SELECT {trial}.trial_id, {", ".join(f"given.{name}" for name in names)}
        FROM {trial}, json_populate_recordset(NULL::{table.name}, %({table.name})s) AS given
        ON CONFLICT (trial_id, {key}) DO UPDATE SET {changed}
    )"""


# As in _trial_rows, back by primary key, of which the sum and the limits convince the planner. Who
# began later, by a clock that may be wrong, is taken for the same trial here, but not step by step.
_BEGIN = f"""
    WITH ours AS (SELECT FROM leases WHERE name = %(lease)s AND token = %(token)s),
    begun AS (
        INSERT INTO trials (number, study_id, state, datetime_start)
        SELECT coalesce((
            SELECT number FROM trials WHERE study_id + 0 = %(study)s AND trial_id >= %(last)s
            ORDER BY trial_id DESC LIMIT 1
        ) + 1, 0), study_id, 'RUNNING', %(start)s
        FROM studies, ours
        WHERE study_id = %(study)s AND (
            SELECT trial_id FROM trials WHERE study_id + 0 = %(study)s AND trial_id > %(last)s
            AND datetime_start >= %(start)s ORDER BY trial_id LIMIT 1
        ) IS NULL
        RETURNING trial_id, number
    ),
    {_put(tables.PARAMS, "begun")},
    {_put(tables.USER_ATTRS, "begun")},
    {_put(tables.SYSTEM_ATTRS, "begun")}
    SELECT number, trial_id FROM begun
"""
_FINISH = f"""
    WITH ours AS (SELECT FROM leases WHERE name = %(lease)s AND token = %(token)s),
    ended AS (
        UPDATE trials SET state = %(state)s, datetime_complete = %(end)s FROM ours
        WHERE trial_id = %(trial)s AND state = 'RUNNING' RETURNING trial_id
    ),
    {_put(tables.VALUES, "ended")},
    {_put(tables.USER_ATTRS, "ended")},
    {_put(tables.SYSTEM_ATTRS, "ended")}
    SELECT trial_id FROM ended
"""
_LOCK = "SELECT FROM leases WHERE name = %(lease)s FOR UPDATE"
_LOCK_WITH_STUDY = """
    SELECT FROM leases, studies
    WHERE leases.name = %(lease)s AND studies.study_id = %(study)s FOR UPDATE
"""
_TYPES = {
    "lease": "text",
    "token": "int",
    "study": "int",
    "last": "int",
    "start": "timestamp",
    "trial": "int",
    "state": "trialstate",
    "end": "timestamp",
    **{table.name: "json" for table in KEYS},
}


def _prepared(name: str, statement: str) -> tuple[str, str]:
    """How to tell PostgreSQL a statement once, and how to let it be carried out."""
    named = [parameter for parameter in _TYPES if f"%({parameter})s" in statement]
    places = {parameter: f"${place}" for place, parameter in enumerate(named, 1)}
    types = ", ".join(_TYPES[parameter] for parameter in named)
    values = ", ".join(f"%({parameter})s" for parameter in named)
    return (
        f"PREPARE {name} ({types}) AS {statement % places}",
        f"EXECUTE {name} ({values})",
    )


_TELL_LOCK, _DO_LOCK = _prepared("paretrack_lock", _LOCK)
_TELL_LOCK_WITH_STUDY, _DO_LOCK_WITH_STUDY = _prepared("paretrack_lock_study", _LOCK_WITH_STUDY)
_TELL_BEGIN, _DO_BEGIN = _prepared("paretrack_begin", _BEGIN)
_TELL_FINISH, _DO_FINISH = _prepared("paretrack_finish", _FINISH)
_TELL_ALL = "; ".join((_TELL_LOCK, _TELL_LOCK_WITH_STUDY, _TELL_BEGIN, _TELL_FINISH))


def begin(
    connection: Connection,
    lease: Lease,
    study_id: int,
    last_id: int,
    start: datetime,
    beside: Beside,
) -> tuple[int, int] | None:
    """The number and the id of a new trial; ``last_id`` is that of the last one known."""
    event = {"study": study_id, "last": last_id, "start": start}
    found = _sent(connection, f"{_DO_LOCK_WITH_STUDY}; {_DO_BEGIN}", lease, event, beside)
    return None if found is None else (found[0], found[1])


def finish(
    connection: Connection,
    lease: Lease,
    trial_id: int,
    state: TrialState,
    end: datetime,
    beside: Beside,
) -> bool:
    """Whether a trial ran until now, and ended."""
    event = {"trial": trial_id, "state": state.name, "end": end}
    return _sent(connection, f"{_DO_LOCK}; {_DO_FINISH}", lease, event, beside) is not None


def _sent(
    connection: Connection, message: str, lease: Lease, event: Mapping[str, Any], beside: Beside
) -> Any:
    """The first row that the second statement of a message finds."""
    try:
        rows = {table.name: _json(rows) for table, rows in beside.items()}
    except ValueError:  # JSON knows no infinity
        return None
    values = {"lease": lease.name, "token": lease.token, **event, **rows}
    driver: Any = connection.connection.driver_connection
    psycopg: Any = connection.dialect.loaded_dbapi  # not imported where SQLite is all there is
    try:
        driver.autocommit = True  # what comes in one message is kept without a word more
        if "told" not in connection.info:
            driver.execute(_TELL_ALL)
            connection.info["told"] = True
        with psycopg.ClientCursor(driver) as cursor:
            cursor.execute(message, values)
            cursor.nextset()
            found = cursor.fetchone()
    except psycopg.Error as error:
        if error.sqlstate not in _UNPREPARED:
            gone = driver.closed
            connection.invalidate()
            raise DBAPIError.instance(
                None, None, error, psycopg.Error, connection_invalidated=gone
            ) from error
        connection.info.pop("told", None)  # psycopg forgets it all at a rollback
        found = None
    except BaseException:
        connection.invalidate()  # nobody must find it as it is now
        raise
    driver.autocommit = False
    return found


def _json(rows: list[dict[str, Any]]) -> str:
    return json.dumps(rows, ensure_ascii=False, allow_nan=False, default=_by_name)


def _by_name(value: Enum) -> str:
    return value.name
