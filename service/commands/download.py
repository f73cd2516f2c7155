"""paretrack download: the files of a trial's tracker, from a service."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search_spaces._errors import ParetrackError
from service.commands._calling import JobName, service_client, shown
from service.commands._options import Json
from service.terminal import Terminal, table

if TYPE_CHECKING:
    from service.client import Artefact, Artefacts, JobHandle


def download(
    job: JobName,
    which: Annotated[
        str,
        typer.Argument(
            metavar="TRIAL", help="A number that paretrack front shows; or best, or knee."
        ),
    ],
    folder: Annotated[Path, typer.Argument(help="Where the files go; it is made.")],
    only: Annotated[
        list[str] | None, typer.Option("--only", help="A file's name. Repeatable.")
    ] = None,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Make the ONNX files first, if they are not there.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Fetch the tracker of a trial: best is the most accurate of the front, knee the one after
    which more cost pays off less. Broken off, the same words go on where it was.

    Example: `paretrack download street 17 ./tracker --onnx`
    """
    terminal = Terminal(as_json)
    with service_client() as client:
        handle = client.job(job)
        trial = _number(handle, which)
        offered = _exported(handle, trial, terminal) if onnx else handle.artefacts(trial)
        chosen = _chosen(f"trial {trial} of {handle.id}", offered, only)
        with terminal.bar("downloading") as bar:
            paths = []
            for artefact in chosen:
                bar.show(0, artefact.bytes, title=artefact.name)
                paths.append(handle.download(trial, artefact, folder, bar))
    rows = [[str(path), f"{one.bytes:,}"] for path, one in zip(paths, chosen, strict=True)]
    found = [{"path": str(path), **shown(one)} for path, one in zip(paths, chosen, strict=True)]
    terminal.answer(found, table(("file", "bytes"), rows))
    if not offered.exported and not only:
        terminal.say("there are no ONNX files yet: --onnx makes them")


def _number(handle: "JobHandle", which: str) -> int:
    """The trial that a number, or a word about the front, means."""
    if which.isascii() and which.isdigit():
        return int(which)
    if which not in ("best", "knee"):
        raise ParetrackError(f"TRIAL {which!r}: expected a number, best or knee")
    front = handle.front()
    if not front.points:
        raise ParetrackError(
            f"{handle.id} has nothing on its front yet: {handle.now.state.lower()}"
        )
    if which == "best":
        return front.points[-1].number
    if front.knee is None:
        raise ParetrackError(f"the front of {handle.id} has no knee; take best, or a number")
    return front.knee


def _exported(handle: "JobHandle", trial: int, terminal: Terminal) -> "Artefacts":
    terminal.say("exporting to ONNX; a minute or two")
    return handle.export(trial)


def _chosen(trial: str, offered: "Artefacts", only: list[str] | None) -> "list[Artefact]":
    there = {artefact.name: artefact for artefact in offered.items}
    missing = [name for name in only or [] if name not in there]
    if missing or not there:
        hint = "" if offered.exported else "; --onnx makes the ONNX files"
        raise ParetrackError(
            f"{trial} has no {', '.join(missing) or 'files'}; what it has: "
            f"{', '.join(there) or offered.note or 'nothing'}{hint if there else ''}"
        )
    return [artefact for name, artefact in there.items() if not only or name in only]
