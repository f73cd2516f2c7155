"""Insert what may be there already: said alike to SQLite and PostgreSQL."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

Rows = Sequence[Mapping[str, Any]]


def put(connection: Connection, table: Table, rows: Rows, *key: str) -> None:
    """Insert rows; one that is there with the same ``key`` takes the new values."""
    if rows:
        statement = _upsert(connection.dialect.name, table, tuple(rows[0]), key)
        connection.execute(statement, list(rows))


def put_if_absent(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    """Insert a row; one that is there with the same primary key stays as it is."""
    connection.execute(_insert(connection.dialect.name, table).on_conflict_do_nothing(), row)


@cache  # to build it anew costs more than to run it
def _upsert(
    dialect: str, table: Table, columns: tuple[str, ...], key: tuple[str, ...]
) -> sqlite.Insert | postgresql.Insert:
    statement = _insert(dialect, table)
    changed = {name: statement.excluded[name] for name in columns if name not in key}
    return statement.on_conflict_do_update(index_elements=list(key), set_=changed)


def _insert(dialect: str, table: Table) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
