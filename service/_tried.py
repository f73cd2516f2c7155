"""A trial on its way through a search, and what stays of it in the record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import TrialState

from search_spaces import Sampled
from service._device_figures import TIMED, timed
from service._kept import AGAIN, ReachedRung
from service.plan import Plan
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
# Of a trial whose accuracy was known: what the gates say anew.
_BY_GATES = ("latency", "seconds", "gates", "environment")
_OWN = ("candidate", "tracker")  # what a second measurement says no better than the first


@dataclass
class Tried:
    """A trial on its way: what was asked, and how far it has come."""

    number: int
    asked: Asked[Sampled]
    digest: str
    rung: int = 0  # the one that it is trained for, or waits at
    measurement: Mapping[str, Any] = field(default_factory=dict)
    known: Mapping[str, Any] | None = None  # all but its latency, that is measured again


def begun_again(
    record: Record,
    unfinished: Sequence[int],
    reached: Mapping[int, ReachedRung],
    training: Mapping[int, int],
) -> Mapping[int, int]:
    """Those that were with a worker when their controller ended: how often each has been found so,
    this time included."""
    running = [n for n in unfinished if n not in reached or training.get(n, 0) > reached[n].rung]
    if not running:
        return {}
    before = record.study_attrs().get("taken_up", {})
    times = {number: before.get(str(number), 0) + 1 for number in running}
    record.set_study_attrs({"taken_up": {str(n): count for n, count in times.items()}})
    return times


def measured_again(known: Mapping[str, Any], latest: Mapping[str, Any]) -> dict[str, Any]:
    """What was known of a candidate, with the latencies that the gates have just measured."""
    return {**known, **{name: latest[name] for name in _BY_GATES if name in latest}}


def kept_of(plan: Plan, tried: Tried) -> dict[str, Any]:
    """What a trial's attributes say of its measurement."""
    found = tried.measurement
    if not found:
        return {}
    attrs = {name: found[name] for name in KEPT if name in found}
    if latencies := timed(found):
        attrs[TIMED] = latencies
    if tried.known is not None:  # the table of measurements keeps the first one
        attrs[AGAIN] = {k: v for k, v in found.items() if v != tried.known.get(k) and k not in _OWN}
    return {**attrs, **plan.figures(found), **plan.interval(found)}


def is_broken(constraints: Mapping[str, float]) -> bool:
    return any(violation > 0 for violation in constraints.values())
