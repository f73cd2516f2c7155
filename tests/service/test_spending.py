"""Budgets: what is counted, which of them ends a job, and that a restart forgets nothing."""

from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Engine

from service.controller import Finished
from service.job import Budget
from service.search import search
from service.spending import Spending
from service.trials import read_trials
from tests.service.jobs import Bench
from tests.service.table_pool import Disk, TablePool
from tests.service.test_search import check, engine, opened, url

__all__ = ["engine", "url"]  # fixtures: the record on SQLite alone


def spent(seconds: float, device: str = "cpu", threads: int = 1) -> dict[str, Any]:
    return {
        "seconds": {"cost": seconds / 2, "recovery": seconds / 2},
        "environment": {"device": device, "threads": str(threads)},
    }


def test_a_later_answer_contains_the_earlier_ones_of_its_trial() -> None:
    spending = Spending(Budget(), lambda: 0.0)
    spending.answered(3, spent(2.0, threads=2))
    spending.answered(3, spent(5.0, threads=2))
    spending.answered(4, spent(1.0, device="cuda:0"))

    assert (spending.cpu_seconds, spending.gpu_seconds) == (11.0, 1.0)
    said = {"seconds": 0.0, "cpu_seconds": 11.0, "gpu_seconds": 1.0, "since_gain": 0}
    assert spending.told() == said


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (Budget(cpu_seconds=4.0), "the CPU time is spent (4 s)"),
        (Budget(gpu_seconds=2.0), "the GPU time is spent (2 s)"),
        (Budget(gpu_seconds=2.5), ""),
        (Budget(seconds=9.0), "the time is over (9 s)"),
        (Budget(hypervolume=0.25), "the front has reached hypervolume 0.25"),
        (Budget(plateau=3), "3 candidates have not moved the front"),
        (Budget(plateau=4), ""),
    ],
)
def test_the_first_bound_that_is_reached_is_named(budget: Budget, said: str) -> None:
    now = [0.0]
    spending = Spending(budget, lambda: now[0])
    now[0] = 9.5
    spending.asked = 2
    spending.front_is(0.3)
    spending.asked = 6
    spending.states["INFEASIBLE"] = 1
    spending.answered(0, spent(2.0))
    spending.answered(1, spent(2.0, device="cuda"))

    assert spending.over() == said


def test_before_anything_is_on_the_front_nothing_is_a_plateau() -> None:
    spending = Spending(Budget(plateau=1), lambda: 0.0)
    spending.asked = 9
    assert spending.over() == ""


# --- in a search ------------------------------------------------------------------------------


def run(
    here: Bench, engine: Engine, trials: int = 40, name: str = "night", **budget: Any
) -> Finished:
    job = here.job(name, budget={"trials": trials, **budget}, early_stopping="none")
    return check(engine, here.run(engine, TablePool(1), job))


def test_every_trial_that_ended_says_how_far_the_front_had_come(
    here: Bench, engine: Engine
) -> None:
    finished = run(here, engine, trials=12)
    told = [t.user_attrs["hypervolume"] for t in finished.trials]  # one slot: in their order

    assert told == sorted(told)
    assert told[0] > 0
    assert told[-1] == finished.outcome.hypervolume < 1
    assert {"environment", "dataset_version", "job_seconds"} <= finished.trials[0].user_attrs.keys()


def test_a_front_that_is_good_enough_ends_the_job(here: Bench, engine: Engine) -> None:
    best = run(here, engine, trials=12).outcome.hypervolume
    outcome = run(here, engine, trials=12, name="again", hypervolume=best * 0.9).outcome

    assert outcome.reason == f"the front has reached hypervolume {best * 0.9:g}"
    assert best * 0.9 <= outcome.hypervolume
    assert outcome.asked < 12


def test_a_front_that_no_longer_moves_ends_the_job(here: Bench, engine: Engine) -> None:
    finished = run(here, engine, plateau=4)
    told = [0.0, *(t.user_attrs["hypervolume"] for t in finished.trials)]
    moved = [now > before for before, now in pairwise(told)]

    assert finished.outcome.reason == "4 candidates have not moved the front"
    assert moved[-4:] == [False] * 4
    assert not any(moved[i : i + 4] == [False] * 4 for i in range(len(moved) - 4))


@pytest.mark.parametrize("kind", ["plateau", "cpu_seconds", "seconds"])
def test_a_restart_forgets_nothing_that_was_spent(here: Bench, engine: Engine, kind: str) -> None:
    """Ended once by its trials and gone on with, a job ends where it would have ended anyway."""
    bound = {"plateau": 4, "cpu_seconds": 4.4, "seconds": 170.0}[kind]
    plan, disk = here.plan(), Disk()
    reach = here.run(engine, TablePool(), here.job("reach", budget={"trials": 1})).reach

    def searched(name: str, trials: int, disk: Disk) -> Any:
        with engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM measurements")
            connection.exec_driver_sql("DELETE FROM leases")
        pool = TablePool(1, disk)
        budget = {"trials": trials, kind: bound}
        made = here.plan(name=name, budget=budget, early_stopping="none", sampler="grid")
        record = opened(engine, here, name)
        return search(made, reach, record, pool, clock=lambda: pool.now)

    whole = searched("whole", 60, Disk())
    assert "spent" not in whole.reason or kind == "cpu_seconds", whole.reason
    for trials in (2, 3, 5):
        if trials < whole.asked:
            assert searched("parts", trials, disk).reason == "the budget is spent"
    parts = searched("parts", 60, disk)

    assert (parts.reason, parts.asked) == (whole.reason, whole.asked)
    assert parts.seconds == pytest.approx(whole.seconds, abs=1e-2)
    assert len(read_trials(engine, "parts")) == whole.asked
    assert plan.job.sampler == "random"
