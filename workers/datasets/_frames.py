"""Image files as the frames of a video, decoded when asked for; and decoding ahead in parallel."""

import re
import sys
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from workers.datasets._sequence import Boxes, Frames, Image
from workers.datasets._tree import Complain, refuse
from workers.datasets._video import VideoFrames, position

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})

_PNG_END = b"IEND\xaeB`\x82"


def decode_image(path: Path) -> Image:
    """The picture in a file as RGB. A truncated file is an error, never a half-grey picture."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        refuse(path, "this image is missing; take it from the published archive again")
    except OSError as error:
        refuse(path, f"cannot be read: {error}")
    if not data:
        refuse(path, "this image is empty (0 bytes); copy or extract it again")
    if _is_truncated(data):
        refuse(path, f"this image is cut off after {len(data)} bytes; copy or extract it again")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:  # a damaged header that promises an enormous picture
        image = None
    if image is None:
        refuse(path, "this is not an image that OpenCV can decode; copy or extract it again")
    return cast(Image, image)


@dataclass(frozen=True)
class ImageFrames:
    """Image files of one directory, in order. With ``same_size``, all as large as the first."""

    directory: Path
    names: tuple[str, ...]
    same_size: bool = True

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Image:
        at = position(index, len(self))
        image = decode_image(self.path(at))
        if self.same_size and at:
            fault = size_fault(image.shape, self._first_shape, self.names[0])
            if fault:
                refuse(self.path(at), fault)
        return image

    def path(self, index: int) -> Path:
        return self.directory / self.names[index]

    def part(self, kept: slice) -> "ImageFrames":
        return replace(self, names=self.names[kept])

    @cached_property
    def _first_shape(self) -> tuple[int, ...]:
        return decode_image(self.path(0)).shape


def size_fault(shape: tuple[int, ...], expected: tuple[int, ...], first: str) -> str | None:
    if shape[:2] == expected[:2]:
        return None
    size, wanted = (f"{s[1]}x{s[0]}" for s in (shape, expected))
    return f"is {size}, but the sequence begins with {first} of {wanted}; put the original back"


def image_frames(directory: Path, complain: Complain, same_size: bool = True) -> ImageFrames:
    """The images of a directory in natural order: 2.jpg before 10.jpg."""
    names: list[str] = []
    if not directory.is_dir():
        complain(directory, "this directory of images is missing; extract the sequence again")
    else:
        names = image_names(directory)
        if not names:
            wanted = ", ".join(sorted(IMAGE_SUFFIXES))
            complain(directory, f"holds no image ({wanted}); extract the sequence again")
    return ImageFrames(directory, tuple(names), same_size)


def image_names(directory: Path) -> list[str]:
    found = (path.name for path in directory.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    # Interned, because ten thousand sequences number their images alike.
    return sorted((sys.intern(n) for n in found if not n.startswith(".")), key=_natural)


def same_count(frames: Frames, boxes: Boxes, box_file: Path, complain: Complain) -> None:
    """Complain unless each frame has its row, with the first image that seems to be missing."""
    if len(frames) == len(boxes):
        return
    gap = _first_gap(frames.names) if isinstance(frames, ImageFrames) else None
    hint = f"image {gap} is missing" if gap else "a frame without a target needs a row of nan too"
    complain(box_file, f"has {len(boxes)} boxes for {len(frames)} frames; {hint}")


def prefetched(frames: Frames, threads: int = 2, ahead: int = 8) -> Iterator[Image]:
    """The frames in order, decoded in parallel, at most ``ahead`` of them waiting in memory.

    An error comes when it is its frame's turn. The threads end with the iterator, also when the
    consumer gives up early.
    """
    with closing(decoding(frames, threads, ahead)) as futures:
        for future in futures:
            yield future.result()


def decoding(
    frames: Frames, threads: int = 2, ahead: int = 8
) -> Generator[Future[Image], None, None]:
    """As ``prefetched``, but an error stays in its future and the others go on."""
    if threads < 1 or ahead < 1:
        raise ValueError(f"threads and ahead must be at least 1, got {threads} and {ahead}")
    # A video is decoded in order: a second thread would make the decoder seek back and forth.
    workers = 1 if isinstance(frames, VideoFrames) else threads
    pool = ThreadPoolExecutor(workers, thread_name_prefix="prefetch")
    waiting: deque[Future[Image]] = deque()
    try:
        for index in range(len(frames)):
            if len(waiting) == ahead:
                yield waiting.popleft()
            waiting.append(pool.submit(frames.__getitem__, index))
        while waiting:
            yield waiting.popleft()
    finally:
        pool.shutdown(cancel_futures=True)


def _first_gap(names: tuple[str, ...]) -> str | None:
    """The first image that is missing between two numbered ones."""
    paths = [Path(name) for name in names]
    if not all(path.stem.isdecimal() for path in paths):
        return None
    for path, after in pairwise(paths):
        number = int(path.stem) + 1
        if int(after.stem) > number:
            return f"{number:0{len(path.stem)}d}{path.suffix}"
    return None


def _natural(name: str) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _is_truncated(data: bytes) -> bool:
    if data.startswith(b"\x89PNG"):
        return _PNG_END not in data
    if data.startswith(b"\xff\xd8"):
        scan = _first_scan(data)
        return scan is None or data.find(b"\xff\xd9", scan) < 0
    return False


def _first_scan(data: bytes) -> int | None:
    """Where a JPEG's picture begins. An end marker before that is its thumbnail's."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xDA:
            return at
        # A fill byte before a marker is legal.
        at += 1 if data[at + 1] == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4])
    return None
