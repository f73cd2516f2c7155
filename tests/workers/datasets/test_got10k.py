from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.workers.datasets.miniature import (
    encoded,
    got10k,
    numbers_of,
    picture,
    problems_of,
    rows,
    write_rows,
)
from workers.datasets import DatasetError, dataset, demand_truth

READER = dataset("got10k")
problems = partial(problems_of, READER)


def test_a_split_is_what_its_list_names_in_name_order(tmp_path: Path) -> None:
    got10k(tmp_path, "val", ("_3", "_1"))
    sequences = READER.load(tmp_path, "val")
    assert [s.name for s in sequences] == ["GOT-10k_Val_000001", "GOT-10k_Val_000003"]
    assert numbers_of(sequences[0].frames[i] for i in range(5)) == [1, 2, 3, 4, 5]


def test_boxes_are_taken_as_written(tmp_path: Path) -> None:
    got10k(tmp_path, "train")
    assert READER.load(tmp_path, "train")[0].boxes.tolist() == [list(row) for row in rows(5)]


def test_labels_say_where_the_target_can_be_seen(tmp_path: Path) -> None:
    directory, *_ = got10k(tmp_path, "val", ("_1",))
    (directory / "cover.label").write_text("8\n0\n1\n8\n4\n")
    (directory / "absence.label").write_text("0\n0\n0\n1\n0\n")
    write_rows(directory / "groundtruth.txt", [*rows(3), (-1, -1, -1, -1), *rows(1)])
    sequence = READER.load(tmp_path, "val")[0]
    assert sequence.present.tolist() == [True, False, True, False, True]
    assert sequence.cover is not None
    assert sequence.cover.tolist() == [8, 0, 1, 8, 4]
    assert sequence.boxes[3].tolist() == [-1, -1, -1, -1]
    assert sequence.numbers["visibility"] == pytest.approx(21 / 40)
    assert problems(tmp_path) == []


def test_what_a_video_shows_becomes_attributes(tmp_path: Path) -> None:
    directory, *_ = got10k(tmp_path, "val", ("_1",))
    (directory / "cut_by_image.label").write_text("0\n1\n0\n0\n0\n")
    assert READER.load(tmp_path, "val")[0].attributes == {
        "object_class: anteater",
        "motion_class: walking",
        "root_class: animal",
        "cut_by_image",
    }


def unlabelled(root: Path) -> Path:
    """A test video without its labels."""
    directory, *_ = got10k(root, "test", ("_1",))
    for file in (*directory.glob("*.label"), directory / "meta_info.ini"):
        file.unlink()
    return directory


def test_a_test_video_has_one_box_and_no_labels(tmp_path: Path) -> None:
    directory = unlabelled(tmp_path)
    (directory / "groundtruth.txt").write_text("3.0000,4.0000,5.0000,6.0000\n")
    sequence = READER.load(tmp_path, "test")[0]
    assert sequence.boxes[0].tolist() == [3, 4, 5, 6]
    assert sequence.boxes.shape == (5, 4)
    assert np.isnan(sequence.boxes[1:]).all()
    assert sequence.present.all()
    assert sequence.cover is None
    assert problems(tmp_path) == []


def test_the_test_split_can_be_tracked_but_nobody_can_judge_by_it_here(tmp_path: Path) -> None:
    (unlabelled(tmp_path) / "groundtruth.txt").write_text("3,4,5,6\n")
    got10k(tmp_path, "val")
    with pytest.raises(DatasetError, match=r"^GOT-10k_Test_000001: .* test split is not published"):
        demand_truth([*READER.load(tmp_path, "val"), *READER.load(tmp_path, "test")])
    demand_truth(READER.load(tmp_path, "val"))


def test_who_has_the_boxes_of_test_videos_may_judge_by_them(tmp_path: Path) -> None:
    unlabelled(tmp_path)
    sequences = READER.load(tmp_path, "test")
    demand_truth(sequences)
    assert np.isfinite(sequences[0].boxes).all()


def test_a_single_box_is_too_few_outside_the_test_split(tmp_path: Path) -> None:
    directory, *_ = got10k(tmp_path, "val", ("_1",))
    (directory / "groundtruth.txt").write_text("3,4,5,6\n")
    with pytest.raises(DatasetError, match=r"groundtruth\.txt: has 1 boxes for 5 frames"):
        READER.load(tmp_path, "val")


def test_the_size_may_change_within_a_video(tmp_path: Path) -> None:
    directory, *_ = got10k(tmp_path, "train", ("_1",))
    cv2.imwrite(str(directory / "00000003.jpg"), picture(3, 64, 48))
    assert READER.load(tmp_path, "train")[0].frames[2].shape == (48, 64, 3)
    assert problems(tmp_path) == []


def test_a_listed_video_that_is_not_there_is_named(tmp_path: Path) -> None:
    got10k(tmp_path, "val", ("_1",))
    (tmp_path / "val" / "list.txt").write_text("GOT-10k_Val_000001\nGOT-10k_Val_000002\n")
    with pytest.raises(DatasetError, match=r"GOT-10k_Val_000002: is in list\.txt but not here"):
        READER.load(tmp_path, "val")
    assert problems(tmp_path) == [
        "val/GOT-10k_Val_000002: is in list.txt but not here; extract this sequence again"
    ]


def test_a_split_without_its_list_says_where_it_should_be(tmp_path: Path) -> None:
    got10k(tmp_path, "val")
    with pytest.raises(DatasetError, match=r"train/list\.txt: this file is missing"):
        READER.load(tmp_path, "train")
    with pytest.raises(DatasetError, match="no split 'validation'; choose one of train, val, test"):
        READER.load(tmp_path, "validation")


def test_a_root_that_is_already_the_split_is_explained(tmp_path: Path) -> None:
    got10k(tmp_path, "val")
    found = READER.check(tmp_path / "val", lambda name: None)
    assert [p.path for p in found] == [tmp_path / "val"]
    assert "ROOT/train|val|test/list.txt" in found[0].message


def test_every_fault_of_a_tree_is_found_in_one_go(tmp_path: Path) -> None:
    a, b = sorted(got10k(tmp_path, "val"))
    (a / "00000002.jpg").write_bytes(encoded()[:300])
    (a / "00000004.jpg").write_bytes(b"")
    (a / "cover.label").unlink()
    (a / "absence.label").write_text("0\n0\n")
    write_rows(a / "groundtruth.txt", [*rows(4), (30, 20, 0, 5)])
    (b / "00000003.jpg").unlink()
    (b / "cut_by_image.label").write_text("0\n0\n7\n0\n")
    write_rows(b / "groundtruth.txt", [*rows(4), (90, 20, 5, 5)])
    (tmp_path / "val" / "GOT-10k_Val_000009").mkdir()
    found = problems(tmp_path)
    expected = [
        "val/GOT-10k_Val_000009: is not in list.txt",
        "val/GOT-10k_Val_000001/absence.label: has 2 labels, expected 5",
        "val/GOT-10k_Val_000001/cover.label: this file is missing",
        "val/GOT-10k_Val_000001/00000002.jpg: this image is cut off after 300 bytes",
        "val/GOT-10k_Val_000001/00000004.jpg: this image is empty",
        "val/GOT-10k_Val_000001/groundtruth.txt: box of frame 5: (30, 20, 0, 5) has no area",
        "val/GOT-10k_Val_000002/groundtruth.txt: has 5 boxes for 4 frames; image 00000003.jpg is",
        "val/GOT-10k_Val_000002/absence.label: has 5 labels, expected 4",
        "val/GOT-10k_Val_000002/cut_by_image.label: has '7'",
        "val/GOT-10k_Val_000002/cover.label: has 5 labels, expected 4",
    ]
    assert [f[: len(e)] for f, e in zip(found, expected, strict=True)] == expected


def test_a_box_without_area_is_kept_as_published(tmp_path: Path) -> None:
    # GOT-10k_Train_004419 begins with five of them; protocols differ in what they make of it.
    directory, *_ = got10k(tmp_path, "train", ("_1",))
    write_rows(directory / "groundtruth.txt", [(9, 0, 15, 0), *rows(4)])
    assert READER.load(tmp_path, "train")[0].boxes[0].tolist() == [9, 0, 15, 0]
    assert len(problems(tmp_path)) == 1
