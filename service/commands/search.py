"""paretrack search: the front of accuracy against cost of what a teacher can be cut to."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from search_spaces._errors import ParetrackError
from service.commands._options import Count, Dataset, Json, Root, Seed, Threads, TrainCount
from service.commands.dataset import ready
from service.settings import Settings, read_settings
from service.terminal import Bar, Terminal, table

if TYPE_CHECKING:
    from rich.table import Table

    from service.controller import Finished
    from service.events import Event, Watch
    from service.job import Job
    from workers.pool import Pool

Hands = Literal["in_process", "ray"]


def search(
    name: Annotated[str, typer.Argument(help="Of the job. One that exists goes on.")],
    teacher: Annotated[str, typer.Option("--teacher", help="A tracker.")] = "siamrpn-synthetic",
    limit: Annotated[
        list[str] | None,
        typer.Option("--limit", help="As 'step_ms.onnx_runtime<=8', as often as needed."),
    ] = None,
    cost: Annotated[
        list[str] | None,
        typer.Option("--cost", help="To keep low: macs_frame, step_ms.eager ... Repeatable."),
    ] = None,
    accuracy: Annotated[str, typer.Option("--accuracy", help="To drive up.")] = "average_overlap",
    trials: Annotated[int, typer.Option("--trials", min=1, help="Feasible ones.")] = 40,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="End after so long, whatever was tried.")
    ] = None,
    sampler: Annotated[
        str, typer.Option("--sampler", help="nsga2, nsga3, tpe, gp, random or grid.")
    ] = "tpe",
    early_stopping: Annotated[
        str, typer.Option("--early-stopping", help="mo_asha, median or none.")
    ] = "mo_asha",
    steps: Annotated[
        int, typer.Option("--steps", min=0, help="Of a whole recovery; 0: none.")
    ] = 100,
    space: Annotated[
        Path | None, typer.Option("--space", help="JSON file of levers. Default: all of them.")
    ] = None,
    like: Annotated[
        list[str] | None, typer.Option("--like", help="An earlier job to learn from. Repeatable.")
    ] = None,
    job: Annotated[
        Path | None,
        typer.Option("--job", help="JSON file with the whole job; it beats options."),
    ] = None,
    dataset: Dataset = "synthetic",
    root: Root = None,
    count: Count = None,
    train_count: TrainCount = None,
    hands: Annotated[
        Hands, typer.Option("--pool", help="in_process, or ray: PARETRACK_RAY_ADDRESS or local.")
    ] = "in_process",
    parallel: Annotated[
        int, typer.Option("--parallel", min=1, help="Candidates at once, in this process.")
    ] = 1,
    threads: Threads = 1,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Search for the best cuts of a tracker under limits; killed, the same words go on with it.

    Example: `paretrack search small --limit 'step_ms.onnx_runtime<=2' --trials 40`
    """
    terminal = Terminal(as_json)
    settings = read_settings(os.environ)
    asked = {
        "name": name, "teacher": teacher, "limits": limit or [], "accuracy": accuracy,
        "costs": cost or ["macs_frame"], "sampler": sampler, "early_stopping": early_stopping,
        "steps": steps, "warm_start": like or [], "seed": seed,
        "rungs": [rung for rung in (0, 25) if rung < max(steps, 1)],
        "budget": {"trials": trials, "seconds": None if minutes is None else 60 * minutes},
        "data": {
            "dataset": dataset, "root": None if root is None else str(root),
            "judged_count": count, "train_count": train_count,
        },
        "space": None if space is None else _read(space),
        **({} if job is None else _read(job)),
    }  # fmt: skip
    wanted = _job(asked)
    _generate(wanted, settings, terminal)
    with (
        _pool(hands, parallel, threads, settings, terminal) as pool,
        terminal.bar(wanted.name) as bar,
    ):
        finished = _run(wanted, settings, pool, watching(bar, wanted.budget.trials))
    picture = settings.home / "jobs" / wanted.name / "front.png"
    _draw(finished, picture)
    terminal.answer(as_document(finished), front_table(finished))
    terminal.remark(gate_table(finished))
    outcome = finished.outcome
    said = ", ".join(f"{count} {state.lower()}" for state, count in outcome.states.items())
    terminal.say(f"{outcome.reason}: {outcome.asked} asked ({said}) in {outcome.seconds:.0f} s")
    terminal.say(f"the picture: {picture}")
    if outcome.front:
        folder = finished.trials[outcome.front[0]].user_attrs["tracker"]
        terminal.say(f"next: paretrack export ./bundle --tracker {folder}")


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ParetrackError(f"{path} is not a JSON document: {error}") from error
    if not isinstance(found, dict):
        raise ParetrackError(f"{path}: expected an object, got {type(found).__name__}")
    return found


def _job(asked: Mapping[str, Any]) -> "Job":
    from service.job import job_from_json

    return job_from_json(dict(asked))


def _generate(job: "Job", settings: Settings, terminal: Terminal) -> None:
    data = job.data
    if data.dataset != "synthetic":
        return
    with terminal.bar("data") as bar:
        wanted = {data.judged_on: data.judged_count, data.train: data.train_count}
        ready(settings.data if data.root is None else Path(data.root), wanted, bar)


@contextmanager
def _pool(
    hands: Hands, parallel: int, threads: int, settings: Settings, terminal: Terminal
) -> Iterator["Pool"]:
    from workers.machine import use_threads

    pool: Pool
    if hands == "ray":
        from workers.on_ray import RayPool
        from workers.reopening import ReopeningPool

        pool = ReopeningPool(
            lambda: RayPool(home=settings.home, address=settings.ray_address, threads=threads),
            hear=terminal.say,
        )
    else:
        from workers.in_process import InProcessPool

        use_threads(threads)
        pool = InProcessPool(slots=parallel, threads=threads)
    try:
        yield pool
    finally:
        pool.close()


def _run(job: "Job", settings: Settings, pool: "Pool", watch: "Watch") -> "Finished":
    from service.controller import run_job
    from service.database import embedded_url, open_database

    url = settings.database_url or embedded_url(settings.home / "paretrack.db")
    engine = open_database(url)
    try:
        return run_job(job, settings, engine, pool, watch=watch)
    finally:
        engine.dispose()


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


def _draw(finished: "Finished", picture: Path) -> None:
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
