"""What a job will meet, said before anything is trained: how many candidates there are, what they
can cost, whether its limits can be held.

``look`` needs torch and the teacher's weights. So it runs in a process beside the API.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from search_spaces import ParetrackError
from service.beside import Beside
from service.errors import Problem
from service.job import Job, JobError, job_from_json
from service.recipe_job import RecipeJob, recipe_job_from_json
from service.settings import Settings
from service.tuning_words import looked_up
from workers.documents import plain

COUNTED = ("macs_frame", "parameters", "peak_memory")  # costs that need no device


@dataclass(frozen=True, kw_only=True)
class CostRange:
    """Between what a cost lies over a space: that of its smallest candidate and its teacher's."""

    metric: str
    unit: str
    smallest: float
    teacher: float


@dataclass(frozen=True, kw_only=True)
class LimitSeen:
    """Whether a limit can be held; None where only a measurement can tell."""

    limit: str
    satisfiable: bool | None
    note: str


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is known of a job without running it."""

    family: str
    teacher_sha256: str
    size: float  # candidates in the space
    layers_free: int
    widths_free: int
    costs: tuple[CostRange, ...]
    limits: tuple[LimitSeen, ...]
    digests: tuple[str, str]  # of the teacher as it is, and of the smallest


def look(job: Job, settings: Settings) -> dict[str, Any]:
    """A ``Look`` as plain data, or an error about the first thing in the job that cannot be."""
    from search_spaces import size
    from service.plan import plan
    from workers.cost import cost_of

    ready = plan(job, settings)
    least, whole = ready.the_smallest(), ready.the_teacher()
    ends = [{"cost": asdict(cost_of(c.architecture))} for c in (least, whole)]
    found = Look(
        family=ready.space.whole.family,
        teacher_sha256=ready.teacher_sha256,
        size=float(size(ready.space)),
        layers_free=len(ready.space.free_layers),
        widths_free=len(ready.space.free_grids),
        costs=_costs(ends[0], ends[1]),
        limits=tuple(_seen(limit, ends[0], ends[1]) for limit in ready.limits),
        digests=(ready.digest(whole), ready.digest(least)),
    )
    return asdict(found)


def _costs(least: Mapping[str, Any], whole: Mapping[str, Any]) -> tuple[CostRange, ...]:
    from workers.metrics import metric, value

    found = []
    for name in COUNTED:
        asked = metric(name)
        low, high = value(least, asked), value(whole, asked)
        if low is not None and high is not None:
            found.append(CostRange(metric=name, unit=asked.unit, smallest=low, teacher=high))
    return tuple(found)


def _seen(limit: Any, least: Mapping[str, Any], whole: Mapping[str, Any]) -> LimitSeen:
    from workers.metrics import metric, value

    asked = metric(limit.metric)
    low, high = value(least, asked), value(whole, asked)
    if low is None or high is None:
        return LimitSeen(limit=str(limit), satisfiable=None, note="only a measurement can tell")
    reach = f"the smallest candidate has {low:,.4g} {asked.unit}, the teacher {high:,.4g}"
    if limit.violation(low) <= 0 or limit.violation(high) <= 0:
        return LimitSeen(limit=str(limit), satisfiable=True, note=reach)
    between = limit.at_most is None or limit.at_most >= low
    between = between and (limit.at_least is None or limit.at_least <= high)
    return LimitSeen(limit=str(limit), satisfiable=None if between else False, note=reach)


def looked_at(beside: Beside, job: Job, settings: Settings) -> dict[str, Any]:
    """As ``look``, in the process beside this one."""
    return _asked(beside, "look", job, settings)


def tuning_looked_at(beside: Beside, job: RecipeJob, settings: Settings) -> dict[str, Any]:
    """The family of a tuning whose names are all known, and which has something to vary."""
    return _asked(beside, "look_at_tuning", job, settings)


def _asked(beside: Beside, kind: str, job: Job | RecipeJob, settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] | None = beside.ask(kind, job=plain(job), home=str(settings.home))
    if found is None:
        raise Problem(
            "unavailable",
            "looking at this took too long, or too much memory, and was given up; try a "
            "smaller space, or ask again",
            headers={"Retry-After": "30"},
        )
    if "refused" in found:
        raise JobError(found["refused"], found["at"])
    return found


def look_at(job: Mapping[str, Any], home: str) -> dict[str, Any]:
    """What that process does when it is asked for a search."""
    return _told(lambda: look(job_from_json(job), Settings(home=Path(home), database_url=None)))


def look_at_tuning(job: Mapping[str, Any], home: str) -> dict[str, Any]:
    """The same for a tuning."""
    settings = Settings(home=Path(home), database_url=None)

    def found() -> dict[str, Any]:
        candidate, ranges = looked_up(recipe_job_from_json(job), settings)
        return {"family": candidate.architecture.family, "varied": list(ranges)}

    return _told(found)


def _told(found: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The same, or what is wrong and in which field: between processes go values, not errors."""
    try:
        return found()
    except ParetrackError as error:
        return {"refused": str(error), "at": getattr(error, "at", "")}
