"""paretrack evaluate: cut a tracker, recover it, measure it; the outcome beside the teacher's."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
    Rules,
    Seed,
    Teacher,
    Threads,
    TrainCount,
    TrainSplit,
    ValSplit,
    Width,
)
from service.commands._report import by_attribute, summary, watching
from service.commands._request import Request, requested
from service.commands.dataset import made_ready
from service.settings import read_settings
from service.terminal import Terminal

if TYPE_CHECKING:
    from workers.candidate import Measurement

Steps = Annotated[
    int | None, typer.Option("--steps", min=0, help="Of recovery; 0: none. Default: 100.")
]
RandomWeights = Annotated[
    bool, typer.Option("--random-weights", help="Inherit nothing: what is a teacher worth?")
]
Probe = Annotated[
    list[str] | None, typer.Option("--probe", help="eager, onnx_runtime. Default: both.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Folder for what is made. Given, a recovery that was killed goes on when the same "
        "words are said again; the default is a new folder each time, and starts afresh.",
    ),
]


def evaluate(
    teacher: Teacher = "siamrpn-synthetic",
    keep: Keep = 1.0,
    mmacs: Mmacs = None,
    layers: Layers = None,
    width: Width = None,
    round_to: RoundTo = 1,
    pruning: Pruning = "magnitude",
    refit: Refit = None,
    steps: Steps = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate")] = None,
    recipe: Recipe = None,
    random_weights: RandomWeights = False,
    dataset: Dataset = "synthetic",
    root: Root = None,
    split: ValSplit = "val",
    count: Count = None,
    train_split: TrainSplit = "train",
    train_count: TrainCount = None,
    rules: Rules = None,
    probe: Probe = None,
    seed: Seed = 0,
    threads: Threads = 1,
    device: Device = "cpu",
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Judge a candidate: build, cost, latency, refit, recovery, accuracy. Exit code 1 if it failed.

    Example: `paretrack evaluate --teacher siamrpn-synthetic --mmacs 10 --steps 100`
    """
    from workers.evaluation import evaluate as judge
    from workers.machine import usable_device, use_threads

    terminal = Terminal(as_json)
    request = Request(
        teacher=teacher, keep=keep, mmacs=mmacs, layers=layers, width=tuple(width or ()),
        round_to=round_to, pruning=pruning, refit=refit, random_weights=random_weights, steps=steps,
        learning_rate=learning_rate, recipe=recipe, dataset=dataset, root=root, split=split,
        count=count, train_split=train_split, train_count=train_count, rules=rules,
        probes=None if probe is None else tuple(probe), seed=seed,
    )  # fmt: skip
    candidate = requested(request)
    usable_device(device)
    use_threads(threads)
    learns = candidate.recipe is not None or candidate.refit > 0
    made_ready(candidate.data, learns, terminal)
    goal = out or _new_folder()
    with alone_in(goal), terminal.bar("candidate") as bar:
        measurement = judge(candidate, goal, device=device, watch=watching(bar))
    _answer(terminal, measurement, goal)


def _new_folder() -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return read_settings(os.environ).out / "evaluate" / stamp


def _answer(terminal: Terminal, measurement: "Measurement", folder: Path) -> None:
    judged = {"candidate": measurement}
    terminal.answer(measurement.to_json(), summary(judged))
    terminal.remark(by_attribute(judged))
    if measurement.state == "FAILED":
        terminal.say(f"the candidate failed: {measurement.reason}")
        raise typer.Exit(1)
    terminal.say(f"{folder}: architecture.json, weights.safetensors, measurement.json")
