"""How things move: closed formulas of time, so that any moment can be had without the ones before.

Positions are pixels of the screen, time is counted in frames.
"""

import math
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

Rng = np.random.RandomState
Point = tuple[float, float]


@dataclass(frozen=True)
class Wave:
    """A steady value and some sines: (amplitude, radians a frame, phase) each."""

    steady: float = 0.0
    sines: tuple[tuple[float, float, float], ...] = ()

    def at(self, t: float) -> float:
        return self.steady + sum(a * math.sin(rate * t + phase) for a, rate, phase in self.sines)

    def faster(self, factor: float) -> "Wave":
        return replace(self, sines=tuple((a, r * factor, p) for a, r, p in self.sines))


def wave(rng: Rng, steady: float, swing: float, period: float) -> Wave:
    """A value that swings about once in ``period`` frames."""
    rate = 2 * math.pi / (period * rng.uniform(0.8, 1.25))
    return Wave(steady, ((swing, rate, rng.uniform(0, 2 * math.pi)),))


def wander(rng: Rng, steady: float, reach: float) -> Wave:
    """An irregular swing that never goes farther than ``reach``; its main rate is about 1."""
    shares = np.array([0.72, 0.2, 0.08])
    rates = np.array([1.0, 1.9, 3.1]) * rng.uniform(0.8, 1.25, 3)
    phases = rng.uniform(0, 2 * math.pi, 3)
    parts = zip(reach * shares, rates, phases, strict=True)
    return Wave(steady, tuple((float(a), float(r), float(p)) for a, r, p in parts))


class Path(Protocol):
    def at(self, t: float) -> Point: ...


@dataclass(frozen=True)
class Trip:
    """Away and back: ``reach`` pixels at ``middle``, nothing before and after ``width`` / 2."""

    reach: Point
    middle: float
    width: float

    def at(self, t: float) -> Point:
        phase = min(abs(t - self.middle) / (self.width / 2), 1.0)
        share = 0.5 + 0.5 * math.cos(math.pi * phase)
        return self.reach[0] * share, self.reach[1] * share


@dataclass(frozen=True)
class Roam:
    """A path of its own."""

    x: Wave
    y: Wave
    trip: Trip | None = None

    def at(self, t: float) -> Point:
        dx, dy = self.trip.at(t) if self.trip else (0.0, 0.0)
        return self.x.at(t) + dx, self.y.at(t) + dy

    def faster(self, factor: float) -> "Roam":
        return replace(self, x=self.x.faster(factor), y=self.y.faster(factor))


@dataclass(frozen=True)
class Orbit:
    """Around another path, as close as ``radius`` says."""

    leader: Path
    radius: Wave
    turn: float  # radians a frame
    angle: Wave

    def at(self, t: float) -> Point:
        x, y = self.leader.at(t)
        angle = self.turn * t + self.angle.at(t)
        radius = self.radius.at(t)
        return x + radius * math.cos(angle), y + radius * math.sin(angle)


@dataclass(frozen=True)
class Crossing:
    """Straight on, through ``start`` at time ``middle``."""

    start: Point
    velocity: Point
    middle: float

    def at(self, t: float) -> Point:
        ago = t - self.middle
        return self.start[0] + self.velocity[0] * ago, self.start[1] + self.velocity[1] * ago


def roam(rng: Rng, centre: Point, room: Point, pace: float, length: int) -> Roam:
    """A path in some of the room around a centre, at a median of ``pace`` pixels a frame."""
    reach_x, reach_y = (side * rng.uniform(0.45, 0.85) for side in room)
    path = Roam(wander(rng, centre[0], reach_x), wander(rng, centre[1], reach_y)).faster(0.05)
    for _ in range(6):
        path = path.faster(min(max(pace / max(median_pace(path, length), 1e-3), 0.4), 2.5))
    return path


def median_pace(path: Path, length: int) -> float:
    """Pixels a frame, the median over the first ``length`` frames."""
    return float(np.median([pace_at(path, t) for t in range(length)]))


def pace_at(path: Path, t: float) -> float:
    (x0, y0), (x1, y1) = path.at(t - 0.5), path.at(t + 0.5)
    return math.hypot(x1 - x0, y1 - y0)
