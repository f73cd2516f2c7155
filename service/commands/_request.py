"""A candidate in the words of the command line, and the candidate that they mean."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces._errors import ParetrackError
from service.commands._options import data_root, numbers
from service.recipes import recovery_recipe

if TYPE_CHECKING:
    from search_spaces import Architecture
    from workers.candidate import Candidate


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for, as it was typed; the names are those of the options."""

    teacher: str
    keep: float = 1.0
    mmacs: float | None = None
    layers: str | None = None
    width: tuple[str, ...] = ()
    round_to: int = 1
    pruning: str = "magnitude"
    refit: int | None = None  # pairs; None: the usual number
    random_weights: bool = False
    steps: int | None = None
    learning_rate: float | None = None
    recipe: Path | None = None
    dataset: str
    root: Path | None = None
    split: str = "val"
    count: int | None = None
    train_split: str = "train"
    train_count: int | None = None
    rules: str | None = None
    probes: tuple[str, ...] | None = None  # None: the usual ones
    seed: int = 0


def requested(request: Request) -> "Candidate":
    """The candidate that was asked for, every name in it one that exists."""
    from workers.candidate import Candidate, Data
    from workers.checkpoints import load_tracker
    from workers.evaluation import check_names
    from workers.teachers import find

    folder = find(request.teacher)
    architecture, _ = load_tracker(folder)
    kept = None if request.layers is None else _whole(request.layers)
    recipe = None
    if request.steps != 0:
        recipe = recovery_recipe(folder, request.recipe, request.steps, request.learning_rate)
    target = _target(architecture, kept, request)
    candidate = Candidate(
        teacher=folder,
        architecture=target,
        kept_layers=kept,
        weights="random" if request.random_weights else "inherited",
        pruning=request.pruning,
        refit=_pairs_to_refit_on(request, cut=target != architecture),
        recipe=recipe,
        data=Data(
            dataset=request.dataset,
            root=data_root(request.dataset, request.root),
            judged_on=request.split,
            judged_count=request.count,
            train=request.train_split,
            train_count=request.train_count,
            rules=request.rules,
        ),
        probes=Candidate.probes if request.probes is None else request.probes,
        seed=request.seed,
    )
    check_names(candidate)
    return candidate


def _pairs_to_refit_on(request: Request, cut: bool) -> int:
    from workers.candidate import Candidate

    if request.random_weights or not cut:
        return 0
    return Candidate.refit if request.refit is None else request.refit


def _whole(layers: str) -> tuple[int, ...]:
    found = numbers(layers, None, "--layers")
    if any(not number.is_integer() for number in found):
        raise ParetrackError(
            f"--layers: expected whole numbers separated by commas, got {layers!r}"
        )
    return tuple(int(number) for number in found)


def _target(
    architecture: "Architecture", kept: tuple[int, ...] | None, request: Request
) -> "Architecture":
    from workers.pruning.widths import narrowed, within_macs

    if request.mmacs is not None:
        if request.keep != 1.0 or request.width:
            raise ParetrackError("--mmacs decides all widths: leave --keep and --width out")
        limit = request.mmacs * 1e6
        return within_macs(architecture, limit, layers=kept, round_to=request.round_to)
    return narrowed(
        architecture,
        keep=request.keep,
        widths=dict(_width(wish) for wish in request.width),
        layers=kept,
        round_to=request.round_to,
    )


def _width(wish: str) -> tuple[str, int]:
    name, _, number = wish.partition("=")
    if not number.isdecimal():
        raise ParetrackError(f"--width: expected NAME=UNITS, got {wish!r}")
    return name, int(number)
