"""The controller process: claims jobs, runs each in a thread of its own, takes back what others
left. Everything it knows is in the database; it may be killed at any moment.

Asked to end, it begins nothing new, gives what runs a while to finish, and hands its jobs over:
they are begun again by whichever controller comes next, where they were.
"""

import logging
import os
import platform
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, select

from search_spaces import ParetrackError
from service import data_at_hand, queue, teachers
from service.controller import LEASE_SECONDS, NotBegun, kept, run_job
from service.database import DatabaseError, reading
from service.events import Wish
from service.job import SEARCH, Where, job_from_json
from service.jobs import JOBS, StoredJob
from service.journal import Journal
from service.leases import LeaseLost
from service.logs import about
from service.presence import Presence
from service.queue import Claimed
from service.recipe_job import KIND as TUNING
from service.recipe_job import recipe_job_from_json
from service.settings import Settings

if TYPE_CHECKING:
    from workers.pool import Pool, Report
    from workers.sharing import Shares

LOOK = 0.5  # seconds between two looks at the queue, and at what is wanted of a job
RESCUE = 5.0  # seconds between two looks for jobs whose controllers are gone
DRAIN = 20.0  # seconds that what runs may take to finish once the process is asked to end

HANDED_OVER = "its controller ends; it goes on with the next one"
WISHES: dict[str, Wish] = {"PAUSING": "pause", "STOPPING": "stop", "CANCELLING": "cancel"}

_log = logging.getLogger("paretrack.controller")

Chore = Callable[[], object]  # something to be done now and then, beside the jobs


class _CutShort(ParetrackError):  # noqa: N818 - says what happened
    """This process has to end now; the job goes on elsewhere."""


@dataclass
class Daemon:
    """One controller process. ``at_once``: so many jobs share the pool, each fairly."""

    settings: Settings
    engine: Engine
    pool: "Pool"
    at_once: int = 2
    kinds: Sequence[str] = (SEARCH, TUNING)
    ray_address: Callable[[], str | None] = lambda: None  # of the pool's Ray, where it has one
    lease_seconds: float = LEASE_SECONDS
    drain_seconds: float = DRAIN
    chores: Sequence[Chore] = ()
    name: str = field(default_factory=lambda: f"controller {platform.node()}/{os.getpid()}")
    _ending: threading.Event = field(default_factory=threading.Event)
    _deadline: float = float("inf")

    def end(self) -> None:
        """Ask it to end; may be called from a signal handler."""
        self._ending.set()

    def run(self) -> None:
        """Work until it is asked to end."""
        from workers.sharing import Shares

        shares, threads = Shares(self.pool), list[threading.Thread]()
        _log.info("ready", extra={"controller": self.name, "at_once": self.at_once})
        presence, looked_at = Presence(self.engine, self.name), -RESCUE
        try:
            while not self._ending.wait(LOOK):
                threads = [thread for thread in threads if thread.is_alive()]
                if time.monotonic() - looked_at >= RESCUE:
                    looked_at = time.monotonic()
                    self._beside(presence.say, self._rescue, *self.chores)
                while len(threads) < self.at_once and (claimed := self._claimed()):
                    thread = threading.Thread(
                        target=self._work, args=(claimed, shares), name=claimed.job.id
                    )
                    threads.append(thread)
                    thread.start()
        finally:
            self._deadline = time.monotonic() + self.drain_seconds
            self._ending.set()
            _log.info("ending", extra={"controller": self.name, "jobs": len(threads)})
            for thread in threads:
                thread.join()
            shares.close()
            self._beside(presence.leave)

    def _claimed(self) -> Claimed | None:
        try:
            return queue.claim(self.engine, self.name, self.lease_seconds, self.kinds)
        except DatabaseError as error:
            _log.warning("cannot claim: %s", error)
            return None

    def _beside(self, *chores: Chore) -> None:
        """What goes wrong with one chore must not keep the others, or the jobs."""
        for chore in chores:
            try:
                chore()
            except Exception as error:  # a bug in one of them, too
                _log.error("%s failed", getattr(chore, "__name__", chore), exc_info=error)

    def _rescue(self) -> None:
        for job in queue.rescue(self.engine, self.name):
            _log.warning("taken back: %s", job.reason, extra={"job": job.id, "state": job.state})

    # --- one job ------------------------------------------------------------------------------

    def _work(self, claimed: Claimed, shares: "Shares") -> None:
        """A job from its claim to whatever becomes of it. Nothing is raised: a thread runs this."""
        with about(job=claimed.job.id):
            _log.info("begins", extra={"state": claimed.job.state, "attempt": claimed.job.attempts})
            try:
                verb, why, failed = self._outcome(claimed, shares)
                job = queue.end(self.engine, claimed, verb, why, failed=failed)
                _log.info("ends: %s", why, extra={"state": job.state})
            except LeaseLost as error:
                _log.warning("%s", error)
            except DatabaseError as error:  # its lease ends, and it is taken back
                _log.error("cannot say how it ended: %s", error)
            except Exception as error:  # the same
                _log.error("a bug in the controller", exc_info=error)

    def _outcome(self, claimed: Claimed, shares: "Shares") -> tuple[str, str, bool]:
        """What to do with the job, why, and whether that was an attempt that came to nothing."""
        from workers.pool import PoolBroken

        try:
            # From here on, not from the first candidate: data may have to be made before.
            with kept(
                self.engine, claimed.lease, self.lease_seconds, _log.warning, gives_back=False
            ) as check:
                return (*self._run(claimed, shares, check), False)
        except _CutShort as error:
            return "put_back", str(error), False
        except NotBegun as error:
            return ("put_back" if error.wish == "pause" else "done"), str(error), False
        except (LeaseLost, DatabaseError) as error:
            if isinstance(error, LeaseLost):
                raise
            return "put_back", str(error), True
        except PoolBroken as error:
            return "put_back", f"the workers cannot be used: {error}", True
        except ParetrackError as error:
            return "refuse", str(error), False
        except Exception as error:  # nobody else would tell the owner
            _log.error("a bug in the search", exc_info=error)
            return "put_back", f"{type(error).__name__}: {error}", True

    def _run(
        self, claimed: Claimed, shares: "Shares", check: Callable[[], None]
    ) -> tuple[str, str]:
        journal = Journal(self.engine, claimed.lease, claimed.job.id)
        journal.take_up()
        wish = self._wish(claimed.job, journal, check)
        if claimed.job.kind == TUNING:
            return self._tune(claimed.job, journal, wish)
        return self._search(claimed, shares, journal, wish)

    def _search(
        self, claimed: Claimed, shares: "Shares", journal: Journal, wish: Callable[[], Wish]
    ) -> tuple[str, str]:
        stored = claimed.job
        job = job_from_json({**stored.spec, "name": stored.id})
        self._see_to_data(job.data, job.steps > 0, wish, journal)
        with reading(self.engine) as connection:
            weight = queue.weight_of(connection, stored.owner)
            job = teachers.resolved(connection, self.settings, job)
        share = shares.of(stored.id, weight=weight, most=job.at_once)
        try:
            finished = run_job(
                job,
                self.settings,
                self.engine,
                share,
                watch=journal.hear,
                hear=lambda report: journal.prepares(*_of_an_end(report)),
                wish=wish,
                lease=claimed.lease,
                lease_seconds=self.lease_seconds,
                say=lambda message: _log.warning("%s", message),
            )
        finally:
            share.close()
        outcome = finished.outcome
        journal.tell()
        if outcome.paused:
            return "put_back", HANDED_OVER if self._ending.is_set() else outcome.reason
        return "done", outcome.reason

    def _tune(
        self, stored: StoredJob, journal: Journal, wish: Callable[[], Wish]
    ) -> tuple[str, str]:
        """On the Ray that the candidates of searches run on, which shares its CPUs out."""
        from service.recipe_run import run_recipe_job

        job = recipe_job_from_json({**stored.spec, "name": stored.id})
        self._see_to_data(job.data, True, wish, journal)
        with reading(self.engine) as connection:
            job = teachers.resolved(connection, self.settings, job)
        settings = replace(self.settings, ray_address=self.ray_address())
        wanted, why = run_recipe_job(job, settings, journal, wish, _log.warning)
        journal.tell()
        if wanted == "pause":
            return "put_back", HANDED_OVER if self._ending.is_set() else why
        return "done", why

    def _see_to_data(
        self, where: Where, learns: bool, wish: Callable[[], Wish], journal: Journal
    ) -> None:
        from service.plan import data_of

        def show(done: int, total: int, what: str) -> None:
            journal.prepares(done, total, what)
            if (wanted := wish()) != "go_on":
                raise NotBegun(wanted)

        data = data_of(where, self.settings)
        data_at_hand.make(data.root, data_at_hand.needed(data, learns), show)

    def _wish(
        self, job: StoredJob, journal: Journal, check: Callable[[], None]
    ) -> Callable[[], Wish]:
        """What is wanted of a job now: what its row says, looked at now and then."""
        looked_at, wanted = -LOOK, "go_on"

        def wish() -> Wish:
            nonlocal looked_at, wanted
            check()
            journal.turn()
            if time.monotonic() >= self._deadline:
                raise _CutShort(HANDED_OVER)
            if time.monotonic() - looked_at >= LOOK:
                looked_at, wanted = time.monotonic(), self._state(job.id, wanted)
            if self._ending.is_set() and wanted == "go_on":
                return "pause"
            return wanted  # type: ignore[return-value]

        return wish

    def _state(self, job_id: str, before: str) -> str:
        try:
            with reading(self.engine) as connection:
                state = connection.execute(select(JOBS.c.state).where(JOBS.c.id == job_id)).scalar()
        except DatabaseError:  # whoever writes waits for it; nothing new is wanted meanwhile
            return before
        return WISHES.get(str(state), "go_on")


def _of_an_end(report: "Report") -> tuple[int, int, str]:
    """What the teacher or the smallest candidate is going through, before the first trial."""
    happening: Any = getattr(report, "happening", None)
    if happening is None:
        return 1, 1, f"the {report.ticket} is measured"
    return happening.done, happening.total, f"measuring the {report.ticket}: {happening.step}"
