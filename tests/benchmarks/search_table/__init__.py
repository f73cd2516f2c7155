"""A real search space with every point evaluated once; ``README.md`` says how.

``read()`` answers the table. Nothing here trains.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from optuna.trial import FixedTrial

from search_spaces import Architecture, Space, sample, space_from_json
from workers.checkpoints import load_tracker
from workers.teachers import find

TEACHER = "siamrpn-synthetic"
HERE = Path(__file__).parent
RUNGS = (0, 15, 30)  # steps of recovery after which every point was judged
STEPS = 50  # of the whole recovery

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """What is known of one point."""

    macs_frame: int
    parameters: int
    peak_memory: int
    eager_ms: float  # noisy: other work ran on the machine
    overlaps: Mapping[int | None, float]  # one-step IoU after so many steps; None: in the end
    seconds: Mapping[str | int | None, float]  # CPU time of "gates", and up to each of those
    judging: float  # CPU seconds of judging at one rung, which the rungs' seconds hold

    def computed(
        self, until: int | None, since: int | None = None, judged_at: Sequence[int] = ()
    ) -> float:
        """CPU seconds from rung ``since`` (None: from the very beginning) up to ``until``.

        Of the rungs on the way only those of ``judged_at`` are judged at.
        """
        seconds = self.seconds["gates"] if since is None else 0.0
        for at in self._legs(until, since):
            judged = at is None or at in judged_at
            seconds += self.seconds[at] - (0.0 if judged else self.judging)
        return seconds

    def _legs(self, until: int | None, since: int | None) -> Iterator[int | None]:
        first = -1 if since is None else since
        yield from (at for at in RUNGS if first < at and (until is None or at <= until))
        if until is None:
            yield None


@dataclass(frozen=True)
class Table:
    """The space, and the row of each of its architectures."""

    space: Space
    space_json: Mapping[str, Any]
    rows: Mapping[Architecture, Row]

    def find(self, architecture: Architecture) -> Row:
        return self.rows[architecture]


@cache
def read(folder: Path = HERE) -> Table:
    """The table as it lies here."""
    written = json.loads((folder / "space.json").read_text(encoding="utf-8"))
    space = space_from_json(load_tracker(find(TEACHER))[0], written)
    with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    rows = {sample(space, FixedTrial(_params(line))).architecture: _row(line) for line in lines}
    return Table(space, written, rows)


def _params(line: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: text == "True" if name.startswith("keep.") else int(text)
        for name, text in line.items()
        if name.startswith(("keep.", "width."))
    }


def _row(line: Mapping[str, str]) -> Row:
    names: dict[int | None, str] = {**{at: str(at) for at in RUNGS}, None: "final"}
    return Row(
        macs_frame=int(line["macs_frame"]),
        parameters=int(line["parameters"]),
        peak_memory=int(line["peak_memory"]),
        eager_ms=float(line["eager_ms"]),
        overlaps={at: float(line[f"iou_{name}"]) for at, name in names.items()},
        seconds={
            "gates": float(line["seconds_gates"]),
            **{at: float(line[f"seconds_{name}"]) for at, name in names.items()},
        },
        judging=float(line["seconds_judging"]),
    )
