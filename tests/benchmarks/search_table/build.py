"""Evaluate every point of ``space.json`` once, with the project's real parts; a row each.

    python -m tests.benchmarks.search_table.build rows OUT.csv [SHARD/OF]
    python -m tests.benchmarks.search_table.build join table.csv PART.csv ...

Rows are written as they come, and those that are there already are not made again. The order is
such that a coarser space, whose middle widths are left out, is complete before a finer one.
"""

import csv
import itertools
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from optuna.trial import FixedTrial

from search_spaces import Architecture, Geometry, Space, TrackerNetwork, load, sample
from search_spaces import space_from_json as read_space
from workers import datasets, training
from workers.checkpoints import load_tracker
from workers.cost import cost_of
from workers.judge import pair_accuracy, validation_pairs
from workers.pairs import Pairs, PairSource
from workers.predictor import network_input
from workers.pruning import cut_with_origins
from workers.pruning.refit import refit
from workers.teachers import find
from workers.training import Recipe, recipe_from_json, train

TEACHER = "siamrpn-synthetic"
SEED = 0  # of every row, as it is of every candidate of a job
RUNGS = (0, 15, 30)  # steps
STEPS, BATCH, RATE = 50, 8, 2e-3  # a quarter of the batch and half the rate of the teacher's recipe
REFIT_PAIRS = 16
RUNG_PAIRS, FINAL_PAIRS = 128, 256  # none is in both
FRAMES = 30  # timed

WIDTHS = "width."
COLUMNS = (
    "macs_frame", "parameters", "peak_memory", "eager_ms",
    *(f"iou_{at}" for at in RUNGS), "iou_final",
    "seconds_gates", *(f"seconds_{at}" for at in RUNGS), "seconds_final", "seconds_judging",
)  # fmt: skip


def the_space() -> Space:
    """The space of the table: ``space.json`` over the teacher."""
    with Path(__file__).with_name("space.json").open(encoding="utf-8") as file:
        return read_space(load_tracker(find(TEACHER))[0], json.load(file))


def the_recipe() -> Recipe:
    """The teacher's own for recovery, but shorter and with smaller batches."""
    with (find(TEACHER) / "recovery.json").open(encoding="utf-8") as file:
        found = recipe_from_json(json.load(file))
    return replace(found, steps=STEPS, batch=BATCH, learning_rate=RATE, seed=SEED)


def points(space: Space) -> list[dict[str, Any]]:
    """All parameters of the space, coarser spaces first."""
    keep = [f"keep.{space.layers[i]}" for i in space.free_layers]
    widths = {f"{WIDTHS}{g.units.name}": range(g.low, g.high + 1, g.step) for g in space.free_grids}
    values: list[list[Any]] = [[True, False] for _ in keep]
    values += [list(choices) for choices in widths.values()]
    found = [dict(zip([*keep, *widths], at, strict=True)) for at in itertools.product(*values)]
    middles = [name for name, choices in widths.items() if len(choices) == 3][::-1]
    return sorted(found, key=lambda p: [p[name] == widths[name][1] for name in middles])


class KeptPairs(PairSource):
    """Pairs of the recovery, drawn once for all rows: they have one seed. Says what they cost."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._kept: dict[tuple[int, int], Pairs] = {}
        began = time.process_time()
        self.draw(STEPS)
        self.seconds_a_step = (time.process_time() - began) / STEPS

    def draw(self, steps: int) -> None:
        for number in range(steps + 8):  # a run prepares a few more than it needs
            self.batch(number * BATCH, BATCH)

    def batch(self, start: int, size: int) -> Pairs:
        if (start, size) not in self._kept:
            self._kept[start, size] = super().batch(start, size)
        return self._kept[start, size]


@dataclass
class Bench:
    """All that rows share."""

    geometry: Geometry
    whole: Architecture
    teacher: TrackerNetwork
    recipe: Recipe
    training: KeptPairs
    sequences: list[datasets.Sequence]
    rung_pairs: list[Pairs]
    final_pairs: list[Pairs]


def opened(root: Path) -> Bench:
    whole, teacher = load_tracker(find(TEACHER))
    geometry = load(whole.family).geometry(whole)
    dataset = datasets.dataset("synthetic")
    seen = dataset.load(root, "train", count=None)
    judged = validation_pairs(
        dataset.load(root, "val", count=None), geometry, RUNG_PAIRS + FINAL_PAIRS
    )
    recipe = the_recipe()
    return Bench(
        geometry, whole, teacher, recipe,
        KeptPairs(seen, geometry, recipe.augmentation, SEED), seen,
        judged[: RUNG_PAIRS // 64], judged[RUNG_PAIRS // 64 :],
    )  # fmt: skip


@dataclass
class Clock:
    """CPU seconds since it was last asked."""

    last: float = field(default_factory=time.process_time)

    def lap(self) -> float:
        now = time.process_time()
        gone, self.last = now - self.last, now
        return gone


def row(bench: Bench, space: Space, params: Mapping[str, Any]) -> dict[str, float]:
    """What comes of one point; the story is that of ``workers.evaluation``."""
    sampled = sample(space, FixedTrial(dict(params)))
    clock = Clock()
    cost = cost_of(sampled.architecture)
    found: dict[str, float] = {
        "macs_frame": cost.macs_frame,
        "parameters": cost.parameters,
        "peak_memory": cost.peak_memory_frame,
        "seconds_gates": clock.lap(),
    }
    network, origins = cut_with_origins(
        bench.teacher, bench.whole, sampled.architecture, sampled.kept_layers, "magnitude", SEED
    )
    if sampled.architecture != bench.whole:
        pairs = bench.training.batch(0, REFIT_PAIRS)
        inputs = [
            network_input(crops, bench.geometry) for crops in (pairs.templates, pairs.searches)
        ]
        refit(network, bench.teacher, origins, inputs[0], inputs[1])
    began = time.process_time()
    found["iou_0"] = overlap(bench, network, bench.rung_pairs)
    judging = [time.process_time() - began]
    found["seconds_0"] = clock.lap()
    found |= recovered(bench, network, clock, judging)
    found["seconds_judging"] = sum(judging) / len(judging)  # at one rung; in its seconds too
    found["eager_ms"] = milliseconds(bench, network)
    return found


def recovered(
    bench: Bench, network: TrackerNetwork, clock: Clock, judging: list[float]
) -> dict[str, float]:
    """One-step IoU and seconds at every rung of a single run to its end."""
    found: dict[str, float] = {}
    step, before = 0, 0

    def look(now: TrackerNetwork) -> dict[str, float]:
        nonlocal step, before
        step += 5
        if step not in (*RUNGS, STEPS):
            return {}
        name, pairs = (
            ("final", bench.final_pairs) if step == STEPS else (str(step), bench.rung_pairs)
        )
        began = time.process_time()
        found[f"iou_{name}"] = overlap(bench, now, pairs)
        if step != STEPS:
            judging.append(time.process_time() - began)
        drawn = bench.training.seconds_a_step * (step - before)
        found[f"seconds_{name}"] = clock.lap() + drawn
        before = step
        return {}

    with mock.patch.object(training, "PairSource", lambda *args: bench.training):
        train(
            network, bench.geometry, bench.sequences, bench.recipe,
            validate=look, validate_every=5, report_every=STEPS,
        )  # fmt: skip
    return found


def overlap(bench: Bench, network: TrackerNetwork, pairs: list[Pairs]) -> float:
    return pair_accuracy(network, bench.geometry, pairs).one_step_iou


@torch.inference_mode()
def milliseconds(bench: Bench, network: TrackerNetwork) -> float:
    """The median time of a frame."""
    pairs = bench.rung_pairs[0]
    template = network.template(network_input(pairs.templates[:1], bench.geometry))
    crop = network_input(pairs.searches[:1], bench.geometry)
    times: list[float] = []
    for _ in range(FRAMES):
        began = time.perf_counter()
        network.frame(crop, template)
        times.append(time.perf_counter() - began)
    return 1000 * float(np.median(times[5:]))


def written(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def build(out: Path, shard: int, of: int, root: Path) -> None:
    """Every ``of``-th point from ``shard`` on that is not in ``out`` yet."""
    torch.set_num_threads(1)
    space = the_space()
    todo = points(space)[shard::of]
    names = list(todo[0])
    done = 0
    if out.exists():
        whole = out.read_text(encoding="utf-8").rpartition("\n")[0]  # a killed run's half row goes
        out.write_text(whole + "\n", encoding="utf-8")
        done = len(whole.splitlines()) - 1
    bench = opened(root)
    row(bench, space, todo[-1])  # whatever is done only once is not counted
    with out.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not done:
            writer.writerow([*names, *COLUMNS])
        for params in todo[max(done, 0) :]:
            found = row(bench, space, params)
            values = (*params.values(), *(found[name] for name in COLUMNS))
            writer.writerow([written(value) for value in values])
            file.flush()


def join(parts: list[Path], out: Path) -> None:
    """One table of the rows of all parts, of a space of which none is missing."""
    found: dict[tuple[str, ...], list[str]] = {}
    space = the_space()
    wanted = points(space)
    names = list(wanted[0])
    for part in parts:
        with part.open(encoding="utf-8", newline="") as file:
            for line in list(csv.reader(file))[1:]:
                if len(line) == len(names) + len(COLUMNS):
                    found[tuple(line[: len(names)])] = line
    keys = [tuple(str(value) for value in params.values()) for params in wanted]
    missing = [key for key in keys if key not in found]
    if missing:
        raise SystemExit(f"{len(missing)} of {len(keys)} rows are missing, first {missing[0]}")
    with out.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(
            [[*names, *COLUMNS], *(found[key] for key in keys)]
        )


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    if what == "join":
        join([Path(part) for part in arguments[1:]], Path(arguments[0]))
    else:
        shard, _, of = (arguments[1] if len(arguments) > 1 else "0/1").partition("/")
        build(Path(arguments[0]), int(shard), int(of), Path.home() / ".paretrack" / "data")
