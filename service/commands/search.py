"""paretrack search: the front of accuracy against cost of what a teacher can be cut to."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from service.commands._options import Count, Dataset, Json, Root, Seed, Threads, TrainCount
from service.commands._search_report import (
    as_document,
    draw,
    front_table,
    gate_table,
    watching,
)
from service.commands.dataset import made_ready
from service.job import Budget, Job, Where, job_from_json
from service.json_file import read_object
from service.settings import Settings, read_settings
from service.terminal import Terminal

if TYPE_CHECKING:
    from service.controller import Finished
    from service.events import Watch
    from workers.candidate import Data
    from workers.pool import Pool

Hands = Literal["in_process", "ray"]


Limits = Annotated[
    list[str] | None,
    typer.Option("--limit", help="As 'step_ms.onnx_runtime<=8', as often as needed."),
]
Costs = Annotated[
    list[str] | None,
    typer.Option("--cost", help="To keep low: macs_frame, step_ms.eager ... Repeatable."),
]
Accuracy = Annotated[str, typer.Option("--accuracy", help="To drive up.")]
Trials = Annotated[int, typer.Option("--trials", min=1, help="Feasible ones.")]
Minutes = Annotated[
    float | None, typer.Option("--minutes", help="End after so long, whatever was tried.")
]
Sampler = Annotated[str, typer.Option("--sampler", help="nsga2, nsga3, tpe, gp, random or grid.")]
Stopping = Annotated[str, typer.Option("--early-stopping", help="mo_asha, median or none.")]
Steps = Annotated[int, typer.Option("--steps", min=0, help="Of a whole recovery; 0: none.")]
SpaceFile = Annotated[
    Path | None, typer.Option("--space", help="JSON file of levers. Default: all of them.")
]
Like = Annotated[
    list[str] | None, typer.Option("--like", help="An earlier job to learn from. Repeatable.")
]
JobFile = Annotated[
    Path | None, typer.Option("--job", help="JSON file with the whole job; it beats options.")
]
PoolName = Annotated[
    Hands, typer.Option("--pool", help="in_process, or ray: PARETRACK_RAY_ADDRESS or local.")
]
Parallel = Annotated[
    int, typer.Option("--parallel", min=1, help="Candidates at once, in this process.")
]


def search(
    name: Annotated[str, typer.Argument(help="Of the job. One that exists goes on.")],
    teacher: Annotated[str, typer.Option("--teacher", help="A tracker.")] = "siamrpn-synthetic",
    limit: Limits = None,
    cost: Costs = None,
    accuracy: Accuracy = Job.accuracy,
    trials: Trials = Budget.trials,
    minutes: Minutes = None,
    sampler: Sampler = Job.sampler,
    early_stopping: Stopping = Job.early_stopping,
    steps: Steps = Job.steps,
    space: SpaceFile = None,
    like: Like = None,
    job: JobFile = None,
    dataset: Dataset = Where.dataset,
    root: Root = None,
    count: Count = None,
    train_count: TrainCount = None,
    hands: PoolName = "in_process",
    parallel: Parallel = 1,
    threads: Threads = 1,
    seed: Seed = Job.seed,
    as_json: Json = False,
) -> None:
    """Search for the best cuts of a tracker under limits; killed, the same words go on with it.

    Example: `paretrack search small --limit 'step_ms.onnx_runtime<=2' --trials 40`
    """
    terminal, settings = Terminal(as_json), read_settings(os.environ)
    asked = {
        "name": name, "teacher": teacher, "limits": limit or [], "accuracy": accuracy,
        "costs": cost or list(Job.costs), "sampler": sampler, "early_stopping": early_stopping,
        "steps": steps, "warm_start": like or [], "seed": seed,
        "rungs": [rung for rung in Job.rungs if rung < max(steps, 1)],
        "budget": {"trials": trials, "seconds": None if minutes is None else 60 * minutes},
        "data": {
            "dataset": dataset, "root": None if root is None else str(root),
            "judged_count": count, "train_count": train_count,
        },
        "space": None if space is None else read_object(space, "a space"),
    }  # fmt: skip
    wanted = _job(asked, job)
    made_ready(_data(wanted, settings), True, terminal)
    hands_open = _pool(hands, parallel, threads, settings, terminal)
    with hands_open as pool, terminal.bar(wanted.name) as bar:
        finished = _run(wanted, settings, pool, watching(bar, wanted.budget.trials))
    _answer(terminal, finished, settings.home / "jobs" / wanted.name / "front.png")


def _job(asked: Mapping[str, Any], stored: Path | None) -> Job:
    """What the options ask for; a job that was written down beats them."""
    written = {} if stored is None else read_object(stored, "a job")
    return job_from_json({**asked, **written})


def _data(job: Job, settings: Settings) -> "Data":
    from service.plan import data_of

    return data_of(job, settings)


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


def _run(job: Job, settings: Settings, pool: "Pool", watch: "Watch") -> "Finished":
    from service.controller import run_job
    from service.database import embedded_url, open_database

    url = settings.database_url or embedded_url(settings.home / "paretrack.db")
    engine = open_database(url)
    try:
        return run_job(job, settings, engine, pool, watch=watch)
    finally:
        engine.dispose()


def _answer(terminal: Terminal, finished: "Finished", picture: Path) -> None:
    draw(finished, picture)
    terminal.answer(as_document(finished), front_table(finished))
    terminal.remark(gate_table(finished))
    outcome = finished.outcome
    said = ", ".join(f"{count} {state.lower()}" for state, count in outcome.states.items())
    terminal.say(f"{outcome.reason}: {outcome.asked} asked ({said}) in {outcome.seconds:.0f} s")
    terminal.say(f"the picture: {picture}")
    if outcome.front:
        folder = finished.trials[outcome.front[0]].user_attrs["tracker"]
        terminal.say(f"next: paretrack export ./bundle --tracker {folder}")
