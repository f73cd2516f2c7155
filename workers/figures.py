"""Pictures that answer a question at a glance: the curve of a training, boxes on frames."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from search_spaces import ParetrackError
from workers.datasets import Frames, Image, VideoFrames, prefetched
from workers.training import Moment

# Told apart by brightness too, not by hue alone.
COLOURS = ((255, 255, 255), (255, 176, 0), (0, 170, 255), (220, 50, 120))


def draw_curve(curve: Sequence[Moment], path: Path, title: str) -> None:
    """Loss above, validation below, over the steps."""
    matplotlib.rcParams["svg.hashsalt"] = "paretrack"
    figure = Figure(figsize=(8, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    steps = [moment.step for moment in curve]
    above.plot(steps, [moment.loss for moment in curve], color="black", linewidth=1, label="loss")
    for name in curve[0].terms if curve else ():
        above.plot(steps, [m.terms[name] for m in curve], linewidth=0.8, label=name)
    above.set_yscale("log")
    above.set_title(title)
    above.legend(loc="upper right", fontsize=8, ncols=4)
    judged = [moment for moment in curve if moment.validation]
    for name in judged[0].validation if judged else ():
        line = [(m.step, m.validation[name]) for m in judged if name in m.validation]
        below.plot(*zip(*line, strict=True), marker="o", markersize=3, label=name)
    below.set_xlabel("step")
    below.grid(alpha=0.3)
    if judged:
        below.legend(loc="center right", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100, metadata={"Software": None})


def draw_boxes(image: Image, boxes: Sequence[NDArray[np.float64]], scale: int = 2) -> Image:
    """The picture, enlarged, with one box of each colour."""
    size = (image.shape[1] * scale, image.shape[0] * scale)
    canvas = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    for box, colour in zip(boxes, COLOURS, strict=False):
        if np.isfinite(box).all():
            x, y, w, h = (box * scale).round().astype(int).tolist()
            cv2.rectangle(canvas, (x, y), (x + w, y + h), (0, 0, 0), 4)
            cv2.rectangle(canvas, (x, y), (x + w, y + h), colour, 2)
    return np.asarray(canvas, np.uint8)


def draw_strip(
    rows: Mapping[str, Sequence[tuple[Image, Sequence[NDArray[np.float64]]]]],
    names: Sequence[str],
    path: Path,
) -> None:
    """A row a sequence, a column a moment; ``names`` say whose box has which colour."""
    lines = []
    for title, moments in rows.items():
        line = np.concatenate([draw_boxes(image, boxes) for image, boxes in moments], axis=1)
        lines.append(np.concatenate([_label(line.shape[1], [(title, COLOURS[0])]), line]))
    legend = [(name, colour) for name, colour in zip(names, COLOURS, strict=False)]
    strip = np.concatenate([_label(lines[0].shape[1], legend), *lines])
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), cv2.cvtColor(strip, cv2.COLOR_RGB2BGR)):
        raise OSError(f"the picture could not be written: {path}")


def draw_video(
    frames: Frames,
    boxes: Mapping[str, NDArray[np.float64]],
    path: Path,
    report: Callable[[int, int], None] | None = None,
) -> None:
    """The video with everybody's boxes drawn in, as .mp4, as fast as its source."""
    said = frames.rate if isinstance(frames, VideoFrames) else 0.0
    rate = said if 1 <= said <= 240 else 25.0  # a stream's may be its clock's, 90000
    names = [(name, colour) for name, colour in zip(boxes, COLOURS, strict=False)]
    writer: cv2.VideoWriter | None = None
    for number, image in enumerate(prefetched(frames)):
        drawn = draw_boxes(image, [rows[number] for rows in boxes.values()], scale=1)
        drawn = np.concatenate([_label(drawn.shape[1], names), drawn])
        if writer is None:
            size = (drawn.shape[1], drawn.shape[0])
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
            if not writer.isOpened():
                raise ParetrackError(f"OpenCV cannot write {path}: `paretrack doctor` says why")
        if drawn.shape[1::-1] != size:
            raise ParetrackError(
                f"frame {number} is another size than the first: a video has one size throughout"
            )
        writer.write(cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
        if report:
            report(number + 1, len(frames))
    if writer is not None:
        writer.release()


def _label(width: int, parts: Sequence[tuple[str, tuple[int, int, int]]]) -> Image:
    """A dark bar with words in colours, legible when the whole picture is looked at."""
    size = 1.2 if width > 2000 else 0.55
    bar = np.full((round(50 * size), width, 3), 40, np.uint8)
    x = 8
    for text, colour in parts:
        place = (x, round(36 * size))
        cv2.putText(bar, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
        x += round(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)[0][0] + 40 * size)
    return bar
