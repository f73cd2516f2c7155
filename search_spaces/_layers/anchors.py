"""Anchor boxes on a regular grid, with the rounding of pysot."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from search_spaces._errors import ArchitectureError


@dataclass(frozen=True, kw_only=True)
class Anchors:
    """One box per ratio (height / width) in every cell; its area is about (stride * scale) ** 2."""

    stride: int = 8
    ratios: tuple[float, ...]
    scale: float

    def shapes(self) -> tuple[tuple[float, float], ...]:
        """(width, height) of each box of a cell; cut to whole numbers before scaling."""
        shapes = []
        for ratio in self.ratios:
            width = int(math.sqrt(self.stride * self.stride / ratio))
            shapes.append((width * self.scale, int(width * ratio) * self.scale))
        return tuple(shapes)


def check_anchors(anchors: Anchors) -> None:
    """Raise an ArchitectureError that names the field from which no boxes can be made."""
    if anchors.stride < 1 or anchors.scale <= 0:
        raise ArchitectureError(
            f"anchors: stride and scale must be above 0, got {anchors.stride} and {anchors.scale}"
        )
    if not anchors.ratios or min(anchors.ratios) <= 0:
        raise ArchitectureError(
            f"anchors.ratios: expected ratios above 0, at least one; got {anchors.ratios}"
        )
    if min(min(shape) for shape in anchors.shapes()) <= 0:
        raise ArchitectureError(
            f"anchors.ratios: {anchors.ratios} at stride {anchors.stride} give an empty box"
        )


def anchor_boxes(anchors: Anchors, map_size: int, search_size: int) -> Tensor:
    """(n, 4) as (cx, cy, w, h) in pixels of the search crop, ordered (anchor, row, column).

    The grid lies symmetrically around the crop's centre.
    """
    steps = torch.arange(map_size, dtype=torch.float64) - (map_size - 1) / 2
    centres = steps * anchors.stride + search_size / 2
    boxes = torch.empty(len(anchors.ratios), map_size, map_size, 4, dtype=torch.float64)
    boxes[..., 0] = centres
    boxes[..., 1] = centres[:, None]
    boxes[..., 2:] = torch.tensor(anchors.shapes(), dtype=torch.float64)[:, None, None]
    return boxes.reshape(-1, 4).float()


def decode_boxes(deltas: Tensor, anchors: Tensor) -> Tensor:
    """Deltas (b, n, 4) on anchor boxes (n, 4) -> boxes (b, n, 4), all as (cx, cy, w, h)."""
    centres = deltas[..., :2] * anchors[:, 2:] + anchors[:, :2]
    # Nothing trained comes near e ** 8 anchors; beyond it exp() would end in infinite boxes.
    sizes = deltas[..., 2:].clamp(max=8.0).exp() * anchors[:, 2:]
    return torch.cat((centres, sizes), dim=-1)
