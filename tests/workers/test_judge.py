"""Judging: what is perfect scores 1, the gates notice trackers that do not need their template."""

import numpy as np
import pytest
import torch

from search_spaces import load
from tests.workers.test_tracking import moving_square
from workers.accuracy import rules_named
from workers.judge import Validity, judge, pair_accuracy, validation_pairs, validity
from workers.tracking import Track
from workers.training import fresh_network

FAMILY = load("siamrpn")
TINY = FAMILY.PRESETS["siamrpn-tiny"]
GEOMETRY = FAMILY.geometry(TINY)
SEQUENCES = [moving_square(6, 3, 0), moving_square(9, 1, 1), moving_square(6, 2, 2)]


def perfect(boxes: np.ndarray) -> Track:
    return Track(boxes, np.ones(len(boxes)), np.full(len(boxes), 0.01))


def test_a_perfect_tracker_scores_one_and_its_interval_has_no_width() -> None:
    found = judge([perfect(s.boxes) for s in SEQUENCES], SEQUENCES)
    overlap = found.average_overlap
    assert (overlap.value, overlap.low, overlap.high) == pytest.approx((1, 1, 1))
    assert set(found.overlap_of) == {s.name for s in SEQUENCES}
    assert found.frames_per_second == pytest.approx(100)


def test_a_tracker_beside_the_target_scores_less_and_its_interval_holds_the_value() -> None:
    shifts = (0, 4, 12)
    tracks = [
        perfect(s.boxes + np.array([shift, 0, 0, 0]))
        for s, shift in zip(SEQUENCES, shifts, strict=True)
    ]
    found = judge(tracks, SEQUENCES)
    assert 0.3 < found.average_overlap.value < 0.9
    assert found.average_overlap.low <= found.average_overlap.value <= found.average_overlap.high
    assert found.average_overlap.low < found.average_overlap.high


def test_other_rules_add_the_measures_that_got10k_does_not_know() -> None:
    tracks = [perfect(s.boxes + np.array([30, 0, 0, 0])) for s in SEQUENCES]
    theirs = judge(tracks, SEQUENCES)
    assert (theirs.rules, theirs.success, theirs.precision) == ("got10k", None, None)
    assert theirs.normalised_precision is None

    found = judge(tracks, SEQUENCES, rules_named("got10k-toolkit-otb"))

    assert found.rules == "got10k-toolkit-otb"
    assert found.success is not None and found.normalised_precision is not None
    assert found.precision is not None
    # The first frames are the truth by these rules; all others are 30 pixels off.
    first = np.mean([1 / len(s.boxes) for s in SEQUENCES])
    assert found.precision.value == pytest.approx(first)
    assert found.precision.low <= found.precision.value <= found.precision.high


def test_pairs_for_judging_are_fixed_and_the_metrics_are_of_all_of_them() -> None:
    a = validation_pairs(SEQUENCES, GEOMETRY, 70)
    b = validation_pairs(SEQUENCES, GEOMETRY, 70)
    assert sum(len(part) for part in a) == 70
    assert all((x.searches == y.searches).all() for x, y in zip(a, b, strict=True))

    network = fresh_network(TINY, seed=0)
    found = pair_accuracy(network, GEOMETRY, a)

    assert found.pairs == 70
    assert 0 <= found.one_step_iou < 0.9
    assert np.isfinite(found.loss)
    one_by_one = pair_accuracy(network, GEOMETRY, list(reversed(a)))
    assert one_by_one.one_step_iou == pytest.approx(found.one_step_iou, abs=1e-6)


def test_the_gates_are_what_they_say() -> None:
    good = Validity(average_overlap=0.6, other_template=0.3, zeroed_template=0.2, frozen_box=0.15)
    bad = Validity(average_overlap=0.6, other_template=0.37, zeroed_template=0.4, frozen_box=0.18)
    assert good.failures() == []
    assert len(bad.failures()) == 3


def test_the_gates_notice_a_network_that_ignores_its_template() -> None:
    network = fresh_network(TINY, seed=0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "conv_kernel" in name and parameter.ndim > 1:
                parameter.zero_()

    found = validity(network, GEOMETRY, SEQUENCES)

    assert found.other_template == pytest.approx(found.average_overlap, abs=1e-6)
    assert found.zeroed_template == pytest.approx(found.average_overlap, abs=1e-6)
    assert any("another sequence's template" in failure for failure in found.failures())
