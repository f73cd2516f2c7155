"""What it costs to record a trial, against Optuna's own storage. Printed, not asserted.

A trial has 16 parameters, 2 objectives, 1 constraint and 4 user attributes, and is not evaluated:
what is left is wall time for begin and finish. Optuna's rows are ``study.optimize`` with an
objective that only asks and tells; there the sampler is part of the time, ours has none.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import Engine, event

from service.database import embedded_url, open_database
from service.leases import acquire
from service.trials import Record
from tests.postgres import MISSING, programs, running_postgres

DISTRIBUTIONS = {f"p{n}": IntDistribution(0, 63) for n in range(16)}
DIRECTIONS = ["maximize", "minimize"]
ATTRS = {"state": "COMPLETE", "reason": "", "digest": "a" * 64, "macs": 1.5e9}
SIZES = (100, 1_000, 10_000)
WINDOW = 100  # each figure is the mean of the last so many trials
SLOW = 40  # trials of a baseline that commits to the disk 26 times for each
QUICK = 100  # trials of one that does not wait for the disk
SAMPLERS: dict[str, Callable[[], BaseSampler]] = {
    "random": lambda: RandomSampler(seed=0),
    "NSGA-II": lambda: NSGAIISampler(seed=0, population_size=20),
}


def said(what: str, trials: int, seconds: float, count: int) -> None:
    print(  # noqa: T201 - a benchmark speaks
        f"{what:44} {trials:6} trials  {1000 * seconds / count:9.2f} ms a trial  "
        f"(mean of {count}, load {os.getloadavg()[0]:.1f})"
    )


def run_ours(url: str, kind: str) -> list[float]:
    """Seconds a trial, at each of the sizes."""
    engine = open_database(url)
    record = Record.open(
        engine,
        "ours",
        directions=DIRECTIONS,
        metric_names=["accuracy", "cost"],
        attrs={},
        lease=acquire(engine, "ours", "benchmark", 36_000),
    )
    chance = random.Random(0)
    spent: list[float] = []
    for number in range(max(SIZES)):
        params = {name: chance.randrange(64) for name in DISTRIBUTIONS}
        start = time.perf_counter()
        assert record.begin(params, DISTRIBUTIONS, {}, {}) == number
        values = [chance.random(), chance.random()]
        record.finish(number, TrialState.COMPLETE, values, {"step_ms": -1.0}, ATTRS)
        spent.append(time.perf_counter() - start)
        if number + 1 in SIZES:
            last = spent[-WINDOW:]
            said(
                f"{kind}: ours, median {1000 * median(last):.2f} ms", number + 1, sum(last), WINDOW
            )
    start = time.perf_counter()
    loaded = len(record.trials())
    print(f"{kind}: ours, {loaded} trials loaded in {time.perf_counter() - start:.2f} s")  # noqa: T201
    engine.dispose()
    return [sum(spent[size - WINDOW : size]) / WINDOW for size in SIZES]


def objective(trial: optuna.Trial) -> tuple[float, float]:
    values = [trial.suggest_int(name, 0, 63) for name in DISTRIBUTIONS]
    trial.set_constraint("step_ms", -1.0)
    for name, value in ATTRS.items():
        trial.set_user_attr(name, value)
    return values[0] / 63, values[1] / 63


def run_optuna(storage: RDBStorage, kind: str, sampler: str, trials: int) -> float:
    """Seconds a trial of ``study.optimize``."""
    study = optuna.create_study(
        study_name=sampler, storage=storage, directions=DIRECTIONS, sampler=SAMPLERS[sampler]()
    )
    start = time.perf_counter()
    study.optimize(objective, n_trials=trials)
    seconds = time.perf_counter() - start
    said(f"{kind}: study.optimize, {sampler}", trials, seconds, trials)
    return seconds / trials


@contextmanager
def storage_at(url: str, set_up: Callable[[Engine], None] | None = None) -> Iterator[RDBStorage]:
    storage = RDBStorage(url)
    if set_up is not None:
        set_up(storage.engine)
        storage.engine.dispose()
    yield storage
    storage.remove_session()
    storage.engine.dispose()


def wal_and_normal(engine: Engine) -> None:
    def pragmas(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    event.listen(engine, "connect", pragmas)


def no_wait_for_the_disk(engine: Engine) -> None:
    def settings(connection: Any, _record: Any) -> None:
        connection.execute("SET synchronous_commit = off")
        connection.commit()

    event.listen(engine, "connect", settings)


def said_ratios(kind: str, ours: list[float], theirs: dict[str, float]) -> None:
    for size, seconds in zip(SIZES, ours, strict=True):
        ratios = ", ".join(f"{name} {other / seconds:.1f}x" for name, other in theirs.items())
        print(f"{kind}: at {size} trials less wall time than {ratios}")  # noqa: T201


@pytest.mark.benchmark
def test_a_trial_on_sqlite(tmp_path: Path) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    theirs = {}
    for name, set_up, trials in (("as it comes", None, SLOW), ("WAL", wal_and_normal, QUICK)):
        for sampler in SAMPLERS:
            with storage_at(embedded_url(tmp_path / f"{name} {sampler}.db"), set_up) as storage:
                kind = f"SQLite {name}"
                theirs[f"{sampler} {name}"] = run_optuna(storage, kind, sampler, trials)
    ours = run_ours(embedded_url(tmp_path / "ours.db"), "SQLite")
    said_ratios("SQLite", ours, theirs)
    assert len(ours) == len(SIZES)


@pytest.mark.benchmark
def test_a_trial_on_postgresql() -> None:
    if programs() is None:
        pytest.skip(MISSING)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    theirs = {}
    with running_postgres(fsync=True) as server:
        settings = (("as it comes", None, SLOW), ("without wait", no_wait_for_the_disk, QUICK))
        for name, set_up, trials in settings:
            for sampler in SAMPLERS:
                with storage_at(server.new_database(), set_up) as storage:
                    kind = f"PostgreSQL {name}"
                    theirs[f"{sampler} {name}"] = run_optuna(storage, kind, sampler, trials)
        ours = run_ours(server.new_database(), "PostgreSQL as it comes")
        no_wait = f"{server.new_database()}?options=-c%20synchronous_commit%3Doff"
        quick = run_ours(no_wait, "PostgreSQL without wait")
    said_ratios("PostgreSQL as it comes", ours, theirs)
    said_ratios("PostgreSQL without wait", quick, theirs)
    assert len(ours) == len(SIZES)
