"""What a search shows while it runs and when it has ended: bar, tables, document."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from service.terminal import Bar, table
from workers.metrics import metric

if TYPE_CHECKING:
    from rich.table import Table

    from service.controller import Finished
    from service.events import Event, Watch
    from service.recorded import RecordedJob


NEWEST = 8  # trials that are shown while a search runs


def watching(bar: Bar, trials: int) -> "Watch":
    """Shows on a bar how far a search is; below it the newest trials and the front as it is."""
    seen = _Seen()

    def watch(event: "Event") -> None:
        seen.hear(event)
        bar.show(seen.feasible, trials, seen.note)
        bar.below(seen.newest(), seen.front())

    return watch


@dataclass
class _Seen:
    """What a search has said of its trials so far."""

    states: Counter[str] = field(default_factory=Counter)
    told: dict[int, tuple[str, Mapping[str, float], str]] = field(default_factory=dict)
    complete: dict[int, Mapping[str, float]] = field(default_factory=dict)

    def hear(self, event: "Event") -> None:
        if event.kind == "taken_up":
            return
        state, values, note = self.told.pop(event.number, ("", {}, ""))
        values = event.values or values
        if event.happening is not None:
            done = event.happening
            far = f" {done.done}/{done.total}" if done.total else ""
            state, note = "runs", f"{done.step}{far}"
        elif event.kind == "finished":
            state, note = event.state, event.note
            self.states[event.state] += 1
            if event.state == "COMPLETE":
                self.complete[event.number] = event.values
        else:
            state = {"asked": "runs", "rung": "waits"}[event.kind]
            state, note = ("runs" if event.state == "go_on" else state), event.note
        self.told[event.number] = (state, values, note)
        for number in list(self.told)[:-NEWEST]:
            del self.told[number]

    @property
    def feasible(self) -> int:
        return sum(self.states.values()) - self.states["INFEASIBLE"]

    @property
    def note(self) -> str:
        return ", ".join(f"{count} {state.lower()}" for state, count in self.states.items())

    def newest(self) -> "Table":
        rows = [
            [str(number), state.lower(), _figures(values), note]
            for number, (state, values, note) in sorted(self.told.items())
        ]
        return table(("trial", "state", "figures", "what happens"), rows)

    def front(self) -> "Table":
        """Of the complete trials, limits on their accuracy aside."""
        from service.front import front

        found = list(self.complete.items())
        points = [
            [-v if metric(n).better == "higher" else v for n, v in values.items()]
            for _, values in found
        ]
        best = sorted(
            (found[i] for i in front(points).tolist()), key=lambda one: [*one[1].values()]
        )
        return table(("front", "figures"), [[str(number), _figures(v)] for number, v in best])


def _figures(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {shown_figure(name, figure)}" for name, figure in values.items())


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
