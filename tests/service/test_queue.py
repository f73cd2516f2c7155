"""Claims, turns, rescues: on both databases."""

import itertools
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from service import jobs, leases, queue
from service.database import database_now, open_database, reading, writing
from service.errors import Problem
from service.jobs import ENDED, JOBS, STATES, TRANSITIONS, VERBS, NewJob, StoredJob
from service.tables import AuditRow, OwnerRow


def submit(engine: Engine, name: str = "night", owner: str = "ada", **words: Any) -> StoredJob:
    asked = NewJob(name=name, spec={"name": name}, owner=owner, tracker="siamrpn", **words)
    with writing(engine) as connection:
        queue.ensure_owner(connection, owner)
        return jobs.create(connection, asked, owner)


def do(engine: Engine, job: StoredJob, verb: str, **columns: Any) -> StoredJob:
    with writing(engine) as connection:
        return jobs.change(connection, job.id, verb, "test", **columns)


def now(engine: Engine, job: StoredJob) -> StoredJob:
    with reading(engine) as connection:
        return jobs.known(connection, job.id)


def set_columns(engine: Engine, job: StoredJob, **columns: Any) -> None:
    with writing(engine) as connection:
        connection.execute(update(JOBS).where(JOBS.c.id == job.id).values(**columns))


def claimed(engine: Engine, holder: str = "c1", seconds: float = 60) -> queue.Claimed:
    found = queue.claim(engine, holder, seconds)
    assert found is not None
    return found


def aged(engine: Engine, job: StoredJob, hours: float) -> None:
    with writing(engine) as connection:
        then = database_now(connection) - timedelta(hours=hours)
        connection.execute(update(JOBS).where(JOBS.c.id == job.id).values(queued_at=then))


# --- one job ------------------------------------------------------------------------------------


def test_a_job_is_claimed_once_and_ends_once(engine: Engine) -> None:
    job = submit(engine)
    first = claimed(engine)
    assert first.job.id == job.id
    assert (first.job.state, first.job.started_at is not None) == ("RUNNING", True)
    assert queue.claim(engine, "c2", 60) is None
    ended = queue.end(engine, first, "done", "the budget is spent")
    assert (ended.state, ended.reason) == ("SUCCEEDED", "the budget is spent")
    assert ended.ended_at is not None
    with pytest.raises(leases.LeaseLost):
        queue.end(engine, first, "done", "again")
    assert queue.claim(engine, "c2", 60) is None


def test_every_change_leaves_an_event_and_a_line_in_the_audit(engine: Engine) -> None:
    job = submit(engine)
    claim = claimed(engine)
    do(engine, job, "pause")
    queue.end(engine, claim, "put_back", "paused by request")
    with reading(engine) as connection:
        events = jobs.read_events(connection, job.id, 0, 100)
        audit = connection.execute(select(AuditRow.action, AuditRow.who)).all()
    assert [event.number for event in events] == [1, 2, 3, 4]
    assert [event.data["to"] for event in events] == ["QUEUED", "RUNNING", "PAUSING", "PAUSED"]
    assert [action for action, _ in audit] == [
        "job submit", "job begin", "job pause", "job put_back",
    ]  # fmt: skip
    assert audit[1].who == "c1"
    assert now(engine, job).version > job.version


def test_only_what_the_table_allows_can_be_done(engine: Engine) -> None:
    job = submit(engine)
    with writing(engine) as connection:
        at = database_now(connection)
    for verb, state in itertools.product(TRANSITIONS, STATES):
        set_columns(engine, job, state=state, started_at=at)
        if state in TRANSITIONS[verb]:
            assert do(engine, job, verb).state == TRANSITIONS[verb][state]
            continue
        with pytest.raises(Problem) as refused:
            do(engine, job, verb)
        assert refused.value.code == "conflict"
        assert now(engine, job).state == state


def test_every_state_can_be_left_and_ends_are_final() -> None:
    leaves = {state for table in TRANSITIONS.values() for state in table}
    assert leaves == set(STATES) - set(ENDED)
    reached = {state for table in TRANSITIONS.values() for state in table.values()}
    assert reached == set(STATES), "QUEUED is where a job begins, too"
    assert set(VERBS) < set(TRANSITIONS)


@pytest.mark.parametrize("verb", ["stop", "cancel"])
def test_what_nobody_began_is_over_at_once(engine: Engine, verb: str) -> None:
    job = submit(engine)
    assert do(engine, job, verb).state == "CANCELLED"
    assert queue.claim(engine, "c", 60) is None


def test_a_paused_job_that_was_begun_is_ended_by_a_controller(engine: Engine) -> None:
    job = submit(engine)
    claim = claimed(engine)
    do(engine, job, "pause")
    assert queue.end(engine, claim, "put_back", "").state == "PAUSED"
    assert queue.claim(engine, "c", 60) is None, "nobody has resumed it"
    assert do(engine, job, "stop").state == "STOPPING"
    again = claimed(engine)
    assert (again.job.id, again.job.state) == (job.id, "STOPPING")
    assert queue.end(engine, again, "done", "stopped").state == "SUCCEEDED"


def test_resumed_while_it_drained_it_goes_back_to_the_queue(engine: Engine) -> None:
    job = submit(engine)
    claim = claimed(engine)
    do(engine, job, "pause")
    do(engine, job, "resume")
    assert queue.end(engine, claim, "put_back", "drained").state == "QUEUED"


# --- whose turn it is ---------------------------------------------------------------------------


def test_priority_goes_first_until_another_has_waited_for_long(engine: Engine) -> None:
    plain, urgent = submit(engine, "plain"), submit(engine, "urgent", owner="bob", priority=15)
    aged(engine, plain, 1.0)
    assert claimed(engine).job.id == urgent.id
    urgent2 = submit(engine, "urgent2", owner="cyd", priority=15)
    aged(engine, plain, 2.0)
    assert claimed(engine).job.id == plain.id, "two hours are worth 20"
    assert claimed(engine).job.id == urgent2.id


def test_one_owner_does_not_fill_the_house(engine: Engine) -> None:
    for number in range(3):
        aged(engine, submit(engine, f"a{number}"), 0.5)
    other = submit(engine, "b", owner="bob")
    owners = [claimed(engine).job.owner for _ in range(2)]
    assert owners == ["ada", "bob"], other


def test_an_owner_has_at_most_so_many(engine: Engine) -> None:
    first, second = submit(engine, "one"), submit(engine, "two")
    with writing(engine) as connection:
        connection.execute(update(OwnerRow).values(most_running=1))
    claim = claimed(engine)
    assert queue.claim(engine, "c2", 60) is None
    queue.end(engine, claim, "done", "")
    assert {claim.job.id, claimed(engine).job.id} == {first.id, second.id}


# --- what goes wrong ------------------------------------------------------------------------------


def test_what_a_dead_controller_held_is_taken_back(engine: Engine) -> None:
    job = submit(engine)
    dead = claimed(engine, "dead", seconds=0.0)
    (rescued,) = queue.rescue(engine, "rescuer")
    assert (rescued.id, rescued.state, rescued.attempts) == (job.id, "QUEUED", 1)
    assert rescued.not_before is not None
    assert queue.claim(engine, "c", 60) is None, "it waits a little"
    with pytest.raises(leases.LeaseLost):
        queue.end(engine, dead, "done", "I was only asleep")
    set_columns(engine, job, not_before=None)
    assert claimed(engine).job.id == job.id
    assert queue.rescue(engine, "rescuer") == []


def test_what_a_living_controller_holds_is_not(engine: Engine) -> None:
    submit(engine)
    claimed(engine, seconds=60)
    assert queue.rescue(engine, "rescuer") == []


def test_after_so_many_attempts_it_is_held_until_somebody_resumes_it(engine: Engine) -> None:
    job = submit(engine)
    for attempt in range(1, queue.ATTEMPTS + 1):
        set_columns(engine, job, not_before=None)
        claim = claimed(engine)
        job = queue.end(engine, claim, "put_back", "the workers are away", failed=True)
        assert job.attempts == attempt
    assert job.state == "HELD"
    assert "5th time" in job.reason
    assert "the workers are away" in job.reason
    set_columns(engine, job, not_before=None)
    assert queue.claim(engine, "c", 60) is None
    assert do(engine, job, "resume").state == "QUEUED"
    assert claimed(engine).job.id == job.id


def test_each_pause_is_longer_than_the_one_before() -> None:
    for attempt in range(1, 10):
        at = [queue.pause(attempt) for _ in range(100)]
        longest = min(queue.LONGEST_PAUSE, queue.FIRST_PAUSE * 3.0 ** (attempt - 1))
        assert longest / 2 <= min(at) <= max(at) <= longest
        assert len(set(at)) > 50, "not all at once"


def test_many_who_claim_at_once_get_each_job_once(engine: Engine, database_url: str) -> None:
    made = {submit(engine, f"j{n}", owner=f"o{n % 4}").id for n in range(24)}
    found: list[str] = []
    problems: list[BaseException] = []

    def take(number: int) -> None:
        mine = open_database(database_url)
        try:
            while (claim := queue.claim(mine, f"c{number}", 60)) is not None:
                found.append(claim.job.id)
        except BaseException as error:
            problems.append(error)
        finally:
            mine.dispose()

    threads = [threading.Thread(target=take, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert sorted(found) == sorted(made)


# On SQLite one process writes at a time: there is nobody to pass over.
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_job_that_somebody_is_changing_is_passed_over(engine: Engine, database_url: str) -> None:
    first, second = submit(engine, "one", priority=50), submit(engine, "two")
    other = open_database(database_url)
    with writing(other) as connection:
        jobs.known(connection, first.id, lock=True)
        assert claimed(engine).job.id == second.id
    other.dispose()


# --- words about a job ----------------------------------------------------------------------------


def test_words_are_changed_by_who_has_read_the_newest(engine: Engine) -> None:
    job = submit(engine, labels=["a", "b"])
    with writing(engine) as connection:
        new = jobs.edit(connection, job.id, "ada", version=job.version, name="x", labels=["c"])
    assert (new.name, new.labels) == ("x", ("c",))
    with writing(engine) as connection, pytest.raises(Problem) as refused:
        jobs.edit(connection, job.id, "bob", version=job.version, name="y")
    assert refused.value.code == "changed_meanwhile"
    assert now(engine, job).name == "x"


def test_only_what_has_ended_is_archived(engine: Engine) -> None:
    job = submit(engine)
    with writing(engine) as connection, pytest.raises(Problem, match="stop or cancel it first"):
        jobs.archive(connection, job.id, "ada")
    do(engine, job, "cancel")
    with writing(engine) as connection:
        assert jobs.archive(connection, job.id, "ada").archived_at is not None
    with pytest.raises(Problem):
        do(engine, job, "resume")


@pytest.fixture(autouse=True)
def events_have_no_gaps(engine: Engine) -> Iterator[None]:
    """Whatever happened."""
    yield
    with reading(engine) as connection:
        for job_id, last in connection.execute(select(JOBS.c.id, JOBS.c.events)).all():
            events = jobs.read_events(connection, job_id, 0, 10_000)
            assert [event.number for event in events] == list(range(1, last + 1))
            assert all(json.dumps(event.data) for event in events)
