"""Plain fine-tuning: the cut network learns from the boxes alone.

At short budgets, from weights inherited from the teacher, nothing was found to beat it.
"""

import torch

from search_spaces import Geometry, TrackerNetwork
from workers.datasets import Sequence
from workers.training import Moment, Recipe, Report, Saving, train


def recover(
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
) -> list[Moment]:
    return train(
        network, geometry, sequences, recipe,
        device=device, report=report, saving=saving, until=until,
    )  # fmt: skip
