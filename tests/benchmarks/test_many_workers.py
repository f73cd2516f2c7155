"""How many workers one controller can keep busy. Printed and drawn, not asserted.

The real search, with a real record in SQLite and every decision it takes, over a shipped teacher;
only the workers are simulated, in virtual time, and accuracy is a formula: see ``VirtualPool``.
"""

import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from matplotlib.figure import Figure

from search_spaces import architecture_to_json
from service.database import embedded_url, open_database
from service.job import Budget, Job
from service.leases import acquire
from service.plan import Plan, plan
from service.reach import Reach
from service.search import search
from service.settings import Settings
from service.trials import Record
from tests.benchmarks.virtual_pool import VirtualPool
from workers.candidate import Candidate, Measurement
from workers.cost import Cost
from workers.judge import PairAccuracy

WORKERS = (10, 30, 100, 300, 1_000)
TRIALS = (300, 300, 300, 900, 3_000)  # of each: a few for every worker
LATE = 0.05  # saturated: so large a share of its time a worker waits for the controller


@dataclass(frozen=True)
class Seen:
    """What happened while every worker could be busy: neither the first filling nor the end."""

    workers: int
    assignments: int
    busy: float  # share of the time that the controller computes
    each: float  # seconds that it computes for an assignment
    waits: np.ndarray[Any, np.dtype[np.float64]]  # seconds that a free worker waits
    idle: float  # share of the workers' time


def widths(candidate: Candidate) -> int:
    """How wide and deep it is, roughly: the sum of all numbers in its description."""

    def total(value: Any) -> int:
        if isinstance(value, Mapping):
            return sum(map(total, value.values()))
        if isinstance(value, Sequence) and not isinstance(value, str):
            return sum(map(total, value))
        return int(value) if isinstance(value, (int, float)) else 0

    return total(architecture_to_json(candidate.architecture))


def judged(candidate: Candidate, until: object, whole: int) -> dict[str, Any]:
    """A measurement as a worker sends it; the more was trained, the truer the accuracy."""
    size = widths(candidate)
    share = size / whole
    chance = random.Random(f"{candidate.architecture} {until}")
    accuracy = 0.8 * (1 - float(np.exp(-3 * share))) + chance.gauss(0, 0.02 if until else 0.005)
    cost = int(1e7 * share**2)
    pairs = PairAccuracy(pairs=128, one_step_iou=accuracy, loss=1 - accuracy)
    steps = until if isinstance(until, int) else 100
    found = Measurement(
        state="COMPLETE" if until is None else "AT_RUNG",
        candidate=candidate,
        teacher_sha256="t" * 64,
        dataset_version="d",
        cost=Cost(
            macs_template=cost, macs_frame=cost, parameters=cost, parameters_template=cost,
            parameters_frame=cost, peak_memory_frame=cost, weights_bytes=cost,
        ),
        inherited=pairs,
        recovered=pairs if steps else None,
        steps=steps,
        seconds={"cost": 0.1, "recovery": 50.0, "accuracy": 10.0},
        environment={"machine": "simulated"},
    ).to_json()  # fmt: skip
    if until is None:
        found["accuracy"] = {"average_overlap": {"value": accuracy}}
    return found


def seen(pool: VirtualPool) -> Seen:
    """From one candidate's time after the first filling to the last new candidate."""
    begin = pool.given[pool.workers - 1].at + pool.median_seconds
    end = max(given.at for given in pool.given if given.ticket.endswith(":0"))
    inside = [g for g in pool.given if begin <= g.at <= end]
    waits = np.array([g.waited for g in inside if g.waited is not None])
    seconds = end - begin
    paused = sum(max(0.0, min(b, end) - max(a, begin)) for a, b in pool.pauses)
    busy = 1 - paused / seconds
    idle = float(waits.sum()) / (pool.workers * seconds)
    return Seen(pool.workers, len(inside), busy, busy * seconds / len(inside), waits, idle)


def made(sampler: str, trials: int, folder: Path) -> Plan:
    job = Job(
        name="many",
        teacher="ostrack-synthetic",
        sampler=sampler,
        limits=("macs_frame<=20M",),
        budget=Budget(trials=trials),
    )
    return plan(job, Settings(home=folder, database_url=None))


def run(ready: Plan, workers: int, folder: Path) -> Seen:
    whole = widths(ready.the_teacher())
    pool = VirtualPool(workers, lambda a: judged(a.candidate, a.until, whole))
    engine = open_database(embedded_url(folder / f"{ready.job.sampler} {workers}.db"))
    record = Record.open(
        engine,
        "many",
        directions=ready.directions,
        metric_names=[m.name for m in ready.objectives],
        attrs={},
        lease=acquire(engine, "many", "benchmark", 36_000),
    )
    teacher = judged(ready.the_teacher(), None, whole)
    outcome = search(ready, Reach(teacher, teacher), record, pool, clock=pool.clock)
    engine.dispose()
    assert outcome.asked == ready.job.budget.trials
    return seen(pool)


def said(found: Seen, what: str) -> None:
    waits = found.waits * 1000
    print(  # noqa: T201 - a benchmark speaks
        f"{what} {found.workers:5} workers  controller busy {found.busy:6.1%}  "
        f"{1000 * found.each:6.1f} ms CPU an assignment ({found.assignments})  a free worker waits "
        f"{waits.mean():8.1f} ms, median {np.median(waits):8.1f}, "
        f"95% {np.quantile(waits, 0.95):8.1f}, most {waits.max():8.1f}  "
        f"idle {found.idle:6.2%}  (load {os.getloadavg()[0]:.1f})"
    )


def drawn(found: Sequence[Seen], sampler: str, file: Path) -> None:
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    workers = [one.workers for one in found]
    left.plot(workers, [100 * one.busy for one in found], "o-", label="controller busy")
    left.plot(workers, [100 * one.idle for one in found], "s--", label="workers idle")
    left.set(xscale="log", xlabel="workers", ylabel="share of the time, %", ylim=(-2, 102))
    left.set_title(f"{sampler}: candidates of 60 s (median)")
    for name, share in (("median", 0.5), ("95%", 0.95), ("most", 1.0)):
        right.plot(
            workers, [float(np.quantile(one.waits, share)) for one in found], "o-", label=name
        )
    right.set(xscale="log", yscale="log", xlabel="workers", ylabel="s")
    right.set_title("how long a free worker waits")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.savefig(file, dpi=120)


@pytest.mark.benchmark
@pytest.mark.parametrize("sampler", ["nsga2", "tpe"])
def test_workers_kept_busy_by_one_controller(tmp_path: Path, sampler: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = []
    for workers, trials in zip(WORKERS, TRIALS, strict=True):
        found.append(run(made(sampler, trials, tmp_path), workers, tmp_path))
        said(found[-1], sampler)
    late = [one.workers for one in found if one.idle > LATE]
    where = f"from {late[0]} workers on" if late else f"not up to {WORKERS[-1]} workers"
    print(f"{sampler}: saturated {where} (workers idle over {LATE:.0%})")  # noqa: T201
    drawn(found, sampler, tmp_path / f"many_workers_{sampler}.png")
    print(tmp_path / f"many_workers_{sampler}.png")  # noqa: T201
    assert len(found) == len(WORKERS)
