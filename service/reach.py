"""What a space can reach, measured before any training: its two ends."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from service._tried import measured_again
from service.job import JobError
from service.plan import Plan
from workers.metrics import metric, value

if TYPE_CHECKING:
    from workers.candidate import Candidate
    from workers.evaluation import Until
    from workers.pool import Pool, Report

Measurement = Mapping[str, Any]


@dataclass(frozen=True)
class Reach:
    """The two ends of a space."""

    teacher: Measurement  # as it is, tracking accuracy included
    smallest: Measurement  # costs only


def measured_reach(
    plan: Plan,
    pool: "Pool",
    known_teacher: Measurement | None,
    hear: Callable[["Report"], None],
    turn: Callable[[], None] = lambda: None,
) -> Reach:
    """Measure both ends on the pool, and say so if no candidate can hold the limits.

    ``turn`` is called often, and may raise to end it.
    """
    found = _both(plan, pool, known_teacher, hear, turn)
    for limit in plan.limits:
        least = value(found.smallest, metric(limit.metric))
        if not limit.hard or limit.at_most is None or least is None or least <= limit.at_most:
            continue
        whole = value(found.teacher, metric(limit.metric))
        unit = metric(limit.metric).unit
        raise JobError(
            f"no candidate of this space can hold {limit}: the smallest has {least:,.4g} {unit}"
            f"{'' if whole is None else f', the teacher {whole:,.4g}'}; raise the limit, allow "
            "fewer layers or smaller widths, or start from a smaller teacher"
        )
    return found


def _both(
    plan: Plan,
    pool: "Pool",
    known_teacher: Measurement | None,
    hear: Callable[["Report"], None],
    turn: Callable[[], None],
) -> Reach:
    """One after the other: they are timed. A teacher measured elsewhere is measured anew."""

    def measured(name: str, candidate: "Candidate", until: "Until") -> Measurement:
        pool.submit(plan.errand(name, name, candidate, until))
        while True:
            turn()
            for report in pool.reports(timeout=0.5):
                hear(report)
                if type(report).__name__ != "Progress":
                    return _sound(name, report)

    smallest = measured("smallest", plan.the_smallest(), "gates")
    if known_teacher is not None and plan.says_all(known_teacher, smallest):
        if plan.remeasures:
            latest = measured("teacher", plan.the_teacher(), "gates")
            return Reach(measured_again(known_teacher, latest), smallest)
        return Reach(known_teacher, smallest)
    return Reach(measured("teacher", plan.the_teacher(), None), smallest)


def _sound(name: str, report: "Report") -> Measurement:
    measurement = getattr(report, "measurement", None)
    if measurement is None:
        raise JobError(f"the {name} candidate was lost: {getattr(report, 'reason', '')}")
    if measurement["state"] == "FAILED":
        raise JobError(f"the {name} candidate fails already: {measurement['reason']}")
    return dict(measurement)
