"""What a job's words mean, each looked up by itself: an error says which field is to blame."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces import Architecture, ParetrackError, Space, default_space, space_from_json
from service.job import Job, JobError, blamed, read_as
from service.recipes import recovery_recipe
from workers.metrics import Limit, Metric, check_limits, limit_from_text, metric

if TYPE_CHECKING:
    from workers.candidate import Candidate
    from workers.training import Recipe


def space_of(job: Job, whole: Architecture) -> Space:
    """What may be cut of its teacher."""
    if job.space is None:
        return default_space(whole)
    try:
        return space_from_json(whole, dict(job.space))
    except ParetrackError as error:
        levers = [name for name in job.space if str(error).startswith(_begins(name))]
        with blamed("space", *levers[:1]):
            raise


def _begins(lever: str) -> tuple[str, ...]:
    """As what is said of a lever of a space begins."""
    return f"lever {lever!r}", f"no lever {lever!r}", f"{lever}:"


def limits_of(job: Job) -> tuple[Limit, ...]:
    """Its limits, which do not contradict each other."""
    found = []
    for number, text in enumerate(job.limits):
        with blamed("limits", number):
            found.append(limit_from_text(text))
    with blamed("limits"):
        check_limits(found)
    return tuple(found)


def objectives_of(job: Job) -> tuple[Metric, ...]:
    """Accuracy first, then the costs."""
    with blamed("accuracy"):
        accuracy = metric(job.accuracy)
        if accuracy.path[0] != "accuracy" and accuracy.better != "higher":
            name = accuracy.name
            raise JobError(f"accuracy: {name} is a cost; choose one such as average_overlap")
    found = [accuracy]
    for number, name in enumerate(job.costs):
        with blamed("costs", number):
            cost = metric(name)
            if cost.better == "higher":
                raise JobError(
                    f"costs: {name} is better when it is higher; choose one like macs_frame"
                )
            if cost in found:
                raise JobError(f"costs: {', '.join(job.costs)} names one of them twice")
            found.append(cost)
    return tuple(found)


def at_rungs_of(job: Job) -> Metric:
    """The accuracy by which candidates are compared at a rung."""
    with blamed("rung_accuracy"):
        found = metric(job.rung_accuracy)
        if found.name not in ("one_step_iou", "pair_loss"):
            raise JobError(
                f"rung_accuracy: {found.name} is not known at a rung; choose one_step_iou or "
                "pair_loss"
            )
    return found


def recipe_of(job: Job, teacher: Path) -> "Recipe | None":
    """How its candidates are recovered; None: they are not."""
    if job.steps == 0:
        return None
    with blamed("recipe"):
        if job.recipe is None:
            return recovery_recipe(teacher, steps=job.steps)
        if isinstance(job.recipe, str):  # a service has put its fields there when submitted
            raise JobError(
                f"recipe: {job.recipe!r} names a job of a service, which alone knows it; give the "
                "recipe's fields (paretrack recipe JOB FILE stores them)"
            )
        return replace(recipe_from(job.recipe), steps=job.steps)


def recipe_from(said: Mapping[str, Any]) -> "Recipe":
    """The recipe whose fields a job has."""
    from workers.training import Recipe

    return read_as(Recipe, dict(said), "recipe")


def probes_of(
    job: Job, objectives: tuple[Metric, ...], limits: tuple[Limit, ...]
) -> tuple[str, ...]:
    """Those that are asked for, and those that objectives and limits cannot do without."""
    used = [*objectives, *(metric(limit.metric) for limit in limits)]
    needed = [m.path[1] for m in used if m.path[0] == "latency"]
    return tuple(dict.fromkeys([*job.probes, *needed]))


def check_words(candidate: "Candidate", probes: Sequence[str] = ()) -> None:
    """Whether all that a candidate asks for by name exists, each name looked up by itself."""
    from workers.evaluation import check_names

    usual = replace(candidate, pruning=Job.pruning, recovery=Job.recovery, probes=(), limits=())
    with blamed("data", "rules"):
        check_names(usual)
    with blamed("pruning"):
        check_names(replace(usual, pruning=candidate.pruning))
    with blamed("recovery"):
        check_names(replace(usual, recovery=candidate.recovery))
    for number, name in enumerate(probes):
        with blamed("probes", number):
            check_names(replace(usual, probes=(name,)))
