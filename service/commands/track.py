"""paretrack track: follow a target through a video; the boxes, and the video with them drawn in."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search_spaces._errors import ParetrackError
from service.commands._options import Device, Json, Tracker, numbers
from service.settings import read_settings
from service.terminal import Terminal, table

if TYPE_CHECKING:
    from workers.datasets import Frames
    from workers.tracking import Track


def track(
    video: Annotated[Path, typer.Argument(help="A video file, or a folder of pictures.")],
    box: Annotated[str, typer.Option("--box", help="The target in the first picture: x,y,w,h.")],
    tracker: Tracker = "siamrpn-synthetic",
    out: Annotated[Path | None, typer.Option("--out", help="Folder for what is written.")] = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Track VIDEO from a box; writes boxes.txt (x,y,w,h a line) and an annotated video.

    Example: `paretrack track street.mp4 --box 120,80,40,60 --tracker ostrack-synthetic`
    """
    import numpy as np

    from search_spaces import load
    from workers.checkpoints import load_tracker
    from workers.datasets import prefetched
    from workers.datasets.folder import frames_of
    from workers.machine import usable_device
    from workers.predictor import TorchPredictor
    from workers.teachers import find
    from workers.tracking import check_first_box
    from workers.tracking import track as follow

    terminal = Terminal(as_json)
    first_box = np.array(numbers(box, 4, "--box"))
    frames = frames_of(video)
    try:
        check_first_box(first_box, frames[0])
    except ParetrackError as error:
        raise ParetrackError(f"--box: {error}") from error
    architecture, network = load_tracker(find(tracker))
    geometry = load(architecture.family).geometry(architecture)
    predictor = TorchPredictor(network, geometry, usable_device(device))
    with terminal.bar(f"tracking {video.name}") as bar:
        found = follow(
            predictor, prefetched(frames), first_box, geometry, lambda n: bar(n, len(frames))
        )
    folder = out or read_settings(os.environ).out / "track" / video.stem
    boxes, drawn = _write(found, frames, folder, terminal)
    per_frame = 1000 * float(np.median(found.seconds[1:])) if len(frames) > 1 else float("nan")
    answer = {"frames": len(frames), "boxes": boxes, "video": drawn, "median_ms": per_frame}
    rows = [
        [name, f"{value:.2f}" if isinstance(value, float) else str(value)]
        for name, value in answer.items()
    ]
    terminal.answer(answer, table(("", str(video)), rows))


def _write(found: "Track", frames: "Frames", folder: Path, terminal: Terminal) -> tuple[Path, Path]:
    import numpy as np

    from workers.figures import draw_video

    folder.mkdir(parents=True, exist_ok=True)
    boxes, drawn = folder / "boxes.txt", folder / "track.mp4"
    np.savetxt(boxes, found.boxes, fmt="%.3f", delimiter=",")
    with terminal.bar("drawing") as bar:
        draw_video(frames, {"tracker": found.boxes}, drawn, report=bar)
    return boxes, drawn
