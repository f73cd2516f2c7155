"""Training pairs: the box lies on the target; the same number is the same pair."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import load
from tests.workers.test_tracking import moving_square
from workers.datasets import DatasetError
from workers.pairs import PLAIN, Augmentation, PairSource, first_pairs

GEOMETRIES = [
    load("siamrpn").geometry(load("siamrpn").PRESETS["siamrpn-tiny"]),
    load("ostrack").geometry(load("ostrack").PRESETS["ostrack-tiny"]),
]
WILD = Augmentation(flip=0.5, grey=0.3, shuffle_channels=0.5, blur=0.3, brightness=0.3)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=["context", "factor"])
@given(number=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_the_box_lies_on_the_target_however_the_crop_was_jittered(
    geometry: object, number: int
) -> None:
    source = PairSource([moving_square(6, 3), moving_square(6, 1, 1)], geometry, WILD, seed=3)  # type: ignore[arg-type]

    _, search, box, same = source.pair(number)

    assert same
    x, y, w, h = box
    size = search.shape[0]
    inside = search[
        max(0, round(y + 0.25 * h)) : min(size, round(y + 0.75 * h)),
        max(0, round(x + 0.25 * w)) : min(size, round(x + 0.75 * w)),
    ]
    if inside.size:  # the jitter may have left the target outside of the crop
        assert inside.mean() > 120


def test_a_batch_does_not_depend_on_threads_or_on_what_was_drawn_before() -> None:
    sequences = [moving_square(6, 3), moving_square(8, 2, 1)]
    a = PairSource(sequences, GEOMETRIES[0], WILD, seed=1)
    b = PairSource(sequences, GEOMETRIES[0], WILD, seed=1)
    many, one = a.batches(4, threads=2), b.batches(4, first=2, threads=1)

    batches = [next(many) for _ in range(3)]
    third = next(one)

    np.testing.assert_array_equal(batches[2].searches, third.searches)
    np.testing.assert_array_equal(batches[2].boxes, third.boxes)
    many.close()
    one.close()


def test_another_seed_gives_other_pairs() -> None:
    sequences = [moving_square(6, 3)]
    a = PairSource(sequences, GEOMETRIES[0], WILD, seed=1).batch(0, 4)
    b = PairSource(sequences, GEOMETRIES[0], WILD, seed=2).batch(0, 4)
    assert (a.boxes != b.boxes).any()


def test_the_target_may_lie_anywhere_in_the_crop() -> None:
    source = PairSource([moving_square(6, 3)], GEOMETRIES[1], Augmentation(centre=2.25), seed=0)
    boxes = np.concatenate([part.boxes for part in first_pairs(source, 200)])
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    assert centres.min() < 16
    assert centres.max() > 48
    assert np.abs(centres.mean(axis=0) - 32).max() < 3


def test_frames_without_a_visible_target_are_never_drawn() -> None:
    sequence = moving_square(6, 3)
    present = np.array([True, True, False, False, False, False])
    source = PairSource([replace(sequence, present=present)], GEOMETRIES[0], PLAIN, seed=0)
    moments = {source._moments(np.random.default_rng(i), 0) for i in range(20)}
    assert moments == {(0, 1), (1, 0)}


@pytest.mark.parametrize(("least", "drawn"), [(1, {1, 2, 3}), (3, {2, 3}), (8, {3})])
def test_a_target_that_is_covered_too_much_is_not_drawn(least: int, drawn: set[int]) -> None:
    sequence = replace(moving_square(4, 3), cover=np.array([0, 2, 3, 8]))
    wanted = replace(PLAIN, least_cover=least)
    source = PairSource([sequence], GEOMETRIES[0], wanted, seed=0)
    assert {source._moments(np.random.default_rng(i), 0)[0] for i in range(40)} == drawn


def test_sequences_that_are_covered_throughout_are_refused_with_the_figure() -> None:
    hidden = replace(moving_square(3, 1), cover=np.full(3, 2))
    with pytest.raises(DatasetError, match=r"boxed target of which 3/8 are seen.*least_cover"):
        PairSource([hidden], GEOMETRIES[0], PLAIN, seed=0)


def test_sequences_without_any_target_are_refused() -> None:
    nothing = replace(moving_square(3, 1), present=np.zeros(3, bool))
    with pytest.raises(DatasetError, match="none of the 1 sequences"):
        PairSource([nothing], GEOMETRIES[0], PLAIN, seed=0)


def test_some_templates_show_another_target_where_asked() -> None:
    sequences = [moving_square(6, 3), moving_square(6, 1, 1)]
    source = PairSource(sequences, GEOMETRIES[0], replace(PLAIN, other_template=0.5), seed=0)
    same = source.batch(0, 40).same
    assert 8 < same.sum() < 32
