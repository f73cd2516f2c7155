"""Accuracy against what the toolkits say, and against what must hold whatever they say."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.accuracy import (
    GOT10K,
    RULES,
    AccuracyError,
    Measure,
    Rules,
    Tracked,
    accuracy,
    average_overlap,
    by_attribute,
    difference,
    interval,
    rules_named,
)

NAN = float("nan")
SHARES: tuple[Measure, ...] = ("success", "precision", "normalised_precision")
SEEDS = st.integers(0, 2**32)
ANY_RULES = st.sampled_from(list(RULES.values()))


def boxes(rows: str) -> np.ndarray:
    return np.array([row.split() for row in rows.split("/")], float)


# Each frame is a habit on which toolkits differ: a wrong first box, an overlap of exactly 2/3, a
# perfect box, an empty prediction on an absent target, one on an empty annotation; annotations
# that touch the image's border, have their centre outside, stick out, are missed by exactly 20
# pixels, have a negative height.
EDGES = Tracked(
    name="edges",
    predicted=boxes(
        "50 50 9 9 / 10 10 20 20 / 16 18 30 24 / 0 0 0 0 / 40 40 0 0 / 5 5 20 20 / -20 10 30 20 /"
        "80 60 40 40 / 72 46 10 10 / 25.5 30.25 20 20"
    ),
    truth=boxes(
        "10 10 20 20 / 14 10 20 20 / 16 18 30 24 / 14 20 20 20 / 0 0 0 0 / 0 5 20 20 /"
        "-30 10 40 20 / 70 60 40 30 / 60 30 10 10 / 20.5 30.25 20 -1"
    ),
    present=np.array([1, 1, 1, 0, 0, 1, 1, 1, 1, 1], dtype=bool),
    cover=np.array([8, 8, 7, 5, 0, 8, 4, 6, 8, 0]),
    image_size=(100, 80),
)
GAPS = Tracked(
    name="gaps",
    predicted=boxes("10.1 10.2 20.3 20.4 / 30 30 0 5 / 31 33 20 20 / 40 40 20 0 / 90 90 20 20"),
    truth=boxes(
        "10.1 10.2 20.3 20.4 / nan nan nan nan / 30.3 30.1 20.7 20.9 / nan nan nan nan /"
        "35 35 20.7 20.9"
    ),
    present=np.array([1, 0, 1, 1, 1], dtype=bool),
    cover=np.array([8, 0, 8, 0, 8]),
    image_size=(100, 80),
)


def tracked(truth: object, predicted: object, **more: object) -> Tracked:
    values = {"name": "sequence", "image_size": (640, 480)} | more
    return Tracked(truth=np.array(truth, float), predicted=np.array(predicted, float), **values)


def some_sequences(seed: int) -> list[Tracked]:
    """Valid input of all kinds: empty boxes, boxes outside, absent and unannotated frames."""
    generator = np.random.default_rng(seed)
    found = []
    for index in range(generator.integers(1, 6)):
        frames = int(generator.integers(1, 9))
        truth = generator.uniform([-40, -40, 0, 0], [700, 500, 90, 90], (frames, 4))
        truth = truth if generator.random() < 0.5 else np.round(truth, -1)
        predicted = truth + generator.choice([0, 0, 5, 20], (frames, 4))
        predicted[generator.random(frames) < 0.1] = 0
        truth[generator.random(frames) < 0.2] = NAN
        present = generator.random(frames) < generator.choice([0, 0.8, 1])
        cover = generator.choice([0, 1, 8], frames)
        name = f"sequence-{index}"
        found.append(tracked(truth, predicted, name=name, present=present, cover=cover))
    return found


# ---- what the toolkits say. The figures were computed by the toolkits' own code.


def test_ao_and_sr_are_those_of_the_got10k_toolkit() -> None:
    judged = accuracy([EDGES], GOT10K)
    measures: tuple[Measure, ...] = ("average_overlap", "success_rate_50", "success_rate_75")
    expected = [0.526190476, 0.714285714, 0.142857143]
    assert [judged.value(m) for m in measures] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "sequences", "expected"),
    [
        ("got10k-toolkit-lasot", [EDGES], (0.433333333, 0.8, 0.425490196)),  # ExperimentLaSOT
        ("got10k-toolkit-lasot", [EDGES, GAPS], (0.502380952, 0.733333333, 0.506862745)),
        ("pysot-otb", [EDGES], (0.338095238, 0.8, 0.4)),  # OPEBenchmark without absent flags
        ("pysot-otb", [EDGES, GAPS], (0.34047619, 0.8, 0.6)),
        ("pysot-lasot", [EDGES], (0.338095238, 0.7, 0.3)),  # OPEBenchmark with absent flags
        ("pysot-lasot", [EDGES, GAPS], (0.34047619, 0.65, 0.45)),
        ("pytracking-lasot", [EDGES], (0.304761906, 0.5, 0.5)),  # extract_results and below
        ("pytracking-lasot-extension", [EDGES], (0.304761906, 0.5, 0.7)),
        ("pytracking-otb", [EDGES], (0.352380943, 0.6, 0.6)),
        ("pytracking-uav", [EDGES], (0.352380943, 1.0, 0.6)),
        ("pytracking-uav", [EDGES, GAPS], (0.347619057, 0.9, 0.7)),
        ("ostrack-lasot", [EDGES], (0.433333321, 0.7, 0.4)),  # OSTrack's extract_results
        ("ostrack-lasot-extension", [EDGES], (0.433333321, 0.7, 0.6)),
        ("ostrack-otb", [EDGES], (0.480952377, 0.8, 0.5)),
        ("ostrack-uav", [EDGES], (0.480952377, 1.0, 0.5)),
        ("ostrack-uav", [EDGES, GAPS], (0.411904755, 0.9, 0.65)),
    ],
)
def test_shares_on_odd_boxes_are_those_of_the_toolkit(
    name: str, sequences: list[Tracked], expected: tuple[float, ...]
) -> None:
    judged = accuracy(sequences, rules_named(name))
    assert [judged.value(m) for m in SHARES] == pytest.approx(expected, abs=1e-7)


def test_the_got10k_toolkit_counts_unannotated_frames_as_misses_on_otb() -> None:
    judged = accuracy([EDGES, GAPS], rules_named("got10k-toolkit-otb"))  # ExperimentOTB
    assert judged.value("success") == pytest.approx(0.388095238, abs=1e-9)
    assert judged.value("precision") == pytest.approx(0.6, abs=1e-9)
    assert judged.value("success_rate_50") == pytest.approx(0.45, abs=1e-9)


def test_an_overlap_one_bit_above_065_beats_the_threshold_of_numpy_but_not_of_torch() -> None:
    truth = [[168.0, 180.2, 55.0, 46.8]] * 2
    one = tracked(truth, [truth[0], [168.0, 180.2, 35.75, 46.8]])
    rules = rules_named("pytracking-otb")
    with_numpy = replace(rules, success_steps=RULES["pysot-otb"].success_steps)
    # 0.809523773 by pytracking's extract_results with torch 2.13
    assert accuracy([one], rules).value("success") == pytest.approx(17 / 21, abs=1e-9)
    assert accuracy([one], with_numpy).value("success") == pytest.approx(17.5 / 21, abs=1e-9)


# ---- what must hold


@pytest.mark.parametrize("rules", RULES.values(), ids=lambda rules: rules.name)
def test_a_perfect_tracker_gets_all_but_the_step_at_one(rules: Rules) -> None:
    truth = [[10, 20, 30, 40], [300, 200, 17, 8], [12, 22, 31, 39]]
    judged = accuracy([tracked(truth, truth)], rules)
    steps = len(rules.success_steps)
    assert judged.value("success") == pytest.approx((steps - 1) / steps)
    assert [judged.value(m) for m in SHARES[1:]] == [1, 1]
    assert judged.value("average_overlap") == 1
    assert judged.value("success_rate_75") == 1


def test_rounding_of_the_last_pixel_lets_a_perfect_box_overlap_by_more_than_one() -> None:
    truth = [[34.9, 56.4, 49.9, 5.2], [52.2, 6.8, 45.1, 14.7], [52.5, 34.8, 21.5, 28.2]]
    perfect = tracked(truth, truth)  # 1.0 by pytracking's extract_results
    assert accuracy([perfect], rules_named("pytracking-otb")).value("success") == 1
    assert accuracy([perfect], rules_named("pysot-otb")).value("success") == 20 / 21


@given(shift=st.integers(0, 99))
def test_a_shifted_box_overlaps_as_geometry_says(shift: int) -> None:
    truth = np.tile([200.0, 100, 100, 50], (5, 1))
    one = tracked(truth, truth + np.array([shift, 0, 0, 0]))
    judged = accuracy([one])
    assert judged.value("average_overlap") == pytest.approx((100 - shift) / (100 + shift))
    assert judged.value("success_rate_50") == (3 * shift < 100)
    assert judged.value("precision") == (shift <= 20)
    assert accuracy([one], RULES["pysot-otb"]).value("normalised_precision") == (shift <= 20)


@given(seed=SEEDS, rules=ANY_RULES)
def test_shares_are_shares_and_curves_run_one_way(seed: int, rules: Rules) -> None:
    judged = accuracy(some_sequences(seed), rules)
    for curves, direction in ((judged.success, -1), (judged.precision, 1), (judged.normalised, 1)):
        known = curves[~np.isnan(curves[:, 0])]
        assert ((known >= 0) & (known <= 1)).all()
        assert (np.diff(known, axis=1) * direction >= 0).all()


@given(seed=SEEDS, rules=ANY_RULES)
def test_a_sequence_is_judged_alike_alone_and_in_any_company(seed: int, rules: Rules) -> None:
    sequences = some_sequences(seed)
    together, backwards = accuracy(sequences, rules), accuracy(sequences[::-1], rules)
    for row, one in enumerate(sequences):
        alone = accuracy([one], rules)
        for name in ("overlap", "success", "precision", "normalised"):
            expected = getattr(alone, name)[0]
            np.testing.assert_array_equal(getattr(together, name)[row], expected)
            np.testing.assert_array_equal(getattr(backwards, name)[::-1][row], expected)


@given(seed=SEEDS)
def test_ao_is_the_mean_of_the_plain_overlap_of_visible_frames(seed: int) -> None:
    sequences = some_sequences(seed)
    overlaps = [value for one in sequences for value in plain_overlaps(one)]
    judged = accuracy(sequences)
    if overlaps:
        assert judged.value("average_overlap") == pytest.approx(np.mean(overlaps), abs=1e-9)
        assert judged.frames.sum() == len(overlaps)
    else:
        with pytest.raises(AccuracyError, match="leave no frame"):
            judged.value("average_overlap")


def plain_overlaps(one: Tracked) -> list[float]:
    """GOT-10k's rules once more, one frame at a time."""
    found = []
    for a, b, cover in list(zip(one.predicted, one.truth, one.cover, strict=True))[1:]:
        if cover > 0 and not np.isnan(b).any():
            (ax, ay, aw, ah), (bx, by, bw, bh) = inside(a, 640, 480), inside(b, 640, 480)
            width = max(min(ax + aw, bx + bw) - max(ax, bx), 0)
            height = max(min(ay + ah, by + bh) - max(ay, by), 0)
            union = aw * ah + bw * bh - width * height
            found.append(width * height / (union + np.finfo(float).eps))
    return found


def inside(box: np.ndarray, width: float, height: float) -> tuple[float, float, float, float]:
    x, y = min(max(box[0], 0), width), min(max(box[1], 0), height)
    return x, y, min(max(box[2], 0), width - x), min(max(box[3], 0), height - y)


def test_what_sticks_out_of_the_image_does_not_count_for_ao() -> None:
    truth = [[0, 0, 10, 10], [90, 10, 10, 10]]
    predicted = [[0, 0, 10, 10], [90, 10, 500, 10]]
    one = tracked(truth, predicted, image_size=(100, 100))
    assert average_overlap(one) == pytest.approx(1)
    assert average_overlap(replace(one, image_size=(600, 100))) == pytest.approx(10 / 500)


def test_a_box_that_begins_left_of_the_image_is_moved_in_whole() -> None:
    one = tracked([[0, 0, 9, 9], [0, 10, 20, 10]], [[0, 0, 9, 9], [-20, 10, 20, 10]])
    assert average_overlap(one) == pytest.approx(1)  # as the toolkit has it


def test_an_absent_frame_leaves_ao_but_is_a_miss_on_lasot() -> None:
    truth = np.tile([10.0, 10, 20, 20], (5, 1))
    present = np.array([True, True, False, True, True])
    one = tracked(truth, truth + np.outer(~present, [400, 0, 0, 0]), present=present)
    assert average_overlap(one) == 1
    assert accuracy([one], rules_named("got10k-toolkit-lasot")).value("precision") == 0.8
    for name in ("pysot-lasot", "pytracking-lasot"):
        found = accuracy([replace(one, predicted=truth)], rules_named(name)).value("precision")
        assert found == pytest.approx(0.8)  # although the box is right


def test_ao_weighs_sequences_by_their_frames() -> None:
    box = [10.0, 10, 20, 20]
    right = tracked([box] * 10, [box] * 10, name="right")
    wrong = tracked([box] * 2, [box, [300, 300, 20, 20]], name="wrong")
    assert accuracy([right, wrong]).value("average_overlap") == pytest.approx(0.9)
    assert accuracy([right, wrong], rules_named("pysot-otb")).value("precision") == 0.75


def test_empty_predictions_repeat_the_last_box_that_was_not() -> None:
    box, empty = [10.0, 10, 20, 20], [0.0, 0, 0, 0]
    one = tracked([box] * 4, [box, box, empty, empty])
    assert accuracy([one], rules_named("pytracking-otb")).value("precision") == 1
    assert accuracy([one], rules_named("pysot-otb")).value("success_rate_50") == 0.5


def test_a_box_at_the_border_is_usable_where_files_count_pixels_from_one() -> None:
    as_read = tracked([[9, 9, 20, 20], [0, 9, 20, 20]], [[9, 9, 20, 20], [0, 9, 20, 20]])
    rules = rules_named("pytracking-otb")
    assert accuracy([as_read], rules).value("precision") == 0.5
    assert accuracy([replace(as_read, first_pixel=1)], rules).value("precision") == 1


def test_a_sequence_without_a_frame_to_judge_takes_no_part() -> None:
    box = [[10, 10, 20, 20]]
    single = tracked(box, box, name="single")
    longer = tracked(box * 3, box * 3, name="longer")
    judged = accuracy([single, longer])
    assert np.isnan(judged.overlap[0])
    assert judged.value("average_overlap") == 1
    assert interval(judged).value == 1


# ---- intervals


def many(seed: int, count: int, loss: float = 0.0) -> list[Tracked]:
    """Sequences that differ much in difficulty; ``loss`` shifts every prediction a little more."""
    generator = np.random.default_rng(seed)
    shifts = generator.uniform(0, 60, count)
    truth = np.tile([200.0, 100, 80, 80], (6, 1))
    return [
        tracked(truth, truth + np.array([shift + loss, 0, 0, 0]), name=f"sequence-{index}")
        for index, shift in enumerate(shifts)
    ]


@given(seed=SEEDS)
def test_an_interval_holds_its_value_and_repeats_with_its_seed(seed: int) -> None:
    judged = accuracy(some_sequences(seed), rules_named("pysot-lasot"))
    found = interval(judged, "precision", seed=seed, resamples=200)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.value == judged.value("precision")
    assert found == interval(judged, "precision", seed=seed, resamples=200)


def test_an_interval_is_as_wide_as_theory_says() -> None:
    judged = accuracy(many(seed=1, count=100))
    found = interval(judged)
    half = 1.96 * judged.overlap.std() / 10
    assert found.high - found.value == pytest.approx(half, rel=0.1)
    assert found.value - found.low == pytest.approx(half, rel=0.1)


def test_resamples_drawn_in_blocks_are_as_many_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = accuracy(many(seed=1, count=30))
    whole = interval(judged, resamples=999)
    monkeypatch.setattr("workers.accuracy._DRAWS_AT_ONCE", 30 * 7)
    assert interval(judged, resamples=999) == whole


def test_one_sequence_says_nothing_of_the_next() -> None:
    box = [[10, 10, 20, 20]] * 3
    found = interval(accuracy([tracked(box, box)]))
    assert (found.value, found.low, found.high) == (1, 0, 1)


def test_pairing_tells_trackers_apart_whose_intervals_overlap() -> None:
    better = accuracy(many(seed=2, count=40))
    worse = accuracy(many(seed=2, count=40, loss=2.0))
    gain = difference(better, worse)
    assert interval(worse).high > interval(better).low
    assert 0 < gain.low < gain.value < gain.high
    assert difference(worse, better).value == pytest.approx(-gain.value)
    assert gain.value == pytest.approx(interval(better).value - interval(worse).value)


def test_trackers_on_different_sequences_cannot_be_compared() -> None:
    with pytest.raises(AccuracyError, match="same sequences"):
        difference(accuracy(many(0, 3)), accuracy(many(0, 4)))


def test_accuracy_by_attribute_is_that_of_the_sequences_that_have_it() -> None:
    judged = accuracy(many(seed=3, count=20))
    even = set(judged.names[::2])
    attributes = {n: frozenset({"all", "even" if n in even else "odd"}) for n in judged.names}
    found = by_attribute(judged, "average_overlap", attributes)
    assert list(found) == ["all", "even", "odd"]
    assert [part.sequences for part in found.values()] == [20, 10, 10]
    assert found["all"].interval == interval(judged)
    assert found["even"].interval.value == pytest.approx(judged.overlap[::2].mean())


# ---- what a user can get wrong


def test_boxes_that_do_not_fit_the_frames_are_refused_with_both_numbers() -> None:
    with pytest.raises(AccuracyError, match=r"car-2: 3 predicted boxes for 2 annotated frames"):
        accuracy([tracked(np.ones((2, 4)), np.ones((3, 4)), name="car-2")])
    with pytest.raises(AccuracyError, match=r"car-2: 1 flags of presence for 2 annotated"):
        accuracy([tracked(np.ones((2, 4)), np.ones((2, 4)), name="car-2", present=[True])])
    with pytest.raises(AccuracyError, match=r"expected predicted boxes of shape \(frames, 4\)"):
        accuracy([tracked([[1, 1, 1, 1]], [1, 1, 1, 1])])


@pytest.mark.parametrize("value", [NAN, float("inf")])
def test_a_prediction_that_is_no_number_is_refused_with_its_frame(value: float) -> None:
    predicted = np.ones((5, 4))
    predicted[3, 1] = value
    with pytest.raises(AccuracyError, match=r"not a finite number.* frame 3"):
        accuracy([tracked(np.ones((5, 4)), predicted)])


def test_rules_that_refuse_negative_sizes_say_so() -> None:
    one = tracked([[1, 1, 5, 5]] * 2, [[1, 1, 5, 5], [1, 1, -5, 5]])
    with pytest.raises(AccuracyError, match=r"negative width or height.*pytracking-otb.*frame 1"):
        accuracy([one], rules_named("pytracking-otb"))
    assert accuracy([one], rules_named("pysot-otb")).value("success_rate_50") == 0.5


def test_clipping_without_an_image_size_is_refused() -> None:
    with pytest.raises(AccuracyError, match="image_size"):
        accuracy([replace(EDGES, image_size=None)])


def test_a_sequence_given_twice_and_no_sequence_at_all_are_refused() -> None:
    with pytest.raises(AccuracyError, match="edges more than once"):
        accuracy([EDGES, EDGES])
    with pytest.raises(AccuracyError, match="none at all"):
        accuracy([])


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no accuracy rules named 'vot'; choose one of got10k, "):
        rules_named("vot")
    with pytest.raises(AccuracyError, match="no measure called 'auc'; choose one of average_"):
        accuracy([EDGES]).value("auc")  # type: ignore[arg-type]
    with pytest.raises(AccuracyError, match="no attributes given for edges"):
        by_attribute(accuracy([EDGES]), "success", {})
