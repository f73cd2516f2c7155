"""What a search tells whoever watches it, and how it ended."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from workers.evaluation import Happening


@dataclass(frozen=True)
class Event:
    """Something that happened to a trial, for whoever watches."""

    kind: str  # asked, progress, rung, finished; taken_up: of the job, with number -1
    number: int
    state: str = ""
    note: str = ""
    values: Mapping[str, float] = field(default_factory=dict)
    happening: "Happening | None" = None  # the worker's own account, with kind "progress"
    spent: Mapping[str, float] = field(default_factory=dict)  # of the job's budget, until now


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a search ended, in numbers."""

    reason: str
    asked: int
    states: Mapping[str, int]
    front: tuple[int, ...]  # numbers of its trials
    hypervolume: float
    seconds: float
    paused: bool = False  # it can go on: nothing was concluded


# What whoever runs a search wants of it now. "pause" and "stop": nothing new, what runs may finish;
# "cancel": what runs is ended as well. After a pause it can go on, after the others it is over.
Wish = Literal["go_on", "pause", "stop", "cancel"]
BY_REQUEST = {  # why a search ended
    "pause": "paused by request",
    "stop": "stopped by request",
    "cancel": "cancelled by request",
}


Watch = Callable[[Event], None]
