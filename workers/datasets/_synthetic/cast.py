"""Who plays in a scene: the target, its distractors, and what passes in front of it."""

import math
from dataclasses import dataclass, replace

import numpy as np

from workers.datasets._synthetic import sprites
from workers.datasets._synthetic.camera import HEIGHT, WIDTH
from workers.datasets._synthetic.families import Family, Hues, draw_hues, near_hues, paint
from workers.datasets._synthetic.motion import (
    Crossing,
    Orbit,
    Path,
    Rng,
    Roam,
    Trip,
    Wave,
    roam,
    wave,
)
from workers.datasets._synthetic.shapes import Outline, bar, limb, outline
from workers.datasets._synthetic.sprites import SIDE, Gait, Part, Sprite
from workers.datasets._synthetic.strata import SceneConfig
from workers.datasets._synthetic.textures import texture

_SIMILAR = 0.8  # of the distractors share texture and near colours, or shape, with the target
_ORBITING = 0.65  # of them keep close to it
_IN_FRONT = 0.24  # of them pass over it, in scenes with occlusion: .12 of all
BOX_SHARE = 0.8  # a box's sqrt(w * h) in diameters, on average


@dataclass(frozen=True)
class Actor:
    sprite: Sprite
    path: Path
    gait: Gait


@dataclass(frozen=True)
class Look:
    """What makes an appearance."""

    kind: str
    hues: Hues
    curve: Outline


def cast(rng: Rng, family: Family, config: SceneConfig) -> tuple[Actor, list[Actor], list[Actor]]:
    """The target, who is behind it and who in front."""
    look = _look(rng, family)
    path = _roam(rng, config, 0.6)
    gait = _gait(rng, config)
    trip = _trip(rng, path, config) if "out_of_view" in config.attributes else None
    target = Actor(_sprite(rng, family, look, config), replace(path, trip=trip), gait)
    behind: list[Actor] = []
    front: list[Actor] = []
    for number in range(config.distractors):
        rival = _rival(rng, family, config, look, path, number)
        over = rng.uniform() < _IN_FRONT and "occlusion" in config.attributes
        (front if over else behind).append(rival)
    if "occlusion" in config.attributes:
        front.append(_occluder(rng, family, config, path))
    return target, behind, front


def _roam(rng: Rng, config: SceneConfig, margin: float) -> Roam:
    """A path at the scene's speed that keeps ``margin`` target sizes from the border."""
    room_x, room_y = (max(side / 2 - margin * config.size, 4.0) for side in (WIDTH, HEIGHT))
    pace = config.speed * BOX_SHARE * config.size
    room = (room_x * config.reach, room_y * config.reach)
    return roam(rng, (WIDTH / 2, HEIGHT / 2), room, pace, config.length)


def _look(rng: Rng, family: Family) -> Look:
    kind = family.kinds[rng.randint(len(family.kinds))]
    return Look(kind, draw_hues(rng, family), outline(rng, family))


def _rival_look(rng: Rng, family: Family, target: Look) -> Look:
    look = _look(rng, family)
    if rng.uniform() >= _SIMILAR:
        return look
    if rng.randint(2):
        return replace(look, kind=target.kind, hues=near_hues(rng, family, target.hues))
    return replace(look, curve=target.curve)


def _sprite(rng: Rng, family: Family, look: Look, config: SceneConfig) -> Sprite:
    body = sprites.cell(texture(rng, family, look.kind, paint(rng, look.hues), SIDE), look.curve)
    if "deformation" not in config.attributes:
        return Sprite(body)
    return Sprite(body, tuple(_part(rng, family, look) for _ in range(rng.randint(0, 3))))


def _part(rng: Rng, family: Family, look: Look) -> Part:
    picture = texture(rng, family, look.kind, paint(rng, look.hues), SIDE)
    side = rng.uniform(0, 2 * math.pi)
    radius = 0.75 * float(np.hypot(look.curve[:, 0], look.curve[:, 1]).min())
    return Part(
        levels=sprites.cell(picture, limb(rng, family)),
        hinge=(radius * math.cos(side), radius * math.sin(side)),
        rest=side - math.pi / 2,
        gain=1.0 if rng.randint(2) else -1.0,
        size=rng.uniform(0.45, 0.7),
    )


def _gait(rng: Rng, config: SceneConfig) -> Gait:
    """Size, turn and deformation over time, as the scene's attributes want them."""
    scale = 0.32 if "scale" in config.attributes else 0.05
    soft = "deformation" in config.attributes
    return Gait(
        size=wave(rng, config.size, config.size * scale * rng.uniform(0.8, 1.1), config.length),
        angle=wave(rng, rng.uniform(-0.5, 0.5), rng.uniform(0.1, 0.5), config.length),
        stretch=wave(rng, 1.0, rng.uniform(0.1, 0.2) if scale > 0.1 else 0.04, config.length),
        warp=rng.uniform(0.06, 0.15) if soft else 0.0,
        rate=2 * math.pi / rng.uniform(16, 32),
        swing=wave(rng, 0.0, rng.uniform(0.4, 0.8), rng.uniform(16, 32)) if soft else Wave(),
    )


def _rival(
    rng: Rng, family: Family, config: SceneConfig, target: Look, leader: Roam, number: int
) -> Actor:
    """A distractor of the target's size: the first ones orbit it, the others go their own way."""
    sprite = _sprite(rng, family, _rival_look(rng, family, target), config)
    gait = _gait(rng, config)
    if number >= round(_ORBITING * config.distractors):
        return Actor(sprite, _roam(rng, config, 0.5), gait)
    pace = config.speed * BOX_SHARE * config.size
    near = config.size * rng.uniform(1.0, 1.35)
    orbit = Orbit(
        leader=leader,
        radius=wave(rng, near, 0.2 * config.size, 30.0),
        turn=rng.uniform(0.3, 1.0) * pace / near * (1 if rng.randint(2) else -1),
        angle=wave(rng, rng.uniform(0, 2 * math.pi), 0.5, 25.0),
    )
    return Actor(sprite, orbit, gait)


def _trip(rng: Rng, path: Roam, config: SceneConfig) -> Trip:
    """Out of the picture by the nearest side and back."""
    middle = config.length * rng.uniform(0.45, 0.6)
    x, y = path.at(middle)
    beyond = 1.0 * config.size
    ways = [
        (-x - beyond, 0.0),
        (WIDTH - x + beyond, 0.0),
        (0.0, -y - beyond),
        (0.0, HEIGHT - y + beyond),
    ]
    reach = min(ways, key=lambda way: abs(way[0]) + abs(way[1]))
    return Trip(reach, middle, config.length * rng.uniform(0.55, 0.75))


def _occluder(rng: Rng, family: Family, config: SceneConfig, path: Roam) -> Actor:
    """Of some things that could pass over the target, the one that hides it as long as asked."""
    size = config.size * rng.uniform(1.7, 2.4)
    sprite = _sprite(rng, family, replace(_look(rng, family), curve=bar(rng, family)), config)
    pace = config.speed * config.size
    crossings = []
    for _ in range(24):
        middle = config.length * rng.uniform(0.2, 0.85)
        heading, speed = rng.uniform(0, 2 * math.pi), pace * rng.uniform(0.1, 2.0)
        velocity = (speed * math.cos(heading), speed * math.sin(heading))
        crossings.append(Crossing(path.at(middle), velocity, middle))
    hidden = [_hidden(crossing, size, path, config) for crossing in crossings]
    best = int(np.argmin(np.abs(np.array(hidden) - config.occluded)))
    gait = Gait(Wave(size), wave(rng, 0.0, 0.15, config.length), Wave(1.0))
    return Actor(replace(sprite, parts=()), crossings[best], gait)


def _hidden(crossing: Crossing, size: float, path: Roam, config: SceneConfig) -> float:
    """About the share of frames in which most of the target is covered; 1 if so at the start."""
    ours = np.array([path.at(t) for t in range(config.length)])
    theirs = np.array([crossing.at(t) for t in range(config.length)])
    gap = np.abs(ours - theirs)
    reach = np.array([0.6 * size, 0.85 * size]) / 2 + BOX_SHARE * config.size / 2
    covered = np.clip((reach - gap) / (BOX_SHARE * config.size), 0, 1).prod(axis=1)
    return 1.0 if covered[:3].max() > 0.05 else float((covered > 0.7).mean())
