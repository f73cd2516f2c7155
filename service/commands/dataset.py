"""paretrack dataset: make, check, look at and question the data that trackers are judged on."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search_spaces._errors import ParetrackError
from service import data_at_hand
from service.commands._options import Count, Device, Json, Root, Seed, Tracker, data_root
from service.terminal import Bar, Terminal, table

if TYPE_CHECKING:
    from workers.candidate import Data
    from workers.datasets import Sequence

app = typer.Typer(help="Data sets: generate, check, show, question.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="synthetic, got10k, lasot, otb or folder.")]
Split = Annotated[str, typer.Option("--split", help="Which part of the data set.")]


@app.command()
def generate(
    splits: Annotated[list[str], typer.Argument(help="train, val, test, hard")],
    root: Root = None,
    seed: Seed = 0,
    count: Count = None,
    length: Annotated[int | None, typer.Option("--length", min=1, help="Frames each.")] = None,
    processes: Annotated[int | None, typer.Option("--processes", min=1)] = None,
    regenerate: Annotated[bool, typer.Option("--regenerate", help="Even if it is there.")] = False,
    as_json: Json = False,
) -> None:
    """Make splits of the synthetic benchmark; what is there already stays.

    Example: `paretrack dataset generate train val test`
    """
    from workers.datasets import synthetic

    terminal = Terminal(as_json)
    home = data_root("synthetic", root)
    made = {}
    for split in splits:
        if regenerate:
            synthetic.remove(home, split, seed=seed, count=count, length=length)
        with terminal.bar(f"generating {split}") as bar:
            made[split] = synthetic.generate(
                home, split, seed=seed, count=count, length=length,
                processes=processes, report=bar,
            )  # fmt: skip
    rows = [[split, str(path)] for split, path in made.items()]
    terminal.answer(made, table(("split", "folder"), rows))


@app.command()
def check(
    name: Name,
    path: Annotated[Path, typer.Argument(help="The root of the tree.")],
    as_json: Json = False,
) -> None:
    """Verify a tree: layout, counts, boxes, and every picture. Exit code 1 if there are problems.

    Example: `paretrack dataset check got10k /data/GOT-10k`
    """
    from workers.datasets import dataset

    terminal = Terminal(as_json)
    seen: list[str] = []
    with terminal.bar(f"checking {name}") as bar:

        def note(sequence: str) -> None:
            seen.append(sequence)
            bar.show(len(seen), len(seen), sequence)

        problems = dataset(name).check(path, note)
    rows = [[str(problem.path), problem.message] for problem in problems]
    title = f"{len(problems)} problems in {len(seen)} sequences"
    answer = {"sequences": len(seen), "problems": problems}
    terminal.answer(answer, table(("where", "what"), rows, title) if problems else f"{title}: fine")
    if problems:
        raise typer.Exit(1)


@app.command()
def show(
    name: Name,
    out: Annotated[Path, typer.Argument(help="The picture to write, .png")],
    root: Root = None,
    split: Split = "val",
    count: Count = 12,
    as_json: Json = False,
) -> None:
    """Draw a contact sheet: a row a sequence, a column a moment, boxes drawn in.

    Example: `paretrack dataset show synthetic sheet.png --split test`
    """
    from workers.datasets.contact_sheet import contact_sheet

    terminal = Terminal(as_json)
    found = _sequences(terminal, name, root, split, count)
    contact_sheet(found, out)
    terminal.answer({"picture": out, "sequences": [s.name for s in found]}, str(out))


@app.command()
def validity(
    name: Name = "synthetic",
    tracker: Tracker = "siamrpn-synthetic",
    root: Root = None,
    split: Split = "val",
    count: Count = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Ask whether this data measures tracking: no good AO without the right template.

    AO with another sequence's template, and with a zeroed one, may be at most 0.6 of the true AO;
    a box that never moves at most 0.17. Exit code 1 where a gate fails.
    Example: `paretrack dataset validity synthetic --tracker ostrack-synthetic`
    """
    from search_spaces import load
    from workers.checkpoints import load_tracker
    from workers.judge import validity as judge_validity
    from workers.machine import usable_device
    from workers.teachers import find

    terminal = Terminal(as_json)
    architecture, network = load_tracker(find(tracker))
    geometry = load(architecture.family).geometry(architecture)
    found = _sequences(terminal, name, root, split, count)
    if len(found) < 2:
        raise ParetrackError("the gates swap templates: they need at least two sequences")
    with terminal.bar("tracking") as bar:
        judged = judge_validity(network, geometry, found, device=usable_device(device), report=bar)
    failures = judged.failures()
    rows = [
        ["true template", f"{judged.average_overlap:.3f}", ""],
        ["another sequence's", f"{judged.other_template:.3f}", "at most 0.6 of the true one"],
        ["zeroed", f"{judged.zeroed_template:.3f}", "at most 0.6 of the true one"],
        ["a box that never moves", f"{judged.frozen_box:.3f}", "at most 0.17"],
    ]
    title = f"{tracker} on {len(found)} sequences: " + ("; ".join(failures) or "both gates pass")
    terminal.answer(
        {"validity": judged, "failures": failures}, table(("template", "AO", "gate"), rows, title)
    )
    if failures:
        raise typer.Exit(1)


def _sequences(
    terminal: Terminal, name: str, root: Path | None, split: str, count: int | None
) -> list["Sequence"]:
    from workers.datasets import dataset

    place = data_root(name, root)
    if name == "synthetic":
        with terminal.bar("data") as bar:
            ready(place, {split: count}, bar)
    return dataset(name).load(place, split, count=count)


def made_ready(data: "Data", learnt_from: bool, terminal: Terminal) -> None:
    """Generate what is missing of synthetic data; others have to be there."""
    if splits := data_at_hand.needed(data, learnt_from):
        with terminal.bar("data") as bar:
            ready(data.root, splits, bar)


def ready(root: Path, splits: Mapping[str, int | None], bar: Bar) -> None:
    """Make sure that so much of these synthetic splits is there; the bar shows the making."""
    data_at_hand.make(root, splits, lambda done, total, what: bar.show(done, total, title=what))
