"""What the picture owes to camera and light: backdrop, pan and zoom, shake, light, grain."""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.datasets._synthetic import canvas
from workers.datasets._synthetic.families import Family, draw_hues, paint
from workers.datasets._synthetic.motion import Rng, Wave, wander, wave
from workers.datasets._synthetic.shapes import outline
from workers.datasets._synthetic.sprites import SIDE, Pose, Sprite, cell, draw
from workers.datasets._synthetic.textures import texture, value_noise

WIDTH, HEIGHT = 320, 240
_WORLD_WIDTH, _WORLD_HEIGHT = 480, 400
_CLUTTER = 26
_GRAIN_STEP = 16  # one standard deviation of the stored grain


@dataclass(frozen=True)
class Backdrop:
    """A picture larger than the screen and the moving window that is seen of it."""

    world: canvas.Frame
    pan_x: Wave
    pan_y: Wave
    zoom: Wave

    def view(self, t: float, shake: tuple[float, float]) -> canvas.Frame:
        zoom = self.zoom.at(t)
        width, height = round(WIDTH / zoom), round(HEIGHT / zoom)
        room_x, room_y = _WORLD_WIDTH - width, _WORLD_HEIGHT - height
        left = round(room_x * (0.5 + 0.5 * self.pan_x.at(t)) - shake[0])
        top = round(room_y * (0.5 + 0.5 * self.pan_y.at(t)) - shake[1])
        left, top = min(max(left, 0), room_x), min(max(top, 0), room_y)
        window = self.world[top : top + height, left : left + width]
        return np.asarray(cv2.resize(window, (WIDTH, HEIGHT)), dtype=np.uint8)


def backdrop(rng: Rng, family: Family, size: float, length: int) -> Backdrop:
    """A textured ground strewn with things about as large as the target."""
    kind = family.kinds[rng.randint(len(family.kinds))]
    ground = paint(rng, draw_hues(rng, family), vivid=0.5)
    coarse = texture(rng, family, kind, ground, _WORLD_WIDTH // 2)
    large = cv2.resize(coarse, (_WORLD_WIDTH, _WORLD_WIDTH))
    world = np.array(large[:_WORLD_HEIGHT], dtype=np.uint8)
    pictures = []
    for _ in range(6):
        kind = family.kinds[rng.randint(len(family.kinds))]
        pictures.append(texture(rng, family, kind, paint(rng, draw_hues(rng, family)), SIDE))
    for number in range(_CLUTTER):
        piece = Sprite(cell(pictures[number % len(pictures)], outline(rng, family)))
        x, y = rng.uniform(0, _WORLD_WIDTH), rng.uniform(0, _WORLD_HEIGHT)
        pose = Pose(
            x, y, size * rng.uniform(0.7, 1.5), rng.uniform(0, 6.28), rng.uniform(0.8, 1.25)
        )
        canvas.paste(world, canvas.layer(draw(piece, pose)))
    rate = 2 * np.pi / rng.uniform(80.0, 160.0)
    pan_x, pan_y = (wander(rng, 0.0, rng.uniform(0.4, 0.95)).faster(rate) for _ in range(2))
    zoom = wave(rng, rng.uniform(1.0, 1.1), rng.uniform(0.02, 0.14), 1.5 * length)
    return Backdrop(world, pan_x, pan_y, zoom)


@dataclass(frozen=True)
class Light:
    """Gain and cast over time, and a shade that lies or drifts over the screen."""

    gain: Wave
    casts: tuple[Wave, Wave, Wave]
    shade: canvas.Frame  # 255 is full light; at least as large as the screen
    drift_x: Wave  # of the window onto the shade, 0..1 of the room there is
    drift_y: Wave

    def shine(self, frame: canvas.Frame, t: float) -> canvas.Frame:
        gain = self.gain.at(t)
        levels = [np.arange(256) * (gain * (1.0 + cast.at(t))) for cast in self.casts]
        table = np.rint(np.clip(np.stack(levels, axis=-1), 0, 255)).astype(np.uint8)
        lit = cv2.LUT(frame, table[None])
        room_y, room_x = self.shade.shape[0] - HEIGHT, self.shade.shape[1] - WIDTH
        left = round(room_x * min(max(self.drift_x.at(t), 0.0), 1.0))
        top = round(room_y * min(max(self.drift_y.at(t), 0.0), 1.0))
        shade = self.shade[top : top + HEIGHT, left : left + WIDTH]
        return (lit.astype(np.uint16) * shade >> 8).astype(np.uint8)


def light(rng: Rng, changing: bool, length: int) -> Light:
    """Steady light with dark corners, or light that comes and goes and shadows that drift."""
    if not changing:
        casts = tuple(Wave(rng.uniform(-0.06, 0.06)) for _ in range(3))
        gain = wave(rng, rng.uniform(0.95, 1.1), 0.04, length)
        half = Wave(0.5)
        return Light(gain, (casts[0], casts[1], casts[2]), _vignette(), half, half)
    casts = tuple(wave(rng, 0.0, rng.uniform(0.05, 0.18), length) for _ in range(3))
    gain = wave(rng, 0.95, rng.uniform(0.25, 0.38), 0.8 * length)
    drift_x, drift_y = (wave(rng, 0.5, 0.5, length) for _ in range(2))
    return Light(gain, (casts[0], casts[1], casts[2]), _shadows(rng), drift_x, drift_y)


@cache
def _vignette() -> canvas.Frame:
    x = (np.arange(WIDTH) + 0.5) / WIDTH - 0.5
    y = (np.arange(HEIGHT) + 0.5) / HEIGHT - 0.5
    fall = 255 - 110 * (x[None, :] ** 2 + y[:, None] ** 2)
    return np.repeat(np.rint(fall).astype(np.uint8)[..., None], 3, axis=2)


def _shadows(rng: Rng) -> canvas.Frame:
    noise = value_noise(rng, 5.0, 240)
    depth = rng.uniform(0.3, 0.55)
    shade = 1.0 - depth / (1.0 + np.exp(-14.0 * (noise - 0.5)))
    picture = cv2.resize(np.rint(255 * shade).astype(np.uint8), (2 * WIDTH, 2 * WIDTH))
    return np.repeat(picture[: 2 * HEIGHT, :, None], 3, axis=2)


@cache
def _grain() -> NDArray[np.int16]:
    """Noise of about normal distribution; every frame takes another window of it."""
    rng = np.random.RandomState(0)
    draws = rng.randint(-24, 25, (4, HEIGHT + 60, WIDTH + 80, 3))
    noise: NDArray[np.int16] = (draws.sum(axis=0) * _GRAIN_STEP // 28).astype(np.int16)
    return noise


def grain(level: float) -> NDArray[np.int16]:
    """Noise of this standard deviation, larger than a frame."""
    noise: NDArray[np.int16] = _grain() * np.int16(round(level * 16)) // np.int16(16 * _GRAIN_STEP)
    return noise


def add_grain(frame: canvas.Frame, noise: NDArray[np.int16], rng: Rng) -> canvas.Frame:
    top, left = rng.randint(noise.shape[0] - HEIGHT), rng.randint(noise.shape[1] - WIDTH)
    window = noise[top : top + HEIGHT, left : left + WIDTH]
    return np.asarray(cv2.add(frame, window, dtype=cv2.CV_8U), dtype=np.uint8)
