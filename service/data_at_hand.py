"""Sees to it that a job's data is there: synthetic data is made, all other has to be."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workers.candidate import Data

Show = Callable[[int, int, str], None]  # how much is done, of how much, of what


def needed(data: "Data", learnt_from: bool) -> dict[str, int | None]:
    """How many sequences of which splits have to be made; {} where they are not ours to make."""
    if data.dataset != "synthetic":
        return {}
    splits = {data.judged_on: data.judged_count}
    if learnt_from and data.train != data.judged_on:
        splits[data.train] = data.train_count
    return splits


def make(root: Path, splits: Mapping[str, int | None], show: Show) -> None:
    """Make so much of these synthetic splits; what is there stays."""
    from workers.datasets import synthetic

    for split, count in splits.items():

        def report(done: int, total: int, split: str = split) -> None:
            show(done, total, f"generating {split}")

        synthetic.generate(root, split, count=count, report=report)
        show(1, 1, f"{split} is there")
