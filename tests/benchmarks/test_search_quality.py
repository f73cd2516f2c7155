"""What a search finds for its compute, on a real space of which every point is known.

The real search with a real record; only the pool answers from ``search_table``, in virtual time, so
that compute is CPU seconds of workers on one machine. Against it, plain Optuna as a user would
write it: every candidate is trained to its end, and its limit is told to Optuna. Printed and
drawn, not asserted.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median, stdev

import numpy as np
import optuna
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler

from search_spaces import Architecture
from service import samplers
from service.job import Job
from tests.benchmarks import search_table
from tests.benchmarks.search_table import Table
from tests.benchmarks.search_table.pool import TablePool
from tests.benchmarks.search_table.searches import (
    Scenario,
    Trace,
    base_plan,
    ours,
    plain,
    scenarios,
)
from workers.candidate import Candidate
from workers.cost import Cost

SEEDS = 10
TRIALS = (25, 50, 100, 200)
COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple", "tab:brown")


@dataclass(frozen=True)
class Effort:
    """How far a sampler is followed."""

    seeds: int = SEEDS
    trials: int = max(TRIALS)  # at least
    compute: float = 0.5  # at least, of what plain Optuna needs for all its trials
    all_variants: bool = True


# Those that need tens or hundreds of milliseconds to ask. What a gate saves is the same for all.
SLOW = {
    "tpe": Effort(all_variants=False),
    "gp": Effort(seeds=3, trials=50, compute=0.0, all_variants=False),
}


@dataclass(frozen=True)
class Variant:
    """Which of our means are in use."""

    name: str
    early_stopping: str = "mo_asha"
    gate: bool = True


VARIANTS = (
    Variant("full"),
    Variant("no early stopping", early_stopping="none"),
    Variant("no gate", gate=False),
    Variant("neither", early_stopping="none", gate=False),
)
PLAIN: dict[str, Callable[[int], BaseSampler]] = {
    "NSGA-II": lambda seed: NSGAIISampler(seed=seed),
    "random": lambda seed: RandomSampler(seed=seed),
}


# --- many seeds ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Series:
    """The same for several seeds."""

    name: str
    traces: tuple[Trace, ...]

    def after(self, trials: int) -> list[float]:
        return [trace.after(trials) for trace in self.traces]

    @property
    def mean_compute(self) -> float:
        return mean(trace.computed[-1] for trace in self.traces)


def series_of_ours(
    scenario: Scenario,
    sampler: str,
    variant: Variant,
    folder: Path,
    *,
    trials: int = max(TRIALS),
    compute: float = 0.0,
    seeds: int = SEEDS,
    change: Callable[[Job], Job] = lambda job: job,
) -> Series:
    base = base_plan(scenario, folder)
    traces = []
    for seed in range(seeds):
        job = replace(base.job, sampler=sampler, early_stopping=variant.early_stopping, seed=seed)
        ready = replace(base, job=change(job))
        pool = TablePool(scenario.table, gate=variant.gate)
        traces.append(ours(scenario, ready, pool, trials=trials, compute=compute))
    return Series(f"{sampler}, {variant.name}", tuple(traces))


def series_of_plain(scenario: Scenario, name: str, seeds: int = SEEDS) -> Series:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    made = PLAIN[name]
    traces = [plain(scenario, made(seed), max(TRIALS)) for seed in range(seeds)]
    return Series(f"plain Optuna, {name}", tuple(traces))


def ratios(theirs: Series, mine: Series, trials: int) -> list[float]:
    """How much more compute they need to come where they are after so many trials; every seed of
    theirs against every one of ours. 0: ours never came there."""
    found = []
    for one in theirs.traces:
        share = one.after(trials)
        found += [one.needed(share) / other.needed(share) for other in mine.traces]
    return found


# --- said and drawn -----------------------------------------------------------------------------


def spread(values: Sequence[float]) -> str:
    return f"{mean(values):6.1%} ±{stdev(values):5.1%}" if len(values) > 1 else f"{values[0]:6.1%}"


def quartiles(values: Sequence[float]) -> str:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    never = sum(value == 0 for value in values)
    failed = f", never in {never / len(values):.0%}" if never else ""
    return f"{middle:5.2f}x ({low:.2f}-{high:.2f}{failed})"


def said(series: Series, theirs: Series) -> None:
    begun = median(len(trace.by_trials) for trace in series.traces)
    columns = [f"{n}: {spread(series.after(n)) if n <= begun else '':14}" for n in TRIALS]
    ended = median(len(trace.computed) for trace in series.traces)
    print(  # noqa: T201 - a benchmark speaks
        f"{series.name:32} {'  '.join(columns)}  | in all {begun:4.0f} begun, {ended:4.0f} ended, "
        f"{series.mean_compute:5.0f} CPU s: {spread([t.share for t in series.traces])}"
    )
    for n in TRIALS[-2:]:
        if series.mean_compute > 0.45 * theirs.mean_compute * n / max(TRIALS):
            print(  # noqa: T201
                f"{'':32} as good as plain NSGA-II after {n} trials for less compute: "
                f"{quartiles(ratios(theirs, series, n))}"
            )


def drawn(axes: Axes, series: Series, colour: str, compute: float) -> None:
    grid = np.linspace(0, min(compute, series.mean_compute), 400)
    low, middle, high = np.quantile([t.at(grid) for t in series.traces], [0.25, 0.5, 0.75], axis=0)
    plainly = "--" if series.name.startswith("plain") else "-"
    axes.plot(grid, middle, plainly, color=colour, label=series.name)
    axes.fill_between(grid, low, high, color=colour, alpha=0.15, linewidth=0)


def picture(drawings: Sequence[tuple[str, Sequence[Series], float]], file: Path) -> None:
    figure = Figure(figsize=(6 * len(drawings), 4.2), layout="constrained")
    for axes, (title, all_series, compute) in zip(
        figure.subplots(1, len(drawings), squeeze=False)[0], drawings, strict=True
    ):
        for series, colour in zip(all_series, COLOURS, strict=False):
            drawn(axes, series, colour, compute)
        axes.set(title=title, xlabel="compute, CPU s of workers", xlim=(0, compute))
        axes.set(ylabel="hypervolume, share of the best", ylim=(0.6, 1.0))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, loc="lower right")
    figure.savefig(file, dpi=110)


def answer_from_the_table(monkeypatch: pytest.MonkeyPatch, table: Table) -> None:
    """Costs and checksums of architectures: to find them takes longer than all the rest."""
    numbers = {architecture: str(number) for number, architecture in enumerate(table.rows)}

    def cost_of(architecture: Architecture) -> Cost:
        row = table.find(architecture)
        return Cost(
            macs_template=0, macs_frame=row.macs_frame, parameters=row.parameters,
            parameters_template=0, parameters_frame=0, peak_memory_frame=row.peak_memory,
            weights_bytes=0,
        )  # fmt: skip

    def digest(candidate: Candidate, *_: str) -> str:
        return numbers[candidate.architecture]

    monkeypatch.setattr("workers.cost.cost_of", cost_of)
    monkeypatch.setattr("workers.candidate.digest", digest)


@pytest.mark.benchmark
def test_hypervolume_for_compute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = search_table.read()
    answer_from_the_table(monkeypatch, table)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    drawings = []
    for scenario in scenarios(table):
        theirs, mine = compared(scenario, tmp_path)
        drawings.append((scenario.name, [*theirs, *mine], theirs[0].mean_compute))
    file = Path(__file__).with_name("search_quality.png")
    picture(drawings, file)
    print(file)  # noqa: T201
    assert len(drawings) == 2


def compared(scenario: Scenario, folder: Path) -> tuple[list[Series], list[Series]]:
    """Everything that is tried, said as it comes; of ours what belongs in a picture."""
    allowed = sum(map(scenario.allows, scenario.table.rows.values()))
    print(  # noqa: T201
        f"\n{scenario.name}{''.join(f' ({limit})' for limit in scenario.limits)}: "
        f"{allowed} of {len(scenario.table.rows)} points are allowed"
    )
    theirs = [series_of_plain(scenario, name) for name in PLAIN]
    mine = []
    for one in theirs:
        said(one, theirs[0])
    for sampler, variant, effort in runs(scenario):
        found = followed(scenario, sampler, variant, effort, folder, theirs[0].mean_compute)
        said(found, theirs[0])
        if variant == VARIANTS[0] and effort.seeds == SEEDS:
            mine.append(found)
    return theirs, mine


def runs(scenario: Scenario) -> Iterator[tuple[str, Variant, Effort]]:
    """Without a limit there is nothing that a gate could hold back."""
    for sampler in samplers.SAMPLERS:
        effort = SLOW.get(sampler, Effort())
        for variant in VARIANTS:
            if variant.gate or (scenario.limits and effort.all_variants):
                yield sampler, variant, effort


def followed(
    scenario: Scenario, sampler: str, variant: Variant, effort: Effort, folder: Path, compute: float
) -> Series:
    return series_of_ours(
        scenario, sampler, variant, folder,
        seeds=effort.seeds, trials=effort.trials, compute=effort.compute * compute,
    )  # fmt: skip
