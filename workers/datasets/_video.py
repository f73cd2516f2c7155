"""The frames of a video file, in order without seeking, or at random."""

import operator
from pathlib import Path
from threading import Lock
from typing import Any, cast

import cv2

from workers.datasets._sequence import Image
from workers.datasets._tree import refuse

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg"})

_NEARBY = 16  # frames; up to here skipping forward is cheaper than seeking a key frame


class VideoFrames:
    """The frames of a video file. Reading in order never seeks; reading at random does.

    The number of frames that the file claims is verified by decoding the last one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._capture: cv2.VideoCapture | None = None
        self._next = 0
        self._count = 0
        self._count = self._verified_count()

    @property
    def rate(self) -> float:
        """Frames a second as the file says; 0 or less where it does not."""
        with self._lock:
            return float(self._opened().get(cv2.CAP_PROP_FPS))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Image:
        at = position(index, self._count)
        with self._lock:
            found, image = self._read(at)
            if not found or at == self._count - 1:
                self._close()  # or a list of a thousand videos would keep as many decoders open
        if not found:
            refuse(self.path, f"frame {at} of {self._count} cannot be decoded; copy the file again")
        return cast(Image, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_count": self._count}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=Lock(), _capture=None, _next=0)

    def _read(self, at: int) -> tuple[bool, Any]:
        capture = self._opened()
        if not self._next <= at < self._next + _NEARBY:
            capture.set(cv2.CAP_PROP_POS_FRAMES, at)
            self._next = at
        while self._next < at and capture.grab():
            self._next += 1
        found, image = capture.read() if self._next == at else (False, None)
        self._next += 1
        return found, image

    def _opened(self) -> cv2.VideoCapture:
        if self._capture is None:
            if not self.path.is_file():
                refuse(self.path, "there is no such video; check the path")
            self._capture = cv2.VideoCapture(str(self.path))
            self._next = 0
            if not self._capture.isOpened():
                self._close()
                refuse(self.path, "cannot be opened as a video; is it complete, and is it one?")
        return self._capture

    def _close(self) -> None:
        if self._capture is not None:
            self._capture.release()
        self._capture = None

    def _verified_count(self) -> int:
        claimed = int(self._opened().get(cv2.CAP_PROP_FRAME_COUNT))
        exact = claimed > 0 and self._read(claimed - 1)[0] and not self._opened().grab()
        counted = claimed if exact else self._counted()
        self._close()
        if not counted:
            refuse(self.path, "not one frame can be decoded; copy or record the video again")
        if 0 < claimed != counted:
            refuse(
                self.path,
                f"claims {claimed} frames, but {counted} can be decoded: it is cut off or its "
                "frame rate varies; copy it again, or re-encode it at a constant frame rate",
            )
        return counted

    def _counted(self) -> int:
        """By decoding from the start: what live recordings without a frame count need."""
        self._close()
        capture = self._opened()
        counted = 0
        while capture.grab():
            counted += 1
        return counted


def position(index: int, count: int) -> int:
    at = operator.index(index)
    if not -count <= at < count:
        raise IndexError(f"frame {at} of {count}")
    return at % count
