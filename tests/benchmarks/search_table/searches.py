"""A search from beginning to end, ours and plain Optuna's, and what it has found on the way."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from search_spaces import sample
from service.events import Event, Wish
from service.front import Front
from service.job import Budget, Job
from service.opening import opening
from service.plan import Plan, plan
from service.reach import Reach
from service.search import search
from service.settings import Settings
from service.trials import ReachedRung, Record
from tests.benchmarks.search_table import STEPS, TEACHER, Row, Table
from tests.benchmarks.search_table.pool import TablePool, measured

BROKEN_BY = 0.4  # the share of the space that the limit forbids


@dataclass(frozen=True)
class Scenario:
    """The table under a limit, or under none."""

    name: str
    table: Table
    limits: tuple[str, ...]
    most: float  # parameters

    def allows(self, row: Row) -> bool:
        return row.parameters <= self.most

    @property
    def corner(self) -> tuple[float, float]:
        """Where hypervolume is counted from: no accuracy, at the teacher's cost."""
        return (0.0, float(self.table.find(self.table.space.whole).macs_frame))

    def best(self) -> float:
        """The hypervolume of all points together."""
        front = Front(self.corner)
        for number, row in enumerate(filter(self.allows, self.table.rows.values())):
            front.add(number, point(row))
        return float(front.hypervolume)


@dataclass
class Trace:
    """The hypervolume of what was trained to its end, as compute and trials went by."""

    front: Front
    best: float
    computed: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)  # of the best
    by_trials: list[float] = field(default_factory=list)  # before each further trial began
    broken: int = 0
    seconds: float = 0.0  # of this program

    @property
    def share(self) -> float:
        return self.shares[-1] if self.shares else 0.0

    def found(self, number: int, values: Sequence[float], computed: float) -> None:
        self.front.add(number, values)
        self.computed.append(computed)
        self.shares.append(float(self.front.hypervolume) / self.best)

    def after(self, trials: int) -> float:
        return self.by_trials[trials] if trials < len(self.by_trials) else self.share

    def needed(self, share: float) -> float:
        """Compute until the share was reached; inf: it never was."""
        at = int(np.searchsorted(self.shares, share - 1e-12))
        return self.computed[at] if at < len(self.computed) else np.inf

    def at(self, computed: NDArray[np.float64]) -> NDArray[np.float64]:
        known = np.concatenate([[0.0], self.shares])
        return np.asarray(known[np.searchsorted(self.computed, computed, side="right")])


def point(row: Row) -> tuple[float, float]:
    """What is minimised."""
    return (-row.overlaps[None], float(row.macs_frame))


def scenarios(table: Table) -> list[Scenario]:
    parameters = sorted(row.parameters for row in table.rows.values())
    most = parameters[round((1 - BROKEN_BY) * len(parameters))]
    limit = (f"parameters<={most}",)
    return [
        Scenario("parameters limited", table, limit, most),
        Scenario("no limit", table, (), np.inf),
    ]


# --- ours ---------------------------------------------------------------------------------------


def base_plan(scenario: Scenario, folder: Path) -> Plan:
    job = Job(
        name="quality",
        teacher=TEACHER,
        space=scenario.table.space_json,
        accuracy="one_step_iou",
        limits=scenario.limits,
        steps=STEPS,
        budget=Budget(trials=100_000, asked=200_000),
    )
    return plan(job, Settings(home=folder, database_url=None))


def ours(
    scenario: Scenario,
    ready: Plan,
    pool: TablePool,
    *,
    trials: int,
    compute: float,
    record: Record | None = None,
) -> Trace:
    """A search until so many trials have begun and so much was computed."""
    trace = Trace(Front(scenario.corner), scenario.best())
    began = time.process_time()

    def watch(event: Event) -> None:
        if event.kind == "asked":
            counted = len(trace.by_trials) - 1
            if event.number - trace.broken > counted:
                trace.by_trials.append(trace.share)
        elif event.state == "COMPLETE":
            trace.found(event.number, ready.minimised(event.values), pool.computed)
        elif event.state == "INFEASIBLE":
            trace.broken += 1

    def wish() -> Wish:
        enough = len(trace.by_trials) > trials and pool.computed >= compute
        return "stop" if enough else "go_on"

    teacher = measured(scenario.table.find(scenario.table.space.whole), None)
    reach = Reach(teacher, teacher)
    first = opening(ready, reach)
    search(ready, reach, record or Unwritten(), pool, opening=first, watch=watch, wish=wish)
    trace.seconds = time.process_time() - began
    return trace


class Unwritten(Record):
    """Nothing is written: what that costs is another benchmark's, and nobody reads it here."""

    def __init__(self) -> None:
        self._begun = 0

    def begin(self, *_: Any, **__: Any) -> int:
        self._begun += 1
        return self._begun - 1

    def trials(self) -> list[FrozenTrial]:
        return []

    def rungs(self) -> list[ReachedRung]:
        return []

    def remembered(self, *_: Any, **__: Any) -> dict[str, Any] | None:
        return None

    def rung(self, *_: Any, **__: Any) -> None: ...
    def finish(self, *_: Any, **__: Any) -> None: ...
    def remember(self, *_: Any, **__: Any) -> None: ...
    def set_study_attrs(self, *_: Any, **__: Any) -> None: ...


# --- plain Optuna -------------------------------------------------------------------------------


def plain(scenario: Scenario, sampler: BaseSampler, trials: int) -> Trace:
    """What an engineer would write: no gate, no early stopping, every candidate trained."""
    trace = Trace(Front(scenario.corner), scenario.best())
    computed = 0.0

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        nonlocal computed
        row = scenario.table.find(sample(scenario.table.space, trial).architecture)
        computed += row.computed(None)
        trace.by_trials.append(trace.share)
        if np.isfinite(scenario.most):
            trial.set_constraint("parameters", row.parameters / scenario.most - 1)
        if scenario.allows(row):
            trace.found(trial.number, point(row), computed)
        else:
            trace.broken += 1
        return row.overlaps[None], float(row.macs_frame)

    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    study.optimize(objective, n_trials=trials)
    return trace
