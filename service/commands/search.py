"""paretrack search: the front of accuracy against cost of what a teacher can be cut to."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from search_spaces import ParetrackError
from service.commands._options import Count, Json, Root, Threads, TrainCount
from service.commands._search_report import (
    as_document,
    front_table,
    gate_table,
    watching,
)
from service.commands.dataset import made_ready
from service.document_file import YAML, read_object
from service.job import Budget, Job, Where, job_from_json
from service.settings import Settings, read_settings
from service.terminal import Terminal

if TYPE_CHECKING:
    from service.controller import Finished
    from service.events import Watch
    from service.recorded import RecordedJob
    from workers.candidate import Data
    from workers.pool import Pool

Hands = Literal["in_process", "ray"]
TEACHER = "siamrpn-synthetic"

# What is not given is None: then the file says it, or Job has a default.
Name = Annotated[str | None, typer.Option("--name", help="Of the job; else the file's.")]
Teacher = Annotated[str | None, typer.Option("--teacher", help=f"A tracker. [{TEACHER}]")]
Limits = Annotated[
    list[str] | None,
    typer.Option("--limit", help="As 'step_ms.onnx_runtime<=8', as often as needed."),
]
Costs = Annotated[
    list[str] | None,
    typer.Option("--cost", help=f"To keep low, repeatable. [{', '.join(Job.costs)}]"),
]
Accuracy = Annotated[str | None, typer.Option("--accuracy", help=f"To drive up. [{Job.accuracy}]")]
Trials = Annotated[int | None, typer.Option("--trials", help=f"Feasible ones. [{Budget.trials}]")]
Minutes = Annotated[
    float | None, typer.Option("--minutes", help="End after so long, whatever was tried.")
]
Plateau = Annotated[
    int | None, typer.Option("--plateau", help="End when so many have not moved the front.")
]
Sampler = Annotated[
    str | None,
    typer.Option("--sampler", help=f"nsga2, nsga3, tpe, gp, random or grid. [{Job.sampler}]"),
]
Stopping = Annotated[
    str | None,
    typer.Option("--early-stopping", help=f"mo_asha, median or none. [{Job.early_stopping}]"),
]
Steps = Annotated[
    int | None, typer.Option("--steps", help=f"Of a whole recovery; 0: none. [{Job.steps}]")
]
SpaceFile = Annotated[
    Path | None, typer.Option("--space", help="JSON or YAML file of levers. [all of them]")
]
Like = Annotated[
    list[str] | None, typer.Option("--like", help="An earlier job to learn from. Repeatable.")
]
FrontOf = Annotated[
    list[str] | None, typer.Option("--front-of", help="An earlier job; its front is tried first.")
]
Set = Annotated[
    str | None, typer.Option("--dataset", help=f"To learn from and judge on. [{Where.dataset}]")
]
SeedSaid = Annotated[int | None, typer.Option("--seed", help=f"[{Job.seed}]")]
PoolName = Annotated[
    Hands, typer.Option("--pool", help="in_process, or ray: PARETRACK_RAY_ADDRESS or local.")
]
Parallel = Annotated[
    int, typer.Option("--parallel", min=1, help="Candidates at once, in this process.")
]
Cpus = Annotated[float, typer.Option("--cpus", help="That a candidate takes, of Ray's.")]
Gpus = Annotated[float, typer.Option("--gpus", help="The same; a part of one, as .25, will do.")]
Resources = Annotated[
    list[str] | None,
    typer.Option("--resource", help="Of the operator's own naming, as 'jetson=1'. Repeatable."),
]


def search(
    what: Annotated[
        str, typer.Argument(metavar="NAME|SPEC.yaml", help="A job's name, or a file that is one.")
    ],
    name: Name = None,
    teacher: Teacher = None,
    limit: Limits = None,
    cost: Costs = None,
    accuracy: Accuracy = None,
    trials: Trials = None,
    minutes: Minutes = None,
    plateau: Plateau = None,
    sampler: Sampler = None,
    early_stopping: Stopping = None,
    steps: Steps = None,
    space: SpaceFile = None,
    like: Like = None,
    front_of: FrontOf = None,
    dataset: Set = None,
    root: Root = None,
    count: Count = None,
    train_count: TrainCount = None,
    hands: PoolName = "in_process",
    parallel: Parallel = 1,
    cpus: Cpus = 1.0,
    gpus: Gpus = 0.0,
    resource: Resources = None,
    threads: Threads = 1,
    seed: SeedSaid = None,
    as_json: Json = False,
) -> None:
    """Search for the best cuts of a tracker under limits; killed, the same words go on with it.

    Example: `paretrack search small --limit 'step_ms.onnx_runtime<=2' --trials 40`
    """
    terminal, settings = Terminal(as_json), read_settings(os.environ)
    given = {
        "name": name, "teacher": teacher, "limits": limit, "accuracy": accuracy, "costs": cost,
        "sampler": sampler, "early_stopping": early_stopping, "steps": steps,
        "warm_start": like, "fronts": front_of, "seed": seed,
        "budget": {
            "trials": trials, "seconds": minutes and 60 * minutes, "plateau": plateau,
        },
        "data": {
            "dataset": dataset, "root": root and str(root),
            "judged_count": count, "train_count": train_count,
        },
        "space": space and read_object(space, "a space"),
    }  # fmt: skip
    wanted = _job(what, given)
    needs = {"cpus": cpus, "gpus": gpus, "resources": _amounts(resource or [])}
    made_ready(_data(wanted, settings), True, terminal)
    hands_open = _pool(hands, parallel, needs, threads, settings, terminal)
    with hands_open as pool, terminal.bar(wanted.name) as bar:
        watch = watching(bar, wanted.budget.trials)
        finished, recorded = _run(wanted, settings, pool, watch, terminal)
    _answer(terminal, finished, recorded, settings.home / "jobs" / wanted.name / "front.png")


def _job(what: str, given: Mapping[str, Any]) -> Job:
    """What the file says, if it is one; the options that were given beat it."""
    path = Path(what)
    is_file = path.suffix in (*YAML, ".json")
    written: dict[str, Any]
    written = {"name": path.stem, **read_object(path, "a job")} if is_file else {"name": what}
    for field, said in given.items():
        if isinstance(said, dict) and field != "space":
            within = {part: figure for part, figure in said.items() if figure is not None}
            if within:
                written[field] = {**(written.get(field) or {}), **within}
        elif said is not None:
            written[field] = said
    return job_from_json({"teacher": TEACHER, **written})


def _amounts(said: list[str]) -> dict[str, float]:
    """'jetson=1' and the like."""
    found = {}
    for text in said:
        name, _, amount = text.partition("=")
        try:
            found[name.strip()] = float(amount)
        except ValueError:
            raise ParetrackError(
                f"--resource {text!r}: expected a name and a number, as 'jetson=1'"
            ) from None
    return found


def _data(job: Job, settings: Settings) -> "Data":
    from service.plan import data_of

    return data_of(job.data, settings)


@contextmanager
def _pool(
    hands: Hands,
    parallel: int,
    needs: Mapping[str, Any],
    threads: int,
    settings: Settings,
    terminal: Terminal,
) -> Iterator["Pool"]:
    from workers.machine import use_threads

    pool: Pool
    if hands == "ray":
        from workers.on_ray import Needs, RayPool
        from workers.reopening import ReopeningPool

        pool = ReopeningPool(
            lambda: RayPool(
                home=settings.home,
                address=settings.ray_address,
                threads=threads,
                needs=Needs(**needs),
            ),
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


def _run(
    job: Job, settings: Settings, pool: "Pool", watch: "Watch", terminal: Terminal
) -> "tuple[Finished, RecordedJob]":
    from service.controller import run_job
    from service.database import embedded_url, open_database
    from service.recorded import read_job

    url = settings.database_url or embedded_url(settings.home / "paretrack.db")
    engine = open_database(url)
    try:
        finished = run_job(job, settings, engine, pool, watch=watch, say=terminal.say)
        return finished, read_job(engine, job.name)
    finally:
        engine.dispose()


def _answer(
    terminal: Terminal, finished: "Finished", recorded: "RecordedJob", picture: Path
) -> None:
    from service.front_picture import draw_front

    draw_front(recorded, picture)
    terminal.answer(as_document(finished), front_table(recorded))
    terminal.remark(gate_table(finished))
    outcome = finished.outcome
    said = ", ".join(f"{count} {state.lower()}" for state, count in outcome.states.items())
    terminal.say(f"{outcome.reason}: {outcome.asked} asked ({said}) in {outcome.seconds:.0f} s")
    terminal.say(f"the picture: {picture}")
    if recorded.front:
        best = min(recorded.front, key=lambda trial: recorded.point(trial.figures))
        terminal.say("the most accurate of them, to be taken along:")
        terminal.say(f"paretrack export ./bundle --tracker {best.tracker}")
