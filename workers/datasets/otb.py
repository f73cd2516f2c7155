"""OTB-100 (Wu et al., TPAMI 2015), with the sequences of OTB-50 and OTB-2013 in it.

ROOT/Basketball/img/0001.jpg ... and ROOT/Basketball/groundtruth_rect.txt: x, y, w, h between
commas, tabs or spaces, whatever the annotator liked. Two targets in one video have
groundtruth_rect.1.txt and .2.txt; they are the sequences Jogging-1 and Jogging-2, as in pysot.

- Pixels are counted from 1. The toolkits use the boxes as written, which leaves overlaps as they
  are and puts every crop off by one pixel; here they are 0-based.
- Some videos are annotated in part (David from image 300 on), and the authors' toolkit starts
  Tiger1 at image 6 although all of it is annotated; so do pysot and pytracking, not got10k.
- Human4 has an empty groundtruth_rect.1.txt; its one target is Human4-2.
- The last boxes of Board and Twinnings are 0, 0, 0, 0. ``load`` gives them as published.
- Attributes come from attrs.txt or cfg.json, which the authors' Python toolkit leaves in the tree.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from workers.datasets._boxes import read_boxes
from workers.datasets._checking import Findings, check_tree
from workers.datasets._frames import ImageFrames, image_frames, same_count
from workers.datasets._sequence import Boxes, Problem, Sequence
from workers.datasets._tree import (
    Complain,
    Entry,
    demand_split,
    load_entries,
    read_text,
    refuse,
    subdirectories,
)

SPLITS: tuple[str, ...] = ("all",)
FIRST_PIXEL = 1

_LAYOUT = "ROOT/Basketball/groundtruth_rect.txt and ROOT/Basketball/img/0001.jpg"
_BOX_FILE = re.compile(r"groundtruth_rect(?:\.(\d+))?\.txt")
_EMPTY = {("Human4", "groundtruth_rect.1.txt")}
# The images that count, by their numbers, where they are not all.
_IMAGES: Mapping[str, tuple[int, int]] = {
    "David": (300, 770),
    "Diving": (1, 215),
    "Football1": (1, 74),
    "Freeman3": (1, 460),
    "Freeman4": (1, 283),
    "Tiger1": (6, 354),
}
_NO_AREA: Mapping[str, int] = {"Board": 698, "Twinnings": 472}
_ATTRIBUTES: Mapping[str, str] = {
    "BC": "background_clutter",
    "DEF": "deformation",
    "FM": "fast_motion",
    "IPR": "in_plane_rotation",
    "IV": "illumination",
    "LR": "low_resolution",
    "MB": "motion_blur",
    "OCC": "occlusion",
    "OPR": "out_of_plane_rotation",
    "OV": "out_of_view",
    "SV": "scale",
}


def load(root: Path, split: str, *, count: int | None = None) -> list[Sequence]:
    demand_split(split, SPLITS)
    return load_entries(_entries(root, refuse), root, _LAYOUT, count)


def check(root: Path, report: Callable[[str], None]) -> list[Problem]:
    complain = Findings()
    check_tree(_entries(root, complain), root, _LAYOUT, complain, report)
    return complain.problems


def _entries(root: Path, complain: Complain) -> list[Entry]:
    entries: list[Entry] = []
    for directory in subdirectories(root, complain):
        files = sorted(path for path in directory.iterdir() if _BOX_FILE.fullmatch(path.name))
        if not files:
            complain(
                directory / "groundtruth_rect.txt",
                "is missing; extract the sequence again, or remove its directory",
            )
        for file in files:
            if (directory.name, file.name) in _EMPTY and not file.read_bytes().strip():
                continue
            match = _BOX_FILE.fullmatch(file.name)
            target = f"-{match[1]}" if match and match[1] else ""
            name = f"{directory.name}{target}"
            known = frozenset({_NO_AREA[name]} if name in _NO_AREA else ())
            read = partial(_read, name, file)
            entries.append(Entry(name=name, box_file=file, read=read, known_faults=known))
    return entries


def _read(name: str, box_file: Path, complain: Complain) -> Sequence:
    frames = image_frames(box_file.parent / "img", complain)
    boxes = read_boxes(box_file, complain, "xywh", FIRST_PIXEL)
    if name in _IMAGES:
        frames, boxes = _official(frames, boxes, *_IMAGES[name])
    same_count(frames, boxes, box_file, complain)
    return Sequence(
        name=name,
        frames=frames,
        boxes=boxes,
        present=np.ones(len(frames), bool),
        attributes=_attributes(box_file.parent, complain),
    )


def _official(
    frames: ImageFrames, boxes: Boxes, first: int, last: int
) -> tuple[ImageFrames, Boxes]:
    """The images of these numbers, and their boxes where all images have one."""
    wanted = last - first + 1
    if len(frames) == len(boxes) == wanted:
        return frames, boxes  # somebody has already left out the others
    stems = [Path(name).stem for name in frames.names]
    if not all(stem.isdecimal() for stem in stems):
        return frames, boxes
    numbers = [int(stem) for stem in stems]
    begin = sum(number < first for number in numbers)
    kept = slice(begin, sum(number <= last for number in numbers))
    return frames.part(kept), boxes[kept] if len(boxes) == len(frames) else boxes


def _attributes(directory: Path, complain: Complain) -> frozenset[str]:
    listed, config = directory / "attrs.txt", directory / "cfg.json"
    codes: list[str] = []
    if listed.is_file():
        codes = (read_text(listed, complain) or "").replace(",", " ").split()
    elif config.is_file():
        try:
            codes = json.loads(read_text(config, complain) or "")["attributes"]
        except (ValueError, KeyError, TypeError) as error:
            complain(config, f"has no list 'attributes' ({error}); mend or remove it")
    return frozenset(_ATTRIBUTES.get(code, code) for code in codes)
