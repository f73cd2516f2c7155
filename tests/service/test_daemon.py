"""A controller process, as threads of this one, with a pool that answers from a table."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from service import daemon as daemon_module
from service import jobs, queue
from service.daemon import Daemon
from service.database import reading, writing
from service.jobs import JOBS, NewJob, StoredJob
from service.journal import Journal
from service.presence import CONTROLLERS
from service.recorded import read_job
from service.tables import TrialSummaryRow
from tests.service.jobs import Bench
from tests.service.table_pool import TablePool
from tests.service.test_search import CancellingPool
from workers.pool import Assignment, Report


class SlowPool(CancellingPool):
    """One that takes its time, so that there is time to ask for something."""

    def __init__(self, slots: int = 2, seconds: float = 0.05) -> None:
        super().__init__(slots)
        self._seconds = seconds

    def reports(self, timeout: float) -> list[Report]:
        time.sleep(self._seconds)
        return super().reports(timeout)


def submit(engine: Engine, here: Bench, **words: Any) -> StoredJob:
    spec = asdict(here.job(**words))
    asked = NewJob(name=spec["name"], spec=spec, owner="ada", tracker="siamrpn")
    with writing(engine) as connection:
        queue.ensure_owner(connection, "ada")
        return jobs.create(connection, asked, "ada")


@contextmanager
def running(engine: Engine, here: Bench, pool: TablePool, **words: Any) -> Iterator[Daemon]:
    made = Daemon(here.settings, engine, pool, drain_seconds=words.pop("drain", 5.0), **words)
    thread = threading.Thread(target=made.run)
    thread.start()
    try:
        yield made
    finally:
        made.end()
        thread.join()


def now(engine: Engine, job: StoredJob) -> StoredJob:
    with reading(engine) as connection:
        return jobs.known(connection, job.id)


def until(engine: Engine, job: StoredJob, what: Callable[[StoredJob], bool]) -> StoredJob:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = now(engine, job)
        if what(found):
            return found
        time.sleep(0.05)
    raise AssertionError(f"it stays {now(engine, job)}")


def ask(engine: Engine, job: StoredJob, verb: str) -> None:
    with writing(engine) as connection:
        jobs.change(connection, job.id, verb, "ada")


def in_state(*states: str) -> Callable[[StoredJob], bool]:
    return lambda job: job.state in states


def begun(trials: int) -> Callable[[StoredJob], bool]:
    return lambda job: int(job.summary.get("asked", 0)) >= trials


def check_told(engine: Engine, job: StoredJob) -> None:
    """The rows that are listed say what the record says, and so do events and summary."""
    recorded = read_job(engine, job.id)
    with reading(engine) as connection:
        rows = {r.number: r for r in connection.execute(select(TrialSummaryRow.__table__)).all()}
        events = jobs.read_events(connection, job.id, 0, 10_000)
    assert sorted(rows) == [trial.number for trial in recorded.trials]
    for trial in recorded.trials:
        row = rows[trial.number]
        assert (row.state, row.holds, row.digest) == (trial.state, trial.holds, trial.digest)
        assert row.hypervolume == trial.hypervolume
    assert {n for n, row in rows.items() if row.on_front} == {t.number for t in recorded.front}
    volumes = [0.0, *(volume for _, volume in recorded.hypervolumes)]
    order = [number for number, _ in recorded.hypervolumes]
    moved = {n for n, a, b in zip(order, volumes, volumes[1:], strict=False) if b > a}
    assert {n for n, row in rows.items() if row.moved} == moved
    ended = [e.data["number"] for e in events if e.kind == "trial_finished"]
    assert sorted(ended) == sorted(set(ended)), "told once"
    summary = now(engine, job).summary
    assert summary["asked"] == len(rows)
    assert summary["front_size"] == len(recorded.front)


def test_a_job_is_taken_run_and_told_of(engine: Engine, here: Bench) -> None:
    job = submit(engine, here)
    with running(engine, here, TablePool(2)):
        done = until(engine, job, in_state("SUCCEEDED"))
    assert done.reason == "the budget is spent"
    assert done.summary["states"]["COMPLETE"] > 0
    check_told(engine, job)
    with reading(engine) as connection:
        kinds = {event.kind for event in jobs.read_events(connection, job.id, 0, 10_000)}
    assert {"state", "trial_asked", "trial_rung", "trial_finished", "front"} <= kinds


def test_two_jobs_share_one_pool(engine: Engine, here: Bench) -> None:
    both = [submit(engine, here, seed=seed) for seed in (0, 1)]
    with running(engine, here, SlowPool(2, 0.1), at_once=2):
        ended = [until(engine, job, in_state("SUCCEEDED")) for job in both]
    starts = [job.started_at for job in ended if job.started_at is not None]
    ends = [job.ended_at for job in ended if job.ended_at is not None]
    assert max(starts) < min(ends), "at the same time"


def test_it_is_paused_resumed_and_stopped(engine: Engine, here: Bench) -> None:
    job = submit(engine, here)
    with running(engine, here, SlowPool(1, 0.4)):
        until(engine, job, begun(3))
        ask(engine, job, "pause")
        paused = until(engine, job, in_state("PAUSED"))
        assert paused.attempts == 0
        asked = paused.summary["asked"]
        time.sleep(1.5)
        assert now(engine, job).summary["asked"] == asked, "nothing new begins"
        ask(engine, job, "resume")
        until(engine, job, begun(asked + 1))
        ask(engine, job, "stop")
        stopped = until(engine, job, in_state("SUCCEEDED"))
    assert stopped.reason == "stopped by request"
    assert stopped.summary["asked"] < 12
    check_told(engine, job)


def test_it_is_cancelled_with_what_runs(engine: Engine, here: Bench) -> None:
    job = submit(engine, here)
    pool = SlowPool(2, 0.4)
    with running(engine, here, pool):
        until(engine, job, begun(3))
        ask(engine, job, "cancel")
        done = until(engine, job, in_state("CANCELLED"))
    assert done.reason == "cancelled by request"
    assert pool.ended
    check_told(engine, job)


def test_a_job_that_cannot_be_done_fails_and_says_why(engine: Engine, here: Bench) -> None:
    job = submit(engine, here, limits=["macs_frame<=10"])
    other = submit(engine, here)
    with running(engine, here, TablePool(2)):
        failed = until(engine, job, in_state("FAILED"))
        until(engine, other, in_state("SUCCEEDED"))
    assert "no candidate of this space can hold macs_frame<=10" in failed.reason
    assert failed.attempts == 0


def test_asked_to_end_it_hands_its_job_over(engine: Engine, here: Bench) -> None:
    job = submit(engine, here)
    with running(engine, here, SlowPool(2, 0.4), drain=30.0):
        until(engine, job, begun(3))
    handed = now(engine, job)
    assert (handed.state, handed.attempts) == ("QUEUED", 0)
    with running(engine, here, TablePool(2)):
        until(engine, job, in_state("SUCCEEDED"))
    check_told(engine, job)


def test_asked_to_end_at_once_it_leaves_what_runs(engine: Engine, here: Bench) -> None:
    job = submit(engine, here)
    with running(engine, here, SlowPool(2, 3.0), drain=0.0):
        until(engine, job, in_state("RUNNING"))
    handed = now(engine, job)
    assert handed.state == "QUEUED"
    assert "goes on with the next one" in handed.reason


def test_what_a_killed_controller_left_is_taken_up(
    engine: Engine, here: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had told nothing of what it wrote down last, and its lease has ended."""
    monkeypatch.setattr(daemon_module, "RESCUE", 0.2)
    monkeypatch.setattr(queue, "FIRST_PAUSE", 0.1)
    job = submit(engine, here)

    class Killed(BaseException):
        pass

    def dies(assignment: Assignment) -> Report | None:
        if "/7:" in assignment.ticket:
            raise Killed
        return None

    class Dying(TablePool):
        def cancel(self, ticket: str) -> None:
            """A process that is killed does not get to that."""

    claimed = queue.claim(engine, "dead", 1.0)
    assert claimed is not None
    dead = Daemon(here.settings, engine, Dying(2, instead=dies), lease_seconds=1.0)
    from workers.sharing import Shares

    shares = Shares(dead.pool)
    monkeypatch.setattr(Journal, "tell", lambda self: None)
    with pytest.raises(Killed):
        dead._run(claimed, shares, lambda: None)
    monkeypatch.undo()
    monkeypatch.setattr(daemon_module, "RESCUE", 0.2)
    monkeypatch.setattr(queue, "FIRST_PAUSE", 0.1)
    assert now(engine, job).state == "RUNNING"
    with running(engine, here, TablePool(2)):
        until(engine, job, in_state("SUCCEEDED"))
    check_told(engine, job)


def test_a_job_is_kept_while_its_data_are_made(
    engine: Engine, here: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which takes longer than a lease lasts; another controller looks for what was left."""

    def slow(*_: object) -> None:
        time.sleep(4.0)

    monkeypatch.setattr(daemon_module, "RESCUE", 0.2)
    monkeypatch.setattr(daemon_module.data_at_hand, "make", slow)
    job = submit(engine, here)
    with (
        running(engine, here, TablePool(2), lease_seconds=1.5),
        running(engine, here, TablePool(2), lease_seconds=1.5, name="another"),
    ):
        done = until(engine, job, in_state("SUCCEEDED"))
    with reading(engine) as connection:
        events = jobs.read_events(connection, job.id, 0, 10_000)
    states = [event.data["to"] for event in events if event.kind == "state"]
    assert states == ["QUEUED", "RUNNING", "SUCCEEDED"], done


def test_a_controller_is_known_to_be_there(engine: Engine, here: Bench) -> None:
    from service.routes.health import _controllers

    def there() -> int:
        with reading(engine) as connection:
            return _controllers(connection)

    assert there() == 0
    with running(engine, here, TablePool(1)) as made:
        deadline = time.monotonic() + 60
        while there() == 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert there() == 1
        assert made.name
    assert there() == 0
    assert CONTROLLERS


def test_after_too_many_breaks_a_job_is_held(
    engine: Engine, here: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(queue, "LONGEST_PAUSE", 0.01)

    class Buggy(TablePool):
        def submit(self, assignment: Assignment) -> None:
            raise RuntimeError("a bug")

    job = submit(engine, here)
    with running(engine, here, Buggy(2)):
        held = until(engine, job, in_state("HELD"))
    assert "RuntimeError: a bug" in held.reason
    with writing(engine) as connection:
        connection.execute(update(JOBS).values(attempts=0))
