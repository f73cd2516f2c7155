"""Things that can be drawn: a textured outline with parts that swing, at any place and size.

All resampling is done in fixed point (OpenCV's remap with integer maps), which gives the same
bytes on every processor; warpAffine does not.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.datasets._synthetic.motion import Wave
from workers.datasets._synthetic.shapes import Outline, mask

SIDE = 80  # pixels of a cell, the picture of a sprite
RADIUS = 32.0  # the unit distance of an outline within the cell; the rest is room to warp
_ONE = 1024  # fixed-point unit of cell coordinates

Rgba = NDArray[np.uint8]  # (h, w, 4), colour not multiplied by opacity


@dataclass(frozen=True)
class Pose:
    """Where and how a sprite is drawn at one moment."""

    x: float
    y: float
    size: float  # the diameter of the unit circle, pixels
    angle: float = 0.0
    stretch: float = 1.0  # wider by this and lower by it
    warp: float = 0.0  # how far rows and columns slide, in cells' radii
    phase: float = 0.0
    swing: float = 0.0  # of the parts, radians


@dataclass(frozen=True)
class Part:
    """A limb: its own cell, hinged to the body."""

    levels: tuple[Rgba, ...]
    hinge: tuple[float, float]  # in body radii
    rest: float  # angle
    gain: float  # of Pose.swing
    size: float  # relative to the body


@dataclass(frozen=True)
class Sprite:
    levels: tuple[Rgba, ...]  # the cell, then each half the one before
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Patch:
    """What was drawn: colours and opacity, its first pixel at (left, top) of the screen."""

    left: int
    top: int
    picture: Rgba


def cell(picture: NDArray[np.uint8], curve: Outline) -> tuple[Rgba, ...]:
    """A textured outline in its cell, with half-size copies against aliasing."""
    level = np.dstack([picture, mask(curve, SIDE, RADIUS)])
    levels = [level]
    while level.shape[0] > SIDE // 4:
        wide = level.astype(np.uint16)
        quads = wide[::2, ::2] + wide[1::2, ::2] + wide[::2, 1::2] + wide[1::2, 1::2]
        level = ((quads + 2) >> 2).astype(np.uint8)
        levels.append(level)
    return tuple(levels)


def draw(sprite: Sprite, pose: Pose) -> Patch:
    """The sprite in a pose, on a patch large enough for all of it."""
    reach = pose.size / 2 * max(pose.stretch, 1 / pose.stretch) * 1.25
    if sprite.parts:
        reach = max(reach, pose.size / 2 * max(1 + 1.8 * p.size for p in sprite.parts))
    half = math.ceil(reach) + 2
    left, top = math.floor(pose.x) - half, math.floor(pose.y) - half
    side = 2 * half + 1
    local = Pose(**{**vars(pose), "x": pose.x - left, "y": pose.y - top})
    picture = _resample(sprite.levels, local, side)
    for part in sprite.parts:
        picture = _over(_resample(part.levels, _hinged(part, local), side), picture)
    return Patch(left, top, picture)


def _hinged(part: Part, body: Pose) -> Pose:
    """Where a part is when its body is in this pose: its near end stays at the hinge."""
    radius = body.size / 2
    angle = body.angle + part.rest + part.gain * body.swing
    cos, sin = math.cos(body.angle), math.sin(body.angle)
    hinge_x, hinge_y = part.hinge[0] * body.stretch, part.hinge[1] / body.stretch
    size = body.size * part.size
    return Pose(
        x=body.x + radius * (hinge_x * cos - hinge_y * sin) - 0.8 * size / 2 * math.sin(angle),
        y=body.y + radius * (hinge_x * sin + hinge_y * cos) + 0.8 * size / 2 * math.cos(angle),
        size=size,
        angle=angle,
    )


def _resample(levels: tuple[Rgba, ...], pose: Pose, side: int) -> Rgba:
    """One cell in a pose on a square patch; transparent outside of the cell."""
    shrink = 2 * RADIUS / max(pose.size, 1.0)
    level = min(max(int(math.log2(max(shrink, 1.0)) + 0.35), 0), len(levels) - 1)
    source = levels[level]
    scale = 2 * RADIUS / pose.size / 2**level
    cos, sin = math.cos(pose.angle) * scale, math.sin(pose.angle) * scale
    line = np.arange(side)
    dx = (line + 0.5 - pose.x)[None, :]
    dy = (line + 0.5 - pose.y)[:, None]
    # Coordinates of OpenCV put pixel centres on whole numbers, hence the half pixel.
    middle = source.shape[0] / 2 - 0.5
    u = _fixed(dx * (cos / pose.stretch)) + _fixed(dy * (sin / pose.stretch) + middle)
    v = _fixed(dx * (-sin * pose.stretch)) + _fixed(dy * (cos * pose.stretch) + middle)
    if pose.warp:
        u, v = _slid(u, v, pose, source.shape[0])
    place = np.stack([u >> 10, v >> 10], axis=-1).astype(np.int16)
    fraction = ((((v & 1023) >> 5) << 5) + ((u & 1023) >> 5)).astype(np.uint16)
    return np.asarray(cv2.remap(source, place, fraction, cv2.INTER_LINEAR), dtype=np.uint8)


def _fixed(values: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.rint(values * _ONE).astype(np.int32)


def _slid(
    u: NDArray[np.int32], v: NDArray[np.int32], pose: Pose, cells: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Columns slide along a sine of the row and rows along one of the column."""
    steps = 4 * cells  # four entries a pixel, so that the slide is smooth
    along = np.arange(steps) * (2 * math.pi / steps)
    reach = pose.warp * RADIUS * cells / SIDE
    across = _fixed(reach * np.sin(1.5 * along + pose.phase))
    down = _fixed(0.6 * reach * np.sin(1.5 * along + 1.7 * pose.phase + 1.0))
    slid_u = u + across[np.clip(v >> 8, 0, steps - 1)]
    slid_v = v + down[np.clip(u >> 8, 0, steps - 1)]
    return slid_u, slid_v


def _over(front: Rgba, back: Rgba) -> Rgba:
    """One picture over another. Where both are half clear the front's colour counts."""
    front_alpha = front[..., 3:].astype(np.int32)
    mixed = (front * front_alpha + back * (255 - front_alpha) + 127) // 255
    mixed[..., 3] = front_alpha[..., 0] + back[..., 3] * (255 - front_alpha[..., 0]) // 255
    colour = np.where(back[..., 3:] == 0, front[..., :3], mixed[..., :3])
    return np.dstack([colour, mixed[..., 3]]).astype(np.uint8)


_STILL = Wave()


@dataclass(frozen=True)
class Gait:
    """How the pose of a sprite goes on, but for its place."""

    size: Wave
    angle: Wave
    stretch: Wave
    warp: float = 0.0
    rate: float = 0.0  # of the warp, radians a frame
    swing: Wave = _STILL

    def at(self, t: float, x: float, y: float) -> Pose:
        return Pose(
            x=x,
            y=y,
            size=self.size.at(t),
            angle=self.angle.at(t),
            stretch=self.stretch.at(t),
            warp=self.warp,
            phase=self.rate * t,
            swing=self.swing.at(t),
        )
