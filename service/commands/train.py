"""paretrack train: a network from scratch, or from a tracker's weights, by a recipe."""

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
    Threads,
    TrainCount,
    TrainSplit,
    ValSplit,
    data_root,
)
from service.recipes import chosen_recipe
from service.terminal import Bar, Terminal, table

if TYPE_CHECKING:
    from search_spaces import Architecture, Geometry, TrackerNetwork
    from workers.datasets import Sequence
    from workers.training import Moment, Recipe, Validate


def train(
    out: Annotated[Path, typer.Argument(help="Folder for the tracker and how it was made.")],
    preset: Annotated[str | None, typer.Option("--preset", help="e.g. siamrpn-small")] = None,
    start: Annotated[str | None, typer.Option("--from", help="A tracker to go on from.")] = None,
    recipe: Annotated[Path | None, typer.Option("--recipe", help="recipe.json of a run.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1)] = None,
    batch: Annotated[int | None, typer.Option("--batch", min=1)] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of everything drawn by lot.")] = None,
    dataset: Dataset = "synthetic",
    root: Root = None,
    train_split: TrainSplit = "train",
    train_count: TrainCount = None,
    split: ValSplit = "val",
    count: Count = None,
    validate_every: Annotated[int, typer.Option("--validate-every", min=1)] = 500,
    threads: Threads = 1,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Train a tracker. Killed and started again with the same words, it goes on where it was.

    Writes architecture.json, weights.safetensors, recipe.json, curve.json and curve.png.
    Example: `paretrack train ./teacher --preset siamrpn-small --steps 3000`
    """
    from workers.checkpoints import save_tracker, weights_sha256
    from workers.machine import usable_device, use_threads
    from workers.training import Saving
    from workers.training import train as run

    terminal = Terminal(as_json)
    use_threads(threads)
    if (preset is None) == (start is None):
        raise ParetrackError("say where to start: either --preset NAME or --from TRACKER")
    chosen = chosen_recipe(recipe, steps=steps, batch=batch, learning_rate=learning_rate, seed=seed)
    network, architecture, geometry = _start(preset, start, chosen.seed)
    training = _data(dataset, root, train_split, train_count, terminal)
    judged = _data(dataset, root, split, count, terminal)
    data = f"{len(training)} sequences of {dataset} {train_split}"
    identity = f"{preset or start} {weights_sha256(network.state_dict())[:16]}, {data}"
    with terminal.bar("training") as bar:
        curve = run(
            network,
            geometry,
            training,
            chosen,
            device=usable_device(device),
            report=lambda moment: _show(bar, moment),
            validate=_validation(geometry, judged, device),
            validate_every=validate_every,
            saving=Saving(path=out / "training.state", identity=identity),
        )
    save_tracker(out, architecture, network.cpu())
    _document(out, chosen, curve, f"{preset or start}, {data}", device)
    last = curve[-1].validation
    rows = [[name, f"{value:.4f}"] for name, value in last.items()]
    terminal.answer({"tracker": out, "validation": last}, table(("validation", ""), rows, str(out)))


def _start(
    preset: str | None, start: str | None, seed: int
) -> tuple["TrackerNetwork", "Architecture", "Geometry"]:
    from search_spaces import load, names
    from workers.checkpoints import load_tracker
    from workers.teachers import find
    from workers.training import fresh_network

    if start is not None:
        architecture, network = load_tracker(find(start))
    else:
        presets = {name: a for family in names() for name, a in load(family).PRESETS.items()}
        if preset not in presets:
            known = ", ".join(presets)
            raise ParetrackError(f"no preset named {preset!r}; choose one of {known}")
        architecture = presets[preset]
        network = fresh_network(architecture, seed)
    return network, architecture, load(architecture.family).geometry(architecture)


def _data(
    name: str, root: Path | None, split: str, count: int | None, terminal: Terminal
) -> list["Sequence"]:
    from service.commands.dataset import ready
    from workers.datasets import dataset

    place = data_root(name, root)
    if name == "synthetic":
        with terminal.bar(split) as bar:
            ready(place, {split: count}, bar)
    return dataset(name).load(place, split, count=count)


def _validation(geometry: "Geometry", judged: list["Sequence"], device: str) -> "Validate":
    from workers.judge import pair_accuracy, tracking_accuracy, validation_pairs
    from workers.predictor import TorchPredictor

    pairs = validation_pairs(judged, geometry)

    def validate(network: "TrackerNetwork") -> dict[str, float]:
        on_pairs = pair_accuracy(network, geometry, pairs, device=device)
        tracked = tracking_accuracy(TorchPredictor(network, geometry, device), geometry, judged)
        return {
            "average_overlap": tracked.average_overlap.value,
            "one_step_iou": on_pairs.one_step_iou,
            "pair_loss": on_pairs.loss,
        }

    return validate


def _show(bar: Bar, moment: "Moment") -> None:
    judged = "".join(f"  {name} {value:.3f}" for name, value in moment.validation.items())
    note = f"loss {moment.loss:.3f}  {moment.pairs_per_second:.0f} pairs/s{judged}"
    bar.show(moment.step, moment.steps, note)


def _document(out: Path, recipe: "Recipe", curve: list["Moment"], origin: str, device: str) -> None:
    from workers._files import write_text
    from workers.documents import document
    from workers.evaluation import environment
    from workers.figures import draw_curve

    write_text(out / "recipe.json", document(recipe))
    told = {"origin": origin, "environment": environment(device), "curve": curve}
    write_text(out / "curve.json", document(told))
    draw_curve(curve, out / "curve.png", f"{origin}, {recipe.steps} steps of {recipe.batch}")
