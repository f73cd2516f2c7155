"""The pool for a laptop and for tests: threads of this process.

A thread cannot be killed: a cancelled evaluation ends when it next tells what it is doing, which
it does every few steps.
"""

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from workers._carrying_out import Throttled, carry_out
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

if TYPE_CHECKING:
    from workers.evaluation import Happening

PATIENCE = 10.0  # seconds that close() waits for threads that were told to end


class _CancelledError(BaseException):
    """Raised in the middle of an evaluation; no ``except Exception`` of it stops that."""


class InProcessPool:
    """``slots`` threads that each compute with ``threads`` threads of torch."""

    def __init__(
        self, *, slots: int = 1, work: Work = evaluate_assignment, threads: int = 1
    ) -> None:
        self._work = work
        self._torch_threads = threads
        self._changed = threading.Condition()
        self._waiting: deque[Assignment] = deque()
        self._open: set[str] = set()
        self._cancelled: set[str] = set()
        self._reports: list[Report] = []
        self._closed = False
        self._slots = [
            threading.Thread(target=self._serve, name=f"pool slot {n}", daemon=True)
            for n in range(slots)
        ]
        for slot in self._slots:
            slot.start()

    @property
    def slots(self) -> int:
        return len(self._slots)

    def submit(self, assignment: Assignment) -> None:
        with self._changed:
            self._check()
            if assignment.ticket in self._open:
                raise ValueError(f"ticket {assignment.ticket!r} is in flight already")
            self._open.add(assignment.ticket)
            self._waiting.append(absolute(assignment))
            self._changed.notify_all()

    def reports(self, timeout: float) -> list[Report]:
        deadline = time.monotonic() + timeout
        with self._changed:
            self._check()
            while not self._reports and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
                self._check()
            found, self._reports = self._reports, []
            return found

    def cancel(self, ticket: str) -> None:
        with self._changed:
            self._check()
            if ticket in self._open:
                self._cancelled.add(ticket)
            for assignment in [a for a in self._waiting if a.ticket == ticket]:
                self._waiting.remove(assignment)
                self._answer(Lost(ticket, "cancelled before it began", cancelled=True))

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        deadline = time.monotonic() + PATIENCE
        for slot in self._slots:
            slot.join(max(0.0, deadline - time.monotonic()))

    def _check(self) -> None:
        if self._closed:
            raise PoolBroken("this pool is closed; open another one")

    def _serve(self) -> None:
        from workers.machine import use_threads

        use_threads(self._torch_threads)
        while (assignment := self._next()) is not None:
            answer = self._carried_out(assignment)
            with self._changed:
                self._answer(answer)

    def _next(self) -> Assignment | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return None if self._closed else self._waiting.popleft()

    def _carried_out(self, assignment: Assignment) -> Done | Lost:
        ticket = assignment.ticket
        passed_on = Throttled(lambda happening: self._tell(Progress(ticket, happening)))

        def hear(happening: "Happening") -> None:
            if self._closed or ticket in self._cancelled:
                raise _CancelledError
            passed_on(happening)

        try:
            measurement = carry_out(self._work, assignment, hear)
        except _CancelledError:
            return Lost(ticket, "cancelled", cancelled=True)
        passed_on.flush()
        return Done(ticket, measurement)

    def _tell(self, report: Report) -> None:
        with self._changed:
            self._reports.append(report)
            self._changed.notify_all()

    def _answer(self, answer: Done | Lost) -> None:
        self._open.discard(answer.ticket)
        self._cancelled.discard(answer.ticket)
        self._reports.append(answer)
        self._changed.notify_all()
