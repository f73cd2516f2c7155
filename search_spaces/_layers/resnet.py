"""Residual networks as data: each width, stride, dilation and padding a field (He et al., 2016).

Modules are named as in the Siamese line's code: conv1, bn1, layer1.0.conv2, layer1.0.downsample.0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

from torch import Tensor, nn

from search_spaces._errors import ArchitectureError


@dataclass(frozen=True, kw_only=True)
class Stem:
    """A convolution of stride 2 and, with ``pool``, a 3x3 max-pooling of stride 2."""

    width: int
    kernel: int = 7
    padding: int = 0
    pool: bool = True


@dataclass(frozen=True, kw_only=True)
class Block:
    """The widths between a block's convolutions.

    One: 3x3 and 3x3 (basic). Two: 1x1, 3x3 and 1x1 (bottleneck).
    """

    inner: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Blocks that share one residual width; the first one strides and projects its shortcut."""

    width: int
    stride: Literal[1, 2] = 1
    dilation: int = 1  # the first block has half of it
    stride_padding: int = 0  # of the 3x3 convolutions that stride
    shortcut_kernel: Literal[1, 3] = 1
    blocks: tuple[Block, ...]


def convolved(side: int, kernel: int, *, stride: int = 1, dilation: int = 1, padding: int) -> int:
    """The side of what a convolution or a pooling makes of a square map."""
    return (side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def feature_sides(stem: Stem, stages: tuple[Stage, ...], side: int) -> tuple[int, ...]:
    """The side of each stage's feature map for a square image."""
    side = convolved(side, stem.kernel, stride=2, padding=stem.padding)
    if stem.pool:
        side = convolved(side, 3, stride=2, padding=1)
    sides = []
    for stage in stages:
        if stage.stride == 2:
            side = convolved(side, 3, stride=2, padding=stage.stride_padding)
        sides.append(side)
    return tuple(sides)


# (name of the units, layer that writes them, width) -> the width they shall have
Width = Callable[[str, str, int], int]


def each_width(
    stem: Stem, stages: tuple[Stage, ...], prefix: str, width: Width
) -> tuple[Stem, tuple[Stage, ...]]:
    """Both with every width passed through ``width``, the residual ones once per stage."""
    stem = replace(stem, width=width("stem", f"{prefix}conv1", stem.width))
    return stem, tuple(
        _each_stage_width(stage, f"layer{i}", prefix, width)
        for i, stage in enumerate(stages, start=1)
    )


def _each_stage_width(stage: Stage, name: str, prefix: str, width: Width) -> Stage:
    blocks = []
    for j, block in enumerate(stage.blocks):
        names = [f"{name}.{j}.conv{k}" for k in range(1, len(block.inner) + 1)]
        inner = (
            width(unit, f"{prefix}{unit}", size)
            for unit, size in zip(names, block.inner, strict=True)
        )
        blocks.append(Block(inner=tuple(inner)))
    writer = f"{prefix}{name}.0.conv{len(stage.blocks[0].inner) + 1}"
    return replace(stage, width=width(name, writer, stage.width), blocks=tuple(blocks))


def optional_blocks(stages: tuple[Stage, ...]) -> tuple[str, ...]:
    """The blocks that a network does without: all but the first of a stage."""
    return tuple(
        f"layer{i}.{j}"
        for i, stage in enumerate(stages, start=1)
        for j in range(1, len(stage.blocks))
    )


def with_blocks(stages: tuple[Stage, ...], kept: Sequence[int]) -> tuple[Stage, ...]:
    """The stages with only these of their ``optional_blocks``."""
    count = len(optional_blocks(stages))
    if sorted(set(kept)) != list(kept) or any(not 0 <= i < count for i in kept):
        raise ArchitectureError(
            f"layers to keep: expected rising numbers out of 0..{count - 1}, got {list(kept)}"
        )
    narrowed, number = [], 0
    for stage in stages:
        first, *others = stage.blocks
        remaining = (block for i, block in enumerate(others, start=number) if i in kept)
        narrowed.append(replace(stage, blocks=(first, *remaining)))
        number += len(others)
    return tuple(narrowed)


def check_backbone(stem: Stem, stages: tuple[Stage, ...]) -> None:
    """Raise an ArchitectureError that names the field which makes the network impossible."""
    if min(stem.width, stem.kernel) < 1 or stem.padding < 0:
        raise ArchitectureError(f"stem: widths and kernels start at 1, paddings at 0 (got {stem})")
    if not stages:
        raise ArchitectureError("stages: at least one is needed")
    for i, stage in enumerate(stages):
        _check_stage(stage, f"stages[{i}]")


def _check_stage(stage: Stage, path: str) -> None:
    if stage.width < 1:
        raise ArchitectureError(f"{path}.width: expected at least 1, got {stage.width}")
    if stage.stride not in (1, 2):
        raise ArchitectureError(f"{path}.stride: expected 1 or 2, got {stage.stride}")
    if stage.dilation < 1 or (stage.stride == 2 and stage.dilation > 1):
        raise ArchitectureError(
            f"{path}.dilation: expected at least 1, and 1 where the stride is 2; "
            f"got {stage.dilation} with stride {stage.stride}"
        )
    if stage.stride_padding not in (0, 1):
        raise ArchitectureError(
            f"{path}.stride_padding: expected 0 or 1, got {stage.stride_padding}"
        )
    if stage.shortcut_kernel not in (1, 3):
        raise ArchitectureError(
            f"{path}.shortcut_kernel: expected 1 or 3, got {stage.shortcut_kernel}"
        )
    if stage.stride == 2 and stage.shortcut_kernel == 1 and stage.stride_padding == 0:
        raise ArchitectureError(
            f"{path}.shortcut_kernel: a 1x1 shortcut of stride 2 needs stride_padding 1, "
            "or the two paths do not meet in size"
        )
    if not stage.blocks:
        raise ArchitectureError(f"{path}.blocks: at least one is needed")
    for j, block in enumerate(stage.blocks):
        if len(block.inner) not in (1, 2) or min(block.inner) < 1:
            raise ArchitectureError(
                f"{path}.blocks[{j}].inner: expected one width (basic) or two (bottleneck), "
                f"each at least 1; got {block.inner}"
            )


class ResNet(nn.Module):
    """The stem and the stages; what it returns is the output of every stage."""

    def __init__(self, stem: Stem, stages: tuple[Stage, ...]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(
            3, stem.width, stem.kernel, stride=2, padding=stem.padding, bias=False
        )
        self.bn1 = nn.BatchNorm2d(stem.width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if stem.pool else nn.Identity()
        channels = stem.width
        self.stage_names = tuple(f"layer{i}" for i in range(1, len(stages) + 1))
        for name, stage in zip(self.stage_names, stages, strict=True):
            self.add_module(name, _stage(channels, stage))
            channels = stage.width

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        features = []
        for name in self.stage_names:
            x = self.get_submodule(name)(x)
            features.append(x)
        return tuple(features)


class ResidualBlock(nn.Module):
    """Two or three convolutions beside a shortcut; the last ReLU follows the sum."""

    downsample: nn.Module | None

    def __init__(self, channels: int, stage: Stage, block: Block, first: bool) -> None:
        super().__init__()
        stride = stage.stride if first else 1
        dilation = max(1, stage.dilation // 2) if first else stage.dilation
        spatial = (stride, dilation, stage.stride_padding if stride == 2 else dilation)
        inner, width, later = block.inner, stage.width, stage.dilation
        self.bottleneck = len(inner) == 2
        if self.bottleneck:
            self.conv1 = _convolution(channels, inner[0], 1)
            self.bn1 = nn.BatchNorm2d(inner[0])
            self.conv2 = _convolution(inner[0], inner[1], 3, *spatial)
            self.bn2 = nn.BatchNorm2d(inner[1])
            self.conv3 = _convolution(inner[1], width, 1)
            self.bn3 = nn.BatchNorm2d(width)
        else:
            self.conv1 = _convolution(channels, inner[0], 3, *spatial)
            self.bn1 = nn.BatchNorm2d(inner[0])
            self.conv2 = _convolution(inner[0], width, 3, 1, later, later)
            self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if first:
            shape = spatial if stage.shortcut_kernel == 3 else (stride, 1, 0)
            self.downsample = nn.Sequential(
                _convolution(channels, width, stage.shortcut_kernel, *shape),
                nn.BatchNorm2d(width),
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        if self.bottleneck:
            x = self.bn3(self.conv3(self.relu(x)))
        return cast(Tensor, self.relu(x + shortcut))


def initialise(network: nn.Module) -> None:
    """He's initialisation before a norm; what predicts (it has a bias) starts near zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.bias is None:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)


def _stage(channels: int, stage: Stage) -> nn.Sequential:
    first, *others = stage.blocks
    return nn.Sequential(
        ResidualBlock(channels, stage, first, True),
        *(ResidualBlock(stage.width, stage, block, False) for block in others),
    )


def _convolution(
    channels: int, width: int, kernel: int, stride: int = 1, dilation: int = 1, padding: int = 0
) -> nn.Conv2d:
    return nn.Conv2d(channels, width, kernel, stride, padding, dilation, bias=False)
