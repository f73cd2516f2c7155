"""paretrack submit: queue a search at a service."""

from pathlib import Path
from typing import Annotated, Any

import typer

from service.commands._calling import service_client, shown
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
from service.commands._options import Count, Json, Root, TrainCount
from service.job import job_from_json
from service.terminal import Terminal

Labels = Annotated[list[str] | None, typer.Option("--label", help="To find it by. Repeatable.")]
Priority = Annotated[
    int, typer.Option("--priority", min=-100, max=100, help="10 are worth an hour of waiting.")
]
Key = Annotated[
    str | None,
    typer.Option("--key", help="The same key and words again are the same job, for a day."),
]


def submit(
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
    seed: SeedSaid = None,
    label: Labels = None,
    priority: Priority = 0,
    key: Key = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it until it has ended.")] = False,
    as_json: Json = False,
) -> None:
    """Queue a search at the service in PARETRACK_URL (else http://127.0.0.1:8000).

    The words are those of `paretrack search`. Example:
    `paretrack submit street.yaml --limit 'step_ms.onnx_runtime<=2' --label release-3 --watch`
    """
    words = JobWords(
        name=name, teacher=teacher, limit=limit, cost=cost, accuracy=accuracy, trials=trials,
        minutes=minutes, plateau=plateau, sampler=sampler, early_stopping=early_stopping,
        steps=steps, space=space, like=like, front_of=front_of, first=first, dataset=dataset,
        root=root, count=count, train_count=train_count, seed=seed,
    )  # fmt: skip
    spec = checked(job_document(what, words))
    terminal = Terminal(as_json)
    with service_client() as client:
        job = client.submit(spec, labels=label or (), priority=priority, key=key)
        if watch:
            from service.commands.watch import watched

            terminal.say(f"queued: {job.id}")
            raise typer.Exit(watched(job, terminal))
    terminal.answer(shown(job.now), job.id)
    terminal.say(f"{job.state.lower()}; see it with: paretrack watch {job.id}")


def checked(document: dict[str, Any]) -> dict[str, Any]:
    """What can be said before anybody is asked; folders of this machine by their whole path."""
    from workers.teachers import names

    job_from_json(document)
    teacher = document["teacher"]
    if teacher not in names() and Path(teacher).is_dir():
        document = {**document, "teacher": str(Path(teacher).absolute())}
    data = document.get("data") or {}
    if data.get("root") and Path(data["root"]).is_dir():
        document = {**document, "data": {**data, "root": str(Path(data["root"]).absolute())}}
    return document
