"""Box files and label files: numbers in text, one row a frame.

Whatever a file has, what comes out is (x, y, w, h), 0-based and continuous: a file that counts
pixels from 1 loses 1 from x and y, here and nowhere else. ``xyxy`` corners are continuous, so that
w = x2 - x1. A polygon becomes the smallest upright box around its corners.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from workers.datasets._sequence import Boxes
from workers.datasets._tree import Complain, read_text

Layout = Literal["xywh", "xyxy", "polygon"]
LAYOUTS: tuple[str, ...] = get_args(Layout)

_COLUMNS: Mapping[Layout, int] = {"xywh": 4, "xyxy": 4, "polygon": 8}
_AT_MOST_NAMED = 5  # faulty lines that a message lists


def read_boxes(
    path: Path, complain: Complain, layout: Layout | None = None, first_pixel: int = 0
) -> Boxes:
    """The boxes of a file; see ``parse_boxes``."""
    text = read_text(path, complain)
    return parse_boxes(text or "", path, complain, layout, first_pixel)


def parse_boxes(
    text: str, path: Path, complain: Complain, layout: Layout | None = None, first_pixel: int = 0
) -> Boxes:
    """Rows of numbers between commas, tabs or spaces; NaN or nothing where the target is absent.

    Without a ``layout``, eight columns are a polygon and four are x, y, w, h. An empty line is a
    frame without a box, except at the end of the file, where editors put one for no reason.
    """
    lines = text.rstrip().splitlines()
    rows: list[list[float]] = []
    faults: dict[int, str] = {}
    columns = _COLUMNS[layout] if layout else None
    for number, line in enumerate(lines, start=1):
        row, fault = _row(line, columns)
        if fault:
            faults[number] = fault
        elif row:
            columns = len(row)
        rows.append(row)
    complain_of(faults, "line", path, complain)
    columns = columns or 4
    # A faulty row keeps its place, or every later box would belong to another frame.
    full = [row if len(row) == columns else [np.nan] * columns for row in rows]
    values = np.array(full, np.float64).reshape(len(full), columns)
    return _upright(values, layout or ("polygon" if columns == 8 else "xywh"), first_pixel)


def format_boxes(boxes: Boxes, separator: str = ",", first_pixel: int = 0) -> str:
    """Boxes as text, x, y, w, h, one line a frame, as ``parse_boxes`` reads them."""
    shifted = boxes + np.array([first_pixel, first_pixel, 0, 0])
    rows = (separator.join(repr(float(value)) for value in row) for row in shifted)
    return "".join(f"{row}\n" for row in rows)


def read_labels(
    path: Path, count: int, complain: Complain, highest: int = 1
) -> NDArray[np.int64] | None:
    """One whole number from 0 to ``highest`` for each frame, or None after a complaint."""
    text = read_text(path, complain)
    if text is None:
        return None
    tokens = text.replace(",", " ").split()
    allowed = {str(value): value for value in range(highest + 1)}
    wrong = next((token for token in tokens if token not in allowed), None)
    if wrong is not None:
        complain(path, f"has {wrong!r}; expected whole numbers from 0 to {highest}")
    elif len(tokens) != count:
        complain(path, f"has {len(tokens)} labels, expected {count}, one a frame")
    else:
        return np.array([allowed[token] for token in tokens], np.int64)
    return None


def first_box_only(boxes: Boxes, count: int) -> Boxes:
    """The first box, and NaN for the frames whose boxes are withheld."""
    padded = np.full((count, 4), np.nan)
    padded[:1] = boxes[:1]
    return padded


def box_faults(boxes: Boxes, sizes: NDArray[np.int64]) -> dict[int, str]:
    """What cannot be a box, by row. ``sizes`` are (width, height) of each image, or of all."""
    width, height = np.broadcast_to(sizes, (len(boxes), 2)).T
    x, y, w, h = boxes.T
    absent = is_absent(boxes)
    infinite = np.asarray(~np.isfinite(boxes).all(axis=1))
    with np.errstate(invalid="ignore"):
        empty = (w <= 0) | (h <= 0)
        outside = (x >= width) | (y >= height) | (x + w <= 0) | (y + h <= 0)
    return {
        int(i): f"({_shown(boxes[i])}) {_fault(infinite[i], empty[i], (width[i], height[i]))}"
        for i in np.flatnonzero(~absent & (infinite | empty | outside))
    }


def is_absent(boxes: Boxes) -> NDArray[np.bool_]:
    """The frames without an annotated box."""
    return np.asarray(np.isnan(boxes).all(axis=1), bool)


def complain_of(faults: Mapping[int, str], what: str, path: Path, complain: Complain) -> None:
    """One complaint for a whole file: the first fault, and where the others are."""
    if not faults:
        return
    first, *others = sorted(faults)
    message = f"{what} {first}: {faults[first]}"
    if others:
        named = ", ".join(map(str, others[:_AT_MOST_NAMED]))
        more = ", ..." if len(others) > _AT_MOST_NAMED else ""
        message += f"; {len(others)} more like it ({what} {named}{more})"
    complain(path, message)


def _row(line: str, columns: int | None) -> tuple[list[float], str | None]:
    """The numbers of a line, none for an absent target; or what is wrong with it."""
    try:
        row = _numbers(line)
    except ValueError as error:
        wrong = str(error).rpartition(": ")[2]
        return [], f"{wrong} is not a number; write one box a line and no heading"
    missing = [value != value for value in row]
    if all(missing):
        return [], None
    if len(row) not in ({columns} if columns else set(_COLUMNS.values())):
        expected = columns or "4 (a box) or 8 (a polygon)"
        return [], f"has {len(row)} values, expected {expected}"
    if any(missing):
        return [], "some values are missing; leave out all of them where the target is absent"
    return row, None


def _numbers(line: str) -> list[float]:
    """Commas and white space may both separate; nothing between two commas is NaN."""
    if "," not in line:
        return [float(token) for token in line.split()]
    fields = line.split(",")
    return [float(token) for field in fields for token in field.split() or ["nan"]]


def _upright(values: NDArray[np.float64], layout: Layout, first_pixel: int) -> Boxes:
    if layout == "xywh":
        corner, size = values[:, :2], values[:, 2:]
    elif layout == "xyxy":
        corner, size = values[:, :2], values[:, 2:] - values[:, :2]
    else:
        points = values.reshape(-1, 4, 2)
        corner = points.min(axis=1)
        size = points.max(axis=1) - corner
    return np.hstack([corner - first_pixel, size])


def _shown(box: NDArray[np.float64]) -> str:
    return ", ".join(f"{value:g}" for value in box)


def _fault(infinite: bool, empty: bool, size: tuple[int, int]) -> str:
    if infinite:
        return "is not finite"
    if empty:
        return "has no area; the third and fourth number must be width and height above 0"
    return f"lies outside the image of {size[0]}x{size[1]} pixels"
