"""The pool on Ray: a cluster's, or one that it starts on this machine.

A child process drives Ray: neither a dead control store, which ends a Ray driver, nor a dead node
process, which lets it wait for ever, can harm the controller. It hears ``PoolBroken`` within
``silence`` seconds and may open another pool.
"""

import pickle
import shutil
import tempfile
import threading
import time
from pathlib import Path

from search_spaces import ParetrackError
from workers.on_ray._messages import (
    Beat,
    Broken,
    Cancel,
    Close,
    FromDriver,
    Heard,
    LocalRay,
    Needs,
    Order,
    Ready,
    Setup,
)
from workers.on_ray._process import DriverProcess, environment, short_folder
from workers.pool import (
    Assignment,
    Done,
    Lost,
    PoolBroken,
    Progress,
    Report,
    Work,
    absolute,
    evaluate_assignment,
)

__all__ = ["LocalRay", "Needs", "RayPool"]

START_WITHIN = 90.0  # seconds until a Ray that does not come up is given up
CLOSE_WITHIN = 15.0  # seconds until a driver that does not end is killed


class RayPool:
    """Workers of the Ray at ``address``; without one, of a Ray of our own on this machine.

    ``retries``: how often an assignment is begun again whose worker or node died. ``threads``: of
    torch in a worker. ``silence``: so many seconds without an answer, and Ray counts as dead.
    """

    def __init__(
        self,
        home: Path,
        *,
        address: str | None = None,
        local: LocalRay = LocalRay(),  # noqa: B008 - frozen
        needs: Needs = Needs(),  # noqa: B008 - frozen
        work: Work = evaluate_assignment,
        max_in_flight: int | None = None,
        retries: int = 2,
        threads: int = 1,
        silence: float = 30.0,
    ) -> None:
        _check_arguments(address, needs, max_in_flight)
        self._silence = silence
        self._most = max_in_flight
        self._changed = threading.Condition()
        self._open: set[str] = set()
        self._reports: list[Report] = []
        self._broken: str | None = None
        self._closed = False
        self._slots: int | None = None
        self._beaten = time.monotonic()
        self.address = address or ""
        travelling = _travelling(work)
        self._folder = Path(tempfile.mkdtemp(prefix="pt-", dir=short_folder()))
        setup = Setup(
            address=address,
            local=local,
            needs=needs,
            work=travelling,
            max_in_flight=max_in_flight,
            retries=retries,
            threads=threads,
            beat_every=min(2.0, silence / 5),
            folder=self._folder,
        )
        theirs = environment(home, None if address else self._folder, silence)
        with self._changed:  # it may end, and be heard to, before it has its name here
            self._driver = DriverProcess(
                "workers.on_ray._driver", theirs, self._folder / "driver.log", self._take
            )
        self._driver.send(setup)
        self._wait_for_ray(setup)

    @property
    def slots(self) -> int:
        """How many candidates fit into the cluster as it is now, and into ``max_in_flight``."""
        with self._changed:
            self._check()
            assert self._slots is not None
            return self._slots if self._most is None else min(self._slots, self._most)

    def submit(self, assignment: Assignment) -> None:
        from workers.checkpoints import ARCHITECTURE, WEIGHTS

        assignment = absolute(assignment)
        teacher = assignment.candidate.teacher
        order = Order(
            ticket=assignment.ticket,
            assignment=pickle.dumps(assignment),
            teacher=(teacher / ARCHITECTURE, teacher / WEIGHTS),
        )
        with self._changed:
            self._check()
            if assignment.ticket in self._open:
                raise ValueError(f"ticket {assignment.ticket!r} is in flight already")
            self._open.add(assignment.ticket)
            self._driver.send(order)

    def reports(self, timeout: float) -> list[Report]:
        deadline = time.monotonic() + timeout
        with self._changed:
            while not self._reports:
                self._check()
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(min(left, 1.0))  # silence wakes nobody up
            found, self._reports = self._reports, []
            return found

    def cancel(self, ticket: str) -> None:
        with self._changed:
            self._check()
            if ticket in self._open:
                self._driver.send(Cancel(ticket))

    def close(self) -> None:
        with self._changed:
            running = self._broken is None and not self._closed
            self._closed = True
            self._reports = []
        if running:
            self._driver.send(Close())
            self._driver.wait(CLOSE_WITHIN)
            shutil.rmtree(self._folder, ignore_errors=True)
        self._driver.close()

    def _wait_for_ray(self, setup: Setup) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._slots is not None or self._broken, START_WITHIN)
            if self._slots is None:
                self._lose(f"no answer within {START_WITHIN:.0f} s: {self._driver.last_words()}")
            elif self._slots == 0 and setup.address is None:
                self._lose(f"one candidate asks for {setup.needs}, which is more than it offers")
            problem = self._broken
        if problem is not None:
            self.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            raise PoolBroken(f"no pool on Ray{self._at()}: {problem}")

    def _check(self) -> None:
        if self._broken is None and self._silent():
            # Unless it was this process that slept: then what was said meanwhile is still unread.
            self._changed.wait_for(lambda: self._broken or not self._silent(), 1.0)
            if self._broken is None and self._silent():
                self._lose(f"no answer for {self._silence:.0f} s")
        if self._closed:
            raise PoolBroken("this pool is closed; open another one")
        if self._broken is not None:
            raise PoolBroken(
                f"Ray{self._at()}: {self._broken} (its logs: {self._folder}). Nothing that was in "
                "flight will be answered; open another pool and submit it again"
            )

    def _at(self) -> str:
        return f" at {self.address}" if self.address else " of our own"

    def _silent(self) -> bool:
        return time.monotonic() - self._beaten > self._silence

    def _lose(self, reason: str) -> None:
        if self._broken is None:
            self._broken = reason
            self._driver.kill()

    def _take(self, message: FromDriver | None) -> None:
        """Called from the thread that reads."""
        with self._changed:
            if self._closed:
                return
            match message:
                case Ready(address):
                    self.address = address
                case Beat(slots):
                    self._slots = slots
                    self._beaten = time.monotonic()
                case Broken(reason):
                    self._lose(reason)
                case None:
                    self._lose(f"its driver process ended: {self._driver.last_words()}")
                case Heard(ticket, happening):
                    self._reports.append(Progress(ticket, pickle.loads(happening)))
                case Done() | Lost():
                    self._open.discard(message.ticket)
                    self._reports.append(message)
            self._changed.notify_all()


def _check_arguments(address: str | None, needs: Needs, max_in_flight: int | None) -> None:
    if address is not None and "://" in address:
        raise ParetrackError(
            f"Ray's address is HOST:PORT or auto, got {address!r}; "
            "start a node on this machine with ray start --address HOST:PORT"
        )
    amounts = [needs.cpus, needs.gpus, *needs.resources.values()]
    if min(amounts) < 0 or max(amounts) <= 0:
        raise ParetrackError(f"a candidate needs some of a CPU, a GPU or a resource, got {needs}")
    if max_in_flight is not None and max_in_flight < 1:
        raise ParetrackError(f"at least 1 candidate is in flight, got {max_in_flight}")


def _travelling(work: Work) -> bytes:
    try:
        return pickle.dumps(work)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ParetrackError(
            f"workers on other machines get work by its importable name: {error}; "
            "give a function of a module"
        ) from error
