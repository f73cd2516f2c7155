"""paretrack trials: what a job has tried."""

import sys
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from search_spaces._errors import ParetrackError
from service.commands._calling import JobName, service_client, shown
from service.commands._options import Json
from service.commands._search_report import shown_figure
from service.terminal import Terminal, table

if TYPE_CHECKING:
    from rich.table import Table

    from service.client import Job, Trial


def trials(
    job: JobName,
    sort: Annotated[
        str,
        typer.Option("--sort", help="number or an objective; -average_overlap: highest first."),
    ] = "number",
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help="running, complete, infeasible, stopped or failed."),
    ] = None,
    count: Annotated[int | None, typer.Option("--count", min=1, help="Only so many.")] = None,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Rows for a spreadsheet on standard output.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the trials of a job.

    Example: `paretrack trials street --sort -average_overlap --state complete`
    """
    if as_csv and (as_json or count is not None):
        raise ParetrackError("--csv has all trials as one table: leave --json and --count out")
    states = [each.upper() for each in state or []]
    with service_client() as client:
        handle = client.job(job)
        if as_csv:
            for piece in handle.trials_as_csv(sort=sort, state=states):
                sys.stdout.write(piece)
            return
        page = min(count or 500, 500)
        found = list(islice(handle.trials(sort=sort, state=states, page=page), count))
    Terminal(as_json).answer(shown(found), _table(handle.now, found))


def _table(job: "Job", found: "list[Trial]") -> "Table":
    rows = []
    for trial in found:
        notes = ["front"] if trial.on_front else []
        notes += [text for text in (trial.flag, trial.reason) if text]
        figures = [shown_figure(name, trial.figures.get(name)) for name in job.metrics]
        rows.append([str(trial.number), trial.state.lower(), *figures, "; ".join(notes)])
    return table(("trial", "state", *job.metrics, "note"), rows)
