"""Nights made by hand: what was gained, what was lost, and when it is said to have regressed."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import ParetrackError
from service.nights import NightsError, compare
from service.recorded import RecordedJob, RecordedTrial
from workers.metrics import limit_from_text, metric

TEACHER = {"average_overlap": 0.8, "macs_frame": 1000.0, "parameters": 500.0}
OBJECTIVES = (metric("average_overlap"), metric("macs_frame"))
Point = tuple[float, float]  # overlap, MACs


def job(name: str, points: Sequence[Point], limits: Sequence[str] = ()) -> RecordedJob:
    """One whose trials were all judged to the end."""
    return RecordedJob(
        name=name,
        objectives=OBJECTIVES,
        metrics=OBJECTIVES,
        limits=tuple(limit_from_text(text) for text in limits),
        teacher=TEACHER,
        trials=tuple(trial(k, *point) for k, point in enumerate(points)),
        ended="budget",
        stored_reference=(0.0, TEACHER["macs_frame"]),
    )


def trial(number: int, overlap: float, macs: float) -> RecordedTrial:
    return RecordedTrial(
        number=number,
        state="COMPLETE",
        holds=True,
        figures={"average_overlap": overlap, "macs_frame": macs, "parameters": macs / 2},
        params={},
        ended=datetime(2026, 1, 1, tzinfo=UTC),
    )


LAST = job("monday", [(0.5, 500.0), (0.6, 700.0)])


def test_points_are_gained_and_lost_and_the_hypervolume_says_how_much() -> None:
    tonight = job("tuesday", [(0.55, 500.0), (0.58, 700.0), (0.3, 900.0), (0.7, 900.0)])
    found = compare(tonight, LAST, LAST)
    # 0 is better than Monday's 0; Monday's 1 beats tonight's 1; 2 is on no front; 3 is new ground.
    assert [(p.trial, p.figures) for p in found.gained] == [
        (0, {"average_overlap": 0.55, "macs_frame": 500.0}),
        (3, {"average_overlap": 0.7, "macs_frame": 900.0}),
    ]
    assert [p.trial for p in found.lost] == [1]
    # Of 1.0 x 1000: 500 * 0.5 + 300 * 0.1 on Monday.
    assert found.last is not None
    assert found.last.hypervolume == pytest.approx(0.28)
    assert found.tonight.hypervolume == pytest.approx((500 * 0.55 + 300 * 0.03 + 100 * 0.12) / 1000)
    assert (found.tonight.job, found.tonight.points) == ("tuesday", 3)
    assert found.change == pytest.approx(0.296 / 0.28 - 1)
    assert found.short_by == pytest.approx(0.02 / 0.2)  # of the overlaps' range, at 700 MACs
    assert not found.regressed
    assert found.words == (
        "hypervolume 0.2960, last night 0.2800 (+5.7%), the best night 0.2800 (+5.7%); 2 points "
        "gained (trials 0, 3); 1 point lost (trial 1 of last night)"
    )


def test_it_regressed_if_the_hypervolume_fell_by_more_than_the_tolerance() -> None:
    tonight = job("tuesday", [(0.5, 500.0), (0.58, 700.0)])  # 0.274
    worse = compare(tonight, LAST, None, tolerance=0.02)
    assert worse.regressed
    assert worse.change == pytest.approx(-0.006 / 0.28)
    assert worse.words.startswith("regressed by more than 2% of last night's hypervolume; ")
    assert not compare(tonight, LAST, None, tolerance=0.03).regressed
    assert compare(tonight, LAST, None).regressed
    assert not compare(LAST, LAST, None, tolerance=0.0).regressed


def test_a_night_that_finds_nothing_regressed_and_lost_everything() -> None:
    found = compare(job("tuesday", []), LAST, LAST)
    assert found.regressed
    assert found.change == -1.0
    assert found.gained == ()
    assert [p.trial for p in found.lost] == [0, 1]
    assert found.short_by is None
    json.dumps(asdict(found), allow_nan=False)


def test_after_a_night_that_found_nothing_everything_is_gained() -> None:
    found = compare(LAST, job("sunday", []), None)
    assert (found.change, found.regressed) == (None, False)
    assert [p.trial for p in found.gained] == [0, 1]
    assert found.lost == ()


def test_a_first_night_has_nothing_to_be_compared_with() -> None:
    found = compare(LAST, None, None)
    assert (found.last, found.best, found.gained, found.lost) == (None, None, (), ())
    assert (found.change, found.change_from_best, found.short_by) == (None, None, None)
    assert not found.regressed
    assert found.words == ("hypervolume 0.2800; there is no night before to compare it with")


def test_the_best_night_is_compared_but_only_last_night_can_be_regressed_from() -> None:
    best = job("friday", [(0.7, 300.0)])
    found = compare(LAST, LAST, best)
    assert found.best is not None
    assert found.best.hypervolume == pytest.approx(0.49)
    assert found.change_from_best == pytest.approx(0.28 / 0.49 - 1)
    assert not found.regressed


def test_all_nights_are_counted_from_the_worst_of_their_references() -> None:
    # The teacher was measured anew, and slower.
    slower = replace(LAST, name="tuesday", stored_reference=(0.0, 1200.0))
    for tonight, last in ((slower, LAST), (LAST, slower)):
        found = compare(tonight, last, None)
        assert found.reference == {"average_overlap": 0.0, "macs_frame": 1200.0}
        assert found.last is not None
        assert found.tonight.hypervolume == found.last.hypervolume
        assert found.change == 0.0


def test_a_limit_that_was_tightened_is_no_loss() -> None:
    tonight = job("tuesday", [(0.5, 500.0)], limits=["macs_frame<=600"])
    found = compare(tonight, LAST, LAST)
    assert found.lost == ()
    assert found.last is not None
    assert (found.last.points, found.change) == (1, 0.0)


def test_trials_that_broke_a_limit_or_did_not_end_are_on_no_front() -> None:
    good = trial(9, 0.9, 100.0)
    for bad in (replace(good, holds=False), replace(good, state="RUNNING")):
        assert compare(replace(LAST, trials=(*LAST.trials, bad)), LAST, None).gained == ()


def test_a_night_over_other_objectives_is_read_over_those_of_tonight() -> None:
    metrics = (metric("average_overlap"), metric("parameters"))
    tonight = replace(LAST, name="tuesday", objectives=metrics, metrics=metrics)
    tonight = replace(tonight, stored_reference=(0.0, 500.0))
    found = compare(tonight, LAST, None)
    assert (found.gained, found.lost, found.change) == ((), (), 0.0)
    assert set(found.reference) == {"average_overlap", "parameters"}


def test_a_night_that_never_measured_tonights_cost_is_refused_with_what_it_has() -> None:
    metrics = (metric("average_overlap"), metric("peak_memory"))
    tonight = replace(LAST, objectives=metrics, metrics=metrics, stored_reference=(0.0, 1.0))
    tonight = replace(tonight, trials=())
    with pytest.raises(ParetrackError, match=r"'monday' has not measured peak_memory.*macs_frame"):
        compare(tonight, LAST, None)


@pytest.mark.parametrize("tolerance", [-0.1, 1.0, math.nan])
def test_a_tolerance_that_is_no_share_is_refused(tolerance: float) -> None:
    with pytest.raises(NightsError, match=r"0 or more and below 1"):
        compare(LAST, LAST, None, tolerance=tolerance)


def test_a_long_list_of_points_is_counted_in_words_and_complete_as_values() -> None:
    many = job("tuesday", [(0.1 + k / 100, 200.0 + 10 * k) for k in range(30)])
    found = compare(many, job("monday", []), None)
    assert len(found.gained) == 30
    assert "30 points gained (trials 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 20 more)" in found.words


POINTS = st.lists(
    st.tuples(
        st.sampled_from([0.2, 0.4, 0.5, 0.6]), st.sampled_from([100.0, 300.0, 400.0, 1500.0])
    ),
    max_size=8,
)


@settings(deadline=None)
@given(POINTS)
def test_a_front_against_itself_gains_nothing_and_loses_nothing(points: list[Point]) -> None:
    night = job("monday", points)
    found = compare(night, night, night, tolerance=0.0)
    assert (found.gained, found.lost, found.regressed) == ((), (), False)
    assert found.change in (0.0, None)
    assert found.short_by in (0.0, None)


@settings(deadline=None)
@given(POINTS, POINTS)
def test_what_one_night_gains_the_other_way_round_is_lost(
    mine: list[Point], theirs: list[Point]
) -> None:
    tonight, last = job("tuesday", mine), job("monday", theirs)
    found, back = compare(tonight, last, last), compare(last, tonight, None)
    assert found.gained == back.lost
    assert found.lost == back.gained
    for point in found.lost:
        overlap, macs = point.figures.values()
        assert not any(o >= overlap and m <= macs for o, m in mine)
    assert json.loads(json.dumps(asdict(found), allow_nan=False))["words"] == found.words
    if not found.lost:
        assert not found.regressed
