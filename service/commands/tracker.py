"""paretrack tracker: what a search can start from, on a service."""

from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands._calling import ago, figures_text, service_client, shown
from service.commands._options import Json
from service.terminal import Bar, Terminal, table

if TYPE_CHECKING:
    from service._client_downloads import Progress
    from service._client_trackers import Tracker

app = typer.Typer(
    help="Trackers that a search can start from: list, show, upload, archive.",
    no_args_is_help=True,
)
Which = Annotated[str, typer.Argument(metavar="TRACKER", help="As paretrack tracker list has it.")]
_FIGURES = ("average_overlap", "macs_frame", "parameters")


@app.command("list")
def list_trackers(
    archived: Annotated[bool, typer.Option("--archived", help="Archived ones, too.")] = False,
    count: Annotated[int, typer.Option("--count", min=1, help="At most so many.")] = 100,
    as_json: Json = False,
) -> None:
    """Those that ship, then those uploaded. Example: `paretrack tracker list`"""
    with service_client() as client:
        found = list(islice(client.trackers.list(archived=archived), count))
    rows = [
        [
            t.name,
            t.family,
            _state(t),
            figures_text({**t.accuracy, **t.cost}, _FIGURES),
            t.owner or "",
        ]
        for t in found
    ]
    columns = ("tracker", "family", "state", "figures", "owner")
    Terminal(as_json).answer(shown(found), table(columns, rows))


@app.command()
def show(which: Which, as_json: Json = False) -> None:
    """All there is of one. Example: `paretrack tracker show siamrpn-synthetic`"""
    with service_client() as client:
        found = client.trackers.get(which)
    Terminal(as_json).answer(shown(found), table(("", ""), _described(found)))


@app.command()
def upload(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|FOLDER", help="A .safetensors or .pth, or a tracker's folder."
        ),
    ],
    name: Annotated[str, typer.Argument(help="What jobs call it; it is given once.")],
    preset: Annotated[
        str | None,
        typer.Option("--preset", help="The network of weights that are not of Paretrack."),
    ] = None,
    architecture: Annotated[
        Path | None, typer.Option("--architecture", help="Instead: an architecture.json.")
    ] = None,
    family: Annotated[
        str | None, typer.Option("--family", help="Refuse what is of another one.")
    ] = None,
    note: Annotated[str, typer.Option("--note", help="For people.")] = "",
    as_json: Json = False,
) -> None:
    """Send weights to a service, so that jobs can start from them. Nothing in them is executed.
    Broken off, the same words send them again.

    Example: `paretrack tracker upload OSTrack_ep0300.pth.tar street --preset ostrack-256`
    """
    from service.document_file import read_object

    terminal = Terminal(as_json)
    told = None if architecture is None else read_object(architecture, "an architecture")
    with service_client() as client, ExitStack() as until:
        made = client.trackers.upload(
            path,
            name,
            preset=preset,
            architecture=told,
            family=family,
            note=note,
            progress=_progress(terminal, until),
        )
    terminal.answer(shown(made), made.name)
    terminal.say(
        f"a {made.family}; search from it with: paretrack submit ... --teacher {made.name}"
    )


@app.command()
def archive(which: Which, as_json: Json = False) -> None:
    """No new job can start from it. Example: `paretrack tracker archive street`"""
    with service_client() as client:
        now = client.trackers.archive(which)
    text = f"{now.name} is archived; jobs that have it go on, and its name stays taken"
    Terminal(as_json).answer(shown(now), text)


def _progress(terminal: Terminal, until: ExitStack) -> "Progress":
    """A bar from the first byte on: what is wrong before that is told without one."""
    bars: list[Bar] = []

    def sent(done: int, total: int) -> None:
        bars[:] = bars or [until.enter_context(terminal.bar("uploading"))]
        bars[0].show(done, total, title="uploading" if done < total else "the service reads it")

    return sent


def _described(found: "Tracker") -> list[list[str]]:
    said = {
        "tracker": found.name,
        "family": found.family,
        "state": _state(found),
        "accuracy": figures_text(found.accuracy, tuple(found.accuracy)),
        "cost": figures_text(found.cost, tuple(found.cost)),
        "weights": f"{found.weights_bytes:,} bytes",
        "sha256": found.sha256 or "",
        "owner": found.owner or "",
        "project": found.project or "",
        "note": found.note,
        "made": "" if found.created_at is None else ago(found.created_at),
    }
    return [[name, text] for name, text in said.items() if text]


def _state(found: "Tracker") -> str:
    return found.kind if found.archived_at is None else "archived"
