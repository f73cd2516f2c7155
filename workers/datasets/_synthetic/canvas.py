"""Integer compositing: layers with premultiplied colour, pasted onto a frame."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.datasets._synthetic.sprites import Patch

Frame = NDArray[np.uint8]  # (h, w, 3)
Mask = NDArray[np.uint8]  # (h, w)


@dataclass(frozen=True)
class Layer:
    """Something drawn: premultiplied colour and opacity, cut to where there is any."""

    left: int
    top: int
    paint: Frame
    alpha: Mask

    def box(self) -> tuple[float, float, float, float]:
        """(x, y, w, h) of the pixels more than half opaque, wherever the screen ends."""
        solid = self.alpha > 127
        rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
        if not len(rows):
            return self.left + self.alpha.shape[1] / 2, self.top + self.alpha.shape[0] / 2, 1.0, 1.0
        x, y = float(self.left + columns[0]), float(self.top + rows[0])
        return x, y, float(columns[-1] - columns[0] + 1), float(rows[-1] - rows[0] + 1)


def layer(patch: Patch, smear: tuple[float, float] = (0.0, 0.0)) -> Layer:
    """A patch ready to be pasted, smeared by motion along a vector of pixels."""
    alpha = patch.picture[..., 3]
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    if not len(rows):
        return Layer(
            patch.left, patch.top, np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8)
        )
    cut = patch.picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    alpha = cut[..., 3]
    paint = divide_by_255(cut[..., :3].astype(np.uint16) * alpha[..., None])
    left, top = patch.left + int(columns[0]), patch.top + int(rows[0])
    reach_x, reach_y = round(smear[0]), round(smear[1])
    if max(abs(reach_x), abs(reach_y)) < 2:
        return Layer(left, top, paint, np.ascontiguousarray(alpha))
    merged = _smeared(np.dstack([paint, alpha]), reach_x, reach_y)
    left, top = left - abs(reach_x) // 2, top - abs(reach_y) // 2
    return Layer(left, top, merged[..., :3], np.ascontiguousarray(merged[..., 3]))


def _smeared(picture: NDArray[np.uint8], reach_x: int, reach_y: int) -> NDArray[np.uint8]:
    """The mean of copies shifted evenly along a line as long as the reach."""
    height, width = picture.shape[:2]
    wide, high = abs(reach_x), abs(reach_y)
    copies = min(max(wide, high) + 1, 9)
    total = np.zeros((height + high, width + wide, 4), np.uint16)
    for copy in range(copies):
        dx, dy = wide * copy // (copies - 1), high * copy // (copies - 1)
        dx = wide - dx if reach_x * reach_y < 0 else dx
        total[dy : dy + height, dx : dx + width] += picture
    return (total // copies).astype(np.uint8)


def divide_by_255(values: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Rounded division of products of two bytes, exactly, without dividing."""
    values = values + np.uint16(128)
    return ((values + (values >> 8)) >> 8).astype(np.uint8)


def _overlap(item: Layer, left: int, top: int, width: int, height: int) -> tuple[slice, ...] | None:
    """Rows and columns of a window, then of the layer, where the two meet."""
    x0, y0 = max(item.left, left), max(item.top, top)
    x1 = min(item.left + item.alpha.shape[1], left + width)
    y1 = min(item.top + item.alpha.shape[0], top + height)
    if x0 >= x1 or y0 >= y1:
        return None
    window = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    own = slice(y0 - item.top, y1 - item.top), slice(x0 - item.left, x1 - item.left)
    return (*window, *own)


def paste(frame: Frame, item: Layer) -> None:
    """Draw a layer onto the frame, which changes."""
    where = _overlap(item, 0, 0, frame.shape[1], frame.shape[0])
    if where is None:
        return
    rows, columns, own_rows, own_columns = where
    under = frame[rows, columns].astype(np.uint16)
    clear = (255 - item.alpha[own_rows, own_columns]).astype(np.uint16)
    frame[rows, columns] = (
        divide_by_255(under * clear[..., None]) + item.paint[own_rows, own_columns]
    )


def visible_share(target: Layer, fronts: list[Layer], width: int, height: int) -> float:
    """The share of the target's pixels that lie on the screen and are not painted over."""
    solid = target.alpha > 127
    if not solid.any():
        return 0.0
    through = np.zeros(solid.shape, np.uint8)
    rows, columns = solid.shape
    inside_x = slice(max(-target.left, 0), max(min(width - target.left, columns), 0))
    inside_y = slice(max(-target.top, 0), max(min(height - target.top, rows), 0))
    through[inside_y, inside_x] = 255
    for front in fronts:
        where = _overlap(front, target.left, target.top, columns, rows)
        if where is not None:
            clear = (255 - front.alpha[where[2], where[3]]).astype(np.uint16)
            through[where[0], where[1]] = divide_by_255(through[where[0], where[1]] * clear)
    return float(np.count_nonzero(solid & (through > 127)) / np.count_nonzero(solid))
