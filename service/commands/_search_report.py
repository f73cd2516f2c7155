"""What a search shows while it runs and when it has ended: bar, tables, document."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from service.terminal import Bar, table
from workers.metrics import metric

if TYPE_CHECKING:
    from rich.table import Table

    from service.controller import Finished
    from service.events import Event, Watch
    from service.recorded import RecordedJob


def watching(bar: Bar, trials: int) -> "Watch":
    """Shows on a bar how far a search is and what its newest trial goes through."""
    states: Counter[str] = Counter()
    best: dict[str, float] = {}

    def watch(event: "Event") -> None:
        if event.kind == "finished":
            states[event.state] += 1
            for name, figure in list(event.values.items())[:1]:
                best[name] = max(best.get(name, figure), figure)
        feasible = sum(states.values()) - states["INFEASIBLE"]
        note = ", ".join(f"{n} {state.lower()}" for state, n in states.items())
        note += "".join(f"; best {name} {figure:.3f}" for name, figure in best.items())
        if event.happening is not None:
            note += f"  trial {event.number}: {event.happening.step}"
        bar.show(feasible, trials, note)

    return watch


def front_table(job: "RecordedJob") -> "Table":
    """The front by cost, with the teacher's figures above it; the knee is marked in the notes."""
    columns = shown_metrics(job)
    rows = [["teacher", *_row(job.teacher, columns), ""]]
    places = tracker_folders(job)
    for trial in job.front:
        notes = ["knee"] if trial.number == job.knee else []
        notes += [trial.flag] if trial.flag else []
        notes += [trial.tracker] if trial.tracker and places is None else []
        rows.append([str(trial.number), *_row(trial.figures, columns), "; ".join(notes)])
    return table(("trial", *columns, "note"), rows, title="The front")


def shown_metrics(job: "RecordedJob") -> list[str]:
    """What the front is over, what is bounded, and what anybody asks."""
    names = [m.name for m in (*job.metrics, *job.objectives)]
    return list(dict.fromkeys([*names, *(x.metric for x in job.limits), "parameters"]))


def tracker_folders(job: "RecordedJob") -> str | None:
    """The one folder where each trial's tracker lies under its number; None: they are elsewhere."""
    above = {trial.tracker.removesuffix(f"/{trial.number}") for trial in job.front}
    regular = all(trial.tracker.endswith(f"/{trial.number}") for trial in job.front)
    return above.pop() if regular and len(above) == 1 else None


def _row(figures: Mapping[str, Any], names: list[str]) -> list[str]:
    return [shown_figure(name, figures.get(name)) for name in names]


def shown_figure(name: str, figure: float | None) -> str:
    """A figure as a table has it: counts in millions."""
    if figure is None:
        return "-"
    counted = metric(name).unit in ("MACs", "parameters", "bytes")
    return f"{figure / 1e6:.3f} M" if counted else f"{figure:.3f}"


def gate_table(finished: "Finished") -> "Table":
    """How often each test was made, and the seconds that it took in all and in the middle."""
    spent: dict[str, list[float]] = {}
    for trial in finished.trials:
        for gate, seconds in trial.user_attrs.get("seconds", {}).items():
            spent.setdefault(gate, []).append(seconds)
    rows = [
        [gate, str(len(each)), f"{sum(each):.1f}", f"{sorted(each)[len(each) // 2]:.2f}"]
        for gate, each in spent.items()
    ]
    return table(("test", "candidates", "seconds", "median"), rows)


def as_document(finished: "Finished") -> dict[str, Any]:
    """The outcome for programs: the teacher, the front, and what became of every trial."""
    plan, outcome = finished.plan, finished.outcome
    return {
        "job": plan.job,
        "reason": outcome.reason,
        "seconds": outcome.seconds,
        "asked": outcome.asked,
        "states": outcome.states,
        "hypervolume": outcome.hypervolume,
        "teacher": plan.figures(finished.reach.teacher),
        "front": outcome.front,
        "trials": [
            {
                "number": trial.number,
                "params": trial.params,  # "parameters" is their count
                "values": trial.values if trial.state.name == "COMPLETE" else None,
                "constraints": trial.constraints,
                **trial.user_attrs,
            }
            for trial in finished.trials
        ],
    }
