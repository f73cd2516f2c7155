"""Winning accuracy back after a cut: one file per way, each a function with this signature."""

from collections.abc import Mapping
from typing import Protocol

import torch

from search_spaces import Geometry, TrackerNetwork
from workers.datasets import Sequence
from workers.recovery import finetune
from workers.training import Moment, Recipe, Report, Saving


class Recovery(Protocol):
    """Train ``network`` in place, to the recipe's end or ``until`` a step; the curve."""

    def __call__(
        self,
        network: TrackerNetwork,
        teacher: TrackerNetwork,
        geometry: Geometry,
        sequences: list[Sequence],
        recipe: Recipe,
        *,
        device: torch.device | str = "cpu",
        report: Report | None = None,
        saving: Saving | None = None,
        until: int | None = None,
    ) -> list[Moment]: ...


RECOVERIES: Mapping[str, Recovery] = {"finetune": finetune.recover}
