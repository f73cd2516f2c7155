"""One judged sequence to look at: its frames as small JPEGs, and everybody's boxes on them.

Where an evaluation has left its boxes beside a tracker, those are shown: they are the very ones
that were judged. A tracker without them tracks the sequence again by the same loop and rules.
"""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, is_zipfile

import cv2
import numpy as np

from search_spaces import ParetrackError, load
from workers import datasets
from workers._accuracy_frames import Tracked
from workers._accuracy_frames import judge as judge_frames
from workers._accuracy_rules import rules_named
from workers._files import write_text
from workers.accuracy import average_overlap
from workers.boxes_file import NAME, read_boxes
from workers.candidate import Data
from workers.checkpoints import load_tracker
from workers.datasets import Boxes, Image, VideoFrames
from workers.documents import document
from workers.evaluation import accuracy_rules, sequences
from workers.predictor import TorchPredictor
from workers.tracking import track_many

LONGER_SIDE = 480  # pixels of a picture
MOST = 150  # pictures; of a longer sequence every k-th frame is shown
QUALITY = 82  # of the JPEGs
DOCUMENT, PICTURES = "replay.json", "frames.jpegs"

Rows = tuple[tuple[float, ...] | None, ...]


@dataclass(frozen=True, kw_only=True)
class Player:
    """A tracker whose boxes are shown."""

    tracker: Path
    judged: Path | None = None  # the folder with its boxes, where it was judged before


@dataclass(frozen=True, kw_only=True)
class Side:
    """What one tracker said. Rows are those of the frames that are shown."""

    boxes: Rows
    overlap: tuple[float | None, ...]  # null: the rules do not count this frame
    average_overlap: float | None  # over all frames of the sequence, those not shown too
    as_judged: bool  # the boxes of the evaluation; else it has tracked again


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Everything about a sequence but its pictures. Boxes are in pixels of the video."""

    sequence: str
    attributes: tuple[str, ...]
    rules: str
    total: int  # frames of the sequence
    every: int  # so many frames on lies the next that is shown
    numbers: tuple[int, ...]  # of the frames that are shown, from 0
    rate: float | None  # frames a second, of a video that says so
    video_size: tuple[int, int]  # width, height
    picture_size: tuple[int, int]
    lengths: tuple[int, ...]  # bytes of each JPEG, which lie one behind the other
    present: tuple[bool, ...]
    truth: Rows
    teacher: Side
    candidate: Side


def replay(
    data: Data, name: str, candidate: Player, teacher: Player
) -> tuple[Replay, tuple[bytes, ...]]:
    """A sequence of those that were judged, and its pictures as JPEGs."""
    there = {one.name: one for one in sequences(data, data.judged_on, data.judged_count)}
    if name not in there:
        raise datasets.DatasetError(
            f"no sequence {name!r} among the {len(there)} of {data.judged_on}: the data set has "
            "changed since the trial was judged"
        )
    sequence = there[name]
    total = len(sequence.frames)
    every = -(-total // MOST)
    numbers = tuple(range(0, total, every))
    pictures, sizes = _pictures(sequence, numbers)
    frames = sequence.frames
    rate = frames.rate if isinstance(frames, VideoFrames) else 0.0
    found = Replay(
        sequence=name,
        attributes=tuple(sorted(sequence.attributes)),
        rules=accuracy_rules(data),
        total=total,
        every=every,
        numbers=numbers,
        rate=rate if 1 <= rate <= 240 else None,  # a stream's may be its clock's, 90000
        video_size=sizes[0],
        picture_size=sizes[1],
        lengths=tuple(len(one) for one in pictures),
        present=tuple(bool(sequence.present[n]) for n in numbers),
        truth=_rows(sequence.boxes, numbers),
        teacher=_side(teacher, sequence, data, numbers),
        candidate=_side(candidate, sequence, data, numbers),
    )
    return found, pictures


def write_replay(folder: Path, found: Replay, pictures: Sequence[bytes]) -> None:
    """Both files are there or neither: they are written elsewhere, and then get their name."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
        try:
            unfinished.chmod(0o755)
            (unfinished / PICTURES).write_bytes(b"".join(pictures))
            write_text(unfinished / DOCUMENT, document(found))
            if not (folder / DOCUMENT).is_file():  # somebody may have been quicker
                shutil.rmtree(folder, ignore_errors=True)
                unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise ParetrackError(f"{folder} cannot be written: {error.strerror}") from error


# --- boxes --------------------------------------------------------------------------------------


def _side(player: Player, sequence: datasets.Sequence, data: Data, numbers: Sequence[int]) -> Side:
    kept = _kept(player.judged, sequence)
    boxes = _tracked(player.tracker, sequence) if kept is None else kept
    overlap, mean = overlaps(boxes, sequence, data)
    return Side(
        boxes=_rows(boxes, numbers),
        overlap=tuple(overlap[n] for n in numbers),
        average_overlap=mean,
        as_judged=kept is not None,
    )


def _kept(folder: Path | None, sequence: datasets.Sequence) -> Boxes | None:
    """The boxes that were judged; None: they are not there any more, or of another video."""
    if folder is None or not is_zipfile(folder / NAME):
        return None
    try:
        known: Mapping[str, Boxes] = read_boxes(folder)
    except (OSError, ValueError, KeyError, BadZipFile):  # it tracks again, then
        return None
    found = known.get(sequence.name)
    if found is None or found.shape != sequence.boxes.shape or not np.isfinite(found).all():
        return None
    return found


def _tracked(folder: Path, sequence: datasets.Sequence) -> Boxes:
    architecture, network = load_tracker(folder)
    geometry = load(architecture.family).geometry(architecture)
    return track_many(TorchPredictor(network, geometry), [sequence], geometry)[0].boxes


def overlaps(
    boxes: Boxes, sequence: datasets.Sequence, data: Data
) -> tuple[tuple[float | None, ...], float | None]:
    """The overlap of every frame as the data's rules take it, and the mean that they give."""
    rules = rules_named(accuracy_rules(data))
    height, width = sequence.frames[0].shape[:2]
    tracked = Tracked(
        name=sequence.name,
        predicted=boxes,
        truth=sequence.boxes,
        present=sequence.present,
        cover=sequence.cover,
        image_size=(width, height),
        first_pixel=datasets.first_pixel(data.dataset),
    )
    # What the rules call a miss or a hit whatever the boxes is 0 or 1 here.
    decided = np.clip(judge_frames([tracked], rules).overlap, 0.0, 1.0)
    uncounted = len(sequence.frames) - len(decided)  # the first, which was given
    each = [None] * uncounted + [None if np.isnan(one) else float(one) for one in decided]
    mean = average_overlap(tracked, rules)
    return tuple(each), None if np.isnan(mean) else mean


def _rows(boxes: Boxes, numbers: Sequence[int]) -> Rows:
    return tuple(
        tuple(float(value) for value in boxes[n]) if np.isfinite(boxes[n]).all() else None
        for n in numbers
    )


# --- pictures -----------------------------------------------------------------------------------


def _pictures(
    sequence: datasets.Sequence, numbers: Sequence[int]
) -> tuple[tuple[bytes, ...], tuple[tuple[int, int], tuple[int, int]]]:
    """The frames as JPEGs of one size; the sizes of the video and of these."""
    shown = datasets.prefetched(_Some(sequence.frames, numbers), threads=1, ahead=1)
    encoded: list[bytes] = []
    video = picture = (0, 0)
    for image in shown:
        if not encoded:
            video = (image.shape[1], image.shape[0])
            scale = min(1.0, LONGER_SIDE / max(video))
            picture = (max(1, round(video[0] * scale)), max(1, round(video[1] * scale)))
        encoded.append(_jpeg(image, picture))
    return tuple(encoded), (video, picture)


def _jpeg(image: Image, size: tuple[int, int]) -> bytes:
    if (image.shape[1], image.shape[0]) != size:
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    blue_first = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, found = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise ParetrackError(f"OpenCV cannot write a JPEG of {size[0]} x {size[1]} pixels")
    return found.tobytes()


@dataclass(frozen=True)
class _Some:
    """Every so many frames of a video."""

    frames: datasets.Frames
    numbers: Sequence[int]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Image:
        return self.frames[self.numbers[index]]
