"""Options that several commands share, and how their values are read."""

import os
from pathlib import Path
from typing import Annotated

import typer

from search_spaces._errors import ParetrackError
from service.settings import read_settings

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Tracker = Annotated[
    str, typer.Option("--tracker", help="A shipped teacher's name, or a tracker's folder.")
]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:N.")]
Dataset = Annotated[str, typer.Option("--dataset", help="synthetic, got10k, lasot, otb or folder.")]
Root = Annotated[
    Path | None,
    typer.Option("--root", help="Where the data set lies. Default for synthetic: PARETRACK_HOME."),
]
Count = Annotated[
    int | None, typer.Option("--count", min=1, help="Only so many sequences. Default: all.")
]
TrainSplit = Annotated[str, typer.Option("--train-split", help="What is learnt from.")]
ValSplit = Annotated[str, typer.Option("--split", help="What is judged on.")]
TrainCount = Annotated[
    int | None, typer.Option("--train-count", min=1, help="Only so many to learn from.")
]
Rules = Annotated[
    str | None,
    typer.Option(
        "--rules",
        help="Whose accuracy rules: got10k, got10k-toolkit-lasot, got10k-toolkit-otb, pysot-lasot, "
        "pysot-otb, and pytracking- or ostrack- with lasot, lasot-extension, otb or uav. "
        "Default: those of the data set.",
    ),
]
Threads = Annotated[
    int, typer.Option("--threads", min=1, help="Of the CPU; the outcome depends on it.")
]
Seed = Annotated[
    int, typer.Option("--seed", min=0, max=2**31 - 1, help="Of everything that is drawn by lot.")
]

# --- of a cut and its recovery: see service/commands/_request.py -------------------------------

Teacher = Annotated[str, typer.Option("--teacher", help="A tracker.")]
Keep = Annotated[float, typer.Option("--keep", help="Share of all channels to keep.")]
Mmacs = Annotated[
    float | None, typer.Option("--mmacs", help="Keep what fits in so many million MACs.")
]
Layers = Annotated[str | None, typer.Option("--layers", help="Layers to keep, from 0: 0,2,5")]
Width = Annotated[
    list[str] | None,
    typer.Option(
        "--width",
        help="NAME=UNITS, as often as needed. Names have layers as numbered after --layers.",
    ),
]
RoundTo = Annotated[int, typer.Option("--round-to", help="Multiple that widths have.")]
Pruning = Annotated[str, typer.Option("--pruning", help="magnitude or random.")]
Refit = Annotated[
    int | None,
    typer.Option(
        "--refit",
        min=0,
        help="Training pairs on which the weights that a cut has left are fitted to the teacher's "
        "answers; 0: leave them as they are. Time grows with it. Default: 128.",
    ),
]
Recipe = Annotated[
    Path | None, typer.Option("--recipe", help="recipe.json. Default: the teacher's.")
]


def numbers(text: str, count: int | None, name: str) -> list[float]:
    """'1,2,3' as numbers; ``count`` of them, if given."""
    try:
        values = [float(part) for part in text.replace(" ", "").split(",") if part]
    except ValueError:
        values = []
    if not values or (count is not None and len(values) != count):
        wanted = "numbers" if count is None else f"{count} numbers"
        raise ParetrackError(f"{name}: expected {wanted} separated by commas, got {text!r}")
    return values


def data_root(name: str, root: Path | None) -> Path:
    """Where a data set lies: only the synthetic one has a place of its own."""
    from workers.datasets import dataset

    dataset(name)  # whether there is such a data set comes before where it lies
    if root is None and name != "synthetic":
        raise ParetrackError(f"say where {name} lies: --root FOLDER")
    return root or read_settings(os.environ).data
