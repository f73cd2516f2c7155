"""How generated sequences lie on disk: a folder for each split, seed and size.

``0000.npy`` has the pixels of a sequence, ``index.json`` all that is known about all of them. While
a folder is being made it is called ``.unfinished``, and a ``0000.json`` says that ``0000.npy`` is
complete.
"""

import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from workers.datasets._sequence import Boxes, DatasetError, Image, Sequence
from workers.datasets._synthetic import strata
from workers.datasets._synthetic.camera import HEIGHT, WIDTH

VERSION = "synthetic-1"
INDEX = "index.json"
_TRAIN_LENGTH = 8
_PRESENT = 0.05
_HEADER = 128  # bytes of a .npy file before its pixels
_MAGIC = b"\x93NUMPY"


@dataclass(frozen=True)
class Part:
    """What one folder holds."""

    split: str
    seed: int
    count: int
    length: int

    def folder(self, root: Path) -> Path:
        return root / VERSION / f"{self.split}-seed{self.seed}-{self.count}x{self.length}"

    def command(self) -> str:
        """What a user types to make it."""
        usual = part(self.split, 0, None, None)
        options = [
            f" --{name} {getattr(self, name)}"
            for name in ("seed", "count", "length")
            if getattr(self, name) != getattr(usual, name)
        ]
        return f"paretrack dataset generate {self.split}{''.join(options)}"

    def facts(self) -> dict[str, Any]:
        return {"version": VERSION, **asdict(self), "height": HEIGHT, "width": WIDTH}


def part(split: str, seed: int, count: int | None, length: int | None) -> Part:
    """The part asked for, with what the split usually has where nothing is said."""
    if split not in strata.SPLITS:
        raise DatasetError(f"no split {split!r} in synthetic; it has {', '.join(strata.SPLITS)}")
    nominal = strata.SPLITS[split]
    usual = _TRAIN_LENGTH if split == "train" else nominal.length
    count = nominal.count if count is None else count
    length = usual if length is None else length
    if min(count, length) < 1 or not 0 <= seed < 2**32:
        raise DatasetError(
            f"count {count}, length {length}, seed {seed} of synthetic: count and length must be "
            f"at least 1, the seed from 0 to {2**32 - 1}"
        )
    return Part(split, seed, count, length)


def holder(asked: Part, root: Path) -> Part:
    """The smallest part that is there and begins with this one; this one, if there is none."""
    pattern = f"{asked.split}-seed{asked.seed}-*x{asked.length}/{INDEX}"
    counts = [
        int(path.parent.name.rpartition("-")[2].partition("x")[0])
        for path in (root / VERSION).glob(pattern)
    ]
    enough = [count for count in counts if count >= asked.count]
    return replace(asked, count=min(enough)) if enough else asked


@dataclass(frozen=True)
class StoredFrames:
    """The pictures of one sequence in its file; one is read when it is asked for."""

    path: Path
    length: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Image:
        if not -self.length <= index < self.length:
            raise IndexError(f"no frame {index} in {self.path}: it has {self.length}")
        # Read, not mapped: a mapping that is kept would be pickled as pixels, and making one anew
        # for each picture takes longer than reading the picture.
        size = HEIGHT * WIDTH * 3
        start = _HEADER + (index % self.length) * size
        try:
            with self.path.open("rb") as file:
                magic = file.read(len(_MAGIC))
                file.seek(start)
                picture = np.fromfile(file, np.uint8, size)
        except OSError as error:
            raise damaged(self.path, str(error)) from error
        if magic != _MAGIC:
            raise damaged(self.path, "it is no .npy file")
        if len(picture) != size:
            raise damaged(self.path, f"it ends within frame {index % self.length}")
        return picture.reshape(HEIGHT, WIDTH, 3)

    def mapped(self) -> Image:
        """All pictures, read from disk as they are touched."""
        try:
            stored = np.load(self.path, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise damaged(self.path, str(error)) from error
        if stored.shape != (self.length, HEIGHT, WIDTH, 3) or stored.dtype != np.uint8:
            raise damaged(self.path, f"it holds {stored.dtype} {stored.shape}")
        pictures: Image = stored
        return pictures


def frames_file(index: int) -> str:
    return f"{index:04d}.npy"


def facts_file(index: int) -> str:
    return f"{index:04d}.json"


def damaged(path: Path, what: str) -> DatasetError:
    return DatasetError(
        f"{path} is damaged: {what}. Delete {path.parent} and generate it again, "
        "or run the same `paretrack dataset generate` with --regenerate"
    )


def checksum(pixels: Image) -> int:
    return zlib.crc32(np.ascontiguousarray(pixels).data)


def read_records(asked: Part, folder: Path) -> list[dict[str, Any]]:
    """What the index says about each sequence, after making sure that it is the right index."""
    path = folder / INDEX
    if not path.exists():
        raise DatasetError(f"{folder} is not there: run `{asked.command()}`")
    try:
        index = json.loads(path.read_text())
    except ValueError as error:
        raise damaged(path, str(error)) from error
    records = index.get("sequences") if isinstance(index, dict) else None
    if not isinstance(records, list) or len(records) != asked.count:
        raise damaged(path, f"it should list {asked.count} sequences")
    if {key: index.get(key) for key in asked.facts()} != asked.facts():
        raise damaged(path, f"it should be about {asked.facts()}")
    return records


def read_sequence(asked: Part, folder: Path, index: int, record: dict[str, Any]) -> Sequence:
    """One sequence; that its file is there and whole is seen by its size."""
    path = folder / frames_file(index)
    expected = _HEADER + asked.length * HEIGHT * WIDTH * 3
    size = path.stat().st_size if path.exists() else None
    if size != expected:
        found = "it is missing" if size is None else f"it has {size} bytes"
        raise damaged(path, f"{found} and should have {expected}")
    visibility = np.asarray(record["visibility"], dtype=np.float64)
    present = visibility >= _PRESENT
    boxes: Boxes = np.asarray(record["boxes"], dtype=np.float64).reshape(-1, 4)
    return Sequence(
        name=f"{asked.split}-{index:04d}",
        frames=StoredFrames(path, asked.length),
        boxes=boxes,
        present=present,
        cover=np.where(present, np.ceil(visibility * 8), 0).astype(np.int64),
        attributes=frozenset(record["attributes"]),
        numbers=dict(record["numbers"]),
    )


def faults(folder: Path, report: Callable[[str], None]) -> Iterator[tuple[Path, str]]:
    """What is wrong with one folder, every pixel read."""
    try:
        index = json.loads((folder / INDEX).read_text())
        asked = Part(*(index[name] for name in ("split", "seed", "count", "length")))
        records = read_records(asked, folder)
    except (DatasetError, ValueError, KeyError, TypeError) as error:
        yield folder / INDEX, str(damaged(folder / INDEX, str(error)))
        return
    for number, record in enumerate(records):
        report(f"{folder.name}/{frames_file(number)}")
        try:
            read_sequence(asked, folder, number, record)
            frames = StoredFrames(folder / frames_file(number), asked.length)
            if checksum(frames.mapped()) != record["checksum"]:
                raise damaged(frames.path, "its pixels are not those that were written")
        except DatasetError as error:
            yield folder / frames_file(number), str(error)
