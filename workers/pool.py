"""A pool has the hands: it takes assignments and says what became of each. No torch until it works.

Every ticket is answered once, with ``Done`` or ``Lost``; nothing about it comes after that.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from search_spaces import ParetrackError

if TYPE_CHECKING:
    from workers.candidate import Candidate
    from workers.evaluation import Happening, Until


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One candidate, to be judged up to a rung."""

    ticket: str  # one that is not in flight already
    candidate: "Candidate"
    folder: str  # a path, or a URL that fsspec opens; all workers see the same there
    until: "Until" = None  # see workers.evaluation.evaluate


@dataclass(frozen=True)
class Progress:
    """What a candidate is going through. Not every step: at most a few a second."""

    ticket: str
    happening: "Happening"


@dataclass(frozen=True)
class Done:
    """The answer: a measurement as JSON. A bug in the evaluation is one with state FAILED."""

    ticket: str
    measurement: dict[str, Any]


@dataclass(frozen=True)
class Lost:
    """Nobody will ever answer for this ticket."""

    ticket: str
    reason: str
    cancelled: bool = False


Report = Progress | Done | Lost
Hear = Callable[["Happening"], None]
Work = Callable[[Assignment, Path, Hear], dict[str, Any]]


class PoolBroken(ParetrackError):  # noqa: N818 - says what happened
    """A pool that does no more work, and answers none of its open tickets.

    Its candidates' folders are as the workers left them: give the same assignments to a new pool.
    """


class Pool(Protocol):
    """Whoever works on assignments. Every method may raise PoolBroken but ``close``."""

    @property
    def slots(self) -> int:
        """How many assignments it can work on at once now."""

    def submit(self, assignment: Assignment) -> None:
        """Returns at once. More than there are slots wait their turn, the first comes first."""

    def reports(self, timeout: float) -> list[Report]:
        """What happened since; waits at most so many seconds for the first."""

    def cancel(self, ticket: str) -> None:
        """Ends as Lost(cancelled=True), or as Done where it was done already."""

    def close(self) -> None:
        """End what runs, leave no process behind. What is open then is never answered."""


def evaluating(device: str) -> Work:
    """The work of a pool whose workers compute on ``device``."""
    return partial(evaluate_assignment, device=device)


def evaluate_assignment(
    assignment: Assignment, folder: Path, hear: Hear, *, device: str = "cpu"
) -> dict[str, Any]:
    """The work of a pool, where nothing else is said: the evaluation of the candidate."""
    from workers.evaluation import evaluate

    found = evaluate(
        assignment.candidate, folder, until=assignment.until, device=device, watch=hear
    )
    if found.tracker is None:
        return found.to_json()
    # Where others find it: ``folder`` may be a copy that only this worker sees.
    return {**found.to_json(), "tracker": assignment.folder}


def failed(candidate: "Candidate", reason: str) -> dict[str, Any]:
    """The measurement of a candidate whose evaluation did not come to one."""
    from workers.candidate import Measurement

    return Measurement(
        state="FAILED", reason=reason, candidate=candidate, teacher_sha256="", dataset_version=""
    ).to_json()


def absolute(assignment: Assignment) -> Assignment:
    """The same with paths that mean the same wherever a worker was started."""
    candidate = assignment.candidate
    data = replace(candidate.data, root=candidate.data.root.absolute())
    candidate = replace(candidate, teacher=candidate.teacher.absolute(), data=data)
    folder = assignment.folder
    if "://" not in folder:
        folder = str(Path(folder).absolute())
    return replace(assignment, candidate=candidate, folder=folder)
