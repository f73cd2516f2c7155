"""Units with small weights go first: the L2 norm of what dies with a unit, layer by layer.

Each layer's norms are divided by their mean, so that a wide layer that reads the units does not
drown the narrow one that writes them (the group norm of DepGraph, Fang et al., CVPR 2023).
"""

import torch
from torch import Tensor

from workers.pruning._surgery import UnitWeights


def scores(weights: list[UnitWeights], generator: torch.Generator) -> Tensor:
    norms = [part.rows.float().norm(dim=1) for part in weights]
    return torch.stack([norm / norm.mean().clamp(min=1e-12) for norm in norms]).mean(0)
