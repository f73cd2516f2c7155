"""A contact sheet: one row for each video, moments from first to last, boxes drawn. For looking."""

from collections.abc import Sequence as Listed
from pathlib import Path

import cv2
import numpy as np

from workers.datasets._sequence import DatasetError, Image, Sequence

_PAPER, _INK = (250, 250, 250), (20, 20, 20)
_PRESENT, _ABSENT = (255, 255, 255), (255, 80, 80)
_CAPTION = 18  # pixels above each row
_GAP = 4
_FONT, _FONT_SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.42


def draw_sheet(sequences: Listed[Sequence], *, columns: int = 8, tile: int = 240) -> Image:
    """The picture. Each frame is fitted into ``tile`` x ``tile`` * 3/4 pixels.

    The box is white where the target is present and red where the data set says it is not.
    """
    if not sequences or columns < 1 or tile < 32:
        raise DatasetError(
            f"a contact sheet of {len(sequences)} sequences, {columns} columns and tiles of {tile} "
            "pixels cannot be drawn: at least 1, 1 and 32 are needed"
        )
    return np.vstack([_row(sequence, columns, tile) for sequence in sequences])


def contact_sheet(
    sequences: Listed[Sequence], path: Path, *, columns: int = 8, tile: int = 240
) -> None:
    """The picture as a PNG file."""
    sheet = draw_sheet(sequences, columns=columns, tile=tile)
    done, encoded = cv2.imencode(".png", sheet[..., ::-1])
    if not done:
        raise DatasetError(f"{path}: a sheet of {sheet.shape} could not be encoded as PNG")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded.tobytes())
    except OSError as error:
        raise DatasetError(f"cannot write the contact sheet {path}: {error}") from error


def _row(sequence: Sequence, columns: int, tile: int) -> Image:
    height = _CAPTION + tile * 3 // 4 + _GAP
    row = np.full((height, columns * (tile + _GAP), 3), _PAPER, np.uint8)
    _write(row, _caption(sequence, row.shape[1]), (4, _CAPTION - 5), _INK)
    # A video shorter than the row leaves the rest empty: no moment is shown twice.
    count = min(columns, len(sequence.frames))
    for column, moment in enumerate(np.linspace(0, len(sequence.frames) - 1, count).astype(int)):
        left = column * (tile + _GAP)
        row[_CAPTION : height - _GAP, left : left + tile] = _tile(sequence, int(moment), tile)
    return row


def _caption(sequence: Sequence, room: int) -> str:
    """Name, frames, attributes and numbers, cut to the room there is."""
    numbers = ", ".join(f"{name} {value:.3g}" for name, value in sequence.numbers.items())
    attributes = ", ".join(sorted(sequence.attributes))
    said = [sequence.name, f"{len(sequence.frames)} frames", attributes, numbers]
    text = "  |  ".join(part for part in said if part)
    while _text_width(text) > room - 8 and len(text) > 4:
        text = text[:-4] + "..."
    return text


def _tile(sequence: Sequence, moment: int, tile: int) -> Image:
    """One frame with its box, scaled to fit; what is left over stays dark."""
    frame = sequence.frames[moment]
    height, width = frame.shape[:2]
    scale = min(tile / width, (tile * 3 // 4) / height)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    shrink = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = np.array(cv2.resize(frame, size, interpolation=shrink), dtype=np.uint8)
    _draw_box(small, sequence, moment, scale)
    cover = "" if sequence.cover is None else f"  {sequence.cover[moment]}/8"
    _write(small, f"{moment}{cover}", (4, 14), (255, 255, 0))
    picture = np.zeros((tile * 3 // 4, tile, 3), np.uint8)
    top, left = (picture.shape[0] - size[1]) // 2, (tile - size[0]) // 2
    picture[top : top + size[1], left : left + size[0]] = small
    return picture


def _draw_box(picture: Image, sequence: Sequence, moment: int, scale: float) -> None:
    box = sequence.boxes[moment]
    if not np.isfinite(box).all():
        return
    x, y, w, h = box * scale
    colour = _PRESENT if sequence.present[moment] else _ABSENT
    corners = (round(x) - 1, round(y) - 1), (round(x + w), round(y + h))
    cv2.rectangle(picture, *corners, (0, 0, 0), 3)
    cv2.rectangle(picture, *corners, colour, 1)


def _write(picture: Image, text: str, at: tuple[int, int], colour: tuple[int, int, int]) -> None:
    cv2.putText(picture, text, at, _FONT, _FONT_SIZE, colour, 1, cv2.LINE_AA)


def _text_width(text: str) -> int:
    return int(cv2.getTextSize(text, _FONT, _FONT_SIZE, 1)[0][0])
