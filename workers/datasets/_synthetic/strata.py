"""What a scene is asked to contain, fixed by its number so that the splits match.

Scenes go through a cycle of 32 kinds: each attribute is present in a fixed number of them, and
speed, size and occlusion take 32 evenly spread levels, in an order of their own. A split of any
multiple of 32 scenes therefore has the same distribution of difficulty as any other.
"""

from collections.abc import Set
from dataclasses import dataclass
from functools import cache

import numpy as np

CYCLE = 32
# Scenes of each cycle that have the attribute.
SHARES = {
    "deformation": 16,
    "distractors": 16,
    "illumination": 10,
    "low_resolution": 8,
    "motion_blur": 10,
    "occlusion": 16,
    "out_of_view": 5,
    "scale": 16,
}
ATTRIBUTES = (*SHARES, "fast_motion")
FAST = 0.14  # speed from which a scene counts as fast_motion, target sizes a frame
_LEVELS = ("speed", "size", "occluded", "rivals")
_ORDER = 17332  # of the seeds below 20 000, the one whose attributes correlate least


@dataclass(frozen=True, kw_only=True)
class SceneConfig:
    """All that a scene is drawn from: the same config gives the same pixels."""

    split: str
    seed: int
    index: int
    attributes: frozenset[str]
    speed: float  # median, target sizes a frame
    size: float  # diameter of the target, pixels
    occluded: float  # the share of frames in which the target should be covered
    distractors: int
    length: int  # frames within which everything happens
    reach: float = 1.0


@dataclass(frozen=True)
class Nominal:
    """How a split is asked for when nobody says otherwise."""

    count: int
    length: int
    distractors: tuple[int, int, int]  # without the attribute, with it, with it at times
    haste: float = 1.0
    reach: float = 1.0  # how far the target strays


SPLITS = {
    "train": Nominal(1000, 60, (4, 5, 6)),
    "val": Nominal(96, 40, (4, 5, 6)),
    # In a longer video the target gets farther: less reach, so that a frozen box scores as on val.
    "test": Nominal(128, 60, (4, 5, 6), reach=0.75),
    "hard": Nominal(64, 50, (5, 6, 7), haste=1.35),
}


@cache
def _orders() -> dict[str, tuple[int, ...]]:
    """For each attribute and level, the rank 0..31 of each scene of the cycle."""
    rng = np.random.RandomState(_ORDER)
    names = (*SHARES, *_LEVELS)
    return {name: tuple(int(rank) for rank in rng.permutation(CYCLE)) for name in names}


def level(name: str, index: int) -> float:
    """The scene's level, evenly spread between 0 and 1 over a cycle."""
    return (_orders()[name][index % CYCLE] + 0.5) / CYCLE


def configure(split: str, seed: int, index: int, attributes: Set[str] | None = None) -> SceneConfig:
    """The scene of this number; ``attributes`` replaces the ones of its stratum."""
    nominal = SPLITS[split]
    speed = nominal.haste * float(np.interp(level("speed", index), [0, 0.5, 1], [0.03, 0.1, 0.2]))
    if attributes is None:
        chosen = {n for n, share in SHARES.items() if _orders()[n][index % CYCLE] < share}
        chosen |= {"fast_motion"} if speed >= FAST else set()
    else:
        chosen = set(attributes)
        speed = min(max(speed, FAST), 1.0) if "fast_motion" in chosen else min(speed, FAST * 0.99)
    few, several, many = nominal.distractors
    crowd = (many if level("rivals", index) < 0.6 else several) if "distractors" in chosen else few
    small = "low_resolution" in chosen
    share = level("size", index)
    return SceneConfig(
        split=split,
        seed=seed,
        index=index,
        attributes=frozenset(chosen),
        speed=speed,
        size=20 + 6 * share if small else 38 + 26 * share,
        occluded=0.04 + 0.18 * level("occluded", index) if "occlusion" in chosen else 0.0,
        distractors=crowd,
        length=nominal.length,
        reach=nominal.reach,
    )
