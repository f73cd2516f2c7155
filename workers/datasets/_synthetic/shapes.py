"""Outlines of objects: closed curves whose farthest point is at distance 1 from the centre."""

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.datasets._synthetic.families import Family

Outline = NDArray[np.float64]  # (n, 2) as (x, y)
Rng = np.random.RandomState
_POINTS = 72
_SUBPIXEL_BITS = 4


def outline(rng: Rng, family: Family) -> Outline:
    """A blob, a polygon or star, or a superellipse, its numbers from the bands of a family."""
    curve: Outline = (_blob, _star, _superellipse)[rng.randint(3)](rng, family)
    curve = curve - (curve.min(axis=0) + curve.max(axis=0)) / 2
    return curve / float(np.hypot(curve[:, 0], curve[:, 1]).max())


def limb(rng: Rng, family: Family) -> Outline:
    """A long thin outline for a part that swings."""
    thin = _superellipse(rng, family) * [0.45, 1.0]
    return thin / float(np.hypot(thin[:, 0], thin[:, 1]).max())


def bar(rng: Rng, family: Family) -> Outline:
    """Something upright to pass behind."""
    return _superellipse(rng, family) * [rng.uniform(0.55, 0.8), 1.0]


def mask(curve: Outline, side: int, radius: float) -> NDArray[np.uint8]:
    """The filled outline as opacity 0..255, its unit distance drawn ``radius`` pixels long."""
    picture = np.zeros((side, side), np.uint8)
    # Pixel centres are whole numbers for OpenCV, so the middle of the picture is (side - 1) / 2.
    points = np.rint((curve * radius + (side - 1) / 2) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(picture, [points], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    return picture


def _polar(angles: Outline, radii: Outline, squeeze: float) -> Outline:
    return np.stack([radii * np.cos(angles), squeeze * radii * np.sin(angles)], axis=1)


def _blob(rng: Rng, family: Family) -> Outline:
    angles = np.linspace(0.0, 2 * np.pi, _POINTS, endpoint=False)
    radii = np.ones(_POINTS)
    for order in (2, 3, 4, 5):
        swing = family.draw(rng, 0.0, 0.55) / order
        radii = radii + swing * np.cos(order * angles + rng.uniform(0, 2 * np.pi))
    return _polar(angles, np.maximum(radii, 0.3), family.draw(rng, 0.6, 1.0))


def _star(rng: Rng, family: Family) -> Outline:
    corners = rng.randint(3, 7)
    inner = family.draw(rng, 0.45, 1.0)
    steps = np.arange(2 * corners)
    radii = np.where(steps % 2 == 0, 1.0, inner) * rng.uniform(0.85, 1.0, 2 * corners)
    angles = np.pi * steps / corners + rng.uniform(0, 2 * np.pi)
    return _polar(angles, radii, family.draw(rng, 0.6, 1.0))


def _superellipse(rng: Rng, family: Family) -> Outline:
    angles = np.linspace(0.0, 2 * np.pi, _POINTS, endpoint=False)
    power = 2.0 / family.draw(rng, 0.9, 5.0)
    cos, sin = np.cos(angles), np.sin(angles)
    x = np.sign(cos) * np.abs(cos) ** power
    y = np.sign(sin) * np.abs(sin) ** power
    return np.stack([x, family.draw(rng, 0.5, 1.0) * y], axis=1)
