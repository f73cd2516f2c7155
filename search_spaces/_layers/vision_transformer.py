"""The plain parts of a vision transformer; parameters are named as in timm."""

import math
from typing import cast

import torch
from torch import Tensor, nn


class PatchEmbed(nn.Module):
    """One token for each ``patch`` x ``patch`` square, row by row."""

    def __init__(self, inputs: int, embed: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, embed, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.proj(x)).flatten(2).transpose(1, 2)  # (batch, tokens, embed)


class Mlp(nn.Module):
    def __init__(self, embed: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, embed)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.fc2(self.act(self.fc1(x))))


def convolutional_stem(widths: tuple[int, ...]) -> nn.Sequential:
    """3x3 convolutions over the picture, each of which halves its sides."""
    return nn.Sequential(
        *(
            nn.Sequential(
                nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
            )
            for before, after in zip((3, *widths), widths, strict=False)
        )
    )


def drop_path(branch: Tensor, rate: float) -> Tensor:
    """Stochastic depth: a residual branch without this share of the batch, its mean unchanged."""
    if rate == 0:
        return branch
    kept = branch.new_empty(branch.shape[0], *(1,) * (branch.ndim - 1)).bernoulli_(1 - rate)
    return branch * kept / (1 - rate)


def eliminate(x: Tensor, places: Tensor, row: Tensor, keep: float) -> tuple[Tensor, Tensor]:
    """Tokens and places with only the share ``keep`` of the search tokens: the most attended."""
    templates = x.shape[1] - places.shape[1]
    kept = math.ceil(keep * places.shape[1])
    if kept == places.shape[1]:
        return x, places
    best = row[:, templates:].topk(kept, dim=1).indices
    survivors = x[:, templates:].gather(1, best.unsqueeze(-1).expand(-1, -1, x.shape[2]))
    return torch.cat([x[:, :templates], survivors], 1), places.gather(1, best)


def small_normal(*shape: int) -> nn.Parameter:
    """Fresh tokens or position embeddings."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(shape), std=0.02))


def initialise_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
