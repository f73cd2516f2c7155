"""Fronts of points, all to be minimised: ranks, spread, hypervolume, and a front that grows.

Rows of ``points`` are trials, columns are objectives. Infinities are points like any other; a NaN
is refused. The ranks for two objectives follow Jensen (2003) in O(n log n).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from search_spaces import ParetrackError

_THINNED_BY = 64  # points

Points = NDArray[np.float64]


class FrontError(ParetrackError):
    """Points that cannot be compared."""


def as_points(points: ArrayLike) -> Points:
    """(trials, objectives), with no NaN in it; an empty list is no trial."""
    array = np.asarray(points, dtype=np.float64)
    if array.size == 0:
        return array.reshape(0, array.shape[1] if array.ndim == 2 else 1)
    if array.ndim != 2:
        raise FrontError(f"points are (trials, objectives), but got an array of {array.shape}")
    bad = np.flatnonzero(np.isnan(array).any(axis=1))
    if bad.size:
        raise FrontError(
            f"point {bad[0]} is {array[bad[0]].tolist()}: a NaN cannot be compared; "
            "leave out what has no value"
        )
    return array


def ranks(points: ArrayLike) -> NDArray[np.int64]:
    """How many fronts must be taken off before a point is on the front: 0 is the front itself."""
    array = as_points(points)
    order = np.lexsort(array.T[::-1])
    ordered = array[order]
    fresh = np.ones(len(ordered), dtype=bool)
    fresh[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    distinct = ordered[fresh]
    found = _ranks_of_two(distinct) if array.shape[1] == 2 else _ranks_of_many(distinct)
    ranked = np.empty(len(array), dtype=np.int64)
    ranked[order] = found[np.cumsum(fresh) - 1]
    return ranked


def _ranks_of_two(distinct: Points) -> NDArray[np.int64]:
    # In this order a front's last point has its smallest second value, and those grow with rank.
    last: list[float] = []
    found = np.empty(len(distinct), dtype=np.int64)
    for i, second in enumerate(distinct[:, 1].tolist()):
        rank = bisect_right(last, second)
        last[rank : rank + 1] = [second]
        found[i] = rank
    return found


def _ranks_of_many(distinct: Points) -> NDArray[np.int64]:
    # Whatever dominates a point stands before it; the longest chain that leads to it is its rank.
    # Column by column: several times quicker than all(axis=1) for three of them.
    found = np.zeros(len(distinct), dtype=np.int64)
    columns = [np.ascontiguousarray(column) for column in distinct.T[1:]]
    for i in range(1, len(distinct)):
        above = np.ones(i, dtype=bool)
        for column in columns:
            above &= column[:i] <= column[i]
        found[i] = found[:i].max(initial=-1, where=above) + 1
    return found


def front(points: ArrayLike) -> NDArray[np.int64]:
    """The indices of the points that no other dominates, equal points all of them, ascending."""
    array = as_points(points)
    if array.shape[1] == 2:
        return np.flatnonzero(_on_front_of_two(array))
    left = _thinned(array)
    found: NDArray[np.int64] = left[ranks(array[left]) == 0]
    return found


def _thinned(array: Points) -> NDArray[np.int64]:
    """The indices of what is left, ascending, when each of the best few by the sum of the scaled
    values has taken away what it dominates: of many random points nearly all are gone then."""
    left: NDArray[np.int64] = np.arange(len(array), dtype=np.int64)
    good = np.argsort(scaled(array).sum(axis=1), kind="stable")[:_THINNED_BY]
    for one in array[good]:
        points = array[left]
        kept: NDArray[np.bool_] = (points < one).any(axis=1) | (points == one).all(axis=1)
        left = left[kept]
    return left


def _on_front_of_two(array: Points) -> NDArray[np.bool_]:
    order = np.lexsort((array[:, 1], array[:, 0]))
    first, second = array[order].T
    # The best second value among the points whose first value is smaller, or equal.
    best = np.minimum.accumulate(second)
    start = np.searchsorted(first, first, side="left")
    before = np.concatenate(([np.inf], best))[start]
    kept = np.empty(len(array), dtype=bool)
    kept[order] = ((second < before) | (start == 0)) & (second == second[start])
    return kept


def dominators(points: ArrayLike, point: ArrayLike) -> NDArray[np.int64]:
    """The indices of the points that are nowhere worse than ``point``, and better somewhere."""
    array, one = as_points(points), np.asarray(point, dtype=np.float64)
    return np.flatnonzero((array <= one).all(axis=1) & (array < one).any(axis=1))


def scaled(points: ArrayLike) -> Points:
    """Every objective from 0 (the best finite) to 1 (the worst); infinities lie one beyond."""
    array = as_points(points).copy()
    for column in array.T:
        finite = column[np.isfinite(column)]
        low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
        column[...] = np.clip((column - low) / (high - low if high > low else 1.0), -1.0, 2.0)
    return array


def crowding(points: ArrayLike) -> Points:
    """How far a point's neighbours on its front lie: inf at the ends, 0 for a repetition."""
    array = scaled(points)
    distinct, firsts = np.unique(array, axis=0, return_index=True)
    distance = np.zeros(len(distinct))
    for column in distinct.T:
        order = np.argsort(column, kind="stable")
        values = column[order]
        if values.size and values[0] < values[-1]:
            distance[order[1:-1]] += values[2:] - values[:-2]
            distance[(column == values[0]) | (column == values[-1])] = np.inf
    found = np.zeros(len(array))
    found[firsts] = distance
    return found


def spread(points: ArrayLike, at_most: int | None = None) -> NDArray[np.int64]:
    """Indices so ordered that every next one lies farthest from those before: an epsilon-net.

    It starts at the best in the first objective (Schmucker et al. 2021 use it to break ties).
    """
    array = scaled(points)
    count = len(array) if at_most is None else min(at_most, len(array))
    if count == 0:
        return np.empty(0, dtype=np.int64)
    chosen = [int(np.lexsort(array.T[::-1])[0])]
    gap = np.linalg.norm(array - array[chosen[0]], axis=1)
    gap[chosen[0]] = -1.0
    while len(chosen) < count:
        chosen.append(int(gap.argmax()))
        gap = np.minimum(gap, np.linalg.norm(array - array[chosen[-1]], axis=1))
        gap[chosen] = -1.0
    return np.array(chosen, dtype=np.int64)


def knee(points: ArrayLike) -> int | None:
    """The index of the point on the front where giving up more of one objective stops paying off.

    Every objective is scaled from 0, the best on the front, to 1, the worst, and weighed so that
    the ends, each the best in one objective, are worth the same. The knee is worth most: of two
    objectives it lies farthest below the line between the ends, of three below the plane through
    them. Of equals it is the best in the first objective. None where nothing is worth more than
    every end: fewer than three points, or a front without a bend.
    """
    array = as_points(points)
    on_front = front(array)
    if len(on_front) < 3:
        return None
    members = scaled(array[on_front])
    ties = (*members.T[::-1], members.sum(axis=1))
    ends = members[[int(np.lexsort((*ties, column))[0]) for column in members.T]]
    weights = _weights(ends)
    lost = (members @ weights).round(12)
    best = int(np.lexsort((*members.T[::-1], lost))[0])
    below = lost[best] < (ends @ weights).min() - 1e-9  # more than is due to rounding
    return int(on_front[best]) if below else None


def _weights(ends: Points) -> Points:
    """Those nearest to equal ones that make the ends worth the same; two costs that rise and fall
    together have one end, and weigh as much as one. Equal ones, if that took a weight below 0."""
    equal = np.full(ends.shape[1], 1.0 / ends.shape[1])
    apart = ends[1:] - ends[0]
    found = equal - np.linalg.pinv(apart) @ (apart @ equal)
    return found if (found > 1e-9).all() else equal


def epsilon(points: ArrayLike, others: ArrayLike) -> float:
    """What must be taken off every coordinate of ``points`` so that each of ``others`` has one
    among them that is nowhere worse: the additive epsilon-indicator (Zitzler et al. 2003), exact.

    0 or less: they need nothing. It is in the units of the values, so ``scaled`` should have made
    them comparable. No others need nothing at all (-inf), no points are never enough (inf).
    """
    ours, theirs = as_points(points), as_points(others)
    if len(theirs) == 0 or len(ours) == 0:
        return -np.inf if len(theirs) == 0 else np.inf
    _check_alike(ours, theirs)
    with np.errstate(invalid="ignore"):
        behind = ours[:, None] - theirs[None]
    behind[ours[:, None] == theirs[None]] = 0.0  # infinities, too
    return float(behind.max(axis=2).min(axis=0).max())


def _check_alike(ours: Points, theirs: Points) -> None:
    if ours.shape[1] != theirs.shape[1]:
        raise FrontError(
            f"points with {ours.shape[1]} values cannot be compared with points that have "
            f"{theirs.shape[1]}"
        )


@dataclass(frozen=True)
class Side:
    """One of two fronts, beside the other."""

    points: int
    hypervolume: float
    epsilon: float  # that it needs to cover the other, where both together are scaled to 0..1
    dominated: int  # its points that one of the other's dominates
    shared: int  # its points that the other has as well
    alone: tuple[int, ...]  # indices of its points for which the other has nothing as good


def compared(points: ArrayLike, others: ArrayLike, reference: ArrayLike) -> tuple[Side, Side]:
    """Two fronts side by side: what the first has gained over the second, and what it has lost."""
    ours, theirs = as_points(points), as_points(others)
    if len(ours) and len(theirs):
        _check_alike(ours, theirs)
        both = scaled(np.vstack([ours, theirs]))
        near, far = both[: len(ours)], both[len(ours) :]
    else:
        near, far = ours, theirs
    corner = np.asarray(reference, dtype=np.float64)
    return _side(ours, theirs, corner, epsilon(near, far)), _side(
        theirs, ours, corner, epsilon(far, near)
    )


def _side(ours: Points, theirs: Points, reference: Points, needed: float) -> Side:
    met = [dominators(theirs, one).size > 0 if len(theirs) else False for one in ours]
    same = [bool((theirs == one).all(axis=1).any()) if len(theirs) else False for one in ours]
    return Side(
        points=len(ours),
        hypervolume=hypervolume(ours, reference),
        epsilon=needed,
        dominated=sum(met),
        shared=sum(same),
        alone=tuple(i for i in range(len(ours)) if not met[i] and not same[i]),
    )


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """The volume that the points dominate below ``reference``; what lies beyond it adds nothing.

    Exact; O(n log n) for two objectives, about that for three, n times more for each further one.
    """
    corner = np.asarray(reference, dtype=np.float64)
    array = as_points(points)
    if len(array) and array.shape[1] != corner.size:
        raise FrontError(
            f"the reference has {corner.size} values, the points have {array.shape[1]}: "
            "give one value of the reference for each objective"
        )
    inside = array[(array < corner).all(axis=1)] if len(array) else array
    if len(inside) == 0:
        return 0.0
    if not np.isfinite(corner - inside).all():
        return float("inf")
    return _volume(inside[front(inside)], corner)


def _volume(points: Points, reference: Points) -> float:
    """Of points inside the reference, finite."""
    if len(reference) == 1:
        return float(reference[0] - points.min())
    if len(reference) == 2:
        stairs = _Stairs(float(reference[0]), float(reference[1]))
        return sum(stairs.add(x, y) for x, y in points.tolist())
    points = points[np.argsort(points[:, -1], kind="stable")]
    heights = np.diff(np.append(points[:, -1], reference[-1]))
    if len(reference) == 3:
        stairs = _Stairs(float(reference[0]), float(reference[1]))
        areas = np.cumsum([stairs.add(x, y) for x, y in points[:, :2].tolist()])
        return float(areas @ heights)
    return sum(
        float(height) * _volume(_only_front(points[: i + 1, :-1]), reference[:-1])
        for i, height in enumerate(heights)
        if height > 0
    )


def _only_front(points: Points) -> Points:
    return points[front(points)]


class _Stairs:
    """The area below a corner that two-dimensional points dominate, one point after another."""

    def __init__(self, right: float, top: float) -> None:
        self._right, self._top = right, top
        self._x: list[float] = []  # ascending
        self._y: list[float] = []  # descending

    def add(self, x: float, y: float) -> float:
        """The area that this point adds."""
        at = bisect_left(self._x, x)
        if (at > 0 and self._y[at - 1] <= y) or (
            at < len(self._x) and self._x[at] == x and self._y[at] <= y
        ):
            return 0.0
        gained, left = 0.0, x
        ceiling = self._y[at - 1] if at else self._top
        end = at
        while end < len(self._x) and self._y[end] >= y:
            gained += (self._x[end] - left) * (ceiling - y)
            left, ceiling = self._x[end], self._y[end]
            end += 1
        stop = self._x[end] if end < len(self._x) else self._right
        gained += (stop - left) * (ceiling - y)
        self._x[at:end], self._y[at:end] = [x], [y]
        return gained


@dataclass(frozen=True)
class Added:
    """What one more point did to a front."""

    on_front: bool
    moved: bool  # a point equal to a member is on the front and does not move it
    gained: float  # hypervolume
    left: tuple[int, ...]  # the members that it dominates: no longer on the front


class Front:
    """A front that is kept up to date point by point; adding costs what the front is long."""

    def __init__(self, reference: ArrayLike) -> None:
        self.reference: Points = np.asarray(reference, dtype=np.float64)
        self.points: Points = np.empty((0, self.reference.size))
        self.numbers: list[int] = []
        self.hypervolume = 0.0

    def add(self, number: int, point: ArrayLike) -> Added:
        """Takes the trial ``number`` in if no member dominates it."""
        one = as_points(np.asarray(point, dtype=np.float64)[None])[0]
        if one.size != self.reference.size:
            raise FrontError(
                f"trial {number} has {one.size} values, the front compares {self.reference.size}"
            )
        not_worse = (self.points <= one).all(axis=1)
        equal = (self.points == one).all(axis=1)
        if (not_worse & ~equal).any():
            return Added(on_front=False, moved=False, gained=0.0, left=())
        beaten = (self.points >= one).all(axis=1) & ~equal
        gained = 0.0 if equal.any() else self._gain(one)
        left = tuple(self.numbers[i] for i in np.flatnonzero(beaten))
        self.points = np.vstack([self.points[~beaten], one])
        self.numbers = [*(self.numbers[i] for i in np.flatnonzero(~beaten)), number]
        self.hypervolume += gained
        return Added(on_front=True, moved=not equal.any(), gained=gained, left=left)

    def _gain(self, one: Points) -> float:
        if not np.isfinite(self.hypervolume):
            return 0.0  # an endless volume is gained once: what is added to it cannot be told
        own = hypervolume([one], self.reference)
        return max(0.0, own - hypervolume(np.maximum(self.points, one), self.reference))
