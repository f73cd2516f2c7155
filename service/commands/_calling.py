"""What all commands share that call a service: where it is, what a job looks like."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.commands._budget_words import nearest_text
from service.commands._search_report import shown_figure
from service.terminal import table
from workers.documents import plain

if TYPE_CHECKING:
    from rich.table import Table

    from service.client import Client, Job

JobName = Annotated[
    str, typer.Argument(metavar="JOB", help="Its id, or its name where no other job has it.")
]
Why = Annotated[str, typer.Option("--why", help="For whoever looks at the job later.")]


@contextmanager
def service_client() -> "Iterator[Client]":
    """The service of PARETRACK_URL, for as long as the block runs."""
    from service.client import client_from

    with client_from(os.environ) as client:
        yield client


def shown(value: Any) -> Any:
    """A value of the client as JSON has it."""
    return json.loads(json.dumps(plain(value), default=datetime.isoformat))


def figures_text(figures: Mapping[str, float], names: tuple[str, ...]) -> str:
    """Some of them, as a table has them."""
    return ", ".join(f"{n} {shown_figure(n, figures[n])}" for n in names if n in figures)


def progress_text(job: "Job") -> str:
    """How far a job has come, by what its summary says."""
    asked, states = job.summary.get("asked", 0), job.summary.get("states", {})
    said = ", ".join(f"{count} {state.lower()}" for state, count in states.items())
    return f"{asked} ({said})" if said else "-"


def job_table(found: "list[Job]") -> "Table":
    """A job a row."""
    rows = [
        [
            job.id,
            job.state.lower(),
            progress_text(job),
            nearest_text(job.summary),
            str(job.summary.get("front_size", "-")),
            _share(job.summary.get("hypervolume")),
            ", ".join(job.labels),
            ago(job.created_at),
        ]
        for job in found
    ]
    columns = ("job", "state", "trials", "budget", "front", "hypervolume", "labels", "submitted")
    return table(columns, rows)


def _share(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.4f}"


def ago(at: datetime) -> str:
    """In the largest unit that fits."""
    seconds = max(0.0, (datetime.now(UTC) - at).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
