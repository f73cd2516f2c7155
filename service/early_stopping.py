"""Which candidates deserve more training: rules for trials with several objectives.

A rule hears the results of each rung and says who may go on. It keeps no clock and no database:
what it knows are the results, in order, and who went on, so that telling it both again rebuilds
it. Whoever has a result at a rung went on from the rung before. Only trials of the same family
are compared; families meet at the full budget.

``mo_asha`` is asynchronous successive halving with promotion by non-dominated rank (Schmucker et
al. 2021, arXiv 2106.12639). Costs are the same at every rung and only accuracy moves, so a cheap
network is never dominated however bad it is, and most of a small rung is one front: the ties
decide. They are broken by hypervolume, each next trial being the one that adds most to those
before it: a cheap and bad network adds next to nothing, a knee or a gap in the front much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from search_spaces import ParetrackError
from service.front import Points, crowding, dominators, hypervolume, ranks, scaled, spread

NAMED = 5  # so many trials are named in a note, the others counted
MOST_BY_VOLUME = 200  # a larger tie is broken by spread: volumes would take seconds


class EarlyStoppingError(ParetrackError):
    """A rule that does not exist, or results that contradict each other."""


@dataclass(frozen=True)
class RungResult:
    """A trial's objectives at a rung, all to be minimised, accuracy first."""

    number: int
    rung: int
    values: tuple[float, ...]
    family: str = ""


@dataclass(frozen=True)
class Decision:
    number: int
    rung: int
    action: Literal["go_on", "wait", "stop"]
    note: str


class EarlyStopping(Protocol):
    """A rule. ``next`` only says: who really goes on is told by ``went_on``."""

    def reported(self, result: RungResult) -> list[Decision]: ...

    def next(self) -> Decision | None:
        """Who may go on now that a worker is free, best first; the same until somebody did."""
        ...

    def went_on(self, number: int, rung: int) -> None: ...

    def rest(self) -> list[Decision]:
        """At the end of the job: those that still wait are stopped, and why."""
        ...


class _Rung:
    """The results of one family at one rung, in the order in which they came."""

    def __init__(self, objectives: int) -> None:
        self.numbers: list[int] = []
        self.gone: set[int] = set()
        self._positions: dict[int, int] = {}  # by number of the trial
        self._waiting: dict[int, None] = {}  # positions, in their order
        self._values: Points = np.empty((16, objectives))

    def add(self, number: int, values: tuple[float, ...]) -> None:
        position = len(self.numbers)
        if position == len(self._values):
            self._values = np.concatenate([self._values, np.empty_like(self._values)])
        self._values[position] = values
        self.numbers.append(number)
        self._positions[number] = position
        self._waiting[position] = None

    def __contains__(self, number: int) -> bool:
        return number in self._positions

    @property
    def objectives(self) -> int:
        return int(self._values.shape[1])

    @property
    def points(self) -> Points:
        return self._values[: len(self.numbers)]

    def waiting(self) -> list[int]:
        """Positions of those that neither went on nor were stopped."""
        return list(self._waiting)

    def first_waiting(self) -> int | None:
        return next(iter(self._waiting), None)

    def went_on(self, number: int) -> None:
        self.gone.add(number)
        self._waiting.pop(self._positions[number], None)

    def stopped(self, number: int) -> None:
        self._waiting.pop(self._positions[number], None)

    def named(self, positions: NDArray[np.int64]) -> str:
        numbers = sorted(self.numbers[i] for i in positions)
        shown = ", ".join(str(n) for n in numbers[:NAMED])
        more = f" and {len(numbers) - NAMED} more" if len(numbers) > NAMED else ""
        return f"trial{'s' if len(numbers) > 1 else ''} {shown}{more}"


class _Rungs:
    """What every rule keeps: the rungs by level and family, checked as they fill."""

    def __init__(self) -> None:
        self._rungs: dict[tuple[int, str], _Rung] = {}

    def _take(self, result: RungResult) -> _Rung:
        rung = self._rungs.setdefault((result.rung, result.family), _Rung(len(result.values)))
        if result.number in rung:
            raise EarlyStoppingError(
                f"trial {result.number} reported twice at rung {result.rung}: "
                "a result counts once; drop the second"
            )
        if rung.objectives != len(result.values):
            raise EarlyStoppingError(
                f"trial {result.number} has {len(result.values)} values at rung {result.rung}, "
                f"the others have {rung.objectives}: give every objective"
            )
        rung.add(result.number, result.values)
        before = self._rungs.get((result.rung - 1, result.family))
        if before is not None and result.number in before:
            before.went_on(result.number)
        return rung

    def went_on(self, number: int, rung: int) -> None:
        for (level, _), kept in self._rungs.items():
            if level == rung and number in kept:
                kept.went_on(number)
                return
        raise EarlyStoppingError(f"trial {number} has no result at rung {rung} to go on from")

    def _highest_first(self) -> list[tuple[int, _Rung]]:
        # At one level the family of which the smallest share went on comes first.
        def key(item: tuple[tuple[int, str], _Rung]) -> tuple[float, ...]:
            (level, _), rung = item
            return (-level, len(rung.gone) / len(rung.numbers))

        return [(level, rung) for (level, _), rung in sorted(self._rungs.items(), key=key)]


class GoesOn(_Rungs):
    """``none``: everybody goes on, in the order of arrival, the furthest first."""

    def reported(self, result: RungResult) -> list[Decision]:
        self._take(result)
        return [self._decision(result.number, result.rung)]

    def next(self) -> Decision | None:
        for level, rung in self._highest_first():
            first = rung.first_waiting()
            if first is not None:
                return self._decision(rung.numbers[first], level)
        return None

    def rest(self) -> list[Decision]:
        return [
            Decision(
                rung.numbers[i], level, "stop", f"the job ended while it waited at rung {level}"
            )
            for level, rung in self._highest_first()
            for i in rung.waiting()
        ]

    def _decision(self, number: int, level: int) -> Decision:
        return Decision(number, level, "go_on", f"passed rung {level}")


class Median(GoesOn):
    """Stops a trial that is less accurate than the median of those that cost no more.

    With accuracy alone this is the usual median rule. A trial that nothing undercuts has no such
    peers and goes on; ``peers`` of them are needed before anything is stopped.
    """

    def __init__(self, peers: int = 4) -> None:
        super().__init__()
        if peers < 1:
            raise EarlyStoppingError(f"peers: expected 1 or more, got {peers}")
        self._peers = peers

    def reported(self, result: RungResult) -> list[Decision]:
        rung = self._take(result)
        points, own = rung.points[:-1], np.array(result.values)
        peers = np.flatnonzero((points[:, 1:] <= own[1:]).all(axis=1))
        if len(peers) < self._peers or own[0] <= np.median(points[peers, 0]):
            return [self._decision(result.number, result.rung)]
        rung.stopped(result.number)
        better = peers[points[peers, 0] < own[0]]
        note = (
            f"stopped at rung {result.rung}: less accurate than the median of the {len(peers)} "
            f"that cost no more; {rung.named(better)} did better"
        )
        return [Decision(result.number, result.rung, "stop", note)]


class MoAsha(_Rungs):
    """``mo_asha``: of n results at a rung the best n // eta may go on, never more than
    ceil(n / eta).

    Whoever is dominated stands behind all that dominate it. Nobody is stopped before the end: a
    trial that waits may go on when the rung has filled.
    """

    def __init__(self, eta: int = 3, ties: str = "volume") -> None:
        super().__init__()
        if eta < 2:
            raise EarlyStoppingError(f"eta: expected 2 or more (one in eta goes on), got {eta}")
        if ties not in TIES:
            raise EarlyStoppingError(f"no way {ties!r} to break ties; choose one of {_known(TIES)}")
        self._eta, self._ties = eta, TIES[ties]
        self._orders: dict[int, list[int]] = {}  # of each rung, while no result is added

    def reported(self, result: RungResult) -> list[Decision]:
        rung = self._take(result)
        first = self._first(rung)
        if first is not None and rung.numbers[first] == result.number:
            return [self._may_go_on(rung, result.rung, first)]
        note = f"waits at rung {result.rung}: {self._standing(rung, len(rung.numbers) - 1)}"
        return [Decision(result.number, result.rung, "wait", note)]

    def next(self) -> Decision | None:
        for level, rung in self._highest_first():
            first = self._first(rung)
            if first is not None:
                return self._may_go_on(rung, level, first)
        return None

    def rest(self) -> list[Decision]:
        return [
            Decision(rung.numbers[i], level, "stop", f"stopped at rung {level}: {why}")
            for level, rung in self._highest_first()
            for i in rung.waiting()
            for why in [self._why(rung, i)]
        ]

    def _first(self, rung: _Rung) -> int | None:
        """The position of the best that waits, if it is among those that may go on."""
        count = len(rung.numbers)
        if len(rung.gone) >= -(-count // self._eta):
            return None
        best = self._order(rung)[: count // self._eta]
        return next((i for i in best if rung.numbers[i] not in rung.gone), None)

    def _order(self, rung: _Rung) -> list[int]:
        """Positions, best first; the tie is broken only where the line of going on runs."""
        known = self._orders.get(id(rung))
        if known is None or len(known) != len(rung.numbers):
            line = len(rung.numbers) // self._eta
            known = _ordered(rung.points, line, self._ties)
            self._orders[id(rung)] = known
        return known

    def _may_go_on(self, rung: _Rung, level: int, position: int) -> Decision:
        note = f"goes on from rung {level}: {self._standing(rung, position)}"
        return Decision(rung.numbers[position], level, "go_on", note)

    def _standing(self, rung: _Rung, position: int) -> str:
        count = len(rung.numbers)
        place = _ordinal(self._order(rung).index(position) + 1)
        if count < self._eta:
            return f"{place} of {count}, nobody goes on before there are {self._eta}"
        best = count // self._eta
        goes = "the best goes on" if best == 1 else f"the best {best} go on"
        return f"{place} of {count}, {goes}"

    def _why(self, rung: _Rung, position: int) -> str:
        above = dominators(rung.points, rung.points[position])
        if len(above):
            return f"dominated by {rung.named(above)}"
        return f"not dominated, but {self._standing(rung, position)}"


Ties = Callable[[Points, int], NDArray[np.int64]]


def _ordered(points: Points, line: int, ties: Ties) -> list[int]:
    ranked = ranks(points)
    order = np.argsort(ranked, kind="stable")
    if 0 < line < len(order):
        at_line = ranked[order[line - 1]]
        start, end = np.searchsorted(ranked[order], [at_line, at_line + 1])
        if line < end:
            group = order[start:end]
            first = ties(points[group], line - start)
            order[start:end] = group[_and_the_others(first, len(group))]
    found: list[int] = order.tolist()
    return found


def _and_the_others(first: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    return np.concatenate([first, np.setdiff1d(np.arange(count), first)])


def _by_volume(points: Points, count: int) -> NDArray[np.int64]:
    """Greedily, what adds most hypervolume; the points are one front."""
    if points.shape[1] == 2:
        return _by_area(scaled(points), count)
    if len(points) > MOST_BY_VOLUME:
        return spread(points, count)
    array = scaled(points)
    corner = np.full(array.shape[1], 1.1)  # a little beyond the worst: the ends of a front count
    heap = [(-hypervolume([p], corner), i, 0) for i, p in enumerate(array)]
    heapify(heap)
    chosen: list[int] = []
    while len(chosen) < count:
        _, i, known = heappop(heap)
        if known == len(chosen):
            chosen.append(i)
            continue
        shared = hypervolume(np.maximum(array[chosen], array[i]), corner)
        heappush(heap, (shared - hypervolume([array[i]], corner), i, len(chosen)))
    return np.array(chosen, dtype=np.int64)


def _by_area(array: Points, count: int) -> NDArray[np.int64]:
    """Of a front of two objectives: what a point adds lies between its chosen neighbours alone."""
    order = np.lexsort((array[:, 1], array[:, 0]))
    x, y = array[order].T
    right, top = np.full(len(x), 1.1), np.full(len(x), 1.1)  # of the chosen neighbours
    rank = np.argsort(order)
    chosen: list[int] = []
    while len(chosen) < count:
        gain = (right - x) * (top - y)
        gain[rank[chosen]] = -np.inf
        best = int(gain[rank].argmax())
        chosen.append(best)
        at = rank[best]
        right[:at] = np.minimum(right[:at], x[at])
        top[at + 1 :] = np.minimum(top[at + 1 :], y[at])
    return np.array(chosen, dtype=np.int64)


def _by_crowding(points: Points, count: int) -> NDArray[np.int64]:
    return np.argsort(-crowding(points), kind="stable")[:count]


TIES: Mapping[str, Ties] = {
    "volume": _by_volume,
    "spread": spread,
    "crowding": _by_crowding,
}

RULES: Mapping[str, Callable[[], EarlyStopping]] = {
    "mo_asha": MoAsha,
    "median": Median,
    "none": GoesOn,
}


def make(name: str) -> EarlyStopping:
    """The rule called ``name``, with its usual settings."""
    if name not in RULES:
        raise EarlyStoppingError(f"no early stopping named {name!r}; choose one of {_known(RULES)}")
    return RULES[name]()


def _known(table: Mapping[str, object]) -> str:
    return ", ".join(table)


def _ordinal(place: int) -> str:
    ends = {1: "st", 2: "nd", 3: "rd"}
    return f"{place}{'th' if place % 100 in (11, 12, 13) else ends.get(place % 10, 'th')}"
