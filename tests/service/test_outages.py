"""A database that goes away in the middle of a job: what is asked again then counts once."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from optuna.trial import TrialState
from sqlalchemy import Engine, update

from service.database import (
    DatabaseError,
    DatabaseGone,
    LeaseRow,
    database_now,
    writing,
)
from service.leases import LeaseLost, acquire
from service.outages import Patience
from service.trials import Record, read_rungs
from tests.postgres import Server
from tests.service.jobs import Bench, said
from tests.service.night import ATTRS, DIRECTIONS, METRICS, begin, open_record, stored
from tests.service.table_pool import TablePool
from workers.pool import Report

LEASE = 1.0


@pytest.fixture
def database_url(postgres: Server, prepared_postgres: str) -> str:
    """Only a server can go away."""
    return postgres.new_database(prepared_postgres)


class Losing:
    """Breaks the connection at a transaction's end: before it is kept, or before that is said."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
        self._kept, self._left = kept, 0
        self._commit = engine.dialect.do_commit
        monkeypatch.setattr(engine.dialect, "do_commit", self._lose_one)

    def at(self, number: int) -> None:
        self._left = number

    def _lose_one(self, connection: Any) -> None:
        self._left -= 1
        if self._left == 0:
            if self._kept:
                self._commit(connection)
            connection.driver_connection.close()
            raise psycopg.OperationalError("the server closed the connection unexpectedly")
        self._commit(connection)


def write_everything(engine: Engine, job: str, say: list[str]) -> Record:
    """One event of every kind, each in a transaction of its own."""
    patience = Patience(seconds=20, say=say.append)
    lease = acquire(engine, f"job {job}", "me", 600, patience)
    record = Record.open(
        engine,
        job,
        directions=DIRECTIONS,
        metric_names=METRICS,
        attrs={"begun": 1},
        lease=lease,
        patience=patience,
    )
    number = begin(record)
    record.rung(number, 0, 50, {"loss": 0.5}, "wait", "one of many", {"state": "AT_RUNG"})
    record.finish(number, TrialState.COMPLETE, [0.5, 8.0], {"limit": -1.0}, ATTRS)
    begin(record)
    record.remember(job, 100, True, {"state": "COMPLETE"})
    record.set_study_attrs({"ended": "the budget is spent"})
    return record


@pytest.mark.parametrize("kept", [False, True], ids=["not kept", "kept but not said"])
def test_each_event_counts_once_whichever_answer_is_lost(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    losing = Losing(engine, monkeypatch, kept)
    steady = write_everything(engine, "steady", [])
    rungs = [(r.number, r.values, r.verdict, r.measurement) for r in steady.rungs()]
    for event in range(1, 9):
        told: list[str] = []
        losing.at(event)
        record = write_everything(engine, f"job {event}", told)
        assert len(told) == 2, "gone, and back"
        assert stored(engine, f"job {event}") == stored(engine, "steady")
        again = [(r.number, r.values, r.verdict, r.measurement) for r in record.rungs()]
        assert again == rungs
        assert record.remembered(f"job {event}") == {"state": "COMPLETE"}


def test_whoever_waits_is_told_that_the_database_is_away_and_that_it_is_back(
    engine: Engine, postgres: Server
) -> None:
    told: list[str] = []
    number = begin(record := open_record(engine, patience=Patience(say=told.append)))
    postgres.stop()
    back = threading.Timer(0.5, postgres.start)
    back.start()
    record.finish(number, TrialState.COMPLETE, [1.0, 2.0], {}, {})
    back.join()
    assert record.trials()[number].values == [1.0, 2.0]
    gone, again = told
    assert "cannot be used" in gone and "waiting for it for 60 s" in gone
    assert again.startswith("the database is back after")


def test_a_database_that_does_not_come_back_is_given_up_with_what_to_do(
    engine: Engine, postgres: Server
) -> None:
    told: list[str] = []
    record = open_record(engine, patience=Patience(seconds=0.3, say=told.append))
    postgres.stop()
    try:
        with pytest.raises(
            DatabaseGone, match=r"away for 0\.3 s.*the same command goes on"
        ) as gone:
            begin(record)
    finally:
        postgres.start()
    assert len(told) == 1
    password = str(engine.url.password)
    assert all(password not in text for text in (str(gone.value), *told))
    assert record.trials() == []


def test_what_waiting_does_not_mend_is_said_at_once(
    engine: Engine, database_url: str, postgres: Server
) -> None:
    told: list[str] = []
    record = open_record(engine, patience=Patience(say=told.append))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        name = database_url.rpartition("/")[2]
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    engine.dispose()
    with pytest.raises(DatabaseError, match="read-only"):
        begin(record)
    assert told == []


class Interrupted(TablePool):
    """Something happens once, before its third answer."""

    def __init__(self, happening: Any) -> None:
        super().__init__(2)
        self._turns, self._happening = 0, happening

    def reports(self, timeout: float) -> list[Report]:
        self._turns += 1
        if self._turns == 6:
            self._happening()
        return super().reports(timeout)


@pytest.fixture
def restarting(postgres: Server) -> Iterator[threading.Timer]:
    """Starts the server again when the lease has ended."""
    timer = threading.Timer(1.5 * LEASE, postgres.start)
    yield timer
    timer.join()


def test_a_job_outlasts_its_database_and_its_lease(
    here: Bench, engine: Engine, postgres: Server, restarting: threading.Timer
) -> None:
    told: list[str] = []

    def outage() -> None:
        postgres.stop()
        restarting.start()

    pool = Interrupted(outage)
    finished = here.run(engine, pool, here.job(), lease_seconds=LEASE, say=told.append)
    assert finished.outcome.asked == len(said(engine)) == 12
    assert all(trial.state.is_finished() for trial in finished.trials)
    assert len(told) == 2
    acquire(engine, "job night", "the next", 60)  # it was given back


def test_a_lease_that_ended_in_an_outage_is_held_again_as_soon_as_it_is_over(
    here: Bench, engine: Engine, postgres: Server, restarting: threading.Timer
) -> None:
    """While nothing is written: only the one who renews can know."""
    held: list[bool] = []

    def outage() -> None:
        postgres.stop()
        restarting.start()
        restarting.join()
        deadline = time.monotonic() + 60
        while not held and time.monotonic() < deadline:
            with writing(engine) as connection:
                end = connection.execute(LeaseRow.__table__.select()).one().expires_at
                held.extend([True] if end > database_now(connection) else [])
            time.sleep(0.05)

    here.run(engine, Interrupted(outage), here.job(), lease_seconds=LEASE)
    assert held


def test_who_lost_its_lease_stops_at_once_although_it_has_nothing_to_write(
    here: Bench, engine: Engine
) -> None:
    class Busy(Interrupted):
        def reports(self, timeout: float) -> list[Report]:
            if self._turns >= 6:  # never an answer again
                time.sleep(timeout)
                return []
            return super().reports(timeout)

    def taken() -> None:
        with writing(engine) as connection:
            connection.execute(update(LeaseRow).values(expires_at=database_now(connection)))
        acquire(engine, "job night", "another", 600)

    with pytest.raises(LeaseLost, match="another took it over"):
        here.run(engine, Busy(taken), here.job(), lease_seconds=LEASE)
    assert len(read_rungs(engine, "night")) < 12
    with pytest.raises(Exception, match="worked on by another"):
        acquire(engine, "job night", "a third", 60)


@pytest.mark.parametrize(
    "end",
    [
        "SELECT pg_terminate_backend(pg_backend_pid())",
        "SET idle_in_transaction_session_timeout = '50ms'",  # and the process sleeps
    ],
)
def test_what_the_server_ends_is_gone_and_asked_again(engine: Engine, end: str) -> None:
    times: list[int] = []

    def ask() -> int:
        times.append(1)
        with writing(engine) as connection:
            if len(times) == 1:
                connection.exec_driver_sql(end)
                time.sleep(0.5)
            return int(connection.exec_driver_sql("SELECT 7").scalar_one())

    assert Patience(say=lambda text: None).outlast(ask) == 7
    assert len(times) == 2
