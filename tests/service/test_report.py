"""The tables of measurements, as they are read."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from search_spaces import load
from service.commands._report import summary
from tests.workers.test_tracking import moving_square
from workers.accuracy import rules_named
from workers.candidate import Candidate, Data, Measurement
from workers.judge import judge
from workers.tracking import Track

SEQUENCES = [moving_square(6, 3, 0), moving_square(9, 1, 1)]
BARE = Measurement(
    state="FAILED",
    reason="no luck",
    candidate=Candidate(
        teacher=Path("teacher"),
        architecture=load("siamrpn").PRESETS["siamrpn-tiny"],
        data=Data(dataset="folder", root=Path("data")),
    ),
    teacher_sha256="0",
    dataset_version="folder",
)


def measured(rules: str) -> Measurement:
    tracks = [Track(s.boxes, np.ones(len(s.boxes)), np.ones(len(s.boxes))) for s in SEQUENCES]
    return replace(BARE, accuracy=judge(tracks, SEQUENCES, rules_named(rules)))


def printed(table: Table) -> str:
    console = Console(width=120, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_figure_that_nobody_has_is_no_row() -> None:
    shown = printed(summary({"candidate": measured("got10k")}))
    assert "AO [95 %]" in shown and "got10k" in shown
    assert "recision" not in shown and "MACs" not in shown


def test_a_figure_that_one_of_them_has_is_a_row_for_all() -> None:
    both = {"teacher": measured("pysot-otb"), "candidate": BARE}
    rows = cells(printed(summary(both)))
    assert rows["accuracy by the rules"] == ["pysot-otb", "-"]
    assert rows["precision [95 %]"][0].startswith("1.000 [")
    assert {"normalised precision [95 %]", "success, AUC [95 %]"} <= set(rows)


def cells(text: str) -> dict[str, list[str]]:
    """The cells of each row by the first of them."""
    lines = [line.split("│")[1:-1] for line in text.splitlines() if line.startswith("│")]
    return {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines}
