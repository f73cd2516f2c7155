"""Pairs that all candidates of a search look at are drawn once in a process.

They are found again by everything that decides them, the state of the data's files included, so
that pairs of a folder that has changed since are not.
"""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from search_spaces import Geometry
from workers.datasets import DatasetError, Frames, ImageFrames, Sequence, annotated_sha256
from workers.judge import validation_pairs
from workers.pairs import Augmentation, Pairs, PairSource

KEPT = 2  # of each kind: a search has one, or one for each resolution


@dataclass(frozen=True)
class Shown:
    """Sequences as they lie on disk at this moment; equal while nothing about them has changed."""

    checksum: str
    sequences: list[Sequence] = field(compare=False, repr=False)


def shown(sequences: list[Sequence]) -> Shown:
    """What is annotated, and where and since when the pictures lie there; none of them is read.

    A picture that is written over in place in the middle of a directory of pictures is not seen:
    that changes neither the directory nor its first file.
    """
    lying = "\n".join(_lying(sequence.frames) for sequence in sequences)
    checksum = hashlib.sha256(f"{annotated_sha256(sequences)}\n{lying}".encode())
    return Shown(checksum.hexdigest(), sequences)


@lru_cache(maxsize=KEPT)
def to_refit_on(
    data: Shown, geometry: Geometry, augmentation: Augmentation, seed: int, count: int
) -> Pairs:
    """The first pairs that a recovery would see."""
    return PairSource(data.sequences, geometry, augmentation, seed).batch(0, count)


@lru_cache(maxsize=KEPT)
def to_judge_on(data: Shown, geometry: Geometry) -> list[Pairs]:
    return validation_pairs(data.sequences, geometry)


def _lying(frames: Frames) -> str:
    path = frames.directory if isinstance(frames, ImageFrames) else getattr(frames, "path", None)
    if not isinstance(path, Path):
        return f"in memory at {id(frames)}"  # which is nobody else's while its pairs are kept
    files = [path, *(path / name for name in _first(frames))]
    return f"{path.resolve()} {[_state(file) for file in files]}"


def _first(frames: Frames) -> tuple[str, ...]:
    return frames.names[:1] if isinstance(frames, ImageFrames) else ()


def _state(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error}; put it back") from error
    return found.st_mtime_ns, found.st_size, found.st_ino
