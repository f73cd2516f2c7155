"""paretrack checkpoint: bring in weights that another project published."""

from pathlib import Path
from typing import Annotated

import typer

from search_spaces._errors import ParetrackError
from service.commands._options import Json
from service.terminal import Terminal, table

app = typer.Typer(help="Weights of other projects.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Weights of other projects."""


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help=".pth, .pt, .tar or .safetensors")],
    out: Annotated[Path, typer.Argument(help="Folder for the tracker.")],
    preset: Annotated[str, typer.Option("--preset", help="e.g. ostrack-256, siamrpn-r50")],
    as_json: Json = False,
) -> None:
    """Read a published checkpoint as a tracker. Nothing in the file is ever executed.

    Example: `paretrack checkpoint import OSTrack_ep0300.pth.tar ./ostrack --preset ostrack-256`
    """
    from search_spaces import load, names
    from workers.checkpoints import import_checkpoint, save_tracker

    presets = {name: a for family in names() for name, a in load(family).PRESETS.items()}
    if preset not in presets:
        raise ParetrackError(f"no preset named {preset!r}; choose one of {', '.join(presets)}")
    network = import_checkpoint(file, presets[preset])
    save_tracker(out, presets[preset], network)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    answer = {"tracker": out, "preset": preset, "parameters": parameters}
    rows = [[name, str(value)] for name, value in answer.items()]
    Terminal(as_json).answer(answer, table(("", file.name), rows))
