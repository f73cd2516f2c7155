"""What a tuning and the process that drives Ray for it say to each other."""

from dataclasses import dataclass
from pathlib import Path

from workers.on_ray._messages import Broken, LocalRay
from workers.tuning.request import Tuning


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The only message to the driver. It ends when it is done, or when the line is cut."""

    address: str | None  # None: a Ray of our own
    local: LocalRay
    tuning: Tuning
    beat_every: float  # seconds
    folder: Path  # its own


@dataclass(frozen=True)
class Beat:
    """Ray still answers."""


@dataclass(frozen=True)
class Stage:
    """What begins now, for whoever watches."""

    name: str


@dataclass(frozen=True)
class Reached:
    """A trial has come to a rung; its other figures are on record."""

    number: int
    step: int
    score: float | None  # by the tuning's metric, higher is better; None: its recipe fails


@dataclass(frozen=True)
class Ended:
    """A trial is over."""

    number: int
    end: str


@dataclass(frozen=True)
class Refused:
    """The candidate itself cannot be tuned; another driver would find the same."""

    reason: str


@dataclass(frozen=True)
class Finished:
    """Everything that was to be found is on record."""


Happening = Stage | Reached | Ended
FromDriver = Beat | Happening | Refused | Broken | Finished
