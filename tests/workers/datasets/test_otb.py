import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.workers.datasets.miniature import (
    number_of,
    only_sequence,
    otb_sequence,
    problems_of,
    rows,
    write_rows,
)
from workers.datasets import DatasetError, Sequence, dataset

READER = dataset("otb")
only = partial(only_sequence, READER)
problems = partial(problems_of, READER)


def span(sequence: Sequence) -> tuple[int, int, int]:
    """The numbers of the first and the last image, and how many there are."""
    frames = sequence.frames
    return number_of(frames[0]), number_of(frames[len(frames) - 1]), len(frames)


@pytest.mark.parametrize("separator", [",", "\t", " ", ", "])
def test_boxes_are_read_whatever_separates_them_and_counted_from_zero(
    tmp_path: Path, separator: str
) -> None:
    otb_sequence(tmp_path / "Couple", separator=separator)
    np.testing.assert_array_equal(only(tmp_path).boxes, np.array(rows(5)) - [1, 1, 0, 0])
    assert problems(tmp_path) == []


def test_two_targets_of_one_video_are_two_sequences(tmp_path: Path) -> None:
    home = tmp_path / "Jogging"
    otb_sequence(home, box_file="groundtruth_rect.1.txt")
    write_rows(home / "groundtruth_rect.2.txt", rows(5, first=3), "\t")
    one, two = READER.load(tmp_path, "all")
    assert [one.name, two.name] == ["Jogging-1", "Jogging-2"]
    assert span(one) == span(two) == (1, 5, 5)
    assert one.boxes.tolist() != two.boxes.tolist()


def test_human4_has_one_target_and_an_empty_file(tmp_path: Path) -> None:
    otb_sequence(tmp_path / "Human4", box_file="groundtruth_rect.2.txt")
    (tmp_path / "Human4" / "groundtruth_rect.1.txt").write_text("\n")
    assert only(tmp_path).name == "Human4-2"
    assert problems(tmp_path) == []


def test_any_other_empty_box_file_is_refused(tmp_path: Path) -> None:
    otb_sequence(tmp_path / "Jogging", box_file="groundtruth_rect.2.txt")
    (tmp_path / "Jogging" / "groundtruth_rect.1.txt").write_text("")
    with pytest.raises(DatasetError, match=r"groundtruth_rect\.1\.txt: has 0 boxes for 5 frames"):
        READER.load(tmp_path, "all")


@pytest.mark.parametrize(
    ("name", "images", "first", "last"),
    [
        ("David", 770, 300, 770),
        ("Diving", 231, 1, 215),
        ("Football1", 81, 1, 74),
        ("Freeman3", 474, 1, 460),
        ("Freeman4", 297, 1, 283),
    ],
)
def test_videos_annotated_in_part_begin_and_end_with_their_boxes(
    tmp_path: Path, name: str, images: int, first: int, last: int
) -> None:
    annotated = last - first + 1
    otb_sequence(tmp_path / name, images, boxes=annotated)
    sequence = only(tmp_path)
    assert span(sequence) == (first, last, annotated)
    assert sequence.boxes[0].tolist() == [0, 1, 4, 5]
    assert len(sequence.boxes) == len(sequence.present) == annotated


def test_a_copy_that_has_only_the_annotated_images_is_left_alone(tmp_path: Path) -> None:
    otb_sequence(tmp_path / "David", 471, first=300)
    assert span(only(tmp_path)) == (300, 770, 471)


def test_a_copy_with_renumbered_images_is_left_alone(tmp_path: Path) -> None:
    otb_sequence(tmp_path / "David", 471, first=1)
    assert span(only(tmp_path)) == (1, 471, 471)


@pytest.mark.parametrize("boxes", [354, 349])
def test_tiger1_starts_at_its_sixth_image(tmp_path: Path, boxes: int) -> None:
    otb_sequence(tmp_path / "Tiger1", 354, boxes=boxes)
    if boxes == 349:  # as in copies whose boxes are cut already
        write_rows(tmp_path / "Tiger1" / "groundtruth_rect.txt", rows(354)[5:])
    sequence = only(tmp_path)
    assert span(sequence) == (6, 354, 349)
    assert sequence.boxes[0].tolist() == [5, 6, 9, 5]


def test_images_may_begin_with_any_number(tmp_path: Path) -> None:
    otb_sequence(tmp_path / "BlurCar1", 10, first=247)
    assert span(only(tmp_path)) == (247, 256, 10)


@pytest.mark.parametrize("boxes", [4, 6])
def test_an_unknown_difference_between_images_and_boxes_is_refused(
    tmp_path: Path, boxes: int
) -> None:
    otb_sequence(tmp_path / "Couple", boxes=boxes)
    with pytest.raises(DatasetError, match=rf"_rect\.txt: has {boxes} boxes for 5 frames"):
        READER.load(tmp_path, "all")


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    otb_sequence(tmp_path / "Couple")
    (tmp_path / "Couple" / "img" / "0003.jpg").unlink()
    with pytest.raises(DatasetError, match=r"image 0003\.jpg is missing"):
        READER.load(tmp_path, "all")


def test_attributes_come_from_the_authors_toolkit(tmp_path: Path) -> None:
    otb_sequence(tmp_path / "Couple")
    config = {"name": "Couple", "startFrame": 1, "attributes": ["SV", "OCC"]}
    (tmp_path / "Couple" / "cfg.json").write_text(json.dumps(config))
    assert only(tmp_path).attributes == {"scale", "occlusion"}
    (tmp_path / "Couple" / "attrs.txt").write_text("IV, MB, OV\n")
    assert only(tmp_path).attributes == {"illumination", "motion_blur", "out_of_view"}


def test_a_broken_configuration_is_named(tmp_path: Path) -> None:
    otb_sequence(tmp_path / "Couple")
    (tmp_path / "Couple" / "cfg.json").write_text("{")
    with pytest.raises(DatasetError, match=r"cfg\.json: has no list 'attributes'"):
        READER.load(tmp_path, "all")


def test_the_last_box_of_twinnings_is_known_to_be_none(tmp_path: Path) -> None:
    otb_sequence(tmp_path / "Twinnings", 472)
    write_rows(tmp_path / "Twinnings" / "groundtruth_rect.txt", [*rows(471), (0, 0, 0, 0)])
    assert only(tmp_path).boxes[471].tolist() == [-1, -1, 0, 0]
    assert problems(tmp_path) == []


def test_what_an_archiver_leaves_behind_is_no_sequence(tmp_path: Path) -> None:
    otb_sequence(tmp_path / "Couple")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / ".cache").mkdir()
    (tmp_path / "README.txt").write_text("about")
    assert only(tmp_path).name == "Couple"
    (tmp_path / "Box").mkdir()
    with pytest.raises(DatasetError, match=r"Box/groundtruth_rect\.txt: is missing"):
        READER.load(tmp_path, "all")


def test_every_fault_of_a_tree_is_found_in_one_go(tmp_path: Path) -> None:
    otb_sequence(tmp_path / "Boy")
    otb_sequence(tmp_path / "Car4")
    otb_sequence(tmp_path / "Deer", boxes=3)
    (tmp_path / "Boy" / "img" / "0002.jpg").write_bytes(b"\xff\xd8\xff")
    boxes = [*rows(2), (1, 900, 3, 3), (1, 1, 3, 3), (1, 901, 3, 3)]
    write_rows(tmp_path / "Car4" / "groundtruth_rect.txt", boxes)
    (tmp_path / "Gone").mkdir()
    assert [p.partition(";")[0] for p in problems(tmp_path)] == [
        "Gone/groundtruth_rect.txt: is missing",
        "Boy/img/0002.jpg: this image is cut off after 3 bytes",
        "Car4/groundtruth_rect.txt: box of frame 3: (0, 899, 3, 3) lies outside the image of "
        "32x24 pixels",
        "Deer/groundtruth_rect.txt: has 3 boxes for 5 frames",
    ]
