"""Opening a database: what is made, what is refused and how it is said."""

import sqlite3
from datetime import UTC, datetime, timedelta, timezone
from multiprocessing import get_context
from pathlib import Path

import optuna
import pytest
from sqlalchemy import Engine, create_engine, insert, inspect, select, text

from search_spaces import ParetrackError
from service import _optuna_tables as tables
from service.database import (
    DatabaseError,
    LeaseRow,
    database_now,
    embedded_url,
    open_database,
    reading,
    writing,
)
from tests.postgres import Server

OURS = {"leases", "measurements", "rungs"}
TOKYO = timezone(timedelta(hours=9))


def test_our_tables_stand_beside_those_of_optuna(engine: Engine) -> None:
    assert set(inspect(engine).get_table_names()) >= OURS | set(tables.COLUMNS)


def test_optuna_opens_the_database_as_one_of_its_own(database_url: str) -> None:
    storage = optuna.storages.RDBStorage(database_url)
    optuna.create_study(storage=storage, study_name="theirs").enqueue_trial({"x": 1})
    open_database(database_url).dispose()
    assert len(optuna.load_study(study_name="theirs", storage=storage).trials) == 1
    storage.remove_session()
    storage.engine.dispose()


def test_sqlite_is_set_up_on_every_connection(tmp_path: Path) -> None:
    engine = open_database(embedded_url(tmp_path / "new" / "folder" / "paretrack.db"))
    with engine.connect() as one, engine.connect() as two:
        for connection in (one, two):
            found = {
                name: connection.scalar(text(f"PRAGMA {name}"))
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            }
            assert found == {
                "journal_mode": "wal",
                "synchronous": 1,  # NORMAL
                "foreign_keys": 1,
                "busy_timeout": 60_000,
            }
    engine.dispose()


def test_a_transaction_that_sleeps_is_ended_by_postgresql(postgres: Server) -> None:
    engine = open_database(postgres.new_database())
    with engine.connect() as one, engine.connect() as two:
        for connection in (one, two):
            limit = connection.scalar(text("SHOW idle_in_transaction_session_timeout"))
            assert limit == "1min"
    engine.dispose()


def test_a_file_with_an_odd_name_is_opened(tmp_path: Path) -> None:
    for name in ("per%cent {brace}.db", "what? #1 @home.db", "größe.db"):
        open_database(embedded_url(tmp_path / name)).dispose()
        assert (tmp_path / name).stat().st_size > 0


def test_a_relative_file_stays_the_same_file_when_the_folder_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    engine = open_database("sqlite:///paretrack.db")
    monkeypatch.chdir(tmp_path / "elsewhere")
    with engine.connect() as one, engine.connect():
        one.scalar(select(LeaseRow.name))
    engine.dispose()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_times_come_back_aware_and_in_utc(engine: Engine) -> None:
    noon = datetime(2026, 7, 1, 12, 0, 0, 123456, tzinfo=TOKYO)
    row = {"name": "n", "holder": "h", "token": 1, "acquired_at": noon, "expires_at": noon}
    with writing(engine) as connection:
        connection.execute(insert(LeaseRow), row)
    with reading(engine) as connection:
        stored = connection.execute(select(LeaseRow.expires_at)).scalar_one()
    assert stored == noon
    assert stored.tzinfo is UTC


def test_a_time_without_a_zone_is_refused(engine: Engine) -> None:
    naive = datetime(2026, 7, 1)
    row = {"name": "n", "holder": "h", "token": 1, "acquired_at": naive, "expires_at": naive}
    with pytest.raises(Exception, match="no time zone"), writing(engine) as connection:
        connection.execute(insert(LeaseRow), row)


def test_the_clock_of_the_database_goes_on_within_a_transaction(engine: Engine) -> None:
    with reading(engine) as connection:
        first = database_now(connection)
        while database_now(connection) == first:
            pass
        assert database_now(connection) > first
    assert abs(first - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_transaction_that_fails_leaves_nothing(engine: Engine) -> None:
    now = datetime.now(UTC)
    row = {"name": "n", "holder": "h", "token": 1, "acquired_at": now, "expires_at": now}
    with pytest.raises(ZeroDivisionError), writing(engine) as connection:
        connection.execute(insert(LeaseRow), row)
        _ = 1 / 0
    with reading(engine) as connection:
        assert connection.execute(select(LeaseRow)).all() == []


def _open(url: str) -> None:
    open_database(url).dispose()


def test_many_processes_may_open_a_new_database_at_once(tmp_path: Path, postgres: Server) -> None:
    context = get_context("forkserver")
    context.set_forkserver_preload(["service.trials"])
    for url in (embedded_url(tmp_path / "new.db"), postgres.new_database()):
        processes = [context.Process(target=_open, args=(url,)) for _ in range(5)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * 5
        engine = open_database(url)
        with reading(engine) as connection:
            assert connection.scalar(text("SELECT count(*) FROM alembic_version")) == 1
        engine.dispose()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "/var/lib/paretrack.db",
        "postgresql://user:s3cret@host:notaport/db",
        "postgresql://user:s3cret/with@slash@host/db",
        "mysql://user:s3cret@host/db",
        "postgresql+asyncpg://user:s3cret@host/db",
        "sqlite://",
        "sqlite:///:memory:",
    ],
)
def test_a_url_that_is_none_of_ours_is_explained_without_its_password(url: str) -> None:
    with pytest.raises(ParetrackError, match="expected sqlite:") as caught:
        open_database(url)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_server_that_does_not_answer_is_said_without_the_password() -> None:
    with pytest.raises(DatabaseError, match=r"127\.0\.0\.1.*check that the server") as caught:
        open_database("postgresql://user:s3cret@127.0.0.1:1/db?connect_timeout=2")
    assert "s3cret" not in str(caught.value)


def test_a_wrong_password_and_a_missing_database_are_said(postgres: Server) -> None:
    wrong = postgres.url().replace("paretrack:", "paretrack:s3cret")
    with pytest.raises(DatabaseError, match="password authentication failed") as caught:
        open_database(wrong)
    assert "s3cret" not in str(caught.value)
    with pytest.raises(DatabaseError, match='"nowhere" does not exist'):
        open_database(postgres.url("nowhere"))


def test_a_database_that_may_only_be_read_is_read_but_not_made(
    postgres: Server, prepared_postgres: str
) -> None:
    only = "?options=-c%20default_transaction_read_only%3Don"
    with pytest.raises(DatabaseError, match="read-only transaction"):
        open_database(postgres.new_database() + only)
    engine = open_database(postgres.new_database(prepared_postgres) + only)
    with pytest.raises(DatabaseError, match="read-only transaction"), writing(engine) as connection:
        connection.execute(text("DELETE FROM leases"))
    engine.dispose()


def test_a_server_that_was_started_again_is_used_again(postgres: Server) -> None:
    engine = open_database(postgres.new_database())
    with pytest.raises(DatabaseError), writing(engine) as connection:
        postgres.stop()
        connection.execute(select(LeaseRow))
    with pytest.raises(DatabaseError), writing(engine):
        pass
    postgres.start()
    with writing(engine) as connection:
        assert connection.execute(select(LeaseRow)).all() == []
    engine.dispose()


def test_a_folder_or_file_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("this is no database, whatever its name may say. " * 50)
    for url in (
        embedded_url(tmp_path / "file" / "paretrack.db"),
        embedded_url(tmp_path / "file"),
        embedded_url(tmp_path),
        "sqlite:////proc/paretrack/paretrack.db",
    ):
        with pytest.raises(DatabaseError, match="file and its folder can be written"):
            open_database(url)
    assert (tmp_path / "file").read_text().startswith("this is no database")


def test_other_columns_than_those_we_write_are_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "paretrack.db"
    open_database(embedded_url(file)).dispose()
    with sqlite3.connect(file) as connection:
        connection.execute("ALTER TABLE trials ADD COLUMN priority INTEGER")
    connection.close()
    with pytest.raises(ParetrackError, match=rf"Optuna {optuna.__version__}.*'trials'.*priority"):
        open_database(embedded_url(file))


def test_another_optuna_than_the_one_we_know_is_refused_by_its_version(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables.check_columns(engine)
    # As it was before this version of Optuna: the dates were not yet there.
    before = "trial_id INTEGER, number INTEGER, study_id INTEGER, state VARCHAR(8)"
    monkeypatch.setitem(tables.COLUMNS, "trials", before)
    with pytest.raises(ParetrackError, match=rf"Optuna {optuna.__version__} .*install optuna=="):
        tables.check_columns(engine)


def test_a_database_of_another_version_of_optuna_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "paretrack.db"
    open_database(embedded_url(file)).dispose()
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v2.6.0.a'")
    connection.close()
    with pytest.raises(ParetrackError, match="optuna storage upgrade"):
        open_database(embedded_url(file))


def test_an_error_in_the_middle_of_a_result_keeps_nobody_from_writing(engine: Engine) -> None:
    """The traceback, and with it the result, is kept, as a log or a debugger would."""
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE numbers (n INTEGER)"))
        connection.execute(text("INSERT INTO numbers VALUES (1), (2), (3)"))
    kept: list[BaseException] = []
    for begin in (reading, writing):
        try:
            with begin(engine) as connection:
                found = iter(connection.execute(text("SELECT n FROM numbers")).yield_per(1))
                next(found)
                raise ValueError("in the middle")
        except ValueError as error:
            kept.append(error)
    other = create_engine(engine.url)
    with other.begin() as connection:
        connection.execute(text("INSERT INTO numbers VALUES (4)"))
    other.dispose()
    for _ in range(3):
        with writing(engine) as connection:
            connection.execute(text("INSERT INTO numbers VALUES (5)"))
    assert len(kept) == 2
