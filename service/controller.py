"""The one process that works on a job: it takes the lease, measures the ends, runs the search."""

import os
import platform
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Engine

from service import _optuna_tables as tables
from service import leases
from service._studies import known_study, read_attrs
from service.database import reading
from service.events import Outcome, Watch
from service.job import Job, JobError
from service.plan import Plan, plan
from service.reach import Reach, measured_reach
from service.search import search
from service.settings import Settings
from service.trials import Record, read_trials
from workers.documents import plain

if TYPE_CHECKING:
    from workers.pool import Pool, Report

LEASE_SECONDS = 30.0  # after a controller died, so long until another may take its job over


@dataclass(frozen=True)
class Finished:
    """A job after its search, and what was needed to judge it."""

    plan: Plan
    reach: Reach
    outcome: Outcome
    trials: list[FrozenTrial]


def run_job(
    job: Job,
    settings: Settings,
    engine: Engine,
    pool: "Pool",
    *,
    watch: Watch = lambda event: None,
    hear: "Callable[[Report], None]" = lambda report: None,
    stop: Callable[[], bool] = lambda: False,
    lease_seconds: float = LEASE_SECONDS,
) -> Finished:
    """Run a job to its end, or go on with one of this name; nobody else may at the same time."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it reports studies that are none
    ready = plan(job, settings)
    earlier = _earlier(engine, job)
    holder = f"process {os.getpid()} on {platform.node()}"
    lease = leases.acquire(engine, f"job {job.name}", holder, lease_seconds)
    with _kept(engine, lease, lease_seconds) as lost:
        record = Record.open(
            engine,
            job.name,
            directions=ready.directions,
            metric_names=[m.name for m in ready.objectives],
            attrs={},
            lease=lease,
        )
        _check_same(job, record)
        reach = measured_reach(ready, pool, _known_teacher(ready, record), hear)
        record.remember(ready.digest(ready.the_teacher()), 0, True, reach.teacher)
        record.set_study_attrs({"job": plain(job), "teacher": ready.figures(reach.teacher)})
        outcome = search(
            ready,
            reach,
            record,
            pool,
            earlier=earlier,
            watch=watch,
            stop=lambda: stop() or lost.is_set(),
        )
        return Finished(ready, reach, outcome, record.trials())


@contextmanager
def _kept(engine: Engine, lease: leases.Lease, seconds: float) -> Iterator[threading.Event]:
    """Renews the lease while the block runs; the event says that another has taken it."""
    ended, lost = threading.Event(), threading.Event()

    def renew() -> None:
        while not ended.wait(seconds / 3):
            try:
                leases.renew(engine, lease, seconds)
            except leases.LeaseLost:
                lost.set()
                return

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield lost
    finally:
        ended.set()
        thread.join()
        if not lost.is_set():
            leases.release(engine, lease)


def _known_teacher(ready: Plan, record: Record) -> dict[str, Any] | None:
    """The teacher's measurement from an earlier job, if it says all that this one asks for."""
    found = record.remembered(ready.digest(ready.the_teacher()))
    return found if found is not None and ready.complete(found) else None


# What may differ when a job goes on: what it has already decided stays true.
_MAY_CHANGE = ("budget", "first", "warm_start")


def _check_same(job: Job, record: Record) -> None:
    stored = record.study_attrs().get("job")
    if stored is None:
        return
    mine = plain(job)  # as it comes back: tuples are lists
    for name, value in mine.items():
        if name not in _MAY_CHANGE and stored.get(name) != value:
            raise JobError(
                f"job {job.name!r} exists with {name} {stored.get(name)!r}, not {value!r}: "
                "give another name, or the same words to go on with it"
            )


def _earlier(engine: Engine, job: Job) -> list[FrozenTrial]:
    """The complete trials of the jobs to start warm from."""
    found: list[FrozenTrial] = []
    for name in job.warm_start:
        trials = read_trials(engine, name)
        with reading(engine) as connection:
            study = known_study(engine, connection, name)
            attrs = read_attrs(connection, tables.STUDY_USER_ATTRS, study)
        theirs = (attrs["job"]["accuracy"], *attrs["job"]["costs"]) if "job" in attrs else ()
        if theirs != job.metrics:
            raise JobError(
                f"warm_start: job {name!r} compares {', '.join(theirs) or 'nothing yet'}, this one "
                f"{', '.join(job.metrics)}; learn from jobs with the same accuracy and costs"
            )
        found += [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return found
