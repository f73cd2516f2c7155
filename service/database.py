"""The database that keeps jobs and trials: SQLite when embedded, PostgreSQL in production.

Our tables stand beside those of Optuna in one database, so that one transaction can write both.
"""

import fcntl
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError
from sqlalchemy import (
    Connection,
    DateTime,
    Dialect,
    Engine,
    String,
    Text,
    create_engine,
    event,
    text,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    InternalError,
    InvalidatePoolError,
    OperationalError,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import TypeDecorator

from search_spaces._errors import ParetrackError
from service._optuna_tables import make_optuna_tables
from service.migrations import upgrade

_BUSY_SECONDS = 60  # how long one SQLite writer waits for another
_IDLE_SECONDS = 60  # how long a transaction may do nothing
_ALIVE_SECONDS = 1.0  # so long after its last use a connection is not asked whether it lives
# Of a connection to PostgreSQL, so that a machine that is switched off is noticed.
_LINE = {
    "connect_timeout": "10",  # seconds
    "tcp_user_timeout": "20000",  # milliseconds until what is not acknowledged counts as lost
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
}
_OPENING = 7_236_017  # the advisory lock of PostgreSQL under which tables are made; any number
_EXAMPLES = "sqlite:////var/lib/paretrack/paretrack.db or postgresql://user:password@host/database"


# What PostgreSQL says (SQLSTATE) while it shuts down, crashes, starts; or a connection breaks.
_GONE = ("08", "57P")


class DatabaseError(ParetrackError):
    """The database did not answer; what was asked is done wholly or not at all."""


class DatabaseGone(DatabaseError):  # noqa: N818 - says what happened
    """The server cannot be reached now. What was asked last may have been done all the same."""


class Instant(TypeDecorator[datetime]):
    """A point in time: aware and in UTC on our side; SQLite, which keeps no zone, stores UTC."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        return dialect.type_descriptor(DateTime(timezone=dialect.name != "sqlite"))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} says no time zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """The tables of Paretrack itself."""

    type_annotation_map = {datetime: Instant, str: Text}  # noqa: RUF012 - SQLAlchemy's own name


class LeaseRow(Base):
    """Who works on what; the row stays for ever, so that its token only rises."""

    __tablename__ = "leases"
    name: Mapped[str] = mapped_column(String(512), primary_key=True)
    holder: Mapped[str]
    token: Mapped[int]
    acquired_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class MeasurementRow(Base):
    """What is known of a candidate after so many steps of recovery, whichever job asked."""

    __tablename__ = "measurements"
    digest: Mapped[str] = mapped_column(String(128), primary_key=True)
    steps: Mapped[int] = mapped_column(primary_key=True)
    tracked: Mapped[bool] = mapped_column(primary_key=True)
    job: Mapped[str]
    measured_at: Mapped[datetime]
    measurement_json: Mapped[str]


class RungRow(Base):
    """What a trial had reached at a rung, and what was decided. No foreign key: ``trials`` is
    Optuna's, whose own way of deleting a study knows nothing of this table."""

    __tablename__ = "rungs"
    trial_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    rung: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    steps: Mapped[int]
    values_json: Mapped[str]
    verdict: Mapped[str]
    note: Mapped[str]
    measurement_json: Mapped[str | None]
    decided_at: Mapped[datetime]


def open_database(url: str) -> Engine:
    """The database at ``url``, with Optuna's tables and ours made or brought up to date."""
    parsed = _parsed(url)
    engine = _sqlite(parsed) if parsed.get_backend_name() == "sqlite" else _postgresql(parsed)
    try:
        with _one_opens_at_a_time(engine):
            make_optuna_tables(engine)
            with writing(engine) as connection:
                upgrade(connection)
    except (DBAPIError, StorageInternalError, OSError) as error:
        engine.dispose()
        raise _unavailable(engine, error) from error
    except ParetrackError:
        engine.dispose()
        raise
    return engine


def embedded_url(file: Path) -> str:
    """The URL of a database in one file."""
    return URL.create("sqlite", database=str(file)).render_as_string()


def shown(url: URL) -> str:
    """A URL as it may be printed: without the password, and without options, that may hold one."""
    return url.set(query={}).render_as_string(hide_password=True)


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that may write: all of it is kept, or nothing."""
    with _answering(engine), engine.connect() as connection:
        connection = connection.execution_options(paretrack_writes=True)
        with _given_up_after_errors(connection), connection.begin():
            yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Several queries that see one and the same state."""
    with _answering(engine), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        with _given_up_after_errors(connection), connection.begin():
            yield connection


@contextmanager
def _given_up_after_errors(connection: Connection) -> Iterator[None]:
    """A result that was read half, and lives on in a traceback, keeps SQLite's connection in the
    past: whoever got that connection next could not write."""
    try:
        yield
    except BaseException:
        if connection.dialect.name == "sqlite":
            connection.invalidate()
        raise


def database_now(connection: Connection) -> datetime:
    """The time by the database's clock, the one clock that all processes share."""
    if connection.dialect.name == "sqlite":
        utc = connection.scalar(text("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')"))
        return datetime.fromisoformat(str(utc)).replace(tzinfo=UTC)
    now: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return now.astimezone(UTC)


@contextmanager
def _answering(engine: Engine) -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, InternalError) as error:
        raise _unavailable(engine, error) from error


def _unavailable(engine: Engine, error: Exception) -> DatabaseError:
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    cause = cause.orig if isinstance(cause, DBAPIError) else cause
    said = " ".join(str(cause).split())
    if isinstance(engine.url.password, str) and engine.url.password:
        said = said.replace(engine.url.password, "***")
    kind = DatabaseGone if _is_gone(error) else DatabaseError
    return kind(
        f"the database {shown(engine.url)} cannot be used: {said}; check that the server runs and "
        "lets you in (PostgreSQL), or that the file and its folder can be written (SQLite)"
    )


def _is_gone(error: Exception) -> bool:
    if not isinstance(error, DBAPIError):
        return False
    # What libpq itself says, of a broken line or a server that is not there, has no SQLSTATE.
    state = getattr(error.orig, "sqlstate", "none of PostgreSQL")
    return error.connection_invalidated or state is None or state.startswith(_GONE)


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Neither the text nor the cause is shown: a password may be anywhere in it.
        raise ParetrackError(f"not the URL of a database; expected {_EXAMPLES}") from None
    if "@" in f"{parsed.host}{parsed.database}" and parsed.host:
        raise ParetrackError(
            f"a database URL with more than one @; write @ as %40, / as %2F and : as %3A in a "
            f"user name or password; expected {_EXAMPLES}"
        )
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        return parsed.set(drivername="sqlite")
    if parsed.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    raise ParetrackError(f"no database of kind {parsed.drivername!r}; expected {_EXAMPLES}")


def _sqlite(url: URL) -> Engine:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise ParetrackError(
            "an SQLite database must be a file, that other processes can open; "
            "expected sqlite:////var/lib/paretrack/paretrack.db"
        )
    # Made absolute: a connection that is opened later must not depend on the folder one is in.
    file = Path(url.database).expanduser().absolute()
    url = url.set(database=str(file))
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS})
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unavailable(engine, error) from error
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    # We say BEGIN ourselves: sqlite3 would do it before the first write only, too late for a lock.
    connection.isolation_level = None
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise ParetrackError(
            f"SQLite keeps journal mode {mode!r} instead of 'wal': use a local disk"
        )
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("paretrack_writes", False)
    # The lock is taken at once: one that read first could not write after another's commit.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql(url: URL) -> Engine:
    missing = {name: value for name, value in _LINE.items() if name not in url.query}
    # The connection that was used last comes first: it lives, and knows its statements.
    engine = create_engine(url.update_query_dict(missing), pool_use_lifo=True)
    event.listen(engine, "connect", _set_up_postgresql)
    event.listen(engine, "checkin", _note_use)
    event.listen(engine, "checkout", partial(_see_that_it_lives, engine.dialect))
    # Many rows as one statement, as SQLAlchemy does for psycopg2: half the time of one by one.
    engine.dialect.use_insertmanyvalues_wo_returning = True
    return engine


def _set_up_postgresql(connection: Any, _record: Any) -> None:
    # A process that sleeps in the middle of a transaction must not keep its locks.
    connection.execute(f"SET idle_in_transaction_session_timeout = '{_IDLE_SECONDS}s'")
    connection.commit()


def _note_use(_connection: Any, entry: ConnectionPoolEntry) -> None:
    entry.info["used"] = time.monotonic()


def _see_that_it_lives(
    dialect: Dialect, connection: Any, entry: ConnectionPoolEntry, _proxy: Any
) -> None:
    """As pool_pre_ping does, but not each time: that is a round trip more for every event."""
    if time.monotonic() - entry.info.get("used", math.inf) < _ALIVE_SECONDS:
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise InvalidatePoolError from error  # the others were lost with it


@contextmanager
def _one_opens_at_a_time(engine: Engine) -> Iterator[None]:
    """Making tables is no atomic step of SQLAlchemy, Alembic or Optuna: two would collide."""
    if engine.dialect.name == "sqlite":
        # The folder, since an open and close of the file itself would drop SQLite's own locks.
        folder = os.open(Path(str(engine.url.database)).parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"SELECT pg_advisory_lock({_OPENING})"))
        try:
            yield
        finally:
            connection.execute(text(f"SELECT pg_advisory_unlock({_OPENING})"))
