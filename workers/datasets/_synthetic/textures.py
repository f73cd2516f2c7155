"""Square textures: a field of numbers (or a drawing) coloured with a palette of three.

Fields are computed elementwise in float64 and rounded to bytes once, so that the last bits of a
processor's sine never reach a pixel.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.datasets._synthetic.families import Family, Palette

Texture = NDArray[np.uint8]  # (side, side, 3)
Field = NDArray[np.float64]  # (side, side), 0..1
Rng = np.random.RandomState
_SUBPIXEL_BITS = 4


def texture(rng: Rng, family: Family, kind: str, palette: Palette, side: int) -> Texture:
    """A texture of a kind, its numbers drawn from the bands of a family."""
    if kind in _DRAWINGS:
        return _DRAWINGS[kind](rng, family, palette, side)
    return colour(_FIELDS[kind](rng, family, side), palette)


def colour(field: Field, palette: Palette) -> Texture:
    """0 is the first colour of the palette, 1/2 the second, 1 the third, blended between."""
    stops = np.asarray(palette, dtype=np.float64)
    steps = np.linspace(0.0, 2.0, 256)[:, None]
    low = np.minimum(steps.astype(int)[:, 0], 1)
    ramp = stops[low] + (stops[low + 1] - stops[low]) * (steps - low[:, None])
    table: Texture = np.rint(ramp).astype(np.uint8)
    picture: Texture = table[np.rint(np.clip(field, 0.0, 1.0) * 255).astype(np.uint8)]
    return picture


def _grid(side: int) -> tuple[Field, Field]:
    """Coordinates -1..1: x as a row, y as a column."""
    line = (np.arange(side, dtype=np.float64) + 0.5) * (2.0 / side) - 1.0
    x: Field = line[None, :]
    y: Field = line[:, None]
    return x, y


def _turned(angle: float, side: int) -> tuple[Field, Field]:
    x, y = _grid(side)
    cos, sin = np.cos(angle), np.sin(angle)
    return x * cos + y * sin, y * cos - x * sin


def value_noise(rng: Rng, cells: float, side: int) -> Field:
    """Random numbers on a coarse lattice, smoothly blended."""
    lattice = rng.random_sample((int(cells) + 3, int(cells) + 3))
    place = (np.arange(side) + 0.5) * (cells / side)
    low = place.astype(int)
    blend = place - low
    blend = blend * blend * (3.0 - 2.0 * blend)
    rows = lattice[low] + (lattice[low + 1] - lattice[low]) * blend[:, None]
    mixed: Field = rows[:, low] + (rows[:, low + 1] - rows[:, low]) * blend[None, :]
    return mixed


def _stretch(field: Field) -> Field:
    low, high = float(field.min()), float(field.max())
    return (field - low) / max(high - low, 1e-9)


def _fractal(rng: Rng, family: Family, side: int) -> Field:
    cells = family.draw(rng, 2.0, 6.0)
    octaves = (value_noise(rng, cells * 2**k, side) * 0.5**k for k in range(3))
    return _stretch(np.sum(list(octaves), axis=0))


def _bands(rate: float, across: Field) -> Field:
    """Bright and dark by turns, with soft edges."""
    bands: Field = 0.5 + 0.5 * np.tanh(3 * np.sin(np.pi * rate * across))
    return bands


def _stripes(rng: Rng, family: Family, side: int) -> Field:
    along, across = _turned(family.draw(rng, 0.0, np.pi), side)
    bend = rng.uniform(0.0, 0.25) * np.sin(rng.uniform(2.0, 5.0) * across + rng.uniform(0, 6))
    return _bands(family.draw(rng, 2.0, 6.0), along + bend)


def _checker(rng: Rng, family: Family, side: int) -> Field:
    along, across = _turned(family.draw(rng, 0.0, np.pi / 2), side)
    rate = np.pi * family.draw(rng, 1.5, 4.0)
    shade = 0.3 * value_noise(rng, 3.0, side)
    squares: Field = np.tanh(6 * np.sin(rate * along) * np.sin(rate * across + 0.7))
    return 0.35 + 0.35 * squares + shade


def _gradient(rng: Rng, family: Family, side: int) -> Field:
    along, across = _turned(family.draw(rng, 0.0, 2 * np.pi), side)
    bulge = family.draw(rng, 0.1, 1.0)
    return _stretch(along + bulge * across * across + 0.35 * value_noise(rng, 6.0, side))


def _rings(rng: Rng, family: Family, side: int) -> Field:
    along, across = _turned(family.draw(rng, 0.0, np.pi), side)
    radius = np.hypot(along - rng.uniform(-0.5, 0.5), across * rng.uniform(0.7, 1.3))
    return _bands(family.draw(rng, 3.0, 8.0), radius)


def _voronoi(rng: Rng, family: Family, side: int) -> Field:
    count = round(family.draw(rng, 8.0, 26.0))
    seeds = rng.uniform(-1.0, 1.0, (count, 2))
    x, y = _grid(side)
    distances = (x - seeds[:, 0, None, None]) ** 2 + (y - seeds[:, 1, None, None]) ** 2
    nearest = np.argmin(distances, axis=0)
    edge = np.diff(np.sqrt(np.partition(distances, 1, axis=0)[:2]), axis=0)[0]
    return np.where(edge < 0.04, 0.0, rng.random_sample(count)[nearest])


def _spots(rng: Rng, family: Family, palette: Palette, side: int) -> Texture:
    picture = np.empty((side, side, 3), np.uint8)
    picture[:] = palette[0]
    radius = family.draw(rng, 0.045, 0.13) * side
    for _ in range(int(0.45 * (side / radius) ** 2 / np.pi) + 3):
        centre = rng.randint(0, side << _SUBPIXEL_BITS, 2)
        size = int(radius * rng.uniform(0.7, 1.3) * (1 << _SUBPIXEL_BITS))
        at = (int(centre[0]), int(centre[1]))
        ink = palette[1 + rng.randint(2)]
        cv2.circle(picture, at, size, ink, -1, cv2.LINE_AA, _SUBPIXEL_BITS)
    return picture


def _polygons(rng: Rng, family: Family, palette: Palette, side: int) -> Texture:
    picture = np.empty((side, side, 3), np.uint8)
    picture[:] = palette[0]
    reach = family.draw(rng, 0.14, 0.36) * side
    for number in range(int(2.2 * (side / reach) ** 2) + 2):
        centre = rng.uniform(0, side, 2)
        corners = centre + rng.uniform(-reach, reach, (rng.randint(3, 5), 2))
        points = np.rint(corners * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        ink = palette[number % 3]
        cv2.fillPoly(picture, [points], ink, cv2.LINE_AA, _SUBPIXEL_BITS)
    return picture


_FIELDS: dict[str, Callable[[Rng, Family, int], Field]] = {
    "fractal": _fractal,
    "stripes": _stripes,
    "checker": _checker,
    "gradient": _gradient,
    "rings": _rings,
    "voronoi": _voronoi,
}
_DRAWINGS: dict[str, Callable[[Rng, Family, Palette, int], Texture]] = {
    "spots": _spots,
    "polygons": _polygons,
}
