"""A tracker over a video: crops, the window, the box carried on. Many videos in lock-step.

Nothing here knows a network: a ``Predictor`` answers scored boxes for crops, a ``Geometry`` says
how the crops are cut and how one box is chosen. The rules follow the authors' code of the OSTrack
line ("factor") and of the Siamese line ("context") to the rounding: published weights expect it.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from search_spaces import Choice, Geometry, ParetrackError
from workers.datasets import Boxes, Image, Sequence, prefetched

Crops = NDArray[np.uint8]  # (batch, side, side, 3), RGB
Memory = tuple[Any, ...]  # arrays or tensors, batch first: sliced here, read by the predictor


class Predictor(Protocol):
    """A network as the tracking loop sees it."""

    def template(self, crops: Crops) -> Memory: ...

    def frame(self, crops: Crops, memory: Memory) -> tuple[NDArray[Any], NDArray[Any]]:
        """Scores (batch, n) and boxes (batch, n, 4) as (cx, cy, w, h) in pixels of the crop."""
        ...


@dataclass(frozen=True)
class Track:
    """What a tracker said about a video. Row 0 is the given box."""

    boxes: Boxes
    scores: NDArray[np.float64]  # of the chosen box, after window and penalty; 1 for the given box
    seconds: NDArray[np.float64]  # crop, network and choice; decoding is not in it


@dataclass(frozen=True)
class State:
    """Where the tracker believes the target is."""

    cx: float
    cy: float
    w: float
    h: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        return (self.cx - self.w / 2, self.cy - self.h / 2, self.w, self.h)


@dataclass(frozen=True)
class Window:
    """A square of the image and how many crop pixels an image pixel of it becomes."""

    x: int
    y: int
    side: int
    scale: float
    lost: int = 0  # rows and columns at the image's far ends that count as outside


def start(box: NDArray[np.float64], geometry: Geometry) -> State:
    x, y, w, h = (float(value) for value in box)
    if not all(map(math.isfinite, (x, y, w, h))) or w <= 0 or h <= 0:
        raise ParetrackError(
            f"a tracker cannot start on the box ({x:g}, {y:g}, {w:g}, {h:g}): "
            "it needs finite numbers x, y, w, h with w > 0 and h > 0"
        )
    # The Siamese line counts pixels, not edges: its centre lies half a pixel up and left.
    inset = 1 if geometry.rule == "context" else 0
    return State(x + (w - inset) / 2, y + (h - inset) / 2, w, h)


def check_first_box(box: NDArray[np.float64], image: Image) -> None:
    """Whether a tracker can begin here: the box shows something and is not absurdly large."""
    height, width = image.shape[:2]
    x, y, w, h = (float(value) for value in box)
    shown = w > 0 and h > 0 and x < width and y < height and x + w > 0 and y + h > 0
    if not (shown and w < 2 * width and h < 2 * height):
        raise ParetrackError(
            f"the box {x:g},{y:g},{w:g},{h:g} does not fit a picture of {width} x {height}: give "
            "x,y of its left upper corner, its width and height, as the target is in the first one"
        )


def template_window(state: State, geometry: Geometry) -> Window:
    if geometry.rule == "factor":
        side = math.ceil(math.sqrt(state.w * state.h) * geometry.template_factor)
        return _window(state, side, geometry.template_size / max(side, 1), geometry)
    side_exact = _context_side(state, geometry)
    return _window(state, round(side_exact), geometry.template_size / side_exact, geometry)


def search_window(state: State, geometry: Geometry) -> Window:
    if geometry.rule == "factor":
        side = math.ceil(math.sqrt(state.w * state.h) * geometry.search_factor)
        return _window(state, side, geometry.search_size / max(side, 1), geometry)
    side_exact = _context_side(state, geometry)
    side = round(side_exact * (geometry.search_size / geometry.template_size))
    return _window(state, side, geometry.template_size / side_exact, geometry)


def _context_side(state: State, geometry: Geometry) -> float:
    margin = geometry.context * (state.w + state.h)
    return math.sqrt((state.w + margin) * (state.h + margin))


def _window(state: State, side: int, scale: float, geometry: Geometry) -> Window:
    side = max(side, 1)
    if geometry.rule == "factor":
        x, y = round(state.cx - side * 0.5), round(state.cy - side * 0.5)
        # The authors' crop, in training too, blackens the last row and column that it reaches.
        return Window(x, y, side, scale, lost=1)
    half = (side + 1) / 2
    x, y = math.floor(state.cx - half + 0.5), math.floor(state.cy - half + 0.5)
    return Window(x, y, side, scale)


def cut(image: Image, window: Window, size: int, fill: NDArray[np.float64]) -> Image:
    """The window resized to ``size`` x ``size``; outside of the image lies the fill colour."""
    height, width = image.shape[:2]
    left, top = max(0, -window.x), max(0, -window.y)
    right = max(0, window.x + window.side - width + window.lost)
    bottom = max(0, window.y + window.side - height + window.lost)
    if max(left, right) >= window.side or max(top, bottom) >= window.side:
        return np.broadcast_to(fill.astype(np.uint8), (size, size, 3)).copy()
    x, y = window.x, window.y
    inside = image[y + top : y + window.side - bottom, x + left : x + window.side - right]
    if left or top or right or bottom:
        colour = [int(value) for value in fill]
        border = cv2.BORDER_CONSTANT
        framed = cv2.copyMakeBorder(inside, top, bottom, left, right, border, value=colour)
        inside = np.asarray(framed, dtype=np.uint8)
    return np.asarray(cv2.resize(inside, (size, size)), dtype=np.uint8)


def fill_colour(image: Image, geometry: Geometry) -> NDArray[np.float64]:
    if geometry.padding == "zero":
        return np.zeros(3)
    # The sum is exact and ten times as fast as numpy's mean; cv2.mean would round.
    total = np.array(cv2.sumElems(image)[:3], dtype=np.float64)
    return total / float(image.shape[0] * image.shape[1])


def score_window(geometry: Geometry) -> NDArray[np.float64]:
    """The cosine window over the cells, once for every box of a cell."""
    n = geometry.map_size
    if geometry.choice.window_shape == "inner":
        line = 0.5 * (1 - np.cos(2 * np.pi * np.arange(1, n + 1) / (n + 1)))
    else:
        line = np.hanning(n)
    return np.tile(np.outer(line, line).reshape(-1), geometry.boxes_per_cell)


def choose(
    scores: NDArray[np.float64],
    boxes: NDArray[np.float64],
    state: State,
    window: Window,
    geometry: Geometry,
    cosine: NDArray[np.float64],
    image_size: tuple[int, int],
) -> tuple[State, float]:
    """The next state and the score of the box that won."""
    choice = geometry.choice
    penalty = _change_penalty(boxes, state, window.scale, choice)
    if choice.window == "multiply":
        weighted = penalty * scores * cosine
    else:
        weight = choice.window_weight
        weighted = penalty * scores * (1 - weight) + cosine * weight
    best = int(np.argmax(weighted))
    if not (np.isfinite(weighted[best]) and np.isfinite(boxes[best]).all()):
        raise ParetrackError("the network answered with numbers that are not finite")
    cx, cy, w, h = boxes[best] / window.scale
    centre = geometry.search_size / 2 / window.scale
    if choice.size_rate is not None:
        rate = float(penalty[best] * scores[best]) * choice.size_rate
        w, h = state.w * (1 - rate) + w * rate, state.h * (1 - rate) + h * rate
    moved = State(state.cx + float(cx - centre), state.cy + float(cy - centre), float(w), float(h))
    return _inside(moved, choice, image_size), float(weighted[best])


def _change_penalty(
    boxes: NDArray[np.float64], state: State, scale: float, choice: Choice
) -> NDArray[np.float64]:
    if choice.change_penalty == 0:
        return np.ones(len(boxes))
    w, h = boxes[:, 2], boxes[:, 3]
    size = _padded_size(w, h) / _padded_size(state.w * scale, state.h * scale)
    ratio = (state.w / state.h) / (w / h)
    change = np.maximum(size, 1 / size) * np.maximum(ratio, 1 / ratio)
    return np.asarray(np.exp(-(change - 1) * choice.change_penalty))


def _padded_size(w: Any, h: Any) -> Any:
    padding = (w + h) * 0.5
    return np.sqrt((w + padding) * (h + padding))


def _inside(state: State, choice: Choice, image_size: tuple[int, int]) -> State:
    width, height = image_size
    least = choice.minimum_size
    if choice.clip == "centre":
        return State(
            min(max(state.cx, 0), width),
            min(max(state.cy, 0), height),
            max(least, min(state.w, width)),
            max(least, min(state.h, height)),
        )
    x, y, w, h = state.box
    left, right = min(max(x, 0), width - least), min(max(x + w, least), width)
    top, bottom = min(max(y, 0), height - least), min(max(y + h, least), height)
    w, h = max(least, right - left), max(least, bottom - top)
    return State(left + w / 2, top + h / 2, w, h)


class Follower:
    """One target in one stream of pictures: what to look at next, and what the answer means.

    The caller asks the network in between, for one follower or for many at a time.
    """

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self._cosine = score_window(geometry)

    def begin(self, image: Image, box: NDArray[np.float64]) -> Image:
        """The template crop."""
        check_first_box(box, image)
        self._state = start(box, self._geometry)
        self.box = tuple(float(value) for value in box)
        self._fill = fill_colour(image, self._geometry)
        window = template_window(self._state, self._geometry)
        return cut(image, window, self._geometry.template_size, self._fill)

    def look(self, image: Image) -> Image:
        """The search crop of the next picture."""
        self._image_size = (image.shape[1], image.shape[0])
        self._window = search_window(self._state, self._geometry)
        return cut(image, self._window, self._geometry.search_size, self._fill)

    def settle(self, scores: NDArray[Any], boxes: NDArray[Any]) -> float:
        """Take the network's answer for that crop; the score of the box that won."""
        self._state, score = choose(
            scores.astype(np.float64),
            boxes.astype(np.float64),
            self._state,
            self._window,
            self._geometry,
            self._cosine,
            self._image_size,
        )
        self.box = self._state.box
        return score


class _Log:
    """The rows of a Track while it grows."""

    def __init__(self) -> None:
        self._rows: list[tuple[tuple[float, ...], float, float]] = []

    def add(self, box: tuple[float, ...], score: float, seconds: float) -> None:
        self._rows.append((box, score, seconds))

    def track(self) -> Track:
        boxes, scores, seconds = zip(*self._rows, strict=True)
        return Track(np.array(boxes), np.array(scores), np.array(seconds))


def track(
    predictor: Predictor,
    frames: Iterable[Image],
    box: NDArray[np.float64],
    geometry: Geometry,
    report: Callable[[int], None] | None = None,
) -> Track:
    """One video from its first frame to its last."""
    follower, log = Follower(geometry), _Log()
    pictures = iter(frames)
    first = next(pictures, None)
    if first is None:
        raise ParetrackError("there is no frame to track in")
    began = perf_counter()
    memory = predictor.template(follower.begin(first, box)[None])
    log.add(follower.box, 1.0, perf_counter() - began)
    for done, image in enumerate(pictures, start=2):
        began = perf_counter()
        scores, boxes = predictor.frame(follower.look(image)[None], memory)
        score = follower.settle(scores[0], boxes[0])
        log.add(follower.box, score, perf_counter() - began)
        if report:
            report(done)
    return log.track()


def track_many(
    predictor: Predictor,
    sequences: list[Sequence],
    geometry: Geometry,
    *,
    batch: int = 64,
    report: Callable[[int, int], None] | None = None,
) -> list[Track]:
    """Every sequence from its first box, ``batch`` of them at a time, one network call a step.

    ``report`` hears how many frames of all are done. A frame's seconds are its share of its step.
    """
    longest_first = sorted(range(len(sequences)), key=lambda i: -len(sequences[i].frames))
    total = sum(len(sequence.frames) for sequence in sequences)
    tracks: dict[int, Track] = {}
    done = 0
    for at in range(0, len(sequences), batch):
        indices = longest_first[at : at + batch]
        logs = [_Log() for _ in indices]
        for advanced in _lock_step(predictor, [sequences[i] for i in indices], geometry, logs):
            done += advanced
            if report:
                report(done, total)
        tracks.update((i, log.track()) for i, log in zip(indices, logs, strict=True))
    return [tracks[i] for i in range(len(sequences))]


def _lock_step(
    predictor: Predictor, sequences: list[Sequence], geometry: Geometry, logs: list[_Log]
) -> Iterable[int]:
    """Sequences come longest first, so that those still running are always the first rows."""
    followers = [Follower(geometry) for _ in sequences]
    # One picture ahead of each: a batch of videos must not fill the memory.
    streams = [prefetched(s.frames, threads=1, ahead=1) for s in sequences]
    images = [next(stream) for stream in streams]
    began = perf_counter()
    crops = [_begin(f, i, s) for f, i, s in zip(followers, images, sequences, strict=True)]
    memory = predictor.template(np.stack(crops))
    share = (perf_counter() - began) / len(followers)
    for follower, log in zip(followers, logs, strict=True):
        log.add(follower.box, 1.0, share)
    yield len(followers)
    for t in range(1, len(sequences[0].frames)):
        followers = [f for f, s in zip(followers, sequences, strict=False) if len(s.frames) > t]
        images = [next(stream) for stream in streams[: len(followers)]]
        began = perf_counter()
        crops = [follower.look(image) for follower, image in zip(followers, images, strict=True)]
        running = tuple(part[: len(followers)] for part in memory)
        scores, boxes = predictor.frame(np.stack(crops), running)
        won = [
            _settle(follower, scores[i], boxes[i], sequences[i], t)
            for i, follower in enumerate(followers)
        ]
        share = (perf_counter() - began) / len(followers)
        for follower, log, score in zip(followers, logs, won, strict=False):
            log.add(follower.box, score, share)
        yield len(followers)


def _begin(follower: Follower, image: Image, sequence: Sequence) -> Image:
    try:
        return follower.begin(image, sequence.boxes[0])
    except ParetrackError as error:
        raise ParetrackError(f"sequence {sequence.name}, frame 0: {error}") from error


def _settle(
    follower: Follower, scores: NDArray[Any], boxes: NDArray[Any], sequence: Sequence, frame: int
) -> float:
    try:
        return follower.settle(scores, boxes)
    except ParetrackError as error:
        raise ParetrackError(f"sequence {sequence.name}, frame {frame}: {error}") from error
