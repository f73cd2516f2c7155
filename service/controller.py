"""The one process that works on a job: it takes the lease, measures the ends, runs the search."""

import logging
import os
import platform
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Engine

from search_spaces import ParetrackError
from service import _optuna_tables as tables
from service import leases
from service._points import OutsideSpaceError
from service._studies import known_study, read_attrs
from service.database import DatabaseError, reading
from service.events import BY_REQUEST, Outcome, Watch, Wish
from service.job import Job, JobError
from service.opening import opening
from service.outages import Patience
from service.plan import Plan, plan
from service.reach import Reach, measured_reach
from service.recorded import read_job
from service.search import search
from service.settings import Settings
from service.trials import Record, read_trials
from workers.documents import plain

if TYPE_CHECKING:
    from workers.pool import Pool, Report

LEASE_SECONDS = 30.0  # after a controller died, so long until another may take its job over
RENEWED_AGAIN = 1.0  # seconds until a renewal is tried again that the database did not answer

_warn = logging.getLogger("paretrack").warning


class NotBegun(ParetrackError):  # noqa: N818 - says what happened
    """A job was ended, or paused, while the ends of its space were measured."""

    def __init__(self, wish: Wish) -> None:
        super().__init__(f"{BY_REQUEST[wish]} before the first candidate")
        self.wish = wish


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
    wish: Callable[[], Wish] = lambda: "go_on",
    lease: leases.Lease | None = None,
    lease_seconds: float = LEASE_SECONDS,
    say: Callable[[str], None] = _warn,
) -> Finished:
    """Run a job to its end, or go on with one of this name; nobody else may at the same time.

    ``wish``: asked often, what is wanted of it now. ``lease``: where the caller has it already,
    keeps it and gives it back. ``say`` hears what an operator should know: the database is away,
    it is back.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it reports studies that are none
    ready = plan(job, settings)
    patience = Patience(say=say)
    earlier = patience.outlast(lambda: _earlier(engine, job))
    fronts = patience.outlast(lambda: _fronts(engine, ready))
    holder = f"process {os.getpid()} on {platform.node()}"
    mine = lease or leases.acquire(engine, f"job {job.name}", holder, lease_seconds, patience)
    keeping = nullcontext(_nothing) if lease else kept(engine, mine, lease_seconds, say)
    with keeping as check:
        record = _record(engine, ready, mine, patience)

        def wished() -> Wish:
            check()
            return wish()

        def begins() -> None:
            if (wanted := wished()) != "go_on":
                raise NotBegun(wanted)

        known = record.remembered(ready.digest(ready.the_teacher()))
        reach = measured_reach(ready, pool, known, hear, begins)
        record.remember(ready.digest(ready.the_teacher()), 0, True, reach.teacher)
        record.set_study_attrs(_about(ready, reach))

        outcome = search(
            ready,
            reach,
            record,
            pool,
            opening=_opening(ready, reach, record, fronts),
            earlier=earlier,
            watch=watch,
            wish=wished,
        )
        return Finished(ready, reach, outcome, record.trials())


def _record(engine: Engine, ready: Plan, lease: leases.Lease, patience: Patience) -> Record:
    """The job's own, begun or gone on with in the same words."""
    record = Record.open(
        engine,
        ready.job.name,
        directions=ready.directions,
        metric_names=[m.name for m in ready.objectives],
        attrs={},
        lease=lease,
        patience=patience,
    )
    _check_same(ready.job, record)
    return record


def _nothing() -> None:
    """Whoever has the lease sees to it."""


@contextmanager
def kept(
    engine: Engine,
    lease: leases.Lease,
    seconds: float,
    say: Callable[[str], None],
    *,
    gives_back: bool = True,
) -> Iterator[Callable[[], None]]:
    """Renews the lease while the block runs, whose check raises once another has taken it."""
    ended, lost = threading.Event(), list[leases.LeaseLost]()

    def renew() -> None:
        pause = seconds / 3
        while not ended.wait(pause):
            try:
                leases.renew(engine, lease, seconds)
                pause = seconds / 3
            except leases.LeaseLost as error:
                lost.append(error)
                return
            except DatabaseError:  # who writes says so; nobody can take the lease meanwhile
                pause = min(RENEWED_AGAIN, seconds / 3)

    def check() -> None:
        if lost:  # at once: what runs in the folders here runs in those of another
            raise lost[0]

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield check
    finally:
        ended.set()
        thread.join()
        if gives_back and not lost:
            _give_back(engine, lease, say)


def _give_back(engine: Engine, lease: leases.Lease, say: Callable[[str], None]) -> None:
    try:
        leases.release(engine, lease)
    except DatabaseError as error:  # nothing hangs on it, and there may be worse to be told
        say(f"the lease on {lease.name!r} ends by itself: {error}")


def _about(ready: Plan, reach: Reach) -> dict[str, Any]:
    """What a reader of the study needs to know of the job."""
    return {
        "job": plain(ready.job),
        "teacher": ready.figures(reach.teacher) | ready.interval(reach.teacher),
        "teacher_sha256": ready.teacher_sha256,
        "reference": list(ready.reference(reach.teacher)),
        "everything": ready.everything(reach.teacher),
    }


def _opening(
    ready: Plan, reach: Reach, record: Record, fronts: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Decided once: latencies are not measured twice the same, and other jobs' fronts move."""
    stored: list[dict[str, Any]] | None = record.study_attrs().get("opening")
    if stored is None:
        stored = [*map(dict, fronts), *opening(ready, reach)]
        record.set_study_attrs({"opening": stored})
    return stored


# What may differ when a job goes on: what it has already decided stays true.
_MAY_CHANGE = ("budget", "first", "fronts", "warm_start", "at_once", "remeasure")


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


def _fronts(engine: Engine, ready: Plan) -> list[Mapping[str, Any]]:
    """The parameters of what is on the fronts of the jobs to begin with."""
    found: list[Mapping[str, Any]] = []
    for name in ready.job.fronts:
        theirs = [trial.params for trial in read_job(engine, name).front]
        try:
            ready.view(0).enqueue(theirs, ready.sampled)
        except OutsideSpaceError as error:
            raise JobError(f"fronts: job {name!r} searched another space: {error}") from error
        found += theirs
    return found


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
