"""GOT-10k (Huang et al., TPAMI 2019): 9,335 training, 180 validation and 180 test videos.

ROOT/<split>/list.txt names the directories of ROOT/<split>/; each has 00000001.jpg ..., and
groundtruth.txt (x,y,w,h), absence.label, cover.label, cut_by_image.label and meta_info.ini.

- Boxes are taken as written, as the got10k toolkit and pytracking do: many have x or y = 0, so
  that pixels are counted from 0 or nobody knows.
- ``test`` has one box, the first: the others are withheld by the authors' server and NaN here. It
  has no labels either. It can be loaded and tracked; ``demand_truth`` refuses to judge by it.
- The size of the images changes within a few training videos (GOT-10k_Train_007947).
- A few training videos have boxes without area where the target is present. ``load`` gives them
  as published, ``check`` names them.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from workers.datasets._boxes import first_box_only, read_boxes, read_labels
from workers.datasets._checking import Findings, check_entries
from workers.datasets._frames import image_frames, same_count
from workers.datasets._sequence import Problem, Sequence
from workers.datasets._tree import (
    Complain,
    Entry,
    demand_split,
    load_entries,
    read_names,
    read_text,
    refuse,
    subdirectories,
)

SPLITS: tuple[str, ...] = ("train", "val", "test")
FIRST_PIXEL = 0

_LAYOUT = "ROOT/train|val|test/list.txt and the directories that it names"
_WITHHELD = (
    "the truth of GOT-10k's test split is not published, apart from each video's first box: the "
    "authors' server judges results on it; choose split 'val' to judge here, 'train' to learn from"
)
_DESCRIBED = ("object_class", "motion_class", "root_class")


def load(root: Path, split: str, *, count: int | None = None) -> list[Sequence]:
    demand_split(split, SPLITS)
    return load_entries(_entries(root, split, refuse), root / split, _LAYOUT, count)


def check(root: Path, report: Callable[[str], None]) -> list[Problem]:
    """The splits that are there; one alone is a data set too."""
    complain = Findings()
    there = [split for split in SPLITS if (root / split).is_dir()]
    for split in there:
        entries = _entries(root, split, complain)
        listed = {entry.name for entry in entries}
        for directory in subdirectories(root / split, complain):
            if directory.name not in listed:
                complain(
                    directory, "is not in list.txt, so that nobody reads it; list or remove it"
                )
        check_entries(entries, complain, report)
    if not there:
        complain(root, f"none of the directories train, val and test is here; expected {_LAYOUT}")
    return complain.problems


def _entries(root: Path, split: str, complain: Complain) -> list[Entry]:
    entries = []
    for name in read_names(root / split / "list.txt", complain):
        directory = root / split / name
        if directory.is_dir():
            read = partial(_read, directory, split)
            entries.append(Entry(name=name, box_file=directory / "groundtruth.txt", read=read))
        else:
            complain(directory, "is in list.txt but not here; extract this sequence again")
    return entries


def _read(directory: Path, split: str, complain: Complain) -> Sequence:
    frames = image_frames(directory, complain, same_size=False)
    box_file = directory / "groundtruth.txt"
    boxes = read_boxes(box_file, complain, "xywh", FIRST_PIXEL)
    withheld = None
    if split == "test" and len(boxes) == 1:
        boxes, withheld = first_box_only(boxes, len(frames)), _WITHHELD
    same_count(frames, boxes, box_file, complain)
    present = np.ones(len(frames), bool)
    if split == "test":
        return Sequence(
            name=directory.name, frames=frames, boxes=boxes, present=present, withheld=withheld
        )
    absent = read_labels(directory / "absence.label", len(frames), complain)
    cut = read_labels(directory / "cut_by_image.label", len(frames), complain)
    cover = read_labels(directory / "cover.label", len(frames), complain, highest=8)
    attributes = _described(directory / "meta_info.ini", complain)
    if absent is not None and absent.any():
        attributes.add("absent")
    if cut is not None and cut.any():
        attributes.add("cut_by_image")
    if absent is not None:
        present &= absent == 0
    if cover is not None:
        present &= cover > 0
    return Sequence(
        name=directory.name,
        frames=frames,
        boxes=boxes,
        present=present,
        cover=cover,
        attributes=frozenset(attributes),
        numbers={} if cover is None or not len(cover) else {"visibility": float(cover.mean() / 8)},
    )


def _described(path: Path, complain: Complain) -> set[str]:
    """What the video shows, as 'object_class: anteater'."""
    text = read_text(path, complain) or ""
    fields = [line.partition(": ") for line in text.splitlines()]
    return {f"{key}: {value.strip()}" for key, _, value in fields if key in _DESCRIBED}
