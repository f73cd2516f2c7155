"""Fronts against brute force, and against Optuna's own hypervolume."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from optuna._hypervolume import compute_hypervolume

from service.front import (
    Front,
    FrontError,
    compared,
    crowding,
    dominators,
    epsilon,
    front,
    hypervolume,
    knee,
    ranks,
    spread,
)

Points = NDArray[np.float64]

# Few different values: equal points and equal coordinates must be common, and some infinite.
COORDINATE = st.sampled_from([0.0, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0, math.inf, -math.inf])
FINITE = st.sampled_from([-1.0, 0.0, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0])


def clouds(values: st.SearchStrategy[float], most: int = 12) -> st.SearchStrategy[Points]:
    return st.integers(1, 4).flatmap(
        lambda d: st.lists(st.tuples(*[values] * d), min_size=1, max_size=most).map(np.array)
    )


def dominates(a: Points, b: Points) -> bool:
    return bool((a <= b).all() and (a < b).any())


def peeled(points: Points) -> list[int]:
    left, rank, found = set(range(len(points))), 0, [0] * len(points)
    while left:
        top = {i for i in left if not any(dominates(points[j], points[i]) for j in left)}
        for i in top:
            found[i] = rank
        left, rank = left - top, rank + 1
    return found


def counted_cells(points: Points, reference: Points) -> float:
    """The hypervolume, by asking of every cell of the grid that the points span."""
    axes = [sorted({*points[:, d], reference[d]}) for d in range(points.shape[1])]
    axes = [[v for v in axis if v <= r] for axis, r in zip(axes, reference, strict=True)]
    total = 0.0
    for corner in product(*(range(len(axis) - 1) for axis in axes)):
        low = np.array([axis[i] for axis, i in zip(axes, corner, strict=True)])
        high = np.array([axis[i + 1] for axis, i in zip(axes, corner, strict=True)])
        if (points <= low).all(axis=1).any():
            total += float(np.prod(high - low))
    return total


@given(clouds(COORDINATE, most=25))
def test_ranks_are_those_of_fronts_taken_off_one_by_one(points: Points) -> None:
    assert ranks(points).tolist() == peeled(points)
    assert front(points).tolist() == [i for i, rank in enumerate(peeled(points)) if rank == 0]


@given(clouds(COORDINATE), st.integers(0, 9))
def test_ranks_and_crowding_go_with_the_point_and_not_with_its_place(
    points: Points, seed: int
) -> None:
    order = np.random.default_rng(seed).permutation(len(points))
    assert ranks(points[order]).tolist() == ranks(points)[order].tolist()
    distinct = np.unique(points, axis=0)
    order = np.random.default_rng(seed).permutation(len(distinct))
    assert crowding(distinct[order]).tolist() == crowding(distinct)[order].tolist()


@given(clouds(COORDINATE))
def test_dominators_are_those_that_brute_force_finds(points: Points) -> None:
    expected = [i for i, other in enumerate(points) if dominates(other, points[0])]
    assert dominators(points, points[0]).tolist() == expected


@given(clouds(FINITE, most=8))
def test_hypervolume_is_the_sum_of_the_cells_that_are_dominated(points: Points) -> None:
    reference = np.full(points.shape[1], 4.0)
    assert hypervolume(points, reference) == pytest.approx(counted_cells(points, reference))


@given(clouds(FINITE))
def test_hypervolume_is_what_optuna_computes(points: Points) -> None:
    reference = np.full(points.shape[1], 10.0)
    theirs = compute_hypervolume(points, reference)
    assert hypervolume(points, reference) == pytest.approx(theirs)


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_hypervolume_of_a_large_cloud_is_what_optuna_computes(objectives: int) -> None:
    points = np.random.default_rng(objectives).normal(size=(60, objectives))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    reference = np.full(objectives, 1.1)
    theirs = compute_hypervolume(points, reference)
    assert hypervolume(points, reference) == pytest.approx(theirs)


def test_hypervolume_of_infinite_points_is_endless_or_nothing() -> None:
    assert hypervolume([[-math.inf, 1.0]], [2.0, 2.0]) == math.inf
    assert hypervolume([[math.inf, 1.0]], [2.0, 2.0]) == 0.0
    assert hypervolume([[-math.inf, 2.0]], [2.0, 2.0]) == 0.0
    assert hypervolume([[0.0, math.inf], [1.0, 1.0]], [math.inf, math.inf]) == math.inf
    assert hypervolume([], [1.0, 1.0]) == 0.0


@given(clouds(FINITE, most=15))
def test_a_front_that_grows_is_the_front_of_all_points_at_every_step(points: Points) -> None:
    reference = np.full(points.shape[1], 4.0)
    growing = Front(reference)
    before = 0.0
    for i, point in enumerate(points):
        held = {tuple(p) for p in growing.points}
        added = growing.add(i, point)
        so_far = points[: i + 1]
        assert sorted(growing.numbers) == front(so_far).tolist()
        assert added.on_front == (i in growing.numbers)
        assert added.moved == ({tuple(p) for p in growing.points} != held)
        assert not set(added.left) & set(growing.numbers)
        assert growing.hypervolume == pytest.approx(hypervolume(so_far, reference))
        assert growing.hypervolume == pytest.approx(before + added.gained)
        before = growing.hypervolume


def test_a_front_says_what_one_more_point_did() -> None:
    growing = Front([10.0, 10.0])
    assert growing.add(0, [5.0, 5.0]).gained == 25.0
    again = growing.add(1, [5.0, 5.0])
    assert (again.on_front, again.moved, again.gained) == (True, False, 0.0)
    assert not growing.add(2, [6.0, 5.0]).on_front
    better = growing.add(3, [4.0, 4.0])
    assert (better.left, better.gained, growing.numbers) == ((0, 1), 11.0, [3])
    beyond = growing.add(4, [0.0, 11.0])
    assert (beyond.moved, beyond.gained) == (True, 0.0)
    assert growing.add(5, [-math.inf, 0.0]).gained == math.inf
    assert growing.add(6, [-1.0, -math.inf]).gained == 0.0


def test_crowding_is_endless_at_the_ends_and_nothing_for_a_repetition() -> None:
    points = [[0.0, 4.0], [1.0, 2.0], [1.0, 2.0], [4.0, 0.0]]
    assert crowding(points).tolist() == [math.inf, 2.0, 0.0, math.inf]
    assert crowding([[1.0, 1.0], [1.0, 1.0]]).tolist() == [0.0, 0.0]


def test_spread_begins_at_the_best_first_objective_and_goes_far_every_time() -> None:
    points = [[0.5, 0.5], [0.45, 0.55], [1.0, 0.0], [0.0, 1.0]]
    assert spread(points).tolist() == [3, 2, 0, 1]
    assert spread(points, at_most=2).tolist() == [3, 2]
    assert sorted(spread([[1.0, 1.0]] * 3).tolist()) == [0, 1, 2]
    assert spread([]).tolist() == []


def pairs_of_clouds(
    values: st.SearchStrategy[float], count: int = 2
) -> st.SearchStrategy[tuple[Points, ...]]:
    """Clouds with as many objectives each."""
    return st.integers(1, 3).flatmap(
        lambda d: st.tuples(
            *[st.lists(st.tuples(*[values] * d), min_size=1, max_size=8).map(np.array)] * count
        )
    )


def covers(points: Points, others: Points, by: float = 0.0) -> bool:
    return all(any((one - by <= other).all() for one in points) for other in others)


@given(pairs_of_clouds(FINITE))
def test_epsilon_is_the_least_that_lets_a_front_cover_another(pair: tuple[Points, ...]) -> None:
    points, others = pair
    needed = epsilon(points, others)
    differences = {float(d) for d in (points[:, None] - others[None]).ravel()}
    assert needed == min(d for d in differences if covers(points, others, by=d))
    assert (needed <= 0) == covers(points, others)


@given(pairs_of_clouds(FINITE, count=3), st.integers(-5, 5))
def test_epsilon_moves_with_the_points_and_keeps_the_triangle(
    clouds: tuple[Points, ...], by: int
) -> None:
    first, second, third = clouds
    assert epsilon(first, first) == 0.0
    assert epsilon(first + by, second) == epsilon(first, second) + by
    assert epsilon(first, third) <= epsilon(first, second) + epsilon(second, third)
    assert epsilon(np.vstack([first, third]), second) <= epsilon(first, second)
    assert epsilon(first[front(first)], second[front(second)]) == epsilon(first, second)


def test_epsilon_of_nothing_and_of_infinite_points() -> None:
    assert epsilon([], [[1.0, 2.0]]) == math.inf
    assert epsilon([[1.0, 2.0]], []) == -math.inf
    assert epsilon([[-math.inf, 2.0]], [[-math.inf, 1.0]]) == 1.0
    assert epsilon([[math.inf, 2.0]], [[0.0, 2.0]]) == math.inf


def line_distances(members: Points) -> Points:
    """Of two objectives: how far below the line between the ends, once both go from 0 to 1."""
    low, high = members.min(axis=0), members.max(axis=0)
    sides = (members - low) / np.where(high > low, high - low, 1.0)
    return np.asarray((1.0 - sides.sum(axis=1)) / math.sqrt(2))


@given(clouds(FINITE), st.integers(0, 9), st.sampled_from([0.25, 2.0, 1024.0]))
def test_a_knee_is_no_end_and_depends_on_nothing_but_the_front(
    points: Points, seed: int, factor: float
) -> None:
    found = knee(points)
    order = np.random.default_rng(seed).permutation(len(points))
    again = knee(points[order])
    assert knee(points * factor + 3.0) == found
    assert knee(np.vstack([points, points.max(axis=0) + 1.0])) == found
    members = points[front(points)]
    if points.shape[1] == 2 and len(np.unique(members, axis=0)) > 1:
        distances = line_distances(members)
        assert (found is None) == (distances.max() < 1e-9)
        farthest = members[distances > distances.max() - 1e-9].tolist()
        assert found is None or points[found].tolist() in farthest
    if found is None:
        assert again is None
        return
    assert again is not None and (points[order][again] == points[found]).all()
    assert found in front(points)
    scaled = (points[found] - members.min(axis=0)) / np.ptp(members, axis=0).clip(1e-9)
    assert (scaled < 1).any() and (scaled > 0).any()


def test_costs_that_rise_together_weigh_as_much_as_one() -> None:
    bend = [[0.0, 100.0], [1.0, 25.0], [2.0, 10.0], [9.0, 8.0], [10.0, 0.0]]
    twice = [[x, y, 3 * y] for x, y in bend]
    assert knee(twice) == knee(bend) == 2
    straight = [[0.0, 4.0, 8.0], [1.0, 3.0, 6.0], [2.0, 2.0, 4.0], [4.0, 0.0, 0.0]]
    assert knee(straight) is None, "the cheapest is best in two of three, and an end"


def test_the_knee_of_a_bend_is_where_it_bends_and_a_straight_front_has_none() -> None:
    bend = [[0.0, 100.0], [1.0, 25.0], [2.0, 10.0], [9.0, 8.0], [10.0, 0.0]]
    distance = [(1 - x / 10 - y / 100) / math.sqrt(2) for x, y in bend]
    assert knee(bend) == distance.index(max(distance)) == 2
    assert knee([[0.0, 4.0], [2.0, 2.0], [4.0, 0.0]]) is None
    assert knee([[0.0, 0.3], [0.1, 0.2], [0.2, 0.1], [0.3, 0.0]]) is None, "but for rounding"
    assert knee([[0.0, 4.0], [3.0, 3.0], [4.0, 0.0]]) is None, "it bulges the other way"
    assert knee([[0.0, 1.0], [1.0, 0.0]]) is None
    assert knee([[1.0, 1.0]]) is knee([]) is None
    assert knee([[0.0, 9.0, 9.0], [9.0, 0.0, 9.0], [9.0, 9.0, 0.0], [2.0, 2.0, 2.0]]) == 3


@given(pairs_of_clouds(FINITE))
def test_two_fronts_side_by_side_are_what_brute_force_says(pair: tuple[Points, ...]) -> None:
    mine, theirs = (np.unique(points[front(points)], axis=0) for points in pair)
    reference = np.full(mine.shape[1], 4.0)
    ours, others = compared(mine, theirs, reference)
    assert compared(theirs, mine, reference) == (others, ours)
    assert ours.dominated == sum(any(dominates(o, one) for o in theirs) for one in mine)
    assert ours.shared == others.shared == len({*map(tuple, mine)} & {*map(tuple, theirs)})
    assert ours.points == ours.dominated + ours.shared + len(ours.alone)
    assert ours.hypervolume == pytest.approx(counted_cells(mine, reference))
    joint = np.vstack([mine, theirs])
    on_both = {tuple(point) for point in joint[front(joint)]}
    gained = {tuple(mine[i]) for i in ours.alone}
    assert gained == on_both - {tuple(point) for point in theirs}
    assert (ours.epsilon <= 0) == (not others.alone)


def test_a_front_beside_an_empty_one_is_all_gained() -> None:
    ours, theirs = compared([[1.0, 1.0]], [], [2.0, 2.0])
    assert (ours.alone, ours.hypervolume, theirs.points, theirs.hypervolume) == ((0,), 1.0, 0, 0.0)
    assert (ours.epsilon, theirs.epsilon) == (-math.inf, math.inf)


def test_what_cannot_be_compared_is_refused_and_said() -> None:
    with pytest.raises(FrontError, match=r"point 1 is \[nan, 2.0\].*NaN"):
        ranks([[1.0, 2.0], [math.nan, 2.0]])
    with pytest.raises(FrontError, match=r"array of \(3,\)"):
        front([1.0, 2.0, 3.0])
    with pytest.raises(FrontError, match="2 values cannot be compared with points that have 3"):
        epsilon([[1.0, 2.0]], [[1.0, 2.0, 3.0]])
    with pytest.raises(FrontError, match="reference has 3 values, the points have 2"):
        hypervolume([[1.0, 2.0]], [1.0, 2.0, 3.0])
    with pytest.raises(FrontError, match="trial 7 has 3 values, the front compares 2"):
        Front([1.0, 1.0]).add(7, [1.0, 2.0, 3.0])
