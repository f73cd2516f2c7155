"""The CENTER head: how likely each cell holds the target's centre, where in it, and how large."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

OUTPUTS = {"ctr": 1, "offset": 2, "size": 2}  # channels of each branch's map
FLOOR = 1e-4  # scores and sizes stay this far from 0 and 1
PRIOR = 0.1  # score of a cell before training, as in CenterNet: most cells hold no target


@dataclass(frozen=True, kw_only=True)
class HeadWidths:
    """Channels of the 3x3 convolutions in each of the three branches, in order."""

    ctr: tuple[int, ...]
    offset: tuple[int, ...]
    size: tuple[int, ...]


class CentreHead(nn.Module):
    """Three branches of 3x3 convolutions over the search features, each ending in a 1x1 one."""

    def __init__(self, inputs: int, widths: HeadWidths) -> None:
        super().__init__()
        self.layers: dict[str, tuple[str, ...]] = {}  # branch -> names of its layers
        for branch, outputs in OUTPUTS.items():
            channels: tuple[int, ...] = (inputs, *getattr(widths, branch))
            names = tuple(f"conv{i}_{branch}" for i in range(1, len(channels) + 1))
            for name, (before, after) in zip(names, pairwise(channels), strict=False):
                self.add_module(name, _conv3x3(before, after))
            self.add_module(names[-1], nn.Conv2d(channels[-1], outputs, 1))
            self.layers[branch] = names
        self._initialise()

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score (batch, 1, m, m), size (batch, 2, m, m) and offset (batch, 2, m, m) maps."""
        score = self._branch("ctr", features)
        offset = self._branch("offset", features)
        size = self._branch("size", features)
        return _bounded(score), _bounded(size), offset.float()

    def _branch(self, branch: str, x: Tensor) -> Tensor:
        for name in self.layers[branch]:
            x = self.get_submodule(name)(x)
        return x

    def _initialise(self) -> None:
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        for names in self.layers.values():
            nn.init.normal_(cast(Tensor, self.get_submodule(names[-1]).weight), std=0.01)
        score = cast(Tensor, self.get_submodule(self.layers["ctr"][-1]).bias)
        nn.init.constant_(score, -math.log((1 - PRIOR) / PRIOR))


def decode_centres(maps: tuple[Tensor, Tensor, Tensor], search_size: int) -> tuple[Tensor, Tensor]:
    """Scores (batch, n) and boxes (batch, n, 4) of all cells as (cx, cy, w, h) in crop pixels."""
    score, size, offset = maps
    rows, columns = score.shape[-2:]
    x = torch.arange(columns, device=score.device).expand(rows, columns)
    y = torch.arange(rows, device=score.device).unsqueeze(1).expand(rows, columns)
    centre = (torch.stack([x, y]) + offset) / columns
    boxes = torch.cat([centre, size], 1) * search_size
    return score.flatten(1), boxes.flatten(2).transpose(1, 2)


def _conv3x3(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def _bounded(logits: Tensor) -> Tensor:
    # In half precision 1 - FLOOR is 1, and the loss takes the logarithm of what is left to 1.
    return logits.float().sigmoid().clamp(FLOOR, 1 - FLOOR)
