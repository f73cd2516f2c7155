"""A controller that dies anywhere, and the next one that goes on with its job."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from sqlalchemy import Engine

from service.controller import Finished
from service.database import embedded_url, open_database
from service.events import Event
from service.job import Job
from service.search import TAKEN_UP
from service.trials import Record, read_rungs, read_trials
from tests.service.jobs import Bench, brute_front
from tests.service.table_pool import Disk, TablePool
from workers.pool import Assignment


class Crash(Exception):  # noqa: N818 - the process is gone
    """Nobody catches it."""


@pytest.fixture
def engine(tmp_path: Path, prepared_sqlite: Path) -> Iterator[Engine]:
    engine = open_database(embedded_url(Path(shutil.copy(prepared_sqlite, tmp_path / "p.db"))))
    yield engine
    engine.dispose()


def grid(here: Bench, rule: str, name: str = "night", trials: int = 9) -> Job:
    """Its order does not depend on what was told, so every run of it asks for the same."""
    return here.job(
        name,
        space={"layer3": {"least": 0.1, "choices": 4}, "neck3": {"least": 0.1, "choices": 4}},
        sampler="grid",
        early_stopping=rule,
        budget={"trials": trials},
    )


def crashing_at(event: int) -> Any:
    left = [event]

    def watch(_: Event) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Crash

    return watch


def run_with_crashes(
    here: Bench, engine: Engine, job: Job, slots: int, every: int, disk: Disk
) -> tuple[Finished, int]:
    """Again and again until it ends, each controller dying at its n-th event."""
    for crashes in range(60):
        known = [(t.number, t.state, t.values) for t in finished_trials(engine, job.name)]
        try:
            done = here.run(engine, TablePool(slots, disk), job, watch=crashing_at(every))
        except Crash:
            now = [(t.number, t.state, t.values) for t in finished_trials(engine, job.name)]
            assert [one for one in now if one in known] == known  # nothing is lost or changed
            continue
        return done, crashes
    raise AssertionError("it does not get on")


def finished_trials(engine: Engine, name: str) -> list[Any]:
    from search_spaces import ParetrackError

    try:
        return [t for t in read_trials(engine, name) if t.state.is_finished()]
    except ParetrackError:
        return []


def trained(disk: Disk, job: str) -> dict[int, float]:
    """How far each trial was trained."""
    wanted = {f: steps for f, steps in disk.reached.items() if f"/{job}/trials/" in f}
    return {int(folder.rpartition("/")[2]): steps for folder, steps in wanted.items()}


@pytest.mark.parametrize("rule", ["mo_asha", "median", "none"])
def test_with_one_slot_a_job_that_dies_again_and_again_ends_as_if_it_had_not(
    here: Bench, engine: Engine, rule: str
) -> None:
    whole = Disk()
    steady = here.run(engine, TablePool(1, whole), grid(here, rule, "steady"))
    with engine.begin() as connection:  # else the second knows all answers
        connection.exec_driver_sql("DELETE FROM measurements WHERE job = 'steady'")
    for every in (3, 7):
        disk, job = Disk(), grid(here, rule, f"every-{every}")
        finished, crashes = run_with_crashes(here, engine, job, 1, every, disk)
        assert crashes > 1
        assert finished.outcome.asked == steady.outcome.asked == 9
        assert finished.outcome.states == steady.outcome.states
        assert set(finished.outcome.front) == set(steady.outcome.front)
        assert finished.outcome.hypervolume == pytest.approx(steady.outcome.hypervolume)
        assert trained(disk, job.name) == trained(whole, "steady")
        assert max(disk.steps_done.values()) == 1
        theirs = [(t.params, t.state, t.values) for t in finished.trials]
        assert theirs == [(t.params, t.state, t.values) for t in steady.trials]
        with engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM measurements")


@pytest.mark.parametrize("every", [4, 9])
@pytest.mark.parametrize("sampler", ["nsga2", "tpe"])
def test_with_many_slots_nothing_is_lost_and_nothing_done_twice(
    here: Bench, engine: Engine, every: int, sampler: str
) -> None:
    disk = Disk()
    job = here.job(sampler=sampler, limits=["macs_frame<=950k"], budget={"trials": 10})
    finished, crashes = run_with_crashes(here, engine, job, 3, every, disk)
    outcome = finished.outcome

    assert crashes > 0
    assert [t.number for t in finished.trials] == list(range(outcome.asked))
    assert all(t.state.is_finished() for t in finished.trials)
    assert outcome.asked - outcome.states.get("INFEASIBLE", 0) == 10
    assert max(disk.steps_done.values()) == 1
    assert set(outcome.front) == brute_front(finished.trials, finished.plan) != set()
    digests = [t.user_attrs["digest"] for t in finished.trials]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("when", ["rung", "begin", "finish", "remember"])
@pytest.mark.parametrize("rule", ["mo_asha", "median"])
def test_a_crash_right_after_a_commit_costs_nothing(
    here: Bench, engine: Engine, monkeypatch: pytest.MonkeyPatch, when: str, rule: str
) -> None:
    """Between what was written and what would have followed from it."""
    disk = Disk()
    job = grid(here, rule)
    real = getattr(Record, when)
    left = [6]

    def then_crash(self: Record, *args: Any, **words: Any) -> Any:
        found = real(self, *args, **words)
        left[0] -= 1
        if left[0] == 0:
            raise Crash
        return found

    monkeypatch.setattr(Record, when, then_crash)
    left[0] = 2 if when == "remember" else 6
    with pytest.raises(Crash):
        here.run(engine, TablePool(2, disk), job)
    monkeypatch.undo()
    running = [t for t in read_trials(engine, "night") if t.state == TrialState.RUNNING]
    finished = here.run(engine, TablePool(2, disk), job)

    assert running
    assert finished.outcome.asked == 9
    assert all(t.state.is_finished() for t in finished.trials)
    assert max(disk.steps_done.values()) == 1
    assert set(finished.outcome.front) == brute_front(finished.trials, finished.plan) != set()


def test_a_candidate_that_ends_every_controller_is_given_up(here: Bench, engine: Engine) -> None:
    def instead(assignment: Assignment) -> None:
        if assignment.ticket == "2:0":
            raise Crash

    disk, job = Disk(), grid(here, "none")
    for _ in range(TAKEN_UP + 1):
        with pytest.raises(Crash):
            here.run(engine, TablePool(1, disk, instead), job)
    finished = here.run(engine, TablePool(1, disk, instead), job)

    assert finished.trials[2].state == TrialState.FAIL
    assert "its controllers ended first" in finished.trials[2].user_attrs["reason"]
    assert finished.outcome.states == {"COMPLETE": 8, "FAILED": 1}


def test_who_went_on_goes_on_after_a_crash_whoever_is_better_by_then(
    here: Bench, engine: Engine
) -> None:
    """Its training is half done; to promote another instead would throw that away."""
    disk, job = Disk(), grid(here, "mo_asha", trials=12)
    went: list[int] = []

    def watch(event: Event) -> None:
        if (event.kind, event.state) == ("rung", "go_on") and not event.values:
            went.append(event.number)
        if went and len([t for t in disk.reached if "/trials/" in t]) == 5:
            raise Crash

    with pytest.raises(Crash):
        here.run(engine, TablePool(3, disk), job, watch=watch)
    here.run(engine, TablePool(3, disk), job)

    assert went
    reached = {(at.number, at.rung) for at in read_rungs(engine, "night") if at.values}
    assert all((number, 1) in reached for number in went)


@pytest.mark.parametrize("rule", ["mo_asha", "median", "none"])
def test_a_job_that_ended_goes_on_with_a_larger_budget(
    here: Bench, engine: Engine, rule: str
) -> None:
    disk = Disk()
    first = here.run(engine, TablePool(2, disk), grid(here, rule, trials=6))
    again = here.run(engine, TablePool(2, disk), grid(here, rule, trials=6))
    more = here.run(engine, TablePool(2, disk), grid(here, rule, trials=12))

    assert (again.outcome.asked, again.outcome.states) == (6, first.outcome.states)
    assert set(again.outcome.front) == set(first.outcome.front)
    assert more.outcome.asked == 12
    assert [t.values for t in more.trials[:6]] == [t.values for t in first.trials]
    assert set(more.outcome.front) == brute_front(more.trials, more.plan)
    assert max(disk.steps_done.values()) == 1
