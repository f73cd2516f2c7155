"""What a tuning shows while it runs and when it has ended."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.recipe_tuning import TunedRecipe, outcome_text
from service.terminal import Bar, table

if TYPE_CHECKING:
    from rich.table import Table

    from workers.candidate import Measurement
    from workers.tuning import Watch
    from workers.tuning.records import TrialRecord

SHOWN = 4  # best trials in the table


def watching(bar: Bar, trials: int, steps: int) -> "Watch":
    """Shows on a bar how far the trials have come, and the best of them so far."""
    from workers.tuning import Ended, Happening, Reached, Stage

    share: dict[int, float] = {}
    best: tuple[int, float, int] = (0, float("-inf"), 0)

    def watch(happening: Happening) -> None:
        nonlocal best
        title = None
        match happening:
            case Stage(name):
                title = f"tuning: {name}"
            case Reached(number, step, score):
                share[number] = min(step / steps, 0.99)
                best = max(best, (step, -1e9 if score is None else score, number))
            case Ended(number):
                share[number] = 1.0
        note = f"best {abs(best[1]):.4f} after {best[0]} steps" if best[0] else ""
        bar.show(round(sum(share.values()), 1), trials, note, title)

    return watch


def trial_table(tuned: TunedRecipe) -> "Table":
    """The starting recipe beside the best, with their hyper-parameters."""
    start = tuned.found.records[0]
    best = [record for record in tuned.found.ranked if record.number != 0][:SHOWN]
    shown = [start, *best]
    columns = ["", "start", *(f"trial {record.number}" for record in best)]
    rows = [
        ["steps", *(str(record.step) for record in shown)],
        ["one-step IoU", *(_last(record, "one_step_iou") for record in shown)],
        ["pair loss", *(_last(record, "pair_loss") for record in shown)],
        ["training, s", *(f"{record.seconds:.1f}" for record in shown)],
    ]
    if any(record.takeovers for record in shown):
        rows.append(["went on with", *(_origins(record) for record in shown)])
    rows += [[name, *(_told(r.values[name]) for r in shown)] for name in tuned.tuning.ranges]
    return table(columns, rows, f"trials, seed {tuned.tuning.candidate.seed}")


def check_table(tuned: TunedRecipe) -> "Table":
    """Winner and starting recipe in full, with a seed by which nothing was chosen."""
    found = tuned.found
    winner = max(found.checks)  # the starting recipe is number 0
    columns = [found.checks.get(0), found.checks.get(winner)]
    rows = [
        ["AO [95 %]", *(_ao(m) for m in columns)],
        ["one-step IoU", *(_pairs(m, "one_step_iou") for m in columns)],
        ["pair loss", *(_pairs(m, "loss") for m in columns)],
        ["recovery, s", *(_seconds(m) for m in columns)],
    ]
    title = f"once more from the cut on, seed {tuned.tuning.candidate.seed + 1}"
    return table(("", "start", f"trial {winner}"), rows, title)


def verdict(tuned: TunedRecipe, out: Path) -> str:
    """What came of it and what it has cost, in words."""
    trained = sum(record.seconds for record in tuned.found.records)
    full = tuned.found.records[0].seconds * len(tuned.found.records)
    cost = f"{len(tuned.found.records)} trials, {trained:.0f} s of training"
    if tuned.tuning.scheduler == "asha" and tuned.found.records[0].step == tuned.tuning.steps:
        cost += f" (all to the end: about {full:.0f} s)"
    more = " The same words go on." if tuned.is_cut_short else ""
    return f"{cost}. {outcome_text(tuned)}{more} {out} holds {_stored(tuned)}."


def as_document(tuned: TunedRecipe, out: Path) -> dict[str, Any]:
    """The whole outcome for programs."""
    return {
        "out": out,
        "recipe": tuned.recipe,
        "holds": tuned.holds,
        "gains": [{**asdict(gain), "better": gain.better} for gain in tuned.gains],
        "metric": tuned.tuning.metric,
        "scheduler": tuned.tuning.scheduler,
        "winner": None if tuned.found.winner is None else tuned.found.winner.number,
        "starting_recipe": tuned.tuning.candidate.recipe,
        "inherited": tuned.found.inherited.inherited,
        "trials": tuned.found.records,
        "checks": {
            number: {"recovered": m.recovered, "accuracy": m.accuracy, "seconds": m.seconds}
            for number, m in tuned.found.checks.items()
        },
    }


def _stored(tuned: TunedRecipe) -> str:
    if tuned.found.winner is None or not tuned.holds:
        return "the starting recipe"
    return f"the recipe of trial {tuned.found.winner.number}"


def _last(record: "TrialRecord", name: str) -> str:
    return f"{getattr(record.rungs[-1], name):.4f}" if record.rungs else "-"


def _origins(record: "TrialRecord") -> str:
    told = [f"{taken.trial} at {taken.step}" for taken in record.takeovers]
    return ", ".join(told) or "-"


def _told(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _ao(measurement: "Measurement | None") -> str:
    if measurement is None or measurement.accuracy is None:
        return "-"
    found = measurement.accuracy.average_overlap
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _pairs(measurement: "Measurement | None", name: str) -> str:
    if measurement is None or measurement.recovered is None:
        return "-"
    return f"{getattr(measurement.recovered, name):.4f}"


def _seconds(measurement: "Measurement | None") -> str:
    return "-" if measurement is None else f"{measurement.seconds.get('recovery', 0.0):.1f}"
