"""One process works on a job; what it may not begin with is said before anything is trained."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine

from search_spaces import ParetrackError
from service.job import JobError
from service.leases import LeaseHeld
from service.samplers import View
from service.trials import read_trials
from tests.service.jobs import Bench, said
from tests.service.table_pool import Disk, TablePool
from workers.pool import Report

LEASE = 2.0
NEVER_ENDS = """
import sys, time
from pathlib import Path
from tests.service.jobs import Bench
from tests.service.table_pool import TablePool
from service.database import open_database

class Slow(TablePool):
    def reports(self, timeout):
        time.sleep(0.3)
        return super().reports(timeout)

url, home, teacher = sys.argv[1:]
here = Bench(Path(home), Path(teacher))
here.run(
    open_database(url), Slow(1), here.job(budget={"trials": 90}), lease_seconds=2.0,
    watch=lambda event: print(event.kind, event.number, flush=True),
)
"""


@pytest.fixture
def other(here: Bench, database_url: str) -> Iterator["subprocess.Popen[str]"]:
    """Another process that works on the job called night."""
    words = [sys.executable, "-c", NEVER_ENDS, database_url, str(here.home), str(here.teacher)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def test_of_two_processes_one_works_and_the_other_takes_over_when_it_is_dead(
    here: Bench, engine: Engine, other: "subprocess.Popen[str]"
) -> None:
    assert other.stdout is not None
    for line in other.stdout:
        if line.startswith("finished") or line == "asked 4\n":
            break
    time.sleep(1.5 * LEASE)  # it renews it

    with pytest.raises(LeaseHeld, match=f"process {other.pid} on"):
        here.run(engine, TablePool(), here.job(), lease_seconds=LEASE)
    before = said(engine)
    assert len(before) >= 4

    other.kill()
    other.wait()
    job, disk = here.job(budget={"trials": len(before) + 4}), Disk()
    finished = when_free(here, engine, TablePool(2, disk), job)

    assert finished.outcome.asked >= len(before) + 4
    assert all(trial.state.is_finished() for trial in finished.trials)
    now = said(engine)
    ended = {number: told for number, told in before.items() if told[0] != "RUNNING"}
    assert ended.items() <= now.items()
    assert {n: d for n, (_, d) in before.items()}.items() <= {
        n: d for n, (_, d) in now.items()
    }.items()


def when_free(here: Bench, engine: Engine, pool: TablePool, job: Any) -> Any:
    deadline = time.monotonic() + 60 * LEASE
    while True:
        try:
            return here.run(engine, pool, job, lease_seconds=LEASE)
        except LeaseHeld:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_a_job_goes_on_with_the_same_words_only(here: Bench, engine: Engine) -> None:
    here.run(engine, TablePool(), here.job(budget={"trials": 2}))
    with pytest.raises(JobError, match=r"'night' exists with sampler 'random', not 'tpe'"):
        here.run(engine, TablePool(), here.job(sampler="tpe", budget={"trials": 2}))
    with pytest.raises(ParetrackError, match="macs_frame"):
        here.run(engine, TablePool(), here.job(costs=["parameters"], budget={"trials": 2}))
    assert here.run(engine, TablePool(), here.job(budget={"trials": 3})).outcome.asked == 3


def test_the_lease_is_given_back_also_after_an_error(here: Bench, engine: Engine) -> None:
    with pytest.raises(JobError, match="no candidate"):
        here.run(engine, TablePool(), here.job(limits=["macs_frame<=1k"]))
    here.run(engine, TablePool(), here.job(budget={"trials": 1}))


def test_a_limit_that_nothing_holds_is_said_before_any_training(
    here: Bench, engine: Engine
) -> None:
    disk = Disk()
    heard: list[Report] = []
    with pytest.raises(JobError) as caught:
        here.run(engine, TablePool(1, disk), here.job(limits=["parameters<=1k"]), hear=heard.append)

    assert "can hold parameters<=1000" in str(caught.value)
    least = here.plan().the_smallest()
    from tests.service.table_pool import cost

    assert f"the smallest has {cost(least.architecture).parameters:,.4g}" in str(caught.value)
    assert not [folder for folder in disk.reached if "/trials/" in folder]
    assert read_trials(engine, "night") == []
    here.run(engine, TablePool(1, disk), here.job(limits=["parameters<=9k"], budget={"trials": 1}))


def test_a_warm_start_learns_from_the_complete_trials_of_an_earlier_job(
    here: Bench, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = {"early_stopping": "none", "budget": {"trials": 6}}
    first = here.run(engine, TablePool(), here.job(**words))
    learned: list[Any] = []
    real = View.learn

    def learn(self: View, trials: Any, sample: Any) -> None:
        learned.extend(trials)
        real(self, trials, sample)

    monkeypatch.setattr(View, "learn", learn)
    job = here.job("warm", warm_start=["night"], sampler="tpe", seed=1, **words)
    warm = here.run(engine, TablePool(), job)

    assert [t.values for t in learned] == [t.values for t in first.trials]
    assert warm.outcome.asked == 6


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"warm_start": ["nobody"]}, "no job named 'nobody'"),
        ({"warm_start": ["night"], "costs": ["parameters"]}, "job 'night' compares"),
    ],
)
def test_a_warm_start_that_cannot_be_is_said_before_anything_runs(
    here: Bench, engine: Engine, words: dict[str, Any], said: str
) -> None:
    here.run(engine, TablePool(), here.job(budget={"trials": 1}))
    heard: list[Report] = []
    with pytest.raises(ParetrackError, match=said):
        here.run(engine, TablePool(), here.job("warm", **words), hear=heard.append)
    assert heard == []


def test_what_is_on_an_earlier_front_is_tried_first(here: Bench, engine: Engine) -> None:
    done = here.run(engine, TablePool(), here.job(budget={"trials": 10}, early_stopping="none"))
    job = here.job("again", fronts=["night"], limits=["parameters<=11k"], budget={"trials": 10})
    again = here.run(engine, TablePool(), job)
    on_front = [done.trials[n].params for n in done.outcome.front]

    assert len(on_front) > 1
    begun = [trial.params for trial in again.trials[: len(on_front)]]
    assert sorted(map(str, begun)) == sorted(map(str, on_front))


def test_a_front_that_cannot_be_tried_is_said_before_anything_runs(
    here: Bench, engine: Engine
) -> None:
    here.run(engine, TablePool(), here.job(budget={"trials": 3}))
    elsewhere = here.job("other", fronts=["night"], space={"neck3": {"least": 0.1, "choices": 4}})
    with pytest.raises(JobError, match="fronts: job 'night' searched another space"):
        here.run(engine, TablePool(), elsewhere)
    with pytest.raises(ParetrackError, match=r"no job named 'nigth'.*did you mean night"):
        here.run(engine, TablePool(), here.job("third", fronts=["nigth"]))


def test_the_teacher_is_measured_once_for_all_jobs(here: Bench, engine: Engine) -> None:
    heard: list[Report] = []
    for name in ("one", "two"):
        here.run(engine, TablePool(), here.job(name, budget={"trials": 1}), hear=heard.append)
    assert [report.ticket for report in heard].count("teacher") == 1


def test_the_job_and_its_end_lie_in_the_study(
    here: Bench, engine: Engine, database_url: str
) -> None:
    import optuna

    finished = here.run(engine, TablePool(), here.job(budget={"trials": 3}))
    study = optuna.load_study(study_name="night", storage=database_url)
    told = study.user_attrs
    assert json.loads(json.dumps(told["job"]))["budget"]["trials"] == 3
    assert told["ended"] == "the budget is spent"
    assert told["hypervolume"] == finished.outcome.hypervolume > 0
    assert told["teacher"]["macs_frame"] > 0
    study._storage.remove_session()  # type: ignore[attr-defined]
    study._storage._backend.engine.dispose()  # type: ignore[attr-defined]
