"""A replay shows what was judged: its boxes, its overlaps, its frames."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from search_spaces import ParetrackError, load
from tests.workers.test_evaluation import tiny_candidate
from workers.boxes_file import NAME, read_boxes
from workers.candidate import Data, Measurement
from workers.checkpoints import load_tracker
from workers.datasets import DatasetError
from workers.evaluation import evaluate, sequences
from workers.predictor import TorchPredictor
from workers.replay import (
    DOCUMENT,
    LONGER_SIDE,
    MOST,
    PICTURES,
    Player,
    overlaps,
    replay,
    write_replay,
)
from workers.tracking import track_many


class Trial:
    """A candidate that was judged, and its teacher that was not."""

    def __init__(self, root: Path) -> None:
        candidate = replace(tiny_candidate(root), recipe=None, probes=(), refit=0)
        self.data = candidate.data
        self.measured: Measurement = evaluate(candidate, root / "out")
        self.candidate = Player(tracker=root / "out", judged=root / "out")
        self.teacher = Player(tracker=candidate.teacher)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    return Trial(tmp_path_factory.mktemp("replay"))


def test_boxes_are_those_that_were_judged_or_that_tracking_gives(trial: Trial) -> None:
    found, _ = replay(trial.data, "square-1", trial.candidate, trial.teacher)

    architecture, network = load_tracker(trial.teacher.tracker)
    geometry = load(architecture.family).geometry(architecture)
    sequence = sequences(trial.data, "all", None)[1]
    tracked = track_many(TorchPredictor(network, geometry), [sequence], geometry)[0].boxes
    assert np.array_equal(np.array(found.truth), sequence.boxes)
    assert np.array_equal(np.array(found.teacher.boxes), tracked)
    judged = read_boxes(trial.candidate.tracker)["square-1"]
    assert np.array_equal(np.array(found.candidate.boxes), judged)
    assert (found.candidate.as_judged, found.teacher.as_judged) == (True, False)


def test_overlaps_are_what_the_trial_was_judged_by(trial: Trial) -> None:
    assert trial.measured.accuracy is not None
    for name, judged in trial.measured.accuracy.overlap_of.items():
        found, _ = replay(trial.data, name, trial.candidate, trial.teacher)
        assert found.candidate.average_overlap == judged
        each = found.candidate.overlap
        assert each[0] is None, "the box of the first frame is given"
        assert np.mean([one for one in each if one is not None]) == pytest.approx(judged)
        assert found.rules == "got10k"


@pytest.mark.parametrize("damage", ["gone", "cut off", "other video"])
def test_boxes_that_are_of_no_use_are_tracked_again(
    trial: Trial, tmp_path: Path, damage: str
) -> None:
    kept = tmp_path / NAME
    whole = (trial.candidate.tracker / NAME).read_bytes()
    if damage == "cut off":
        kept.write_bytes(whole[: len(whole) // 2])
    elif damage == "other video":
        names = np.array(["square-1"])
        np.savez(kept, names=names, lengths=np.array([2]), boxes=np.ones((2, 4)))
    again = Player(tracker=trial.candidate.tracker, judged=tmp_path)
    found, _ = replay(trial.data, "square-1", again, trial.teacher)
    judged = read_boxes(trial.candidate.tracker)["square-1"]
    assert not found.candidate.as_judged
    assert np.allclose(np.array(found.candidate.boxes), judged, atol=1e-2)


def test_pictures_are_the_frames(trial: Trial) -> None:
    found, pictures = replay(trial.data, "square-0", trial.candidate, trial.teacher)
    sequence = sequences(trial.data, "all", None)[0]
    assert found.lengths == tuple(len(one) for one in pictures)
    assert (found.numbers, found.every, found.total) == ((0, 1, 2, 3, 4, 5), 1, 6)
    assert found.picture_size == found.video_size == (160, 120), "none is made larger"
    for number, jpeg in zip(found.numbers, pictures, strict=True):
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
        assert picture is not None
        x, y, w, h = sequence.boxes[number].astype(int)
        square = np.zeros((120, 160), bool)
        square[y : y + h, x : x + w] = True
        assert picture[square].mean() > 240 and picture[~square].mean() < 20, number


def test_a_long_video_of_large_frames_is_thinned_out_and_made_smaller(
    trial: Trial, tmp_path: Path
) -> None:
    folder, length = tmp_path / "data" / "long", 2 * MOST + 1
    folder.mkdir(parents=True)
    image = np.zeros((90, 1280, 3), np.uint8)
    for t in range(length):
        assert cv2.imwrite(str(folder / f"{t:04d}.bmp"), image)
    truth = np.tile([600.0, 30, 40, 40], (length, 1))
    truth[3] = np.nan
    np.savetxt(folder / "groundtruth.txt", truth, fmt="%g", delimiter=",")
    shape = {"names": np.array(["long"]), "lengths": np.array([length])}
    np.savez(tmp_path / NAME, **shape, boxes=np.nan_to_num(truth, nan=1.0))
    still = Player(tracker=trial.teacher.tracker, judged=tmp_path)
    data = Data(dataset="folder", root=tmp_path / "data", judged_on="all")

    found, pictures = replay(data, "long", still, still)

    assert (found.every, found.total, found.numbers[:3]) == (3, length, (0, 3, 6))
    assert len(pictures) == len(found.numbers) == len(found.truth) <= MOST
    assert found.picture_size == (LONGER_SIDE, 34) and found.video_size == (1280, 90)
    assert found.truth[1] is None and found.truth[2] == (600.0, 30.0, 40.0, 40.0)
    assert found.teacher.overlap[2] == 1.0


def test_a_frame_that_the_rules_decide_is_a_miss_or_does_not_count(trial: Trial) -> None:
    sequence = sequences(trial.data, "all", None)[0]
    hidden = sequence.present.copy()
    hidden[2] = False
    changed = replace(sequence, present=hidden)
    for rules, expected in (("got10k", (0.0, None)), ("got10k-toolkit-lasot", (1.0,))):
        each, _ = overlaps(sequence.boxes, changed, replace(trial.data, rules=rules))
        assert each[2] in expected, (rules, each)
        assert each[3] == 1.0


def test_what_is_not_there_any_more_says_so(trial: Trial, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no sequence 'other' among the 3"):
        replay(trial.data, "other", trial.candidate, trial.teacher)
    away = replace(trial.data, root=tmp_path / "away")
    with pytest.raises(DatasetError, match="away"):
        replay(away, "square-0", trial.candidate, trial.teacher)


def test_both_files_are_there_or_neither(trial: Trial, tmp_path: Path) -> None:
    found, pictures = replay(trial.data, "square-0", trial.candidate, trial.teacher)
    place = tmp_path / "replays" / "one"
    write_replay(place, found, pictures)
    before = (place / DOCUMENT).stat().st_mtime_ns
    write_replay(place, found, ())  # somebody was quicker: what is there stays
    assert (place / DOCUMENT).stat().st_mtime_ns == before
    assert (place / PICTURES).read_bytes() == b"".join(pictures)
    assert [one.name for one in place.parent.iterdir()] == ["one"]
    (tmp_path / "file").write_text("")
    with pytest.raises(ParetrackError, match="cannot be written"):
        write_replay(tmp_path / "file" / "one", found, pictures)
