"""What keeps the splits apart: each draws its looks from its own bands of every parameter.

The ranges that textures, palettes and outlines are drawn from are cut into 24 bands. Of each six
in a row, three belong to ``train`` and one to ``val``, ``test`` and ``hard`` each, so that a
held-out band always lies between two that were trained on: never seen, yet of the same difficulty.
"""

import colorsys
from dataclasses import dataclass

import numpy as np

BANDS = 24
PERIOD = 6
EVERYDAY_KINDS = ("fractal", "stripes", "checker", "gradient", "spots", "polygons")

Colour = tuple[int, int, int]
Palette = tuple[Colour, Colour, Colour]
Hues = tuple[float, float, float]


@dataclass(frozen=True)
class Family:
    """One split's share of the looks; ``key`` also separates its random streams."""

    key: int
    bands: tuple[int, ...]  # of each PERIOD bands
    kinds: tuple[str, ...] = EVERYDAY_KINDS

    def owns(self, share: float) -> bool:
        """Whether a position within a range (0..1) lies in a band of this family."""
        return int(share * BANDS) % PERIOD in self.bands

    def draw(self, rng: np.random.RandomState, low: float, high: float) -> float:
        """A number between ``low`` and ``high`` from the bands of this family."""
        period = rng.randint(BANDS // PERIOD)
        band = period * PERIOD + self.bands[rng.randint(len(self.bands))]
        return low + (high - low) * float(band + rng.uniform(0.1, 0.9)) / BANDS

    def snap(self, hue: float) -> float:
        """The nearest hue (0..1, a circle) that belongs to this family."""
        hue %= 1.0
        if self.owns(hue):
            return hue
        steps = sorted(range(-PERIOD, PERIOD + 1), key=abs)
        band = int(hue * BANDS)
        near = next(band + s for s in steps if (band + s) % PERIOD in self.bands)
        return ((near + 0.5) / BANDS) % 1.0


FAMILIES = {
    "train": Family(0, (0, 2, 4)),
    "val": Family(1, (1,)),
    "test": Family(2, (3,)),
    "hard": Family(3, (5,), ("voronoi", "rings")),
}


def draw_hues(rng: np.random.RandomState, family: Family) -> Hues:
    first = family.draw(rng, 0.0, 1.0)
    second = family.snap(first + rng.uniform(0.1, 0.5))
    third = family.snap(first - rng.uniform(0.05, 0.45))
    return first, second, third


def near_hues(rng: np.random.RandomState, family: Family, hues: Hues) -> Hues:
    """Hues that resemble these but can be told apart: 20 to 50 degrees away."""
    shift = rng.uniform(0.06, 0.14) * (1 if rng.randint(2) else -1)
    first, second, third = (family.snap(h + shift) for h in hues)
    return first, second, third


def paint(rng: np.random.RandomState, hues: Hues, vivid: float = 1.0) -> Palette:
    """A dark, a middle and a bright colour of these hues, in random order."""
    values = [rng.uniform(0.12, 0.4), rng.uniform(0.45, 0.7), rng.uniform(0.78, 1.0)]
    rng.shuffle(values)
    colours = [
        colorsys.hsv_to_rgb(hue, vivid * rng.uniform(0.35, 0.95), value)
        for hue, value in zip(hues, values, strict=True)
    ]
    first, second, third = ((int(255 * r), int(255 * g), int(255 * b)) for r, g, b in colours)
    return first, second, third
