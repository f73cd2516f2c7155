"""paretrack tune-recipe: how a cut of a tracker is trained best."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from search_spaces._errors import ParetrackError
from service.commands._alone import alone_in
from service.commands._options import (
    Count,
    Dataset,
    Device,
    Json,
    Keep,
    Layers,
    Mmacs,
    Pruning,
    Recipe,
    Refit,
    Root,
    RoundTo,
    Seed,
    Teacher,
    Threads,
    TrainCount,
    TrainSplit,
    ValSplit,
    Width,
)
from service.commands._request import Request, requested
from service.commands._tuning_report import as_document, check_table, trial_table, verdict, watching
from service.commands._tuning_there import tuned_there
from service.commands.dataset import made_ready
from service.document_file import read_object
from service.recipe_tuning import TuneRequest, planned
from service.recipe_tuning import tune_recipe as tuned_recipe
from service.settings import read_settings
from service.terminal import Terminal

if TYPE_CHECKING:
    from workers.candidate import Candidate

Steps = Annotated[
    int | None, typer.Option("--steps", min=3, help="Of a whole recovery. Default: the recipe's.")
]
Trials = Annotated[
    int, typer.Option("--trials", min=2, help="Recipes to try; the starting recipe is the first.")
]
Scheduler = Annotated[
    str,
    typer.Option(
        "--scheduler",
        help="asha: a third goes on at each rung. pbt: the worst go on with the weights of the "
        "best and with numbers near theirs.",
    ),
]
Metric = Annotated[
    str, typer.Option("--metric", help="one_step_iou or pair_loss, both on --split.")
]
Vary = Annotated[
    Path | None,
    typer.Option(
        "--vary",
        help='JSON file: {"learning_rate": {"least": 1e-4, "most": 1e-2, "log": true}, "schedule": '
        '["cosine", "drop"], "weights.l1": null}; null: the usual range. Default: learning rates, '
        "weight decay, warm-up and the weights of the loss, around the starting recipe.",
    ),
]
Parallel = Annotated[
    int | None, typer.Option("--parallel", min=1, help="Trials at once. Default: what fits.")
]
Minutes = Annotated[
    float | None,
    typer.Option("--minutes", help="End the trials after so long; the same words go on."),
]
Of = Annotated[
    str | None,
    typer.Option(
        "--of", help="JOB/NUMBER of a trial at the service, which tunes for its cut, teacher, data."
    ),
]
Submit = Annotated[
    bool, typer.Option("--submit", help="The service of PARETRACK_URL tunes, and is waited for.")
]


def tune_recipe(
    out: Annotated[Path, typer.Argument(help="File for the recipe: a .json.")],
    teacher: Teacher = "siamrpn-synthetic",
    keep: Keep = 1.0,
    mmacs: Mmacs = None,
    layers: Layers = None,
    width: Width = None,
    round_to: RoundTo = 1,
    pruning: Pruning = "magnitude",
    refit: Refit = None,
    recipe: Recipe = None,
    steps: Steps = None,
    vary: Vary = None,
    trials: Trials = TuneRequest.trials,
    scheduler: Scheduler = TuneRequest.scheduler,
    metric: Metric = TuneRequest.metric,
    minutes: Minutes = None,
    parallel: Parallel = None,
    dataset: Dataset = "synthetic",
    root: Root = None,
    split: ValSplit = "val",
    count: Count = None,
    train_split: TrainSplit = "train",
    train_count: TrainCount = None,
    seed: Seed = 0,
    threads: Threads = 1,
    device: Device = "cpu",
    of: Of = None,
    submit: Submit = False,
    as_json: Json = False,
) -> None:
    """Tune how a cut is recovered, with Ray Tune; killed, the same words go on with it.

    The winner is stored if it beats the starting recipe with another seed, too; else that one is.
    Example: `paretrack tune-recipe ten.json --mmacs 10 --steps 100 --trials 16`
    """
    terminal = Terminal(as_json)
    how: dict[str, Any] = {
        "vary": None if vary is None else read_object(vary, "what to vary"), "trials": trials,
        "scheduler": scheduler, "metric": metric, "device": device, "threads": threads,
        "parallel": parallel, "seconds": None if minutes is None else 60 * minutes, "seed": seed,
    }  # fmt: skip
    if of is not None:
        _check_alone(keep=keep == 1.0, mmacs=mmacs is None, layers=layers is None, width=not width)
        given = None if recipe is None else read_object(recipe, "a recipe")
        spec = {**how, "of": of, "recipe": given, "steps": steps}
        raise typer.Exit(tuned_there(spec, out, terminal))
    candidate = requested(
        Request(
            teacher=teacher, keep=keep, mmacs=mmacs, layers=layers, width=tuple(width or ()),
            round_to=round_to, pruning=pruning, refit=refit, steps=steps, recipe=recipe,
            dataset=dataset, root=root, split=split, count=count, train_split=train_split,
            train_count=train_count, probes=(), seed=seed,
        )
    )  # fmt: skip
    if submit:
        raise typer.Exit(tuned_there(_there(teacher, candidate, root, how), out, terminal))
    _tuned_here(
        TuneRequest(out=str(out), teacher=teacher, **_cut(candidate), **how), candidate, terminal
    )


def _tuned_here(request: TuneRequest, candidate: "Candidate", terminal: Terminal) -> None:
    """On this machine's Ray, or on that of PARETRACK_RAY_ADDRESS."""
    settings, out = read_settings(os.environ), Path(request.out)
    steps_of_all = planned(request, settings).steps  # what is wrong shows before data are made
    made_ready(candidate.data, True, terminal)
    with alone_in(request.folder), terminal.bar("tuning") as bar:
        watch = watching(bar, request.trials, steps_of_all)
        tuned = tuned_recipe(request, settings, watch, terminal.say)
    terminal.answer(as_document(tuned, out), trial_table(tuned))
    if tuned.found.checks:
        terminal.remark(check_table(tuned))
    terminal.say(verdict(tuned, out))


def _check_alone(**usual: bool) -> None:
    """With a trial's cut, no other is said."""
    said = ", ".join(f"--{name}" for name, is_usual in usual.items() if not is_usual)
    if said:
        raise ParetrackError(f"--of means the cut of that trial: leave {said} out, or --of")


def _there(
    teacher: str, candidate: "Candidate", root: Path | None, how: Mapping[str, Any]
) -> dict[str, Any]:
    """The request as the service gets it: it knows where its own data lie."""
    spec = {"teacher": teacher, **_cut(candidate), **how}
    if Path(teacher).is_dir():
        spec["teacher"] = str(Path(teacher).absolute())
    return spec if root is not None else {**spec, "data": replace(spec["data"], root=None)}


def _cut(candidate: "Candidate") -> dict[str, Any]:
    """The candidate as plain data, in the words of a request."""
    from search_spaces import architecture_to_json
    from service.job import Where
    from workers.documents import plain

    data = candidate.data
    return {
        "architecture": architecture_to_json(candidate.architecture),
        "kept_layers": candidate.kept_layers,
        "pruning": candidate.pruning,
        "refit": candidate.refit,
        "recipe": plain(candidate.recipe),
        "data": Where(
            dataset=data.dataset,
            root=str(data.root.absolute()),
            train=data.train,
            judged_on=data.judged_on,
            train_count=data.train_count,
            judged_count=data.judged_count,
        ),
    }
