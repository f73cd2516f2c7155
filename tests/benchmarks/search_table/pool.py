"""A pool that answers from the table, in virtual time: an assignment takes the CPU seconds of the
parts that it would have computed."""

from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from tests.benchmarks.search_table import Row, Table
from workers.candidate import Candidate
from workers.metrics import metric, value
from workers.pool import Assignment, Done, Report

ENVIRONMENT = {"machine": "table"}


@dataclass
class TablePool:
    """``gate``: whether limits are known before any training, or only at the end of it."""

    table: Table
    slots: int = 1
    gate: bool = True
    now: float = 0.0
    computed: float = 0.0  # CPU seconds of all that was given out so far
    _reached: dict[str, int] = field(default_factory=dict)  # the rung, by folder
    _working: list[tuple[float, int, Assignment]] = field(default_factory=list)
    _waiting: list[Assignment] = field(default_factory=list)
    _given: int = 0

    def submit(self, assignment: Assignment) -> None:
        self._waiting.append(assignment)
        self._start()

    def reports(self, timeout: float) -> list[Report]:
        if not self._working:
            self.now += timeout
            return []
        self.now, _, assignment = heappop(self._working)
        self._start()
        return [Done(assignment.ticket, self._measured(assignment))]

    def cancel(self, ticket: str) -> None:
        raise AssertionError(f"nobody should give up {ticket}")

    def close(self) -> None:
        """Nothing runs."""

    def _start(self) -> None:
        while self._waiting and len(self._working) < self.slots:
            assignment = self._waiting.pop(0)
            seconds = self._takes(assignment)
            self.computed += seconds
            self._given += 1
            heappush(self._working, (self.now + seconds, self._given, assignment))

    def _takes(self, assignment: Assignment) -> float:
        candidate, until = assignment.candidate, assignment.until
        row = self.table.find(candidate.architecture)
        since = self._reached.get(assignment.folder)
        if self.gate and _broken(candidate, measured(row, None)):
            return row.seconds["gates"]
        assert until != "gates"
        if until is not None:
            self._reached[assignment.folder] = until
        # The pairs are judged with inherited weights whatever the rungs are.
        return row.computed(until, since, judged_at=(0,) if until is None else (0, until))

    def _measured(self, assignment: Assignment) -> dict[str, Any]:
        candidate, until = assignment.candidate, assignment.until
        assert until != "gates"
        found = measured(self.table.find(candidate.architecture), until)
        if self.gate or until is None:
            if broken := _broken(candidate, found):
                return {**found, "state": "INFEASIBLE", "reason": f"breaks {broken}"}
        else:  # a limit that nobody knows of yet
            found["cost"] = {"macs_frame": found["cost"]["macs_frame"]}
        return found


def measured(row: Row, until: int | None) -> dict[str, Any]:
    """A measurement as a worker sends it."""
    cost = {
        "macs_frame": row.macs_frame,
        "parameters": row.parameters,
        "peak_memory_frame": row.peak_memory,
    }
    found: dict[str, Any] = {
        "state": "COMPLETE" if until is None else "AT_RUNG",
        "reason": None,
        "cost": cost,
        "inherited": {"one_step_iou": row.overlaps[0]},
        "steps": 50 if until is None else until,
        "seconds": {},
        "environment": ENVIRONMENT,
    }
    if until != 0:
        found["recovered"] = {"one_step_iou": row.overlaps[until]}
    return found


def _broken(candidate: Candidate, measurement: dict[str, Any]) -> str:
    for limit in candidate.limits:
        figure = value(measurement, metric(limit.metric))
        if figure is not None and limit.violation(figure) > 0:
            return str(limit)
    return ""
