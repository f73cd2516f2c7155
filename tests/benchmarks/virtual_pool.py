"""A pool of simulated workers in virtual time. What the controller computes is real, and counts.

Whenever the controller has the word, the virtual clock runs with its CPU time (so that whatever
else this machine does is left out, and so is a wait for the disk). When it waits, the clock jumps
to the next worker that is done. The work of a worker, real as it may be, takes no time but the
drawn one.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

import numpy as np

from workers.pool import Assignment, Done, Report

Judge = Callable[[Assignment], dict[str, Any]]


@dataclass(frozen=True)
class Given:
    """An assignment at the moment when a worker got it."""

    ticket: str
    at: float
    waited: float | None  # since that worker was done with the one before; None: its first
    takes: float


@dataclass
class VirtualPool:
    """Workers that need a log-normal time for each assignment."""

    workers: int
    judge: Judge
    median_seconds: float = 60.0
    sigma: float = 0.5
    seed: int = 0
    now: float = 0.0
    pauses: list[tuple[float, float]] = field(default_factory=list)  # of the controller
    given: list[Given] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = np.random.default_rng(self.seed)
        self._ends: list[tuple[float, int, Assignment]] = []
        self._free: deque[float | None] = deque([None] * self.workers)  # since when
        self._controller_since = time.process_time()

    @property
    def slots(self) -> int:
        return self.workers

    def clock(self) -> float:
        self._controller_worked()
        return self.now

    def submit(self, assignment: Assignment) -> None:
        self._controller_worked()
        since = self._free.popleft()
        takes = self.median_seconds * float(np.exp(self.sigma * self._chance.standard_normal()))
        heappush(self._ends, (self.now + takes, len(self.given), assignment))
        waited = None if since is None else self.now - since
        self.given.append(Given(assignment.ticket, self.now, waited, takes))
        self._controller_since = time.process_time()

    def reports(self, timeout: float) -> list[Report]:
        self._controller_worked()
        until = min(self._ends[0][0] if self._ends else np.inf, self.now + timeout)
        if until > self.now:
            self.pauses.append((self.now, until))
            self.now = until
        done: list[Report] = []
        while self._ends and self._ends[0][0] <= self.now:
            end, _, assignment = heappop(self._ends)
            self._free.append(end)
            done.append(Done(assignment.ticket, self.judge(assignment)))
        self._controller_since = time.process_time()
        return done

    def cancel(self, ticket: str) -> None:
        raise AssertionError(f"nobody cancels {ticket} here")

    def close(self) -> None:
        """There is nothing to end."""

    def _controller_worked(self) -> None:
        now = time.process_time()
        self.now += now - self._controller_since
        self._controller_since = now
