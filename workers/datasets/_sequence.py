"""One video with its boxes, as every dataset gives it to training and evaluation alike."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from search_spaces import ParetrackError

Image = NDArray[np.uint8]  # (height, width, 3), RGB
Boxes = NDArray[np.float64]  # (n, 4) as (x, y, w, h), pixels, 0-based, continuous


class DatasetError(ParetrackError):
    """A data set, or one file of it, that cannot be used as it is."""


class Frames(Protocol):
    """The pictures of a video. Indexing decodes one; nothing stays in memory."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Image: ...


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """Frames and what is annotated about them. Arrays have one row a frame.

    A frame without an annotated box has a row of NaN. ``present`` is False where the data set says
    that the target is fully occluded or out of view (a box may be annotated all the same).
    ``cover`` is GOT-10k's visible share of the target, 0 to 8, where the data set has it.
    """

    name: str
    frames: Frames
    boxes: Boxes
    present: NDArray[np.bool_]
    cover: NDArray[np.int64] | None = None
    attributes: frozenset[str] = frozenset()
    numbers: Mapping[str, float] = field(default_factory=dict)  # measured facts: visibility, speed
    withheld: str | None = None  # why only the first box is there, where the others are secret


def demand_truth(sequences: Iterable[Sequence]) -> None:
    """Refuse sequences that can be tracked only: no box but the first is published."""
    for sequence in sequences:
        if sequence.withheld is not None:
            raise DatasetError(f"{sequence.name}: {sequence.withheld}")


@dataclass(frozen=True)
class Problem:
    """Something wrong in a tree, with the path where it is and what to do about it."""

    path: Path
    message: str


class Dataset(Protocol):
    """What each module of workers/datasets/ offers."""

    @property
    def SPLITS(self) -> tuple[str, ...]: ...  # noqa: N802 - a constant of the module

    def load(self, root: Path, split: str, *, count: int | None = None) -> list[Sequence]:
        """The sequences of a split, or its first ``count``, in name order, frames not decoded yet.

        Raises DatasetError naming the file where the tree is not as published.
        """
        ...

    def check(self, root: Path, report: Callable[[str], None]) -> list[Problem]:
        """Everything wrong with a tree, frames decoded too. ``report`` hears of each sequence."""
        ...


def annotated_sha256(sequences: Iterable[Sequence]) -> str:
    """Of which frames there are and what is annotated about them; pictures are not read."""
    digest = hashlib.sha256()
    for sequence in sequences:
        digest.update(f"{sequence.name} {len(sequence.frames)}\n".encode())
        for rows in (sequence.boxes, sequence.present, sequence.cover):
            digest.update(b"none" if rows is None else rows.tobytes())
    return digest.hexdigest()
