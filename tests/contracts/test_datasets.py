"""What every data set promises, whatever its layout."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.workers.datasets.miniature import (
    folder_sequence,
    got10k,
    lasot_sequence,
    otb_sequence,
)
from workers.datasets import (
    DATASETS,
    Dataset,
    DatasetError,
    Sequence,
    dataset,
    prefetched,
    synthetic,
)


@dataclass(frozen=True)
class Miniature:
    """A small tree, and how to break it. Each fault is planted in the returned file."""

    split: str
    build: Callable[[Path], object]
    picture: str  # a file with a late picture, below the root
    boxes: str  # a file with a row for each frame
    load: Callable[[Path], list[Sequence]] | None = None


def _got10k(root: Path) -> None:
    got10k(root, "val", ("_2", "_1"))


def _lasot(root: Path) -> None:
    for name in ("bus-2", "airplane-1"):
        lasot_sequence(root / name.partition("-")[0] / name)


def _otb(root: Path) -> None:
    for name in ("Skiing", "Couple"):
        otb_sequence(root / name)


def _folder(root: Path) -> None:
    for name in ("b", "a"):
        folder_sequence(root / name)


_SYNTHETIC = {"count": 2, "length": 3}

MINIATURES = {
    "folder": Miniature("all", _folder, "a/img/4.jpg", "a/groundtruth.txt"),
    "got10k": Miniature(
        "val",
        _got10k,
        "val/GOT-10k_Val_000001/00000004.jpg",
        "val/GOT-10k_Val_000001/groundtruth.txt",
    ),
    "lasot": Miniature(
        "all",
        _lasot,
        "airplane/airplane-1/img/00000004.jpg",
        "airplane/airplane-1/groundtruth.txt",
    ),
    "otb": Miniature("all", _otb, "Couple/img/0004.jpg", "Couple/groundtruth_rect.txt"),
    "synthetic": Miniature(
        "val",
        lambda root: synthetic.generate(root, "val", processes=1, **_SYNTHETIC),
        "synthetic-1/val-seed0-2x3/0000.npy",
        "synthetic-1/val-seed0-2x3/index.json",
        lambda root: synthetic.load(root, "val", **_SYNTHETIC),
    ),
}


@dataclass(frozen=True)
class Tree:
    reader: Dataset
    root: Path
    miniature: Miniature

    def load(self) -> list[Sequence]:
        load = self.miniature.load or partial(self.reader.load, split=self.miniature.split)
        return load(self.root)

    def check(self) -> list[Path]:
        return [problem.path for problem in self.reader.check(self.root, lambda name: None)]

    @property
    def picture(self) -> Path:
        return self.root / self.miniature.picture

    @property
    def boxes(self) -> Path:
        return self.root / self.miniature.boxes


@pytest.fixture(params=sorted(DATASETS))
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    miniature = MINIATURES[request.param]
    miniature.build(tmp_path)
    return Tree(dataset(request.param), tmp_path, miniature)


def test_an_unknown_data_set_is_answered_with_those_there_are() -> None:
    with pytest.raises(DatasetError, match=r"named 'otb100'; choose one of folder, got10k, lasot"):
        dataset("otb100")


def test_sequences_come_in_name_order_and_their_parts_are_as_long_as_their_frames(
    tree: Tree,
) -> None:
    sequences = tree.load()
    assert len(sequences) == 2
    assert [s.name for s in sequences] == sorted({s.name for s in sequences})
    for sequence in sequences:
        count = len(sequence.frames)
        assert count > 2
        assert sequence.boxes.shape == (count, 4)
        assert sequence.boxes.dtype == np.float64
        assert sequence.present.shape == (count,)
        assert sequence.present.dtype == np.bool_
        assert np.isfinite(sequence.boxes[0]).all()
        assert (sequence.boxes[0, 2:] > 0).all()
        if sequence.cover is not None:
            assert sequence.cover.shape == (count,)
            assert sequence.cover.dtype == np.int64
            assert set(sequence.cover.tolist()) <= set(range(9))


def test_pictures_are_rgb_bytes_and_the_same_in_any_order(tree: Tree) -> None:
    frames = tree.load()[0].frames
    last_first = [frames[i] for i in reversed(range(len(frames)))]
    for image, again in zip(prefetched(frames), reversed(last_first), strict=True):
        assert image.dtype == np.uint8
        assert image.shape[2:] == (3,)
        np.testing.assert_array_equal(image, again)
    with pytest.raises(IndexError):
        frames[len(frames)]


def test_an_unknown_split_is_answered_with_those_there_are(tree: Tree) -> None:
    assert tree.miniature.split in tree.reader.SPLITS
    with pytest.raises(DatasetError, match=", ".join(tree.reader.SPLITS)):
        tree.reader.load(tree.root, "everything")


def test_a_good_tree_has_no_problems_and_every_sequence_is_reported(tree: Tree) -> None:
    heard: list[str] = []
    assert tree.reader.check(tree.root, heard.append) == []
    assert len(heard) == len(set(heard)) == 2


def test_a_corrupt_picture_is_found_by_check_and_by_reading_but_not_by_loading(
    tree: Tree,
) -> None:
    tree.picture.write_bytes(bytes(tree.picture.stat().st_size))
    assert tree.picture in tree.check()
    frames = tree.load()[0].frames
    with pytest.raises(DatasetError, match=tree.picture.name):
        list(prefetched(frames))


@pytest.mark.parametrize("part", ["picture", "boxes"])
def test_a_missing_file_is_named_by_check_and_by_load(tree: Tree, part: str) -> None:
    missing: Path = getattr(tree, part)
    missing.unlink()
    with pytest.raises(DatasetError, match=f"{missing.name}|{missing.parent.name}"):
        tree.load()
    # An image that is gone shows in the count, which is said of the file with the boxes.
    found = tree.reader.check(tree.root, lambda name: None)
    places = (missing, *missing.parents)
    assert any(p.path in places or missing.name in p.message for p in found)


def test_a_wrong_count_is_named_by_check_and_by_load(tree: Tree) -> None:
    if tree.boxes.suffix == ".json":
        tree.boxes.write_text(
            tree.boxes.read_text().replace('"sequences": [{', '"sequences": [0, {')
        )
    else:
        lines = tree.boxes.read_text().splitlines()
        tree.boxes.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(DatasetError, match=tree.boxes.name):
        tree.load()
    assert tree.boxes in tree.check()


def test_a_root_without_the_data_set_says_what_was_expected(tree: Tree, tmp_path: Path) -> None:
    nowhere = tmp_path / "elsewhere"
    nowhere.mkdir()
    assert tree.reader.check(nowhere, lambda name: None)
    with pytest.raises(DatasetError, match="elsewhere"):
        tree.reader.load(nowhere, tree.miniature.split)
