"""paretrack evaluate: cut a tracker, recover it, measure it; the outcome beside the teacher's."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search_spaces._errors import ParetrackError
from service.commands._options import (
    Count,
    Dataset,
    Device,
    Json,
    Root,
    Seed,
    Threads,
    TrainCount,
    TrainSplit,
    ValSplit,
    data_root,
    numbers,
    recovery_recipe,
)
from service.commands.dataset import ready
from service.settings import read_settings
from service.terminal import Bar, Terminal, table

if TYPE_CHECKING:
    from rich.table import Table

    from search_spaces import Architecture
    from workers.accuracy import Interval
    from workers.candidate import Measurement
    from workers.evaluation import Watch


def evaluate(
    teacher: Annotated[str, typer.Option("--teacher", help="A tracker.")] = "siamrpn-synthetic",
    keep: Annotated[float, typer.Option("--keep", help="Share of all channels to keep.")] = 1.0,
    mmacs: Annotated[
        float | None, typer.Option("--mmacs", help="Keep what fits in so many million MACs.")
    ] = None,
    layers: Annotated[
        str | None, typer.Option("--layers", help="Layers to keep, from 0: 0,2,5")
    ] = None,
    width: Annotated[
        list[str] | None, typer.Option("--width", help="NAME=UNITS, as often as needed.")
    ] = None,
    round_to: Annotated[int, typer.Option("--round-to", help="Multiple that widths have.")] = 1,
    pruning: Annotated[str, typer.Option("--pruning", help="magnitude or random.")] = "magnitude",
    steps: Annotated[
        int | None, typer.Option("--steps", min=0, help="Of recovery; 0: none. Default: 100.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate")] = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="recipe.json. Default: the teacher's.")
    ] = None,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Inherit nothing: what is a teacher worth?")
    ] = False,
    dataset: Dataset = "synthetic",
    root: Root = None,
    split: ValSplit = "val",
    count: Count = None,
    train_split: TrainSplit = "train",
    train_count: TrainCount = None,
    probe: Annotated[
        list[str] | None, typer.Option("--probe", help="eager, onnx_runtime. Default: both.")
    ] = None,
    seed: Seed = 0,
    threads: Threads = 1,
    device: Device = "cpu",
    out: Annotated[Path | None, typer.Option("--out", help="Folder for what is made.")] = None,
    as_json: Json = False,
) -> None:
    """Judge one candidate: build, cost, latency, recovery, accuracy. Exit code 1 if it failed.

    Example: `paretrack evaluate --teacher siamrpn-synthetic --mmacs 10 --steps 100`
    """
    from workers.candidate import Candidate, Data
    from workers.checkpoints import load_tracker
    from workers.evaluation import check_names
    from workers.evaluation import evaluate as judge
    from workers.machine import usable_device, use_threads
    from workers.teachers import find

    terminal = Terminal(as_json)
    folder = find(teacher)
    architecture, _ = load_tracker(folder)
    kept = None if layers is None else _whole(layers)
    target = _target(architecture, keep, mmacs, kept, width, round_to)
    recovery = None if steps == 0 else recovery_recipe(folder, recipe, steps, learning_rate)
    candidate = Candidate(
        teacher=folder,
        architecture=target,
        kept_layers=kept,
        weights="random" if random_weights else "inherited",
        pruning=pruning,
        recipe=recovery,
        data=Data(
            dataset=dataset, root=data_root(dataset, root), judged_on=split,
            judged_count=count, train=train_split, train_count=train_count,
        ),
        probes=tuple(probe) if probe is not None else ("eager", "onnx_runtime"),
        seed=seed,
    )  # fmt: skip
    check_names(candidate)
    usable_device(device)
    use_threads(threads)
    if dataset == "synthetic":
        with terminal.bar("data") as bar:
            needed: dict[str, int | None] = {split: count}
            if recovery is not None and train_split != split:
                needed[train_split] = train_count
            ready(candidate.data.root, needed, bar)
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    goal = out or read_settings(os.environ).out / "evaluate" / stamp
    with terminal.bar("candidate") as bar:
        measurement = judge(candidate, goal, device=device, watch=watching(bar))
    terminal.answer(measurement.to_json(), summary({"candidate": measurement}))
    terminal.remark(by_attribute({"candidate": measurement}))
    terminal.say(f"{goal}: architecture.json, weights.safetensors, measurement.json")
    if measurement.state == "FAILED":
        terminal.say(f"the candidate failed: {measurement.reason}")
        raise typer.Exit(1)


def _whole(layers: str) -> tuple[int, ...]:
    found = numbers(layers, None, "--layers")
    if any(not number.is_integer() for number in found):
        raise ParetrackError(
            f"--layers: expected whole numbers separated by commas, got {layers!r}"
        )
    return tuple(int(number) for number in found)


def _target(
    architecture: "Architecture",
    keep: float,
    mmacs: float | None,
    layers: tuple[int, ...] | None,
    width: list[str] | None,
    round_to: int,
) -> "Architecture":
    from workers.pruning.widths import narrowed, within_macs

    if mmacs is not None:
        if keep != 1.0 or width:
            raise ParetrackError("--mmacs decides all widths: leave --keep and --width out")
        return within_macs(architecture, mmacs * 1e6, layers=layers, round_to=round_to)
    widths = {}
    for wish in width or []:
        name, _, number = wish.partition("=")
        if not number.isdigit():
            raise ParetrackError(f"--width: expected NAME=UNITS, got {wish!r}")
        widths[name] = int(number)
    return narrowed(architecture, keep=keep, widths=widths, layers=layers, round_to=round_to)


def watching(bar: Bar, name: str = "candidate") -> "Watch":
    """Shows on a bar what a candidate is going through."""
    from workers.evaluation import Happening

    def watch(happening: Happening) -> None:
        note = ""
        if happening.moment is not None:
            moment = happening.moment
            note = f"loss {moment.loss:.3f}  {moment.pairs_per_second:.0f} pairs/s"
        bar.show(happening.done, happening.total, note, f"{name}: {happening.step}")

    return watch


def summary(measurements: dict[str, "Measurement"]) -> "Table":
    """Measurements side by side: a row a figure."""
    rows = [[label, *(text(m) for m in measurements.values())] for label, text in _FIGURES.items()]
    return table(("", *measurements), rows)


def by_attribute(judged: dict[str, "Measurement"]) -> "Table":
    """AO where it is hard, for everybody."""
    found = {name: m.accuracy.by_attribute for name, m in judged.items() if m.accuracy}
    attributes = sorted(next(iter(found.values()), {}))
    rows = [
        [
            f"{attribute} ({next(iter(found.values()))[attribute].sequences})",
            *(_range(by[attribute].interval) for by in found.values()),
        ]
        for attribute in attributes
    ]
    return table(("AO by attribute (sequences)", *found), rows)


def _range(interval: "Interval") -> str:
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _interval(measurement: "Measurement", name: str) -> str:
    return "-" if measurement.accuracy is None else _range(getattr(measurement.accuracy, name))


def _cost(measurement: "Measurement", name: str, unit: float) -> str:
    return "-" if measurement.cost is None else f"{getattr(measurement.cost, name) / unit:.2f}"


def _pairs(measurement: "Measurement", stage: str) -> str:
    found = getattr(measurement, stage)
    return "-" if found is None else f"{found.one_step_iou:.3f}"


def _relative(measurement: "Measurement", probe: str) -> str:
    found = measurement.latency.get(probe)
    return "-" if found is None else f"{found.relative:.2f}" + (" (noisy)" * found.noisy)


def _latency(measurement: "Measurement", probe: str, what: str) -> str:
    found = measurement.latency.get(probe)
    timing = getattr(found, what, None)
    if timing is None:
        return "-"
    return f"{timing.median_ms:.2f} [{timing.p10_ms:.2f}, {timing.p90_ms:.2f}]"


_FIGURES: dict[str, Callable[["Measurement"], str]] = {
    "AO [95 %]": lambda m: _interval(m, "average_overlap"),
    "SR 0.5 [95 %]": lambda m: _interval(m, "success_rate_50"),
    "SR 0.75 [95 %]": lambda m: _interval(m, "success_rate_75"),
    "one-step IoU, inherited": lambda m: _pairs(m, "inherited"),
    "one-step IoU, recovered": lambda m: _pairs(m, "recovered"),
    "million MACs a frame": lambda m: _cost(m, "macs_frame", 1e6),
    "million MACs, template": lambda m: _cost(m, "macs_template", 1e6),
    "thousand parameters": lambda m: _cost(m, "parameters", 1e3),
    "peak activations, MB": lambda m: _cost(m, "peak_memory_frame", 1e6),
    "eager: network, ms [p10, p90]": lambda m: _latency(m, "eager", "step"),
    "eager: whole frame, ms": lambda m: _latency(m, "eager", "track"),
    "ONNX Runtime: network, ms": lambda m: _latency(m, "onnx_runtime", "step"),
    "ONNX Runtime: whole frame, ms": lambda m: _latency(m, "onnx_runtime", "track"),
    "ONNX Runtime / reference net": lambda m: _relative(m, "onnx_runtime"),
}
