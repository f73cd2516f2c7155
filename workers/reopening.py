"""A pool that outlives its hands: when one breaks, another is opened and given the open work.

Candidates' files lie in their folders, so what a broken pool had trained is not trained again.
"""

from collections.abc import Callable
from typing import TypeVar

from workers.pool import Assignment, Lost, Pool, PoolBroken, Progress, Report

T = TypeVar("T")


class ReopeningPool:
    """The pools that ``opened`` makes, one after the other. ``times``: so often in a row one may
    break without having answered anything; then it is not bad luck, and PoolBroken is raised."""

    def __init__(
        self,
        opened: Callable[[], Pool],
        *,
        times: int = 3,
        hear: Callable[[str], None] = lambda said: None,
    ) -> None:
        self._opened, self._times, self._hear = opened, times, hear
        self._open: dict[str, Assignment] = {}
        self._cancelled: set[str] = set()
        self._dead: set[str] = set()  # cancelled, and then their pool broke
        self._broken = 0
        self._pool = opened()

    @property
    def slots(self) -> int:
        return self._asked(lambda: self._pool.slots)

    @property
    def current(self) -> Pool:
        """The one that is open now."""
        return self._pool

    def submit(self, assignment: Assignment) -> None:
        self._open[assignment.ticket] = assignment
        try:
            self._pool.submit(assignment)
        except PoolBroken as error:
            self._reopen(error)  # which submits it with the others

    def reports(self, timeout: float) -> list[Report]:
        found = self._asked(lambda: self._pool.reports(timeout))
        for report in found:
            if not isinstance(report, Progress):
                self._answered(report.ticket)
                self._broken = 0
        return found + self._ended_by_the_break()

    def cancel(self, ticket: str) -> None:
        self._cancelled.add(ticket)
        try:
            self._pool.cancel(ticket)
        except PoolBroken as error:
            self._reopen(error)

    def close(self) -> None:
        self._pool.close()

    def _answered(self, ticket: str) -> None:
        self._open.pop(ticket, None)
        self._cancelled.discard(ticket)
        self._dead.discard(ticket)

    def _ended_by_the_break(self) -> list[Report]:
        """What was to be cancelled when the hands died is cancelled: nobody works on it."""
        ended: list[Report] = []
        for ticket in sorted(self._dead):
            self._answered(ticket)
            ended.append(Lost(ticket, "cancelled", cancelled=True))
        return ended

    def _asked(self, ask: Callable[[], T]) -> T:
        while True:
            try:
                return ask()
            except PoolBroken as error:
                self._reopen(error)

    def _reopen(self, error: PoolBroken) -> None:
        self._dead |= self._cancelled & self._open.keys()
        while True:
            self._broken += 1
            if self._broken > self._times:
                raise error
            self._hear(f"{error}; opening another pool for {len(self._open)} open candidates")
            self._pool.close()
            try:
                self._pool = self._opened()
                for ticket, assignment in self._open.items():
                    if ticket not in self._dead:
                        self._pool.submit(assignment)
            except PoolBroken as again:
                error = again
            else:
                return
