"""The plain parts of a vision transformer; parameters are named as in timm."""

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


def small_normal(*shape: int) -> nn.Parameter:
    """Fresh tokens or position embeddings."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(shape), std=0.02))


def initialise_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
