"""paretrack demo: the whole story of one candidate, with a table and a picture at the end."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from service.commands._alone import alone_in
from service.commands._options import Json
from service.commands._report import by_attribute, summary, watching
from service.commands.dataset import ready
from service.recipes import recovery_recipe
from service.settings import read_settings
from service.terminal import Terminal

if TYPE_CHECKING:
    from workers.candidate import Candidate, Measurement


def demo(
    teacher: Annotated[str, typer.Option("--teacher")] = "siamrpn-synthetic",
    mmacs: Annotated[float, typer.Option("--mmacs", help="Limit for the candidate.")] = 10.0,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Of recovery.")] = 100,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the outcome.")] = None,
    as_json: Json = False,
) -> None:
    """Cut a shipped tracker to a quarter, recover it, and compare it with its teacher.

    The first run makes the synthetic benchmark (a minute or two); later ones find it.
    Example: `paretrack demo --mmacs 5`
    """
    from workers.machine import use_threads

    terminal = Terminal(as_json)
    use_threads(1)  # the same table on every number of cores
    settings = read_settings(os.environ)
    folder = out or settings.out / "demo"
    candidates = _candidates(teacher, mmacs, steps, settings.data)
    with alone_in(folder):
        with terminal.bar("data") as bar:
            ready(settings.data, {"val": None, "train": None}, bar)
        judged = _judged(candidates, folder, terminal)
        picture = folder / "strip.png"
        _draw(judged, candidates["candidate"], picture)
    _tell(terminal, judged, folder, picture)


def _candidates(teacher: str, mmacs: float, steps: int, data: Path) -> dict[str, "Candidate"]:
    """The teacher as it is, and what is left of it after the cut."""
    from workers.candidate import Candidate, Data
    from workers.checkpoints import load_tracker
    from workers.pruning.widths import within_macs
    from workers.teachers import find

    folder = find(teacher)
    architecture, _ = load_tracker(folder)
    as_it_is = Candidate(
        teacher=folder, architecture=architecture, data=Data(dataset="synthetic", root=data)
    )
    smaller = replace(
        as_it_is,
        architecture=within_macs(architecture, mmacs * 1e6),
        recipe=recovery_recipe(folder, steps=steps),
    )
    return {"teacher": as_it_is, "candidate": smaller}


def _judged(
    candidates: dict[str, "Candidate"], folder: Path, terminal: Terminal
) -> dict[str, "Measurement"]:
    from workers.evaluation import evaluate

    judged = {}
    for name, candidate in candidates.items():
        with terminal.bar(name) as bar:
            judged[name] = evaluate(candidate, folder / name, watch=watching(bar, name))
    return judged


def _tell(
    terminal: Terminal, judged: dict[str, "Measurement"], folder: Path, picture: Path
) -> None:
    told = {name: measurement.to_json() for name, measurement in judged.items()}
    terminal.answer({**told, "picture": picture}, summary(judged))
    terminal.remark(by_attribute(judged))
    for name, measurement in judged.items():
        if measurement.state == "FAILED":
            terminal.say(f"the {name} failed: {measurement.reason}")
            raise typer.Exit(1)
    terminal.say(f"the picture: {picture}\nthe tracker: {folder / 'candidate'}")
    terminal.say(f"next: paretrack export ./bundle --tracker {folder / 'candidate'}")


def _draw(judged: dict[str, "Measurement"], candidate: "Candidate", picture: Path) -> None:
    """The candidate's best, median and worst sequence, with everybody's boxes."""
    from workers.boxes_file import read_boxes
    from workers.evaluation import sequences
    from workers.figures import draw_strip

    accuracy = judged["candidate"].accuracy
    if accuracy is None:  # it failed, and there is nothing to show
        return
    ranked = sorted(accuracy.overlap_of, key=lambda name: -accuracy.overlap_of[name])
    chosen = (ranked[0], ranked[len(ranked) // 2], ranked[-1])
    data = candidate.data
    by_name = {s.name: s for s in sequences(data, data.judged_on, data.judged_count)}
    boxes = [read_boxes(m.tracker) for m in judged.values() if m.tracker]
    rows = {}
    for name in chosen:
        sequence = by_name[name]
        moments = np.linspace(0, len(sequence.frames) - 1, 6).astype(int)
        rows[f"{name}, AO {accuracy.overlap_of[name]:.2f}"] = [
            (sequence.frames[t], [sequence.boxes[t], *(of[name][t] for of in boxes)])
            for t in moments
        ]
    draw_strip(rows, ("ground truth", *judged), picture)
