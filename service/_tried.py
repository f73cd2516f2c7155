"""A trial on its way through a search, and what stays of it in the record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import TrialState

from search_spaces import Sampled
from service._kept import ReachedRung
from service.samplers import Asked
from service.trials import Record

# What Optuna calls our states. Its COMPLETE are those with all objectives: the front is of them.
OPTUNA_STATES = {
    "COMPLETE": TrialState.COMPLETE,
    "INFEASIBLE": TrialState.PRUNED,
    "STOPPED": TrialState.PRUNED,
    "FAILED": TrialState.FAIL,
}

# What a trial keeps of its measurement, beside its figures.
KEPT = ("seconds", "tracker", "environment", "dataset_version")


@dataclass
class Tried:
    """A trial on its way: what was asked, and how far it has come."""

    number: int
    asked: Asked[Sampled]
    digest: str
    rung: int = 0  # the one that it is trained for, or waits at
    measurement: Mapping[str, Any] = field(default_factory=dict)


def unanswered(
    reached: Mapping[int, ReachedRung], training: Mapping[int, int], number: int
) -> bool:
    """Whether a trial was with a worker when its controller ended."""
    return number not in reached or training.get(number, 0) > reached[number].rung


def times_taken_up(record: Record, running: Sequence[int]) -> Mapping[int, int]:
    """How often each has been found with a worker, this time included."""
    if not running:
        return {}
    before = record.study_attrs().get("taken_up", {})
    times = {number: before.get(str(number), 0) + 1 for number in running}
    record.set_study_attrs({"taken_up": {str(n): count for n, count in times.items()}})
    return times


def is_broken(constraints: Mapping[str, float]) -> bool:
    return any(violation > 0 for violation in constraints.values())
