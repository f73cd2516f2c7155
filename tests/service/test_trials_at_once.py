"""On PostgreSQL a trial begins or ends in one message: whatever becomes of it, it counts once."""

import math
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import pairwise

import psycopg
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import Engine, text, update

from service import _optuna_tables as tables
from service import database
from service.database import DatabaseError, DatabaseGone, LeaseRow, open_database, writing
from service.leases import LeaseLost
from service.outages import Patience
from service.trials import Record, TrialFinished
from tests.postgres import Server
from tests.service.night import ATTRS, begin, by_optuna, open_record, stored

MESSAGES = {"begin": b"EXECUTE paretrack_begin", "finish": b"EXECUTE paretrack_finish"}


class Line:
    """Between a client and the server; it breaks at a message that holds certain words: the
    message is lost, its answer is, or it comes late, when it was long said again."""

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.messages: list[bytes] = []  # from clients
        self._words, self._how = b"", ""
        self._late: list[tuple[socket.socket, bytes]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def break_at(self, words: bytes, how: str) -> None:
        self._words, self._how = words, how

    def deliver(self) -> None:
        """What was late reaches the server, which carries it out."""
        for server, message in self._late:
            with server:
                server.sendall(message)
                assert server.recv(1 << 16)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:  # it is closed
                return
            server = socket.create_connection(self._server)
            threading.Thread(target=self._carry, args=(client, server), daemon=True).start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        with client:
            while True:
                for end in select.select([client, server], [], [])[0]:
                    try:
                        message = end.recv(1 << 20)
                    except ConnectionError:
                        message = b""
                    if not message or (end is client and self._breaks(message, server)):
                        if (server, message) not in self._late:
                            server.close()
                        return
                    (server if end is client else client).sendall(message)

    def _breaks(self, message: bytes, server: socket.socket) -> bool:
        self.messages.append(message)
        if not self._how or self._words not in message:
            return False
        how, self._how = self._how, ""
        if how == "late":
            self._late.append((server, message))
        elif how == "its answer is lost":
            server.sendall(message)
            assert server.recv(1 << 16)
        return True


@pytest.fixture
def database_url(postgres: Server, prepared_postgres: str) -> str:
    """SQLite has no line that could break."""
    return postgres.new_database(prepared_postgres)


@pytest.fixture
def line(postgres: Server) -> Iterator[Line]:
    line = Line(postgres.port)
    yield line
    line.close()


@pytest.fixture
def far(database_url: str, postgres: Server, line: Line) -> Iterator[Engine]:
    """The database of this test at the other end of the line."""
    engine = open_database(database_url.replace(f":{postgres.port}/", f":{line.port}/"))
    yield engine
    engine.dispose()


def finish(record: Record, number: int) -> None:
    record.finish(number, TrialState.COMPLETE, [0.5, math.inf], {"limit": -1.0}, ATTRS)


@pytest.mark.parametrize("what", MESSAGES)
@pytest.mark.parametrize("how", ["it is lost", "its answer is lost", "late"])
def test_an_event_counts_once_whatever_becomes_of_its_message(
    engine: Engine, far: Engine, line: Line, what: str, how: str
) -> None:
    heard: list[str] = []
    begin(shaken := open_record(far, "shaken", patience=Patience(say=heard.append)))
    begin(steady := open_record(engine, "steady"))
    line.break_at(MESSAGES[what], how)
    for record in (shaken, steady):
        number = begin(record)
        finish(record, number)
        assert begin(record) == number + 1 == 2
    line.deliver()
    assert len(heard) == 2, "gone, and back"
    assert stored(engine, "shaken") == stored(engine, "steady")
    assert begin(shaken) == 3


@pytest.mark.parametrize("what", MESSAGES)
def test_a_late_message_of_a_holder_of_the_past_writes_nothing(
    engine: Engine, far: Engine, line: Line, what: str
) -> None:
    record = open_record(far, patience=Patience(seconds=0, say=lambda said: None))
    number = begin(record)
    line.break_at(MESSAGES[what], "late")
    with pytest.raises(DatabaseGone):
        begin(record) if what == "begin" else finish(record, number)
    take_over(engine)
    before = stored(engine)
    line.deliver()
    assert stored(engine) == before


def take_over(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(update(LeaseRow).values(token=LeaseRow.token + 1, holder="another"))


@pytest.mark.parametrize("what", MESSAGES)
def test_a_takeover_for_which_a_message_waits_counts(engine: Engine, what: str) -> None:
    record = open_record(engine)
    number = begin(record)
    before = stored(engine)
    with ThreadPoolExecutor(1) as other:
        with writing(engine) as connection:
            connection.execute(update(LeaseRow).values(token=LeaseRow.token + 1, holder="another"))
            event = other.submit(begin if what == "begin" else lambda r: finish(r, number), record)
            wait_for_a_waiter(engine)
        with pytest.raises(LeaseLost, match="another took it over"):
            event.result()
    assert stored(engine) == before


def wait_for_a_waiter(engine: Engine) -> None:
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with engine.connect() as connection:
            if connection.scalar(waiting):
                return
        time.sleep(0.01)
    raise AssertionError("nobody waits")


ASKS = """
import sys, optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.load_study(study_name="night", storage=sys.argv[1])
print("asking", flush=True)
print(*[study.ask().number for _ in range(30)], flush=True)
"""


def test_no_number_is_given_twice_while_another_process_asks_optuna(
    engine: Engine, database_url: str
) -> None:
    record = open_record(engine)
    command = [sys.executable, "-W", "error", "-c", ASKS, database_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "asking\n"
        ours = []
        while other.poll() is None:
            ours += [begin(record), begin(record)]
            time.sleep(0.01)  # Optuna reads them all each time
        theirs = [int(number) for number in other.stdout.read().split()]
    assert len(theirs) == 30
    assert sorted(ours + theirs) == list(range(len(ours) + 30))
    assert [t.number for t in record.trials()] == list(range(len(ours) + 30))
    switches = sum(abs(a - b) > 1 for a, b in pairwise(ours))
    assert switches > 1, "they came by turns"


def test_a_trial_that_another_ended_stays_as_it_was(
    engine: Engine, optuna_storage: RDBStorage
) -> None:
    number = begin(record := open_record(engine))
    by_optuna(optuna_storage).tell(number, state=TrialState.FAIL)
    before = stored(engine)
    with pytest.raises(TrialFinished, match="it is FAIL; nothing was changed"):
        finish(record, number)
    assert stored(engine) == before


def end_all_connections(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_connection_that_ended_between_two_events_is_made_again(
    engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    record = open_record(engine, patience=Patience(say=heard.append))
    for number in range(3):
        assert begin(record) == number
        end_all_connections(database_url)
        finish(record, number)
        end_all_connections(database_url)
    assert heard
    monkeypatch.setattr(database, "_ALIVE_SECONDS", 0)  # as if all had rested for long
    heard.clear()
    for number in range(3, 6):
        assert begin(record) == number
        end_all_connections(database_url)
        finish(record, number)
        end_all_connections(database_url)
    assert heard == []
    assert [t.state for t in record.trials()] == [TrialState.COMPLETE] * 6


def test_a_trial_begins_and_ends_in_one_message_each(far: Engine, line: Line) -> None:
    record = open_record(far)
    finish(record, begin(record))
    line.messages.clear()
    finish(record, begin(record))
    first, second = line.messages
    assert (MESSAGES["begin"] in first, MESSAGES["finish"] in second) == (True, True)


def test_all_rows_of_an_event_are_of_one_transaction(engine: Engine) -> None:
    record = open_record(engine)
    begin(record)
    written = []
    for event in (begin, lambda record: finish(record, 1)):
        event(record)
        beside = (
            "trial_params",
            "trial_values",
            "trial_user_attributes",
            "trial_system_attributes",
        )
        with engine.connect() as connection:
            for table in ("trials", *beside):
                rows = text(f"SELECT xmin::text::bigint FROM {table} ORDER BY 1 DESC LIMIT 1")
                written.append(connection.scalar(rows))
    params = written[1]
    begun, ended = written[:5], written[5:]
    assert begun == [params, params, None, params, params]
    assert ended == [ended[0], params, *[ended[0]] * 3]
    assert ended[0] > params


def test_after_a_rollback_the_server_is_told_the_statements_again(far: Engine, line: Line) -> None:
    record = open_record(far)
    finish(record, begin(record))
    for number in range(1, 4):
        with pytest.raises(ZeroDivisionError), writing(far) as connection:
            for _ in range(10):  # so often that psycopg prepares it, and forgets all afterwards
                connection.execute(text("SELECT 1"))
            raise ZeroDivisionError
        assert begin(record) == number
        finish(record, number)
    assert begin(record) == 4
    assert sum(b"PREPARE paretrack_begin" in message for message in line.messages) > 1


def test_a_lock_that_is_not_had_in_time_is_said_and_nothing_is_written(
    engine: Engine, database_url: str
) -> None:
    hasty = open_database(f"{database_url}?options=-c%20lock_timeout%3D50ms")
    record = open_record(hasty)
    number = begin(record)
    before = stored(engine)
    with writing(engine) as connection:
        connection.execute(update(LeaseRow).values(token=LeaseRow.token))
        for event in (begin, lambda record: finish(record, number)):
            with pytest.raises(DatabaseError, match="lock timeout") as caught:
                event(record)
            assert not isinstance(caught.value, DatabaseGone)
    assert stored(engine) == before
    finish(record, number)
    assert begin(record) == 1
    hasty.dispose()


def test_trials_that_begin_at_the_same_moment_are_trials_of_their_own(
    engine: Engine, optuna_storage: RDBStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = open_record(engine)
    begin(record)
    monkeypatch.setattr(tables, "utc_now", lambda: datetime(2026, 1, 1, 0, 0, 0, 1))
    assert [begin(record), begin(record)] == [1, 2]
    assert by_optuna(optuna_storage).ask().number == 3  # by a clock that goes before ours
    assert [begin(record), begin(record)] == [4, 5]


def test_what_json_cannot_say_is_recorded_as_well(engine: Engine) -> None:
    record = open_record(engine)
    endless = {"x": FloatDistribution(0.0, math.inf)}
    for value in (1.0, math.inf, 1e300):
        record.begin({"x": value}, endless, {"größe 'x' %s": "ein % \\ '"}, {})
    trials = record.trials()
    assert [t.params["x"] for t in trials] == [1.0, math.inf, 1e300]
    assert [t.user_attrs for t in trials] == [{"größe 'x' %s": "ein % \\ '"}] * 3
