"""Training pairs: a template crop, a jittered search crop and where the target is in it.

One pair depends on (seed, number of the pair) alone, so that a run is the same whatever the number
of threads, and a resumed run goes on exactly where it was.
"""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from search_spaces import Geometry
from workers.datasets import DatasetError, Image, Sequence
from workers.tracking import State, cut, fill_colour, search_window, start, template_window


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How pairs vary. Jitters are in target sizes (square root of the area).

    Published (OSTrack): centre 3 at search factor 4, size .25, grey .05, flip .5, brightness .2.
    The centre is uniform over the whole range: where the target lies must not be learnable from a
    prior, or a network learns to ignore its template.
    """

    centre: float = 2.25  # the range's full width
    size: float = 0.25  # standard deviation of the logarithm
    template_centre: float = 0.0
    template_size: float = 0.0
    flip: float = 0.5
    grey: float = 0.05
    brightness: float = 0.2
    shuffle_channels: float = 0.0  # share of pairs whose colour channels change places
    blur: float = 0.0  # share of search crops blurred along a random line
    other_template: float = 0.0  # share of pairs whose template shows another video's target
    longest_gap: int = 200  # frames between template and search picture
    least_cover: int = 3  # of ``Sequence.cover``, which counts eighths; published: 1


PLAIN = Augmentation(size=0.15, flip=0, grey=0, brightness=0)


@dataclass(frozen=True)
class Pairs:
    """A batch. Boxes are (x, y, w, h) in pixels of the search crop."""

    templates: NDArray[np.uint8]  # (batch, side, side, 3)
    searches: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    same: NDArray[np.bool_]  # False: the template shows something else; nothing is to be found

    def __len__(self) -> int:
        return len(self.boxes)


class PairSource:
    """Pairs drawn from sequences, every sequence equally often."""

    def __init__(
        self, sequences: list[Sequence], geometry: Geometry, augmentation: Augmentation, seed: int
    ) -> None:
        self._geometry = geometry
        self._augmentation = augmentation
        self._seed = seed
        self._sequences = sequences
        self._usable = [_usable_frames(s, augmentation.least_cover) for s in sequences]
        self._drawable = [i for i, frames in enumerate(self._usable) if len(frames)]
        if not self._drawable:
            raise DatasetError(
                f"none of the {len(sequences)} sequences has a frame with a boxed target of which "
                f"{augmentation.least_cover}/8 are seen: expected at least one; use other "
                "sequences, or a smaller least_cover in the recipe's augmentation"
            )

    def pair(self, number: int) -> tuple[Image, Image, NDArray[np.float64], bool]:
        """The pair of this number: template, search crop, box, whether both show one target."""
        rng = np.random.default_rng((self._seed, number))
        first = int(rng.choice(self._drawable))
        a, b = self._moments(rng, first)
        same = bool(rng.random() >= self._augmentation.other_template)
        other = first
        if not same and len(self._drawable) > 1:
            other = int(rng.choice([i for i in self._drawable if i != first]))
            a = int(rng.choice(self._usable[other]))
        template = self._template(rng, self._sequences[other], a)
        search, box = self._search(rng, self._sequences[first], b)
        template, search, box = self._recolour(rng, template, search, box)
        return template, search, box, other == first

    def batch(self, start: int, size: int) -> Pairs:
        """Pairs number start to start + size."""
        drawn = [self.pair(number) for number in range(start, start + size)]
        templates, searches, boxes, same = zip(*drawn, strict=True)
        return Pairs(
            np.stack(templates), np.stack(searches), np.array(boxes, np.float32), np.array(same)
        )

    def batches(
        self, size: int, *, first: int = 0, threads: int = 2
    ) -> Generator[Pairs, None, None]:
        """Batch after batch for ever, from batch number ``first``, prepared ahead by threads."""
        with ThreadPoolExecutor(threads) as pool:
            ahead = [pool.submit(self.batch, (first + i) * size, size) for i in range(2 * threads)]
            number = first + len(ahead)
            try:
                while True:
                    ready = ahead.pop(0).result()
                    ahead.append(pool.submit(self.batch, number * size, size))
                    number += 1
                    yield ready
            finally:
                for waiting in ahead:
                    waiting.cancel()

    def _moments(self, rng: np.random.Generator, index: int) -> tuple[int, int]:
        usable = self._usable[index]
        a = int(rng.choice(usable))
        near = usable[np.abs(usable - a) <= self._augmentation.longest_gap]
        apart = near[near != a]
        return a, int(rng.choice(apart if len(apart) else near))

    def _template(self, rng: np.random.Generator, sequence: Sequence, index: int) -> Image:
        image = sequence.frames[index]
        jitter = self._augmentation
        state = _jittered(rng, start(sequence.boxes[index], self._geometry), jitter, template=True)
        window = template_window(state, self._geometry)
        return cut(image, window, self._geometry.template_size, fill_colour(image, self._geometry))

    def _search(
        self, rng: np.random.Generator, sequence: Sequence, index: int
    ) -> tuple[Image, NDArray[np.float64]]:
        image, box = sequence.frames[index], sequence.boxes[index]
        state = _jittered(rng, start(box, self._geometry), self._augmentation, template=False)
        window = search_window(state, self._geometry)
        size = self._geometry.search_size
        crop = cut(image, window, size, fill_colour(image, self._geometry))
        scale = size / window.side
        inside = (box - np.array([window.x, window.y, 0, 0])) * scale
        return crop, inside

    def _recolour(
        self,
        rng: np.random.Generator,
        template: Image,
        search: Image,
        box: NDArray[np.float64],
    ) -> tuple[Image, Image, NDArray[np.float64]]:
        chances = rng.random(4)
        jitter = self._augmentation
        if chances[0] < jitter.flip:
            template, search = template[:, ::-1], search[:, ::-1]
            x, y, w, h = box
            box = np.array([self._geometry.search_size - x - w, y, w, h])
        if chances[1] < jitter.shuffle_channels:
            order = rng.permutation(3)
            template, search = template[..., order], search[..., order]
        if chances[2] < jitter.grey:
            template, search = _grey(template), _grey(search)
        if chances[3] < jitter.blur:
            search = _blurred(rng, search)
        if jitter.brightness:
            gains = rng.uniform(1 - jitter.brightness, 1 + jitter.brightness, size=2)
            template, search = _brightened(template, gains[0]), _brightened(search, gains[1])
        return template, search, box


def first_pairs(source: PairSource, count: int, batch: int = 64) -> list[Pairs]:
    """The first ``count`` pairs: a fixed set to judge networks on."""
    return [source.batch(at, min(batch, count - at)) for at in range(0, count, batch)]


def _usable_frames(sequence: Sequence, least_cover: int) -> NDArray[np.int64]:
    """Frames to draw from: the target is boxed, present, and seen to ``least_cover`` eighths.

    Where a data set does not say how much of the target is seen, present is enough.
    """
    boxed = np.isfinite(sequence.boxes).all(axis=1)
    boxed &= (sequence.boxes[:, 2:] > 0).all(axis=1)
    boxed &= sequence.present
    if sequence.cover is not None:
        boxed &= sequence.cover >= least_cover
    return np.flatnonzero(boxed)


def _jittered(
    rng: np.random.Generator, state: State, jitter: Augmentation, *, template: bool
) -> State:
    centre = jitter.template_centre if template else jitter.centre
    size = jitter.template_size if template else jitter.size
    w, h = np.array([state.w, state.h]) * np.exp(rng.normal(size=2) * size)
    reach = np.sqrt(w * h) * centre
    dx, dy = (rng.random(2) - 0.5) * reach
    return State(state.cx + float(dx), state.cy + float(dy), float(w), float(h))


def _grey(crop: Image) -> Image:
    grey = cv2.cvtColor(np.ascontiguousarray(crop), cv2.COLOR_RGB2GRAY)
    return np.repeat(np.asarray(grey, np.uint8)[..., None], 3, axis=2)


def _brightened(crop: Image, gain: float) -> Image:
    return np.asarray(cv2.convertScaleAbs(np.ascontiguousarray(crop), alpha=gain), np.uint8)


def _blurred(rng: np.random.Generator, crop: Image) -> Image:
    length = int(rng.integers(3, 8))
    angle = rng.uniform(0, np.pi)
    kernel = np.zeros((length, length), np.float32)
    middle = (length - 1) / 2
    for step in np.linspace(-middle, middle, 2 * length):
        row, column = round(middle + step * np.sin(angle)), round(middle + step * np.cos(angle))
        kernel[int(row), int(column)] = 1
    return np.asarray(cv2.filter2D(np.ascontiguousarray(crop), -1, kernel / kernel.sum()), np.uint8)
