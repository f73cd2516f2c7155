"""One scene: set up from its config once, then drawn at any moment, in any order."""

import itertools
import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.datasets._synthetic import camera, canvas
from workers.datasets._synthetic.camera import HEIGHT, WIDTH, Backdrop, Light
from workers.datasets._synthetic.cast import BOX_SHARE, Actor, cast
from workers.datasets._synthetic.families import FAMILIES
from workers.datasets._synthetic.motion import Rng, pace_at
from workers.datasets._synthetic.sprites import draw
from workers.datasets._synthetic.strata import SceneConfig

_SETUP, _MOMENT = 0, 1  # which random stream of a scene


@dataclass(frozen=True)
class Moment:
    """One picture and what is true of it. The box may leave the picture: nothing is clipped."""

    frame: canvas.Frame
    box: tuple[float, float, float, float]
    visibility: float  # share of the target's pixels inside the picture and not painted over


@dataclass(frozen=True)
class Scene:
    config: SceneConfig
    backdrop: Backdrop
    light: Light
    noise: NDArray[np.int16]
    shake: float
    exposure: float  # frames that the shutter stays open
    target: Actor
    behind: tuple[Actor, ...]
    front: tuple[Actor, ...]

    def render(self, t: float) -> Moment:
        rng = self._stream(t)
        jolt = self._jolt(rng)
        frame = self.backdrop.view(t, jolt)
        target = self._layer(self.target, t, jolt)
        fronts = [self._layer(actor, t, jolt) for actor in self.front]
        for item in [*(self._layer(actor, t, jolt) for actor in self.behind), target, *fronts]:
            canvas.paste(frame, item)
        if self.exposure:
            frame = np.asarray(cv2.blur(frame, (3, 1) if jolt[0] > jolt[1] else (1, 3)), np.uint8)
        frame = camera.add_grain(self.light.shine(frame, t), self.noise, rng)
        visibility = canvas.visible_share(target, fronts, WIDTH, HEIGHT)
        return Moment(frame, target.box(), visibility)

    def visibility(self, t: float) -> float:
        """What render says, without the picture."""
        jolt = self._jolt(self._stream(t))
        fronts = [self._layer(actor, t, jolt) for actor in self.front]
        return canvas.visible_share(self._layer(self.target, t, jolt), fronts, WIDTH, HEIGHT)

    @cached_property
    def start(self) -> int:
        """The first moment at which over 90 % of the target is seen."""
        return next(t for t in itertools.count() if self.visibility(t) > 0.9)

    def moments(self, count: int) -> list[int]:
        """When to draw: frame by frame, or for training scattered over the whole scene."""
        if self.config.split != "train":
            return [self.start + k for k in range(count)]
        rng = self._stream(-1)
        step = self.config.length / count
        return [
            self.start,
            *(self.start + int((k + rng.uniform()) * step) for k in range(1, count)),
        ]

    def speed(self, t: float) -> float:
        """How far the target moves in a frame, in its own sizes."""
        return pace_at(self.target.path, t) / (BOX_SHARE * self.target.gait.size.at(t))

    def _stream(self, t: float) -> Rng:
        # Times before the scene (-1 is the choice of moments) must not make a negative seed.
        return stream(self.config, _MOMENT, round(1000 * (t + 1)))

    def _jolt(self, rng: Rng) -> tuple[float, float]:
        return self.shake * rng.uniform(-1, 1), self.shake * rng.uniform(-1, 1)

    def _layer(self, actor: Actor, t: float, jolt: tuple[float, float]) -> canvas.Layer:
        x, y = actor.path.at(t)
        patch = draw(actor.sprite, actor.gait.at(t, x + jolt[0], y + jolt[1]))
        return canvas.layer(patch, self._smear(actor, t))

    def _smear(self, actor: Actor, t: float) -> tuple[float, float]:
        """How the shutter drags an object out: never over .35 of its size."""
        if not self.exposure:
            return 0.0, 0.0
        (x0, y0), (x1, y1) = actor.path.at(t - 0.5), actor.path.at(t + 0.5)
        dx, dy = self.exposure * (x1 - x0), self.exposure * (y1 - y0)
        most = 0.35 * actor.gait.size.at(t) / max(math.hypot(dx, dy), 1e-6)
        return dx * min(most, 1.0), dy * min(most, 1.0)


def stream(config: SceneConfig, *purpose: int) -> Rng:
    """Random numbers of a scene. RandomState because its stream never changes."""
    key = FAMILIES[config.split].key
    return np.random.RandomState([key, config.seed, config.index, *purpose])


def set_up(config: SceneConfig) -> Scene:
    """Everything about a scene that does not depend on time."""
    family = FAMILIES[config.split]
    rng = stream(config, _SETUP)
    backdrop = camera.backdrop(rng, family, config.size, config.length)
    target, behind, front = cast(rng, family, config)
    blurred = "motion_blur" in config.attributes
    return Scene(
        config=config,
        backdrop=backdrop,
        light=camera.light(rng, "illumination" in config.attributes, config.length),
        noise=camera.grain(rng.uniform(2.0, 7.0)),
        shake=rng.uniform(0.0, 1.2),
        exposure=max(0.6, 0.22 / config.speed) if blurred else 0.0,
        target=target,
        behind=tuple(behind),
        front=tuple(front),
    )
