"""What it costs to record a trial, against Optuna's own storage. Printed, not asserted.

A trial has 16 parameters, 2 objectives, 1 constraint and 4 user attributes, and is not evaluated:
what is left is the controller's wall time. Optuna's rows are ``study.optimize`` with an objective
that only asks and tells, there the sampler is part of the time. Ours come twice: begin and finish
alone, without a sampler; then all that the controller does for a trial, with each cheap sampler
against the same sampler in ``study.optimize``.
"""

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
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

from service import samplers
from service.database import embedded_url, open_database
from service.front import Front
from service.leases import acquire
from service.samplers import View
from service.trials import Record
from tests.postgres import running_postgres

DISTRIBUTIONS = {f"p{n}": IntDistribution(0, 63) for n in range(16)}
DIRECTIONS = ["maximize", "minimize"]
METRICS = ["accuracy", "cost"]
ATTRS = {"state": "COMPLETE", "reason": "", "digest": "a" * 64, "macs": 1.5e9}
SIZES = (100, 1_000, 10_000)
WINDOW = 100  # each figure is the mean of the last so many trials
SLOW = 40  # trials of a baseline that commits to the disk 26 times for each
QUICK = 100  # trials of one that does not wait for the disk
SAMPLERS: dict[str, Callable[[], BaseSampler]] = {
    "random": lambda: RandomSampler(seed=0),
    "NSGA-II": lambda: NSGAIISampler(seed=0, population_size=20),
}
WHOLE = {  # our samplers as a job makes them; Optuna gets the same
    name: lambda name=name: samplers.make(name, seed=0, space_size=float("inf"))
    for name in ("random", "nsga2", "tpe")
}
PARTS = ("ask", "begin", "finish", "tell", "front")


def said(what: str, trials: int, seconds: float, count: int) -> None:
    print(  # noqa: T201 - a benchmark speaks
        f"{what:44} {trials:6} trials  {1000 * seconds / count:9.2f} ms a trial  "
        f"(mean of {count}, load {os.getloadavg()[0]:.1f})"
    )


def new_record(engine: Engine) -> Record:
    return Record.open(
        engine,
        "ours",
        directions=DIRECTIONS,
        metric_names=METRICS,
        attrs={},
        lease=acquire(engine, "ours", "benchmark", 36_000),
    )


def run_ours(url: str, kind: str) -> list[float]:
    """Seconds a trial, at each of the sizes."""
    engine = open_database(url)
    record = new_record(engine)
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


def widths(trial: optuna.Trial) -> list[int]:
    return [trial.suggest_int(name, 0, 63) for name in DISTRIBUTIONS]


def judged(asked: Sequence[int]) -> tuple[float, float]:
    """No evaluation, but two figures that pull apart, so that there is a front, and it grows."""
    shares = [width / 63 for width in asked]
    accuracy = sum(share ** (0.3 + n / 20) for n, share in enumerate(shares)) / len(shares)
    return accuracy, sum(shares) / len(shares)


def objective(trial: optuna.Trial) -> tuple[float, float]:
    asked = widths(trial)
    trial.set_constraint("step_ms", -1.0)
    for name, value in ATTRS.items():
        trial.set_user_attr(name, value)
    return judged(asked)


def run_optuna(
    storage: RDBStorage, kind: str, sampler: str, trials: int, made: BaseSampler | None = None
) -> float:
    """Seconds a trial of ``study.optimize``."""
    study = optuna.create_study(
        study_name=sampler,
        storage=storage,
        directions=DIRECTIONS,
        sampler=made or SAMPLERS[sampler](),
    )
    start, computed = time.perf_counter(), time.process_time()
    study.optimize(objective, n_trials=trials)
    seconds = time.perf_counter() - start
    computed = 1000 * (time.process_time() - computed) / trials
    said(f"{kind}: {sampler}, Optuna, CPU {computed:.1f} ms", trials, seconds, trials)
    return seconds / trials


def run_whole(url: str, kind: str, sampler: str) -> list[float]:
    """Seconds a trial of everything that the controller does for one, at each of the sizes."""
    engine = open_database(url)
    record = new_record(engine)
    view = View(WHOLE[sampler](), DIRECTIONS, METRICS, constraints=["step_ms"])
    front = Front([0.0, 1.0])
    spent: list[list[float]] = []
    computed: list[float] = []
    for number in range(max(SIZES)):
        start = time.process_time()
        spent.append(one_trial(record, view, front))
        computed.append(time.process_time() - start)
        if number + 1 in SIZES:
            said_parts(f"{kind}: {sampler}", spent, computed)
    print(f"{kind}: {sampler}, {len(front.numbers)} on the front")  # noqa: T201
    engine.dispose()
    return [sum(map(sum, spent[size - WINDOW : size])) / WINDOW for size in SIZES]


def one_trial(record: Record, view: View, front: Front) -> list[float]:
    """Seconds of each part, as the search goes through them."""
    times = [time.perf_counter()]
    asked = view.ask(widths)
    assert asked is not None
    times.append(time.perf_counter())
    number = record.begin(asked.params, asked.distributions, {}, asked.system_attrs)
    times.append(time.perf_counter())
    accuracy, cost = judged(asked.value)
    record.finish(number, TrialState.COMPLETE, [accuracy, cost], {"step_ms": -1.0}, ATTRS)
    times.append(time.perf_counter())
    view.tell(asked, [accuracy, cost], {"step_ms": -1.0})
    times.append(time.perf_counter())
    front.add(number, [-accuracy, cost])
    times.append(time.perf_counter())
    return [later - earlier for earlier, later in pairwise(times)]


def said_parts(what: str, spent: Sequence[Sequence[float]], computed: Sequence[float]) -> None:
    last = spent[-WINDOW:]
    columns = zip(*last, strict=True)
    means = {name: 1000 * sum(part) / WINDOW for name, part in zip(PARTS, columns, strict=True)}
    parts = "  ".join(f"{name} {milliseconds:6.2f}" for name, milliseconds in means.items())
    print(  # noqa: T201
        f"{what:28} {len(spent):6} trials  {sum(means.values()):7.2f} ms a trial, median "
        f"{1000 * median(map(sum, last)):7.2f}, "
        f"CPU {1000 * sum(computed[-WINDOW:]) / WINDOW:6.2f}:  {parts}  "
        f"(load {os.getloadavg()[0]:.1f})"
    )


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


@pytest.mark.benchmark
@pytest.mark.parametrize("sampler", WHOLE)
def test_everything_for_a_trial_on_sqlite(tmp_path: Path, sampler: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    theirs = {}
    for name, set_up, trials in (("as it comes", None, SLOW), ("WAL", wal_and_normal, QUICK)):
        with storage_at(embedded_url(tmp_path / f"{name}.db"), set_up) as storage:
            made = WHOLE[sampler]()
            theirs[name] = run_optuna(storage, f"SQLite {name}", sampler, trials, made)
    ours = run_whole(embedded_url(tmp_path / "ours.db"), "SQLite", sampler)
    said_ratios(f"SQLite, {sampler}", ours, theirs)
    assert len(ours) == len(SIZES)


@pytest.mark.benchmark
@pytest.mark.parametrize("sampler", WHOLE)
def test_everything_for_a_trial_on_postgresql(sampler: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    theirs = {}
    with running_postgres(fsync=True) as server:
        settings = (("as it comes", None, SLOW), ("without wait", no_wait_for_the_disk, QUICK))
        for name, set_up, trials in settings:
            with storage_at(server.new_database(), set_up) as storage:
                made = WHOLE[sampler]()
                theirs[name] = run_optuna(storage, f"PostgreSQL {name}", sampler, trials, made)
        ours = run_whole(server.new_database(), "PostgreSQL", sampler)
    said_ratios(f"PostgreSQL, {sampler}", ours, theirs)
    assert len(ours) == len(SIZES)
