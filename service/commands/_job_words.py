"""A job in the words of the command line: the options that describe one, and its document."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from service.document_file import YAML, read_object
from service.job import Budget, Job, Where

TEACHER = "siamrpn-synthetic"

# What is not given is None: then the file says it, or Job has a default.
What = Annotated[
    str, typer.Argument(metavar="NAME|SPEC.yaml", help="A job's name, or a file that is one.")
]
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
First = Annotated[
    list[str] | None,
    typer.Option("--first", help="JOB/NUMBER of an earlier trial, tried first. Repeatable."),
]
Set = Annotated[
    str | None, typer.Option("--dataset", help=f"To learn from and judge on. [{Where.dataset}]")
]
SeedSaid = Annotated[int | None, typer.Option("--seed", help=f"[{Job.seed}]")]


@dataclass(frozen=True, kw_only=True)
class JobWords:
    """What was typed of a job; the names are those of the options."""

    name: str | None = None
    teacher: str | None = None
    limit: list[str] | None = None
    cost: list[str] | None = None
    accuracy: str | None = None
    trials: int | None = None
    minutes: float | None = None
    plateau: int | None = None
    sampler: str | None = None
    early_stopping: str | None = None
    steps: int | None = None
    space: Path | None = None
    like: list[str] | None = None
    front_of: list[str] | None = None
    first: list[str] | None = None
    dataset: str | None = None
    root: Path | None = None
    count: int | None = None
    train_count: int | None = None
    seed: int | None = None

    def fields(self) -> dict[str, Any]:
        """By the names that a job has for them; None: not said."""
        return {
            "name": self.name, "teacher": self.teacher, "limits": self.limit,
            "accuracy": self.accuracy, "costs": self.cost, "sampler": self.sampler,
            "early_stopping": self.early_stopping, "steps": self.steps,
            "warm_start": self.like, "fronts": self.front_of, "first": self.first,
            "seed": self.seed,
            "budget": {
                "trials": self.trials, "seconds": self.minutes and 60 * self.minutes,
                "plateau": self.plateau,
            },
            "data": {
                "dataset": self.dataset, "root": self.root and str(self.root),
                "judged_count": self.count, "train_count": self.train_count,
            },
            "space": self.space and read_object(self.space, "a space"),
        }  # fmt: skip


def job_document(what: str, words: JobWords) -> dict[str, Any]:
    """What the file says, if it is one; the options that were given beat it."""
    path = Path(what)
    is_file = path.suffix in (*YAML, ".json")
    written: dict[str, Any]
    written = {"name": path.stem, **read_object(path, "a job")} if is_file else {"name": what}
    return {"teacher": TEACHER, **amended(written, words)}


def amended(document: Mapping[str, Any], words: JobWords) -> dict[str, Any]:
    """A job's document with what was typed in the place of what it says."""
    written, given = dict(document), words.fields()
    for field, said in given.items():
        if isinstance(said, dict) and field != "space":
            within = {part: figure for part, figure in said.items() if figure is not None}
            if within:
                written[field] = {**(written.get(field) or {}), **within}
        elif said is not None:
            written[field] = said
    return written
