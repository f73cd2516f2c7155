"""paretrack export: the bundle that runs with numpy, OpenCV and ONNX Runtime alone."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from service.commands._options import Json, Tracker
from service.terminal import Terminal, table


def export(
    out: Annotated[Path, typer.Argument(help="Folder for the bundle.")],
    tracker: Tracker = "siamrpn-synthetic",
    force: Annotated[bool, typer.Option("--force", help="Replace an older bundle.")] = False,
    as_json: Json = False,
) -> None:
    """Write a verified bundle: template.onnx, frame.onnx, tracker.json, track.py.

    Example: `paretrack export ./drone-tracker --tracker ./out/candidate`
    """
    from workers.checkpoints import load_tracker
    from workers.export import export_bundle
    from workers.teachers import find

    terminal = Terminal(as_json)
    folder = find(tracker)
    architecture, network = load_tracker(folder)
    terminal.say("exporting and comparing with torch ...")
    provenance = {"tracker": str(tracker), "date": datetime.now(UTC).isoformat("T", "seconds")}
    export_bundle(architecture, network, out, provenance=provenance, replace=force)
    files = sorted(path for path in out.iterdir() if path.is_file())
    rows = [[path.name, f"{path.stat().st_size / 1000:.0f} kB"] for path in files]
    terminal.answer(
        {"bundle": out, "files": {path.name: path.stat().st_size for path in files}},
        table(("file", "size"), rows),
    )
    terminal.say(f"run it: python {out / 'track.py'} VIDEO --box x,y,w,h")
