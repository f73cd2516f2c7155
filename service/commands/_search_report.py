"""What a search shows while it runs and when it has ended: bar, tables, picture, document."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.terminal import Bar, table

if TYPE_CHECKING:
    from rich.table import Table

    from service.controller import Finished
    from service.events import Event, Watch


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


def draw(finished: "Finished", picture: Path) -> None:
    from service.front_picture import draw_front

    picture.parent.mkdir(parents=True, exist_ok=True)
    front = finished.outcome.front
    draw_front(finished.plan, finished.reach.teacher, finished.trials, front, picture)


def front_table(finished: "Finished") -> "Table":
    """The front by cost, with the teacher's figures above it."""
    plan = finished.plan
    names = list(dict.fromkeys([m.name for m in plan.objectives]))
    shown = [*names, *(x.metric for x in plan.limits if x.metric not in names), "parameters"]
    columns = list(dict.fromkeys(shown))
    rows = [["teacher", *_row(plan.figures(finished.reach.teacher), columns), ""]]
    by_number = {trial.number: trial for trial in finished.trials}
    front = sorted(finished.outcome.front, key=lambda n: by_number[n].values[1])
    for number in front:
        attrs = by_number[number].user_attrs
        rows.append([str(number), *_row(attrs, columns), str(attrs.get("flag", ""))])
    return table(("trial", *columns, "note"), rows, title="The front")


def _row(figures: Mapping[str, Any], names: list[str]) -> list[str]:
    from workers.metrics import metric

    found = []
    for name in names:
        figure = figures.get(name)
        counted = metric(name).unit in ("MACs", "parameters", "bytes")
        text = "-" if figure is None else f"{figure / 1e6:.3f} M" if counted else f"{figure:.3f}"
        found.append(text)
    return found


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
