"""A directory of one's own videos: one sequence, or one directory for each.

A sequence holds its pictures and a box file. Pictures: jpg, jpeg, png, bmp or webp in natural
order, beside the box file or in img/, imgs/, color/ or frames/; or one video file. Box file:
groundtruth.txt, groundtruth_rect.txt, gt.txt, boxes.txt, or one *.csv: a line a frame, numbers
between commas, tabs or spaces, ``nan`` or nothing where the target is absent.

Four numbers are x, y, w, h and count pixels from 0, eight are the corners of a polygon and become
the smallest upright box around them. What differs stands in paretrack.json beside the box file, or
in the root for all sequences: {"boxes": "xywh" | "xyxy" | "polygon", "first_pixel": 0 | 1}.

The first picture of each sequence is decoded by ``load``, because a box outside of it is an error.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from workers.datasets._boxes import LAYOUTS, Layout, box_faults, complain_of, is_absent, read_boxes
from workers.datasets._checking import Findings, check_tree
from workers.datasets._frames import ImageFrames, image_frames, image_names, same_count
from workers.datasets._sequence import DatasetError, Frames, Problem, Sequence
from workers.datasets._tree import (
    Complain,
    Entry,
    demand_split,
    load_entries,
    read_text,
    refuse,
    subdirectories,
)
from workers.datasets._video import VIDEO_SUFFIXES, VideoFrames

SPLITS: tuple[str, ...] = ("all",)

_BOX_FILES = ("groundtruth.txt", "groundtruth_rect.txt", "gt.txt", "boxes.txt")
_IMAGE_DIRECTORIES = ("img", "imgs", "color", "frames")
_LAYOUT = "ROOT/groundtruth.txt or ROOT/<sequence>/groundtruth.txt, with the pictures beside it"


@dataclass(frozen=True)
class _Options:
    layout: Layout | None = None
    first_pixel: int = 0


def load(root: Path, split: str, *, count: int | None = None) -> list[Sequence]:
    demand_split(split, SPLITS)
    entries = _entries(root, refuse)
    sequences = load_entries(entries, root, _LAYOUT, count)
    box_files = {entry.name: entry.box_file for entry in entries}
    for sequence in sequences:
        height, width = sequence.frames[0].shape[:2]
        faults = box_faults(sequence.boxes, np.array([width, height]))
        lines = {row + 1: fault for row, fault in faults.items()}
        complain_of(lines, "line", box_files[sequence.name], refuse)
    return sequences


def check(root: Path, report: Callable[[str], None]) -> list[Problem]:
    complain = Findings()
    check_tree(_entries(root, complain), root, _LAYOUT, complain, report)
    return complain.problems


def frames_of(path: Path) -> Frames:
    """The pictures of one video file, or of a directory as this data set finds them there."""
    if not path.exists():
        refuse(path, "there is no such video file or directory of images")
    if path.is_dir():
        return _frames(path, refuse)
    if not _is_video(path):  # a decoder would take a text file for a video of letters
        refuse(path, f"this is no video; expected one of {', '.join(sorted(VIDEO_SUFFIXES))}")
    return VideoFrames(path)


def _entries(root: Path, complain: Complain) -> list[Entry]:
    entries = []
    alone = root.is_dir() and _box_files(root)
    for directory in [root] if alone else subdirectories(root, complain):
        files = _box_files(directory)
        if len(files) == 1:
            read = partial(_read, directory, files[0], root)
            name = directory.resolve().name
            entries.append(Entry(name=name, box_file=files[0], read=read))
        else:
            found = ", ".join(file.name for file in files) or "none"
            wanted = ", ".join((*_BOX_FILES, "*.csv"))
            complain(directory, f"needs one box file ({wanted}), found {found}")
    return entries


def _box_files(directory: Path) -> list[Path]:
    named = [directory / name for name in _BOX_FILES if (directory / name).is_file()]
    return named or sorted(directory.glob("*.csv"))


def _read(directory: Path, box_file: Path, root: Path, complain: Complain) -> Sequence:
    options = _options(directory, root, complain)
    boxes = read_boxes(box_file, complain, options.layout, options.first_pixel)
    frames = _frames(directory, complain)
    same_count(frames, boxes, box_file, complain)
    absent = is_absent(boxes)
    if absent[:1].any():
        complain(box_file, "line 1: the first frame needs a box; leave out the frames before it")
    return Sequence(name=directory.resolve().name, frames=frames, boxes=boxes, present=~absent)


def _frames(directory: Path, complain: Complain) -> Frames:
    """The one source of pictures; two of them would be a guess."""
    places = (directory, *(directory / name for name in _IMAGE_DIRECTORIES))
    images = [place for place in places if place.is_dir() and image_names(place)]
    videos = [path for path in sorted(directory.iterdir()) if _is_video(path)]
    if len(images) + len(videos) != 1:
        found = ", ".join(path.name for path in (*images, *videos)) or "none"
        places_named = ", ".join(f"{name}/" for name in _IMAGE_DIRECTORIES)
        complain(
            directory,
            f"needs images (in it or in one of {places_named}) or one video file, found {found}",
        )
    elif videos:
        try:
            return VideoFrames(videos[0])
        except DatasetError as error:
            complain(videos[0], str(error).removeprefix(f"{videos[0]}: "))
    else:
        frames = image_frames(images[0], complain)
        twice = len(frames) - len({Path(name).stem for name in frames.names})
        if twice:
            complain(images[0], f"holds {twice} images in two formats; keep one format")
        return frames
    return ImageFrames(directory, ())


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")


def _options(directory: Path, root: Path, complain: Complain) -> _Options:
    paths = (directory / "paretrack.json", root / "paretrack.json")
    path = next((path for path in paths if path.is_file()), None)
    text = read_text(path, complain) if path else None
    if path is None or text is None:
        return _Options()
    try:
        data = json.loads(text)
    except ValueError as error:
        data = str(error)
    if isinstance(data, dict) and not data.keys() - {"boxes", "first_pixel"}:
        layout, first_pixel = data.get("boxes"), data.get("first_pixel", 0)
        if layout in (None, *LAYOUTS) and first_pixel in (0, 1):
            return _Options(layout, first_pixel)
    layouts = " | ".join(f'"{layout}"' for layout in LAYOUTS)
    complain(path, f'expected {{"boxes": {layouts}, "first_pixel": 0 | 1}}, got {data!r}')
    return _Options()
