"""Everything that is wrong with a tree, found by decoding all of it."""

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workers.datasets._boxes import box_faults, complain_of
from workers.datasets._frames import ImageFrames, decoding, size_fault
from workers.datasets._sequence import DatasetError, Frames, Problem
from workers.datasets._tree import Complain, Entry, say_empty
from workers.datasets._video import VideoFrames


class Findings:
    """Problems written down as they are heard of; an instance is a ``Complain``."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def __call__(self, path: Path, message: str) -> None:
        self.problems.append(Problem(path, message))


def check_entries(
    entries: Iterable[Entry], complain: Complain, report: Callable[[str], None]
) -> None:
    """Read and decode every sequence; complain of each fault and go on."""
    for entry in sorted(entries, key=lambda entry: entry.name):
        report(entry.name)
        sequence = entry.read(complain)
        sizes = _decoded_sizes(sequence.frames, entry.box_file.parent, complain)
        count = min(len(sizes), len(sequence.boxes), len(sequence.present))
        boxes = sequence.boxes[:count].copy()
        # What is annotated where the target cannot be seen means nothing.
        boxes[~sequence.present[:count] | (sizes[:count] == 0).any(axis=1)] = np.nan
        faults = {row + 1: fault for row, fault in box_faults(boxes, sizes[:count]).items()}
        unknown = {row: faults[row] for row in faults.keys() - entry.known_faults}
        complain_of(unknown, "box of frame", entry.box_file, complain)


def check_tree(
    entries: list[Entry],
    root: Path,
    expected: str,
    complain: Complain,
    report: Callable[[str], None],
) -> None:
    """As ``check_entries``, for a root that has to hold at least one sequence."""
    check_entries(entries, complain, report)
    if not entries:
        say_empty(root, expected, complain)


def _decoded_sizes(frames: Frames, home: Path, complain: Complain) -> NDArray[np.int64]:
    """(width, height) of each frame, zeros for one that cannot be decoded."""
    if isinstance(frames, ImageFrames):
        sizes = _each_size(replace(frames, same_size=False), frames.path, complain)
        if frames.same_size:
            _compare(frames, sizes, complain)
        return sizes
    where = frames.path if isinstance(frames, VideoFrames) else home
    return _each_size(frames, lambda index: where, complain)


def _each_size(
    frames: Frames, path: Callable[[int], Path], complain: Complain
) -> NDArray[np.int64]:
    sizes = np.zeros((len(frames), 2), np.int64)
    with closing(decoding(frames)) as futures:
        for index, future in enumerate(futures):
            error = future.exception()
            if error is None:
                height, width = future.result().shape[:2]
                sizes[index] = width, height
            elif isinstance(error, DatasetError):
                complain(path(index), str(error).removeprefix(f"{path(index)}: "))
                if isinstance(frames, VideoFrames):
                    break  # what follows in the file is lost with it
            else:
                raise error
    return sizes


def _compare(frames: ImageFrames, sizes: NDArray[np.int64], complain: Complain) -> None:
    """Complain of images of another size than the first that can be decoded."""
    decoded = np.flatnonzero(sizes.any(axis=1))
    for index in decoded[1:]:
        first = decoded[0]
        fault = size_fault(
            tuple(sizes[index, ::-1]), tuple(sizes[first, ::-1]), frames.names[first]
        )
        if fault:
            complain(frames.path(index), fault)
