"""What a family tells the tracking loop about its crops, as values: no code travels.

Boxes are (x, y, w, h) in pixels, 0-based, continuous; (cx, cy, w, h) where a name says so.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """pixel -> (pixel * scale - mean) / std, per channel, in this channel order."""

    order: Literal["rgb", "bgr"] = "rgb"
    scale: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


IMAGENET = Normalisation(
    order="rgb", scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How one box is chosen among the scored ones of a frame, and how the state follows it.

    ``multiply``: score * window. ``blend``: score * (1 - window_weight) + window * window_weight.
    ``inner`` windows have non-zero borders (OSTrack), ``zero_border`` ones are numpy's hanning.
    """

    window: Literal["multiply", "blend"]
    window_shape: Literal["inner", "zero_border"]
    window_weight: float = 1.0
    change_penalty: float = 0.0  # k of exp(-(scale change * ratio change - 1) * k)
    size_rate: float | None = None  # None: the new size is taken as it is
    clip: Literal["corners", "centre"] = "corners"  # what is held inside the image
    minimum_size: float = 10.0  # pixels of the image


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The square windows a tracker looks at and how what it answers is read.

    ``factor``: window side = ceil(sqrt(w * h) * factor), as in OSTrack.
    ``context``: template side = sqrt((w + c)(h + c)) with c = context * (w + h), search side in
    proportion of the crop sizes, as in the Siamese line.
    """

    template_size: int
    search_size: int
    rule: Literal["factor", "context"]
    template_factor: float = 2.0  # rule "factor" only
    search_factor: float = 4.0  # rule "factor" only
    context: float = 0.5  # rule "context" only
    padding: Literal["zero", "mean"] = "zero"
    normalisation: Normalisation
    map_size: int  # cells along one side of the score map
    boxes_per_cell: int = 1  # boxes are ordered (box of the cell, row, column)
    choice: Choice
