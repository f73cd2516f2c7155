"""Depth-wise cross-correlation heads: template features slide over search features by channel.

Modules are named as in pysot: conv_kernel, conv_search and head of rpn2.cls, rpn2.loc, rpn3.cls ...
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces._errors import ArchitectureError


@dataclass(frozen=True, kw_only=True)
class Branch:
    """Channels that are correlated, and channels of the convolution after it."""

    correlation: int
    hidden: int


@dataclass(frozen=True, kw_only=True)
class Level:
    """A stage (from 1) whose features pass a neck and are judged by heads of their own."""

    stage: int
    neck: int
    cls: Branch
    loc: Branch


@dataclass(frozen=True, kw_only=True)
class HeadShape:
    """What all heads of a network share."""

    boxes: int  # per cell
    search_padding: int
    correlation_padding: int
    hidden_kernel: int  # odd; the map keeps its size


def correlated_side(shape: HeadShape, template: int, search: int) -> int:
    """The side of the score map from the sides of both feature maps; not above 0: impossible."""
    kernel = template - 2
    searched = search + 2 * shape.search_padding - 2
    return searched + 2 * shape.correlation_padding - kernel + 1 if min(kernel, searched) > 0 else 0


def depthwise_correlation(search: Tensor, kernel: Tensor, padding: int = 0) -> Tensor:
    """(b, c, h, w) with kernels (b, c, k, k): each image with its own kernels -> (b, c, h', w')."""
    batch, channels = kernel.shape[:2]
    groups = batch * channels
    out = F.conv2d(
        search.reshape(1, groups, *search.shape[2:]),
        kernel.reshape(groups, 1, *kernel.shape[2:]),
        padding=padding,
        groups=groups,
    )
    return out.reshape(batch, channels, *out.shape[2:])


class CorrelationBranch(nn.Module):
    """Adapts both sides, correlates them and reads the answer."""

    def __init__(self, channels: int, branch: Branch, outputs: int, shape: HeadShape) -> None:
        super().__init__()
        self.conv_kernel = _adapter(channels, branch.correlation, 0)
        self.conv_search = _adapter(channels, branch.correlation, shape.search_padding)
        self.head = nn.Sequential(
            nn.Conv2d(
                branch.correlation,
                branch.hidden,
                shape.hidden_kernel,
                padding=shape.hidden_kernel // 2,
                bias=False,
            ),
            nn.BatchNorm2d(branch.hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(branch.hidden, outputs, 1),
        )
        self.padding = shape.correlation_padding

    def kernel(self, template: Tensor) -> Tensor:
        """The template's side, which no frame changes."""
        return cast(Tensor, self.conv_kernel(template))

    def forward(self, search: Tensor, kernel: Tensor) -> Tensor:
        correlated = depthwise_correlation(self.conv_search(search), kernel, self.padding)
        return cast(Tensor, self.head(correlated))


class LevelHeads(nn.Module):
    """Classification and regression of one level."""

    def __init__(self, level: Level, shape: HeadShape) -> None:
        super().__init__()
        self.cls = CorrelationBranch(level.neck, level.cls, 2 * shape.boxes, shape)
        self.loc = CorrelationBranch(level.neck, level.loc, 4 * shape.boxes, shape)


class MultiLevelHeads(nn.Module):
    """The heads of all levels; their maps are averaged, by learned weights where ``weighted``."""

    cls_weight: nn.Parameter | None
    loc_weight: nn.Parameter | None

    def __init__(self, levels: tuple[Level, ...], shape: HeadShape, weighted: bool) -> None:
        super().__init__()
        for i, level in enumerate(levels, start=2):
            self.add_module(f"rpn{i}", LevelHeads(level, shape))
        for name in ("cls_weight", "loc_weight"):
            weight = nn.Parameter(torch.ones(len(levels))) if weighted else None
            self.register_parameter(name, weight)

    def kernels(self, templates: list[Tensor]) -> tuple[Tensor, ...]:
        """(cls, loc) of the first level, of the second, ... in one row."""
        pairs = zip(self.levels(), templates, strict=True)
        return tuple(
            branch.kernel(template)
            for level, template in pairs
            for branch in (level.cls, level.loc)
        )

    def forward(self, searches: list[Tensor], kernels: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """(cls (b, 2 * boxes, s, s), loc (b, 4 * boxes, s, s))."""
        levels = self.levels()
        cls = [h.cls(x, k) for h, x, k in zip(levels, searches, kernels[::2], strict=True)]
        loc = [h.loc(x, k) for h, x, k in zip(levels, searches, kernels[1::2], strict=True)]
        return _merged(cls, self.cls_weight), _merged(loc, self.loc_weight)

    def levels(self) -> list[LevelHeads]:
        return [module for module in self.children() if isinstance(module, LevelHeads)]


class Neck(nn.Module):
    """A 1x1 convolution for each level's features."""

    def __init__(self, levels: tuple[Level, ...], channels: tuple[int, ...]) -> None:
        super().__init__()
        for i, (level, width) in enumerate(zip(levels, channels, strict=True), start=2):
            adjust = nn.Sequential(
                nn.Conv2d(width, level.neck, 1, bias=False), nn.BatchNorm2d(level.neck)
            )
            self.add_module(f"downsample{i}", nn.ModuleDict({"downsample": adjust}))

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        levels = cast(list[nn.ModuleDict], list(self.children()))
        return [level["downsample"](x) for level, x in zip(levels, features, strict=True)]


def check_levels(levels: tuple[Level, ...], stages: int) -> None:
    """Raise an ArchitectureError that names the field which makes the heads impossible."""
    used = [level.stage for level in levels]
    if not used or used != sorted(set(used)) or used[0] < 1 or used[-1] != stages:
        raise ArchitectureError(
            f"levels: expected rising stages out of 1..{stages}, the last one among them "
            f"(what no level uses would be dead weight); got {used}"
        )
    for i, level in enumerate(levels):
        widths = {
            "neck": level.neck,
            "cls.correlation": level.cls.correlation,
            "cls.hidden": level.cls.hidden,
            "loc.correlation": level.loc.correlation,
            "loc.hidden": level.loc.hidden,
        }
        for name, width in widths.items():
            if width < 1:
                raise ArchitectureError(f"levels[{i}].{name}: expected at least 1, got {width}")


def _merged(maps: list[Tensor], weights: Tensor | None) -> Tensor:
    if weights is None:
        return torch.stack(maps).mean(dim=0) if len(maps) > 1 else maps[0]
    shares = weights.softmax(dim=0)
    return torch.stack([share * x for share, x in zip(shares, maps, strict=True)]).sum(dim=0)


def _adapter(channels: int, width: int, padding: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=padding, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )
