"""What the controller and its driver process say to each other. Nothing here imports torch or ray.

Assignments, work and happenings travel as bytes that the driver hands on and never looks into.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from workers.pool import Done, Lost


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What Ray sets aside for one candidate."""

    cpus: float = 1
    gpus: float = 0  # a fraction shares a GPU
    resources: Mapping[str, float] = field(default_factory=dict)  # of the operator's own naming


@dataclass(frozen=True, kw_only=True)
class LocalRay:
    """What a Ray of our own on this machine offers. None: what the machine has."""

    cpus: int | None = None
    gpus: int | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    object_store_mb: int = 500


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The first message: what a driver is to be."""

    address: str | None  # None: a Ray of our own
    local: LocalRay
    needs: Needs
    work: bytes
    max_in_flight: int | None
    retries: int
    threads: int
    beat_every: float  # seconds
    folder: Path  # its own; it removes it at the end


@dataclass(frozen=True, kw_only=True)
class Order:
    """An assignment on its way to a worker."""

    ticket: str
    assignment: bytes
    teacher: tuple[Path, ...]  # its files, as the controller sees them


@dataclass(frozen=True)
class Cancel:
    ticket: str


@dataclass(frozen=True)
class Close:
    """The last message."""


@dataclass(frozen=True)
class Ready:
    """Ray answers, under this address."""

    address: str


@dataclass(frozen=True)
class Beat:
    """Ray still answers; so many candidates fit into it."""

    slots: int


@dataclass(frozen=True)
class Broken:
    """Ray cannot be used, or not any more."""

    reason: str


@dataclass(frozen=True)
class Heard:
    """A happening, as bytes."""

    ticket: str
    happening: bytes


ToDriver = Setup | Order | Cancel | Close
FromDriver = Ready | Beat | Broken | Heard | Done | Lost
