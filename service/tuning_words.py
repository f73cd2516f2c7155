"""What the words of a tuning mean, looked up; an error says which field is to blame."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.job import blamed, pointer
from service.recipe_tuning import LEAST_STEPS, Tunable, TuningError
from service.recipes import recovery_recipe
from service.settings import Settings

if TYPE_CHECKING:
    from search_spaces import Architecture
    from workers.candidate import Candidate
    from workers.training import Recipe
    from workers.tuning.ranges import Range


def looked_up(request: Tunable, settings: Settings) -> "tuple[Candidate, Mapping[str, Range]]":
    """What is to be recovered, and the ranges of its recipe; every name in the request is known."""
    from service.job_words import check_words
    from workers.teachers import find

    _check(request)
    with blamed("teacher"):
        teacher = find(request.teacher).absolute()
    candidate = _candidate(request, settings, teacher)
    check_words(candidate)
    assert candidate.recipe is not None
    if candidate.recipe.steps < LEAST_STEPS:
        raise TuningError(f"steps: at least {LEAST_STEPS}, got {candidate.recipe.steps}", "/steps")
    with blamed("vary"):
        ranges = _ranges(request.vary, candidate.recipe)
        _check_population(request, candidate.recipe, ranges)
    return candidate, ranges


def _ranges(vary: Mapping[str, Any] | None, recipe: "Recipe") -> "Mapping[str, Range]":
    from workers.tuning.ranges import ranges_from_json, usual_ranges

    if vary is None:
        return usual_ranges(recipe)
    for name, said in vary.items():
        with blamed("vary", name):
            ranges_from_json({name: said}, recipe)
    return ranges_from_json(vary, recipe)


def _candidate(request: Tunable, settings: Settings, teacher: Path) -> "Candidate":
    from search_spaces import architecture_from_json
    from service.job_words import recipe_from
    from service.plan import data_of
    from workers.candidate import Candidate
    from workers.checkpoints import load_tracker

    with blamed("teacher"):
        whole = load_tracker(teacher)[0]
    asked = request.architecture
    with blamed("architecture"):
        architecture = whole if asked is None else architecture_from_json(dict(asked))
        _check_family(architecture, whole)
    with blamed("kept_layers"):
        _check_kept(request.kept_layers, architecture, whole)
    with blamed("recipe"):
        if request.recipe is None:
            recipe = recovery_recipe(teacher, steps=request.steps)
        else:
            recipe = recipe_from(request.recipe)
        recipe = recipe if request.steps is None else replace(recipe, steps=request.steps)
    data = data_of(request.data, settings)
    return Candidate(
        teacher=teacher,
        architecture=architecture,
        kept_layers=request.kept_layers,
        pruning=request.pruning,
        refit=request.refit if architecture != whole else 0,
        recovery=request.recovery,
        recipe=recipe,
        data=replace(data, root=data.root.absolute()),
        probes=(),
        seed=request.seed,
    )


def _check(request: Tunable) -> None:
    """What can be told without looking at anything else."""
    from workers.tuning.records import METRICS
    from workers.tuning.request import SCHEDULERS

    asked = {
        "scheduler": (request.scheduler, SCHEDULERS),
        "metric": (request.metric, tuple(METRICS)),
    }
    for what, (name, known) in asked.items():
        if name not in known:
            told = f"no {what} {name!r} for recipes; choose {' or '.join(known)}"
            raise TuningError(told, f"/{what}")
    if request.trials < 2:
        raise TuningError(
            f"trials: at least 2, the starting recipe being the first, got {request.trials}",
            "/trials",
        )
    if request.seconds is not None and request.seconds <= 0:
        told = f"the time for a tuning is over 0, got {request.seconds:g} seconds"
        raise TuningError(told, "/seconds")
    least = {"refit": 0, "threads": 1, "parallel": 1}
    for what, bound in least.items():
        number = getattr(request, what)
        if number is not None and number < bound:
            raise TuningError(f"{what}: expected {bound} or more, got {number}", f"/{what}")


def _check_family(architecture: "Architecture", whole: "Architecture") -> None:
    if architecture.family != whole.family:
        raise TuningError(
            f"architecture: it is of {architecture.family}, and the teacher is of {whole.family}"
        )


def _check_kept(
    kept: tuple[int, ...] | None, architecture: "Architecture", whole: "Architecture"
) -> None:
    """Whether the layers that stay are the teacher's, and as many as the cut has."""
    from search_spaces import load

    family = load(whole.family)
    here, there = len(family.layers(architecture)), len(family.layers(whole))
    if kept is not None:
        family.with_layers(whole, kept)
    if len(range(there) if kept is None else kept) != here:
        raise TuningError(
            f"kept_layers: the architecture has {here} of the teacher's {there} layers; give the "
            f"{here} numbers of those that stay"
        )


def _check_population(request: Tunable, recipe: "Recipe", ranges: "Mapping[str, Range]") -> None:
    """What PBT multiplies has to be a number at the start."""
    from workers.tuning.ranges import Between, hyper_parameters

    if not ranges:
        raise TuningError("nothing to vary: say what, with its least and most")
    if request.scheduler != "pbt" or request.vary is None:
        return
    known = hyper_parameters(recipe)
    for name, asked in ranges.items():
        if isinstance(asked, Between) and known[name] is None:
            raise TuningError(
                f"{name} is nothing at the start, and pbt changes numbers step by step: "
                "give the starting recipe a number, or choose asha",
                pointer("vary", name),
            )
