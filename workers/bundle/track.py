"""Follow one target through a video with the two networks in this folder.

    pip install numpy opencv-python onnxruntime
    python track.py street.mp4 --box 120,80,40,60 --out boxes.txt --draw tracked.mp4

In your own program, with RGB pictures (h, w, 3) and boxes x, y, width, height in pixels:

    tracker = Tracker("path/of/this/folder")
    tracker.init(picture, (120, 80, 40, 60))
    box, score = tracker.track(next_picture)  # and so on, picture by picture
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import onnxruntime

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
Array = np.ndarray
Four = tuple[float, float, float, float]


class TrackError(ValueError):
    """A file, a box or a picture that cannot be used as it is."""


class Tracker:
    """One target in one stream of pictures."""

    def __init__(self, folder: str | Path = Path(__file__).parent, threads: int = 1) -> None:
        self.geometry = read_geometry(Path(folder))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._template_network, self._frame_network = (
            onnxruntime.InferenceSession(str(Path(folder, name)), options, ["CPUExecutionProvider"])
            for name in ("template.onnx", "frame.onnx")
        )
        self._cosine = cosine_window(self.geometry)

    def init(self, image: Array, box: Sequence[float]) -> None:
        """Remember the target: what the box shows."""
        x, y, w, h = (float(value) for value in box)
        height, width = image.shape[:2]
        shown = min(x + w, width) > max(x, 0) and min(y + h, height) > max(y, 0)
        if not (shown and w < 2 * width and h < 2 * height):
            raise TrackError(f"{(x, y, w, h)} is no box in a picture of {width}x{height} pixels")
        # Trackers of the Siamese line count pixels, not edges: their centre is half a pixel off.
        inset = 1 if self.geometry.rule == "context" else 0
        self._target = x + (w - inset) / 2, y + (h - inset) / 2, w, h
        self._fill = image.mean(axis=(0, 1)) if self.geometry.padding == "mean" else np.zeros(3)
        crop, _ = self._look(image, self.geometry.template_size, self.geometry.template_factor)
        answers = self._template_network.run(None, {"crop": crop})
        self._memory = {f"template_{i}": answer for i, answer in enumerate(answers)}

    def track(self, image: Array) -> tuple[Four, float]:
        """The target's box in the next picture, and the score that it won with."""
        crop, scale = self._look(image, self.geometry.search_size, self.geometry.search_factor)
        scores, boxes = self._frame_network.run(["scores", "boxes"], {"crop": crop, **self._memory})
        moved, score = self._choose(scores[0].astype(float), boxes[0].astype(float), scale)
        self._target = cx, cy, w, h = held_inside(moved, self.geometry.choice, image.shape)
        return (cx - w / 2, cy - h / 2, w, h), score

    def _look(self, image: Array, size: int, factor: float) -> tuple[Array, float]:
        """The crop around the target, and how many of its pixels a pixel of the image becomes."""
        cx, cy, w, h = self._target
        lost = int(self.geometry.rule == "factor")  # its authors' crop blackens the last column
        if self.geometry.rule == "factor":
            side = max(math.ceil(math.sqrt(w * h) * factor), 1)
            scale = size / side
            x, y = round(cx - side * 0.5), round(cy - side * 0.5)
        else:
            margin = self.geometry.context * (w + h)
            template_side = math.sqrt((w + margin) * (h + margin))
            scale = self.geometry.template_size / template_side
            side = max(round(template_side * (size / self.geometry.template_size)), 1)
            x, y = (math.floor(centre - (side + 1) / 2 + 0.5) for centre in (cx, cy))
        crop = cv2.resize(cut(image, x, y, side, self._fill, lost), (size, size))
        return network_input(crop, self.geometry.normalisation), scale

    def _choose(self, scores: Array, boxes: Array, scale: float) -> tuple[Four, float]:
        """The best of the boxes (cx, cy, w, h in the crop) as a place in the image; its score."""
        choice, (cx, cy, w, h) = self.geometry.choice, self._target
        penalty = change_penalty(boxes, w, h, scale, choice.change_penalty)
        if choice.window == "multiply":
            weighted = penalty * scores * self._cosine
        else:
            share = choice.window_weight
            weighted = penalty * scores * (1 - share) + self._cosine * share
        best = int(np.argmax(weighted))
        if not (np.isfinite(weighted[best]) and np.isfinite(boxes[best]).all()):
            raise TrackError("the network answered with numbers that are not finite")
        new_x, new_y, new_w, new_h = (float(value) for value in boxes[best] / scale)
        if choice.size_rate is not None:
            rate = float(penalty[best] * scores[best]) * choice.size_rate
            new_w, new_h = w * (1 - rate) + new_w * rate, h * (1 - rate) + new_h * rate
        middle = self.geometry.search_size / 2 / scale
        return (cx + (new_x - middle), cy + (new_y - middle), new_w, new_h), float(weighted[best])


def read_geometry(folder: Path) -> SimpleNamespace:
    """How crops are cut and answers are read, if the networks' files are as they were written."""
    try:
        text = (folder / "tracker.json").read_text(encoding="utf-8")
        settings = json.loads(text, object_hook=lambda fields: SimpleNamespace(**fields))
        if settings.format != 1:
            raise TrackError(f"{folder}: format {settings.format}; this track.py reads format 1")
        for name, checksum in vars(settings.sha256).items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != checksum:
                raise TrackError(f"{folder / name}: not as it was written; copy it again")
        geometry: SimpleNamespace = settings.geometry
    except (OSError, json.JSONDecodeError, AttributeError) as error:
        raise TrackError(f"{folder}: not a complete exported tracker ({error})") from error
    return geometry


def cut(image: Array, x: int, y: int, side: int, fill: Array, lost: int = 0) -> Array:
    """A square of the image; what lies outside of the image has the fill colour."""
    height, width = image.shape[0] - lost, image.shape[1] - lost
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + side, width), min(y + side, height)
    square = np.full((side, side, 3), fill.astype(np.uint8))
    if left < right and top < bottom:
        square[top - y : bottom - y, left - x : right - x] = image[top:bottom, left:right]
    return square


def network_input(crop: Array, rule: SimpleNamespace) -> Array:
    """(side, side, 3) uint8 -> (1, 3, side, side) float32."""
    channels = crop[..., ::-1] if rule.order == "bgr" else crop
    planes = channels.transpose(2, 0, 1)[None].astype(np.float32)
    mean, std = (np.float32(values).reshape(3, 1, 1) for values in (rule.mean, rule.std))
    return np.ascontiguousarray((planes * np.float32(rule.scale) - mean) / std)


def cosine_window(geometry: SimpleNamespace) -> Array:
    """What the place of a box counts: most in the middle, because targets seldom jump."""
    n = geometry.map_size
    line = np.hanning(n)
    if geometry.choice.window_shape == "inner":
        line = 0.5 * (1 - np.cos(2 * np.pi * np.arange(1, n + 1) / (n + 1)))
    return np.tile(np.outer(line, line).reshape(-1), geometry.boxes_per_cell)


def change_penalty(boxes: Array, w: float, h: float, scale: float, strength: float) -> Array:
    """1 for boxes of the target's size and shape, less for others."""
    if strength == 0:
        return np.ones(len(boxes))
    ws, hs = np.append(boxes[:, 2], w * scale), np.append(boxes[:, 3], h * scale)
    sizes = np.sqrt((ws + (ws + hs) * 0.5) * (hs + (ws + hs) * 0.5))  # the target's comes last
    size, ratio = sizes[:-1] / sizes[-1], (w / h) / (boxes[:, 2] / boxes[:, 3])
    change: Array = np.maximum(size, 1 / size) * np.maximum(ratio, 1 / ratio)
    return np.exp(-(change - 1) * strength)


def held_inside(target: Four, choice: SimpleNamespace, shape: Sequence[int]) -> Four:
    """The target (cx, cy, w, h) with its centre, or all of it, in the picture."""
    (cx, cy, w, h), (height, width), least = target, shape[:2], choice.minimum_size
    if choice.clip == "centre":
        cx, cy = min(max(cx, 0), width), min(max(cy, 0), height)
        return cx, cy, max(least, min(w, width)), max(least, min(h, height))
    x, y = cx - w / 2, cy - h / 2
    left, right = min(max(x, 0), width - least), min(max(x + w, least), width)
    top, bottom = min(max(y, 0), height - least), min(max(y + h, least), height)
    w, h = max(least, right - left), max(least, bottom - top)
    return left + w / 2, top + h / 2, w, h


def pictures(path: Path) -> Iterator[Array]:
    """The BGR pictures of a video, or of a folder in natural order: 2.jpg before 10.jpg."""
    if not path.exists():
        raise TrackError(f"{path}: no such video or folder")
    if path.is_dir():
        for file in sorted(path.iterdir(), key=natural):
            if file.suffix.lower() in PICTURES:
                image = cv2.imread(str(file))
                if image is None:
                    raise TrackError(f"{file}: not a picture that OpenCV can read")
                yield image
    else:
        video = cv2.VideoCapture(str(path))
        while (answer := video.read())[0]:
            yield answer[1]


def natural(path: Path) -> list[str | int]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]


def follow(tracker: Tracker, options: argparse.Namespace) -> Iterator[Four]:
    """The box of every picture, the given one first; with --draw, a video that shows them."""
    box, canvas = None, None
    for image in pictures(options.video):
        rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        if box is None:
            tracker.init(rgb, options.box)
        box = tracker.track(rgb)[0] if box else options.box
        yield box
        if options.draw:
            if canvas is None:
                size, kind = image.shape[1::-1], cv2.VideoWriter.fourcc(*"mp4v")
                rate = cv2.VideoCapture(str(options.video)).get(cv2.CAP_PROP_FPS)
                rate = rate if 1 <= rate <= 240 else 25  # a folder has none, a stream's may be odd
                canvas = cv2.VideoWriter(options.draw, kind, rate, size)
            if not canvas.isOpened():
                raise TrackError(f"{options.draw}: cannot be written; give a name like out.mp4")
            cv2.rectangle(image, [round(value) for value in box], (0, 255, 0), 2)
            shrink = min(1, size[0] / image.shape[1], size[1] / image.shape[0])
            canvas.write(cv2.warpAffine(image, np.diag([shrink, shrink, 1.0])[:2], size))
    if box is None:
        raise TrackError(f"{options.video}: OpenCV finds no picture in it")


def x_y_w_h(text: str) -> Four:
    x, y, w, h = (float(number) for number in text.split(","))
    return x, y, w, h


def main() -> None:
    parser = argparse.ArgumentParser(description="Follow one target through a video.")
    parser.add_argument("video", type=Path, metavar="VIDEO_OR_FOLDER")
    parser.add_argument("--box", type=x_y_w_h, required=True, metavar="x,y,w,h", help="at first")
    parser.add_argument("--out", type=Path, help="text file for the boxes (else: printed)")
    parser.add_argument("--draw", help="video to write with the boxes, as large as picture one")
    parser.add_argument("--threads", type=int, default=1, help="for the networks (default: 1)")
    options = parser.parse_args()
    try:
        boxes = follow(Tracker(threads=options.threads), options)
        first = next(boxes)  # what is wrong shows here, before an old file is overwritten
        with options.out.open("w") if options.out else nullcontext(sys.stdout) as out:
            for box in chain([first], boxes):
                out.write(",".join(f"{value:.3f}" for value in box) + "\n")
    except (TrackError, OSError) as error:
        sys.exit(f"track.py: {error}")


if __name__ == "__main__":
    main()
