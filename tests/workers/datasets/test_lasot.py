from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.workers.datasets.miniature import (
    lasot_sequence,
    numbers_of,
    problems_of,
    rows,
    write_rows,
)
from workers.datasets import DatasetError, dataset

READER = dataset("lasot")
problems = partial(problems_of, READER)


@pytest.fixture(params=["nested", "flat"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """airplane-1, airplane-10 and bus-2, of which airplane-10 is for testing."""
    for name in ("airplane-1", "airplane-10", "bus-2"):
        parent = tmp_path / name.partition("-")[0] if request.param == "nested" else tmp_path
        lasot_sequence(parent / name)
    (tmp_path / "testing_set.txt").write_text("airplane-10\n")
    (tmp_path / "airplane.zip").write_bytes(b"left behind")
    return tmp_path


def names(root: Path, split: str) -> list[str]:
    return [sequence.name for sequence in READER.load(root, split)]


def test_both_published_trees_are_read_alike(tree: Path) -> None:
    assert names(tree, "all") == ["airplane-1", "airplane-10", "bus-2"]
    sequence = READER.load(tree, "all")[2]
    assert numbers_of(sequence.frames[i] for i in range(5)) == [1, 2, 3, 4, 5]
    assert problems(tree) == []


def test_the_split_is_what_the_lists_of_the_tree_say(tree: Path) -> None:
    assert names(tree, "test") == ["airplane-10"]
    assert names(tree, "train") == ["airplane-1", "bus-2"]
    (tree / "training_set.txt").write_text("bus-2\n")
    assert names(tree, "train") == ["bus-2"]


def test_without_a_list_there_are_no_splits(tree: Path) -> None:
    (tree / "testing_set.txt").unlink()
    for split, file in (("test", "testing_set.txt"), ("train", "training_set.txt")):
        with pytest.raises(DatasetError, match=rf"{file}: is missing; .* use split 'all'"):
            READER.load(tree, split)
    assert len(names(tree, "all")) == 3


def test_a_listed_sequence_that_is_not_there_is_named(tree: Path) -> None:
    (tree / "testing_set.txt").write_text("airplane-10\nbus-5\n")
    with pytest.raises(DatasetError, match=r"bus-5: is in testing_set\.txt but not here"):
        READER.load(tree, "test")
    nested = "bus/" if (tree / "bus").is_dir() else ""
    assert [p.partition(":")[0] for p in problems(tree)] == [f"{nested}bus-5"]


def test_pixels_are_counted_from_zero(tree: Path) -> None:
    boxes = READER.load(tree, "all")[0].boxes
    np.testing.assert_array_equal(boxes, np.array(rows(5)) - [1, 1, 0, 0])


def test_a_target_is_present_when_neither_hidden_nor_out_of_view(tmp_path: Path) -> None:
    lasot_sequence(tmp_path / "cat-1")
    (tmp_path / "cat-1" / "full_occlusion.txt").write_text("0,1,0,1,0\n")
    (tmp_path / "cat-1" / "out_of_view.txt").write_text("0,0,0,1,1")
    write_rows(tmp_path / "cat-1" / "groundtruth.txt", [*rows(3), (0, 0, 0, 0), (1, 1, -1, -1)])
    sequence = READER.load(tmp_path, "all")[0]
    assert sequence.present.tolist() == [True, False, True, False, False]
    assert sequence.attributes == {"full_occlusion", "out_of_view"}
    assert problems(tmp_path) == []


def test_the_frames_that_the_toolkit_leaves_out_of_monkey_17_are_left_out(tmp_path: Path) -> None:
    lasot_sequence(tmp_path / "monkey" / "monkey-17", 2263)
    sequence = READER.load(tmp_path, "all")[0]
    assert len(sequence.frames) == len(sequence.boxes) == len(sequence.present) == 2260
    # Some copies have the boxes cut already.
    for file in ("full_occlusion.txt", "out_of_view.txt"):
        (tmp_path / "monkey" / "monkey-17" / file).write_text(",".join(["0"] * 2260))
    write_rows(tmp_path / "monkey" / "monkey-17" / "groundtruth.txt", rows(2260))
    assert len(READER.load(tmp_path, "all")[0].frames) == 2260


def test_any_other_sequence_with_too_few_boxes_is_refused(tmp_path: Path) -> None:
    lasot_sequence(tmp_path / "monkey" / "monkey-16")
    write_rows(tmp_path / "monkey" / "monkey-16" / "groundtruth.txt", rows(4))
    for file in ("full_occlusion.txt", "out_of_view.txt"):
        (tmp_path / "monkey" / "monkey-16" / file).write_text("0,0,0,0")
    with pytest.raises(DatasetError, match=r"groundtruth\.txt: has 4 boxes for 5 frames"):
        READER.load(tmp_path, "all")


def test_published_boxes_without_area_are_known(tmp_path: Path) -> None:
    lasot_sequence(tmp_path / "tiger" / "tiger-6", 120)
    boxes = rows(120)
    boxes[117] = (613, 731, 247, -11)
    write_rows(tmp_path / "tiger" / "tiger-6" / "groundtruth.txt", boxes)
    assert READER.load(tmp_path, "all")[0].boxes[117].tolist() == [612, 730, 247, -11]
    assert problems(tmp_path) == []
    boxes[3] = boxes[117]
    write_rows(tmp_path / "tiger" / "tiger-6" / "groundtruth.txt", boxes)
    assert len(problems(tmp_path)) == 1
    assert "box of frame 4: (612, 730, 247, -11) has no area" in problems(tmp_path)[0]


def test_every_fault_of_a_tree_is_found_in_one_go(tree: Path) -> None:
    home = tree / "bus" / "bus-2" if (tree / "bus").is_dir() else tree / "bus-2"
    (home / "full_occlusion.txt").unlink()
    (home / "out_of_view.txt").write_text("0,0,x,0,0")
    (home / "img" / "00000005.jpg").write_bytes(b"no picture at all")
    other = home.parent.parent / "empty" if home.parent != tree else tree / "empty"
    other.mkdir()
    found = {p.removeprefix("bus/").partition(":")[0] for p in problems(tree)}
    assert found == {
        "bus-2/full_occlusion.txt",
        "bus-2/out_of_view.txt",
        "bus-2/img/00000005.jpg",
        "empty",
    }


def test_a_sequence_without_ground_truth_is_still_a_sequence(tree: Path) -> None:
    home = next(tree.rglob("bus-2"))
    (home / "groundtruth.txt").unlink()
    with pytest.raises(DatasetError, match=r"bus-2/groundtruth\.txt: this file is missing"):
        READER.load(tree, "all")


def test_a_directory_that_is_not_there_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere: there is no such directory"):
        READER.load(tmp_path / "nowhere", "all")
    with pytest.raises(DatasetError, match=r"holds no sequence; expected ROOT/airplane"):
        READER.load(tmp_path, "all")
