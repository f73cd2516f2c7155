"""Units by lot: the baseline that every way to choose has to beat."""

import torch
from torch import Tensor

from workers.pruning._surgery import UnitWeights


def scores(weights: list[UnitWeights], generator: torch.Generator) -> Tensor:
    return torch.rand(len(weights[0].rows), generator=generator)
