"""paretrack search: the front of accuracy against cost of what a teacher can be cut to."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search_spaces import ParetrackError
from service.commands._job_words import (
    Accuracy,
    Costs,
    First,
    FrontOf,
    JobWords,
    Like,
    Limits,
    Minutes,
    Name,
    Plateau,
    Sampler,
    SeedSaid,
    Set,
    SpaceFile,
    Steps,
    Stopping,
    Teacher,
    Trials,
    What,
    job_document,
)
from service.commands._options import Count, Json, Root, Threads, TrainCount
from service.commands._search_report import (
    as_document,
    front_table,
    gate_table,
    watching,
)
from service.commands.dataset import made_ready
from service.hands import Hands, open_pool
from service.job import Job, JobError, job_from_json
from service.settings import Settings, read_settings
from service.terminal import Terminal

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from service.controller import Finished
    from service.events import Watch
    from service.recorded import RecordedJob
    from workers.candidate import Data
    from workers.pool import Pool

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
    what: What,
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
    first: First = None,
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
    words = JobWords(
        name=name, teacher=teacher, limit=limit, cost=cost, accuracy=accuracy, trials=trials,
        minutes=minutes, plateau=plateau, sampler=sampler, early_stopping=early_stopping,
        steps=steps, space=space, like=like, front_of=front_of, first=first, dataset=dataset,
        root=root, count=count, train_count=train_count, seed=seed,
    )  # fmt: skip
    wanted = job_from_json(job_document(what, words))
    needs = {"cpus": cpus, "gpus": gpus, "resources": _amounts(resource or [])}
    wanted = _begun_with(wanted, settings)
    made_ready(_data(wanted, settings), True, terminal)
    hands_open = open_pool(
        hands, settings, parallel=parallel, threads=threads, needs=needs, say=terminal.say
    )
    with hands_open as pool, terminal.bar(wanted.name) as bar:
        watch = watching(bar, wanted.budget.trials)
        finished, recorded = _run(wanted, settings, pool, watch, terminal)
    _answer(terminal, finished, recorded, settings.home / "jobs" / wanted.name / "front.png")


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


def _begun_with(job: Job, settings: Settings) -> Job:
    """The job with the parameters of the trials of earlier ones that it names, which must fit."""
    from service.first_trials import explained, filled_here
    from service.plan import plan

    if not any(isinstance(said, str) for said in job.first):
        return job
    engine = _database(settings)
    try:
        found, named = filled_here(engine, job)
    finally:
        engine.dispose()
    try:
        plan(found, settings)
    except JobError as error:
        raise explained(error, named, found.space) from error
    return found


def _database(settings: Settings) -> "Engine":
    from service.database import embedded_url, open_database

    return open_database(settings.database_url or embedded_url(settings.home / "paretrack.db"))


def _run(
    job: Job, settings: Settings, pool: "Pool", watch: "Watch", terminal: Terminal
) -> "tuple[Finished, RecordedJob]":
    from service.controller import run_job
    from service.recorded import read_job

    engine = _database(settings)
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
