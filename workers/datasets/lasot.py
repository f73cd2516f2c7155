"""LaSOT (Fan et al., CVPR 2019 and IJCV 2021): 1,400 long videos in 70 classes, and its extension.

ROOT/airplane/airplane-1/ as published, or ROOT/airplane-1/ as pysot wants it; each has
img/00000001.jpg ..., groundtruth.txt (x,y,w,h), and full_occlusion.txt and out_of_view.txt: one
line of 0 and 1 between commas. ROOT/testing_set.txt names the 280 videos of the split ``test``,
training_set.txt or all others make ``train``.

- Pixels are counted from 1. pysot and pytracking use the boxes as written, which leaves overlaps
  as they are and puts every crop off by one pixel; here they are 0-based.
- ``present`` is neither fully occluded nor out of view. Boxes in other frames mean nothing.
- Of monkey-17 the authors' toolkit evaluates 2,260 frames; the rest is dropped here too.
- Seven published boxes have no area though the target is there (tiger-6, frame 118). ``load``
  gives them as published: accuracy protocols differ in what they do with them.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from workers.datasets._boxes import read_boxes, read_labels
from workers.datasets._checking import Findings, check_tree
from workers.datasets._frames import image_frames, same_count
from workers.datasets._sequence import Problem, Sequence
from workers.datasets._tree import (
    Complain,
    Entry,
    demand_split,
    load_entries,
    read_names,
    refuse,
    subdirectories,
)

SPLITS: tuple[str, ...] = ("all", "train", "test")
FIRST_PIXEL = 1

_LAYOUT = "ROOT/airplane/airplane-1/groundtruth.txt or ROOT/airplane-1/groundtruth.txt"
_LISTS = {"train": "training_set.txt", "test": "testing_set.txt"}
_ANNOTATIONS = {"full_occlusion": "full_occlusion.txt", "out_of_view": "out_of_view.txt"}
_FRAMES = {"monkey-17": 2260}
_NO_AREA: Mapping[str, int] = {
    "lion-5": 553,
    "lizard-16": 322,
    "microphone-6": 1109,
    "person-7": 2111,
    "pool-14": 146,
    "tank-17": 627,
    "tiger-6": 118,
}


def load(root: Path, split: str, *, count: int | None = None) -> list[Sequence]:
    demand_split(split, SPLITS)
    return load_entries(
        _entries(root, split, refuse), root, f"{_LAYOUT}, in split {split!r}", count
    )


def check(root: Path, report: Callable[[str], None]) -> list[Problem]:
    complain = Findings()
    entries = _entries(root, "all", complain)
    check_tree(entries, root, _LAYOUT, complain, report)
    found = {entry.name: entry.box_file.parent for entry in entries}
    for split, listing in _LISTS.items():
        if (root / listing).is_file():
            _listed(root, split, found, complain)
    return complain.problems


def _entries(root: Path, split: str, complain: Complain) -> list[Entry]:
    found = {directory.name: directory for directory in _directories(root, complain)}
    names = found if split == "all" else _listed(root, split, found, complain)
    return [
        Entry(
            name=name,
            box_file=found[name] / "groundtruth.txt",
            read=partial(_read, found[name]),
            known_faults=frozenset({_NO_AREA[name]} if name in _NO_AREA else ()),
        )
        for name in names
    ]


def _directories(root: Path, complain: Complain) -> list[Path]:
    """The sequences, whether they lie in a directory for each class or side by side."""
    found: list[Path] = []
    for directory in subdirectories(root, complain):
        parts = ("groundtruth.txt", "img", *_ANNOTATIONS.values())
        if any((directory / part).exists() for part in parts):
            found.append(directory)
            continue
        inner = subdirectories(directory, complain)
        if not inner:
            complain(directory, f"is neither a sequence nor a class of them; expected {_LAYOUT}")
        found.extend(inner)
    return found


def _listed(root: Path, split: str, found: Mapping[str, Path], complain: Complain) -> list[str]:
    """The names in a split's list that are in the tree; the others are complained of."""
    listing = root / _LISTS[split]
    testing = root / _LISTS["test"]
    if split == "train" and not listing.is_file() and testing.is_file():
        return sorted(found.keys() - set(read_names(testing, complain)))
    if not listing.is_file():
        complain(listing, "is missing; put the authors' list there, or use split 'all'")
        return []
    names = read_names(listing, complain)
    flat = any(directory.parent == root for directory in found.values())
    for name in names:
        if name not in found:
            at = root / name if flat else root / name.rpartition("-")[0] / name
            complain(at, f"is in {listing.name} but not here; extract this sequence again")
    return [name for name in names if name in found]


def _read(directory: Path, complain: Complain) -> Sequence:
    images = image_frames(directory / "img", complain)
    box_file = directory / "groundtruth.txt"
    rows = read_boxes(box_file, complain, "xywh", FIRST_PIXEL)
    kept = slice(_FRAMES.get(directory.name))
    frames, boxes = images.part(kept), rows[kept]
    same_count(frames, boxes, box_file, complain)
    # Copies differ in which of its files the authors have cut already.
    count = len(rows if directory.name in _FRAMES else images)
    present = np.ones(len(frames), bool)
    attributes = set()
    for attribute, file in _ANNOTATIONS.items():
        labels = read_labels(directory / file, count, complain)
        if labels is not None:
            present &= labels[kept] == 0
            attributes |= {attribute} if labels[kept].any() else set()
    return Sequence(
        name=directory.name,
        frames=frames,
        boxes=boxes,
        present=present,
        attributes=frozenset(attributes),
    )
