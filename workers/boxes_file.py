"""What a candidate said about every sequence, for pictures and for other rules."""

from pathlib import Path

import numpy as np

from workers.datasets import Boxes

NAME = "boxes.npz"


def write_boxes(folder: Path, boxes: dict[str, Boxes]) -> None:
    """The boxes of every sequence by its name."""
    names = sorted(boxes)
    np.savez_compressed(
        folder / NAME,
        names=np.array(names),
        lengths=np.array([len(boxes[name]) for name in names]),
        boxes=np.concatenate([boxes[name] for name in names]),
    )


def read_boxes(folder: Path) -> dict[str, Boxes]:
    """The boxes of every sequence that ``evaluate`` wrote."""
    with np.load(folder / NAME, allow_pickle=False) as stored:
        parts = np.split(stored["boxes"], np.cumsum(stored["lengths"])[:-1])
        return dict(zip(stored["names"].tolist(), parts, strict=True))
