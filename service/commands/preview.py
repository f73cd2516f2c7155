"""paretrack preview: what a search would meet, before it is submitted."""

from typing import TYPE_CHECKING

from service.commands._calling import service_client, shown
from service.commands._job_words import JobWords, Limits, Teacher, What, job_document
from service.commands._options import Json
from service.commands._search_report import shown_figure
from service.terminal import Terminal, table

if TYPE_CHECKING:
    from rich.table import Table

    from service.client import Preview


def preview(
    what: What, teacher: Teacher = None, limit: Limits = None, as_json: Json = False
) -> None:
    """Say how large a search's space is, what it can reach, and whether its limits can be held.

    Nothing is queued. Example: `paretrack preview street.yaml --limit 'macs_frame<=10M'`
    """
    from service.commands.submit import checked

    spec = checked(job_document(what, JobWords(teacher=teacher, limit=limit)))
    terminal = Terminal(as_json)
    with service_client() as client:
        seen = client.preview(spec)
    terminal.answer(shown(seen), _costs(seen))
    terminal.say(
        f"{seen.family}: {seen.size:.3g} candidates ({seen.layers_free} layers and "
        f"{seen.widths_free} widths are free)"
    )
    named = f"; {seen.first} of them named by first" if seen.first else ""
    terminal.say(f"at most {seen.asked} are tried, {seen.trials} of them to the end{named}")
    for each in seen.limits:
        can = {True: "can be held", False: "cannot be held", None: "may be held"}[each.satisfiable]
        terminal.say(f"{each.limit}: {can}; {each.note}")
    if seen.seconds is not None:
        terminal.say(f"about {seen.seconds / 60:.0f} min, as earlier jobs went")


def _costs(seen: "Preview") -> "Table":
    """What can be reached, between the smallest candidate and the teacher."""
    ranged = {cost.metric: (cost.smallest, cost.teacher) for cost in seen.costs}
    rows = [[n, shown_figure(n, low), shown_figure(n, high)] for n, (low, high) in ranged.items()]
    known = [[n, "-", shown_figure(n, v)] for n, v in seen.teacher.items() if n not in ranged]
    return table(("metric", "smallest candidate", "teacher"), [*rows, *known])
