"""A pool that answers from a table in virtual time: no thread, no training, the same every time.

What was trained lies in ``Disk``, which outlives a pool as a folder outlives a process.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from search_spaces import Architecture
from search_spaces.siamrpn import Architecture as Siamese
from workers.accuracy import Interval
from workers.candidate import Candidate, Measurement
from workers.cost import Cost, cost_of
from workers.judge import PairAccuracy, TrackingAccuracy
from workers.metrics import metric, value
from workers.pool import Assignment, Done, Report

cost = cache(cost_of)
LATER = 1e9  # the end of a recovery, among steps


@dataclass
class Disk:
    """What has been done in the folders: how far each was trained, and how often it was begun."""

    reached: dict[str, float] = field(default_factory=dict)
    architectures: dict[str, Architecture] = field(default_factory=dict)
    steps_done: Counter[tuple[str, float]] = field(default_factory=Counter)


Lose = Callable[[Assignment], Report | None]


class TablePool:
    """``slots`` assignments at once; each takes as long as its candidate costs."""

    def __init__(
        self, slots: int = 1, disk: Disk | None = None, instead: Lose = lambda assignment: None
    ) -> None:
        self.disk = Disk() if disk is None else disk
        self.now = 0.0
        self.idle = 0.0  # slot-seconds in which a slot had nothing to do
        self._slots, self._instead = slots, instead
        self._working: list[tuple[float, Assignment]] = []
        self._queue: list[Assignment] = []

    @property
    def slots(self) -> int:
        return self._slots

    def submit(self, assignment: Assignment) -> None:
        tickets = [one.ticket for one in self._queue] + [one.ticket for _, one in self._working]
        assert assignment.ticket not in tickets
        self._queue.append(assignment)
        self._start()

    def reports(self, timeout: float) -> list[Report]:
        if not self._working:
            self.now += timeout
            return []
        self._working.sort(key=lambda item: (item[0], item[1].ticket))
        end, assignment = self._working.pop(0)
        self.idle += (end - self.now) * (self._slots - 1 - len(self._working))
        self.now = end
        self._start()
        return [self._instead(assignment) or Done(assignment.ticket, self._judge(assignment))]

    def cancel(self, ticket: str) -> None:
        raise AssertionError(f"nobody should give up {ticket}")

    def close(self) -> None:
        """Nothing runs."""

    def _start(self) -> None:
        while self._queue and len(self._working) < self._slots:
            assignment = self._queue.pop(0)
            seconds = 1.0 + cost(assignment.candidate.architecture).macs_frame / 1e5
            self._working.append((self.now + seconds, assignment))

    def _judge(self, assignment: Assignment) -> dict[str, object]:
        candidate, folder = assignment.candidate, assignment.folder
        measurement = judged(candidate, assignment.until)
        known = self.disk.architectures.setdefault(folder, candidate.architecture)
        assert known == candidate.architecture, f"{folder} is another candidate's"
        if measurement.state in ("COMPLETE", "AT_RUNG") and assignment.until != "gates":
            until = LATER if assignment.until is None else assignment.until
            if until > self.disk.reached.get(folder, -1):
                self.disk.steps_done[folder, until] += 1
                self.disk.reached[folder] = until
        return {**measurement.to_json(), "tracker": folder}


def judged(candidate: Candidate, until: int | str | None) -> Measurement:
    """What the table says of a candidate trained so far."""
    price = cost(candidate.architecture)
    found = Measurement(
        state="COMPLETE", candidate=candidate, teacher_sha256="t", dataset_version="1", cost=price,
        environment={"device": "table"}, seconds={"cost": 0.5},
    ).to_json()  # fmt: skip
    state, reason = "COMPLETE", None
    for limit in candidate.limits:
        figure = value(found, metric(limit.metric))
        if figure is not None and limit.violation(figure) > 0:
            state, reason = "INFEASIBLE", f"{limit.metric} is {figure:g}, limit {limit}"
    steps = candidate.recipe.steps if until is None and candidate.recipe else until
    steps = steps if isinstance(steps, int) else 0
    pairs = PairAccuracy(pairs=8, one_step_iou=quality(candidate, price, steps), loss=1.0)
    if state == "COMPLETE" and until is not None:
        state = "AT_RUNG"
    trained = state != "INFEASIBLE" and until != "gates"
    return Measurement(
        state=state, reason=reason, candidate=candidate, teacher_sha256="t",  # type: ignore[arg-type]
        dataset_version="1", cost=price, inherited=pairs if trained else None, steps=steps,
        accuracy=_tracked(pairs.one_step_iou) if state == "COMPLETE" else None,
        environment={"device": "table"}, seconds={"cost": 0.5},
    )  # fmt: skip


def quality(candidate: Candidate, price: Cost, steps: int) -> float:
    """Smooth in the widths, better with training, and not in the order of the costs alone."""
    whole = candidate.architecture
    assert isinstance(whole, Siamese)
    wide = math.log1p(price.macs_frame) / 20 + 0.03 * math.sin(price.parameters)
    return wide * (0.8 + 0.2 * min(steps, 100) / 100)


def _tracked(overlap: float) -> TrackingAccuracy:
    one = Interval(overlap, overlap, overlap)
    return TrackingAccuracy(
        rules="got10k", sequences=3, average_overlap=one, success_rate_50=one, success_rate_75=one,
        success=None, precision=None, normalised_precision=None, by_attribute={}, overlap_of={},
        frames_per_second=1.0,
    )  # fmt: skip
