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
    crowding,
    dominators,
    front,
    hypervolume,
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


def test_what_cannot_be_compared_is_refused_and_said() -> None:
    with pytest.raises(FrontError, match=r"point 1 is \[nan, 2.0\].*NaN"):
        ranks([[1.0, 2.0], [math.nan, 2.0]])
    with pytest.raises(FrontError, match=r"array of \(3,\)"):
        front([1.0, 2.0, 3.0])
    with pytest.raises(FrontError, match="reference has 3 values, the points have 2"):
        hypervolume([[1.0, 2.0]], [1.0, 2.0, 3.0])
    with pytest.raises(FrontError, match="trial 7 has 3 values, the front compares 2"):
        Front([1.0, 1.0]).add(7, [1.0, 2.0, 3.0])
