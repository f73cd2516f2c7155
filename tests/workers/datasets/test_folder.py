from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.workers.datasets.miniature import (
    encoded,
    folder_sequence,
    numbers_of,
    only_sequence,
    picture,
    problems_of,
    rows,
    write_images,
    write_rows,
    write_video,
)
from workers.datasets import DatasetError, VideoFrames, dataset

READER = dataset("folder")
only = partial(only_sequence, READER)
problems = partial(problems_of, READER)


def refusal(root: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        READER.load(root, "all")
    return str(caught.value).replace(f"{root}/", "")


def test_a_directory_of_sequences_and_one_sequence_are_both_data_sets(tmp_path: Path) -> None:
    folder_sequence(tmp_path / "b")
    folder_sequence(tmp_path / "a")
    (tmp_path / "README.md").write_text("about")
    assert [s.name for s in READER.load(tmp_path, "all")] == ["a", "b"]
    assert only(tmp_path / "b").name == "b"
    assert problems(tmp_path) == []


@pytest.mark.parametrize("place", [".", "img", "imgs", "color", "frames"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
def test_images_are_found_where_people_put_them(tmp_path: Path, place: str, suffix: str) -> None:
    write_images(tmp_path / place, [1, 2, 10], digits=1, suffix=suffix)
    write_rows(tmp_path / "groundtruth.txt", rows(3))
    frames = only(tmp_path).frames
    assert numbers_of(frames[i] for i in range(3)) == [1, 2, 10]


def test_a_video_file_is_read_frame_by_frame(tmp_path: Path) -> None:
    write_video(tmp_path / "cat" / "clip.avi", 6)
    write_rows(tmp_path / "cat" / "boxes.txt", rows(6))
    sequence = only(tmp_path)
    assert isinstance(sequence.frames, VideoFrames)
    assert numbers_of(sequence.frames[i] for i in range(6)) == [0, 1, 2, 3, 4, 5]
    assert problems(tmp_path) == []


@pytest.mark.parametrize(
    "name", ["groundtruth.txt", "groundtruth_rect.txt", "gt.txt", "boxes.txt", "my boxes.csv"]
)
@pytest.mark.parametrize("separator", [",", "\t", " "])
def test_the_box_file_has_one_of_the_usual_names(tmp_path: Path, name: str, separator: str) -> None:
    write_images(tmp_path, range(5))
    write_rows(tmp_path / name, rows(5), separator)
    assert only(tmp_path).boxes.tolist() == [list(row) for row in rows(5)]


def test_eight_numbers_are_a_polygon(tmp_path: Path) -> None:
    write_images(tmp_path, range(2))
    (tmp_path / "groundtruth.txt").write_text("10,4,20,10,10,16,0,10\n1,2,5,2,5,9,1,9\n")
    assert only(tmp_path).boxes.tolist() == [[0, 4, 20, 12], [1, 2, 4, 7]]


@pytest.mark.parametrize("place", ["one", "."])
def test_options_stand_beside_the_box_file_or_in_the_root(tmp_path: Path, place: str) -> None:
    write_images(tmp_path / "one", range(2))
    (tmp_path / "one" / "gt.txt").write_text("2 3 12 8\n3 3 13 9\n")
    (tmp_path / place / "paretrack.json").write_text('{"boxes": "xyxy", "first_pixel": 1}')
    assert only(tmp_path).boxes.tolist() == [[1, 2, 10, 5], [2, 2, 10, 6]]


@pytest.mark.parametrize(
    "options",
    ["{", "[]", '{"boxes": "xywx"}', '{"first_pixel": 2}', '{"frist_pixel": 1}', '{"boxes": []}'],
)
def test_options_that_mean_nothing_are_refused(tmp_path: Path, options: str) -> None:
    folder_sequence(tmp_path)
    (tmp_path / "paretrack.json").write_text(options)
    assert refusal(tmp_path).startswith('paretrack.json: expected {"boxes": "xywh" | "xyxy"')
    assert len(problems(tmp_path)) == 1


def test_an_absent_target_has_no_box(tmp_path: Path) -> None:
    write_images(tmp_path, range(4))
    (tmp_path / "gt.txt").write_text("1,2,3,4\nnan,nan,nan,nan\n\n5,6,7,8\n")
    sequence = only(tmp_path)
    assert sequence.present.tolist() == [True, False, False, True]
    assert np.isnan(sequence.boxes[1:3]).all()
    assert problems(tmp_path) == []


def test_a_target_absent_at_first_cannot_be_tracked(tmp_path: Path) -> None:
    write_images(tmp_path, range(2))
    (tmp_path / "gt.txt").write_text("nan\n5,6,7,8\n")
    assert refusal(tmp_path).startswith("gt.txt: line 1: the first frame needs a box")


def test_a_box_partly_outside_the_image_is_legal(tmp_path: Path) -> None:
    write_images(tmp_path, range(3))
    write_rows(tmp_path / "gt.txt", [(-5, -5, 9, 9), (30, 20, 50, 50), (-9, -9, 100, 100)])
    assert len(only(tmp_path).boxes) == 3
    assert problems(tmp_path) == []


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ("32,0,4,4", "(32, 0, 4, 4) lies outside the image of 32x24 pixels"),
        ("3,3,0,4", "(3, 3, 0, 4) has no area"),
        ("3,3,4,inf", "(3, 3, 4, inf) is not finite"),
    ],
)
def test_a_box_that_cannot_be_is_named_by_its_line(tmp_path: Path, box: str, said: str) -> None:
    write_images(tmp_path, range(3))
    (tmp_path / "gt.txt").write_text(f"1,1,4,4\n{box}\n1,1,4,4\n")
    assert refusal(tmp_path).startswith(f"gt.txt: line 2: {said}")
    (problem,) = problems(tmp_path)
    assert problem.startswith(f"gt.txt: box of frame 2: {said}")


def test_too_many_or_too_few_boxes_are_refused(tmp_path: Path) -> None:
    folder_sequence(tmp_path / "a")
    write_rows(tmp_path / "a" / "groundtruth.txt", rows(6))
    assert refusal(tmp_path).startswith("a/groundtruth.txt: has 6 boxes for 5 frames")
    write_rows(tmp_path / "a" / "groundtruth.txt", rows(4))
    assert "needs a row of nan" in refusal(tmp_path)


def test_a_guess_between_two_sources_is_refused(tmp_path: Path) -> None:
    folder_sequence(tmp_path)
    write_rows(tmp_path / "gt.txt", rows(5))
    said = "found groundtruth.txt, gt.txt"
    with pytest.raises(DatasetError, match=said):
        READER.load(tmp_path, "all")
    (tmp_path / "gt.txt").unlink()
    write_video(tmp_path / "clip.avi", 5)
    with pytest.raises(DatasetError, match=r"one video file, found img, clip\.avi"):
        READER.load(tmp_path, "all")


def test_a_directory_without_pictures_or_boxes_is_named(tmp_path: Path) -> None:
    folder_sequence(tmp_path / "a")
    (tmp_path / "b").mkdir()
    assert refusal(tmp_path).startswith("b: needs one box file (groundtruth.txt, ")
    write_rows(tmp_path / "b" / "gt.txt", rows(2))
    assert refusal(tmp_path).startswith("b: needs images (in it or in one of img/, imgs/,")


def test_a_picture_in_two_formats_is_refused(tmp_path: Path) -> None:
    folder_sequence(tmp_path)
    (tmp_path / "img" / "3.png").write_bytes(encoded(3, ".png"))
    write_rows(tmp_path / "groundtruth.txt", rows(6))
    assert refusal(tmp_path).startswith("img: holds 1 images in two formats")


def test_pictures_of_two_sizes_are_an_error_where_they_meet(tmp_path: Path) -> None:
    folder_sequence(tmp_path)
    cv2.imwrite(str(tmp_path / "img" / "3.jpg"), picture(3, 64, 48))
    assert numbers_of([only(tmp_path).frames[3]]) == [4]
    with pytest.raises(DatasetError, match=r"3\.jpg: is 64x48"):
        only(tmp_path).frames[2]
    assert [p.partition(",")[0] for p in problems(tmp_path)] == ["img/3.jpg: is 64x48"]


def test_every_fault_of_a_tree_is_found_in_one_go(tmp_path: Path) -> None:
    folder_sequence(tmp_path / "a")
    (tmp_path / "a" / "img" / "1.jpg").write_bytes(b"")
    (tmp_path / "a" / "img" / "4.jpg").write_bytes(encoded()[:-9])
    write_rows(tmp_path / "a" / "groundtruth.txt", [*rows(3), (1, 2), (99, 99, 1, 1)])
    (tmp_path / "b").mkdir()
    write_video(tmp_path / "c" / "clip.avi", 20)
    clip = tmp_path / "c" / "clip.avi"
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    write_rows(tmp_path / "c" / "gt.txt", rows(20))
    found = [p.partition(":")[0] for p in problems(tmp_path)]
    assert sorted(set(found)) == [
        "a/groundtruth.txt",
        "a/img/1.jpg",
        "a/img/4.jpg",
        "b",
        "c/clip.avi",
        "c/gt.txt",
    ]
    assert found.count("a/groundtruth.txt") == 2
