"""paretrack jobs: what is queued, runs and has ended at a service."""

from itertools import islice
from typing import Annotated

import typer

from service.commands._calling import job_table, service_client, shown
from service.commands._options import Json
from service.terminal import Terminal


def jobs(
    state: Annotated[
        list[str] | None, typer.Option("--state", help="As running. Repeatable.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="That they all have. Repeatable.")
    ] = None,
    text: Annotated[str | None, typer.Option("--text", help="In the name or the id.")] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="At most so many.")] = 20,
    archived: Annotated[bool, typer.Option("--archived", help="Archived ones, too.")] = False,
    as_json: Json = False,
) -> None:
    """List jobs of the service, the newest first.

    Example: `paretrack jobs --state running --label release-3`
    """
    terminal = Terminal(as_json)
    states = [each.upper() for each in state or []]
    with service_client() as client:
        listed = client.jobs(
            state=states, label=label, text=text, archived=archived, page=min(count + 1, 500)
        )
        found = [job.now for job in islice(listed, count + 1)]
    terminal.answer(shown(found[:count]), job_table(found[:count]))
    if not found:
        terminal.say("no job like that; paretrack submit makes one")
    if len(found) > count:
        terminal.say(f"there are more: --count {2 * count}")
