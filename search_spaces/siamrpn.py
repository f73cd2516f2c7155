"""SiamRPN++: one CNN for both crops, depth-wise correlation, anchors (Li et al., CVPR 2019).

The published preset is siamrpn_r50_l234_dwxcorr of STVIR/pysot: same keys, same outputs. The small
ones are for 320x240 videos; their paddings keep the map as large as the search features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Literal, cast

from torch import Tensor

from search_spaces._errors import ArchitectureError
from search_spaces._family import Units
from search_spaces._geometry import IMAGENET, Choice, Geometry, Normalisation
from search_spaces._layers.anchors import Anchors, anchor_boxes, check_anchors, decode_boxes
from search_spaces._layers.correlation import (
    Branch,
    HeadShape,
    Level,
    MultiLevelHeads,
    Neck,
    check_levels,
    correlated_side,
)
from search_spaces._layers.resnet import (
    Block,
    ResNet,
    Stage,
    Stem,
    Width,
    check_backbone,
    each_width,
    feature_sides,
    initialise,
    optional_blocks,
    with_blocks,
)
from search_spaces._network import TrackerNetwork

SMALLEST_TEMPLATE = 3  # cells: a 3x3 convolution without padding makes the kernels of them


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Everything about a SiamRPN++ network but its weights."""

    family: Literal["siamrpn"] = "siamrpn"
    template_size: int = 127
    search_size: int = 255
    stem: Stem
    stages: tuple[Stage, ...]
    levels: tuple[Level, ...]
    weighted: bool = True  # levels by learned weights, else their mean
    template_crop: int | None = 7  # cells kept in the middle of the template's features
    search_padding: int = 0
    correlation_padding: int = 0
    hidden_kernel: Literal[1, 3] = 1  # of the convolution that reads the correlation
    anchors: Anchors
    input: Literal["bgr255", "imagenet"] = "bgr255"
    penalty: float = 0.05
    window: float = 0.42
    size_rate: float = 0.38


def _bottlenecks(
    inner: int,
    depth: int,
    *,
    stride: Literal[1, 2] = 1,
    dilation: int = 1,
    shortcut_kernel: Literal[1, 3] = 3,
) -> Stage:
    return Stage(
        width=4 * inner,
        stride=stride,
        dilation=dilation,
        shortcut_kernel=shortcut_kernel,
        blocks=(Block(inner=(inner, inner)),) * depth,
    )


def _published_r50() -> Architecture:
    branch = Branch(correlation=256, hidden=256)
    return Architecture(
        stem=Stem(width=64, kernel=7, padding=0),
        stages=(
            _bottlenecks(64, 3, shortcut_kernel=1),
            _bottlenecks(128, 4, stride=2),
            _bottlenecks(256, 6, dilation=2),
            _bottlenecks(512, 3, dilation=4),
        ),
        levels=tuple(Level(stage=i, neck=256, cls=branch, loc=branch) for i in (2, 3, 4)),
        anchors=Anchors(stride=8, ratios=(0.33, 0.5, 1.0, 2.0, 3.0), scale=8.0),
    )


def _small() -> Architecture:
    return Architecture(
        template_size=56,
        search_size=96,
        stem=Stem(width=24, kernel=3, padding=1),
        stages=(
            Stage(width=32, blocks=(Block(inner=(24,)),)),
            Stage(width=64, stride=2, stride_padding=1, blocks=(Block(inner=(48,)),) * 2),
        ),
        levels=(
            Level(
                stage=2,
                neck=64,
                cls=Branch(correlation=64, hidden=48),
                loc=Branch(correlation=48, hidden=48),
            ),
        ),
        weighted=False,
        template_crop=None,
        search_padding=1,
        correlation_padding=2,
        hidden_kernel=3,
        anchors=Anchors(stride=8, ratios=(0.5, 1.0, 2.0), scale=3.5),
        input="imagenet",
        # A strong window keeps a tracker near its target without looking (docs/decisions/0007).
        window=0.22,
    )


def _tiny() -> Architecture:
    branch = Branch(correlation=6, hidden=5)
    return Architecture(
        template_size=56,
        search_size=64,
        stem=Stem(width=8, kernel=3, padding=1),
        stages=(
            Stage(width=8, blocks=(Block(inner=(6,)),)),
            Stage(width=12, stride=2, stride_padding=1, blocks=(Block(inner=(8,)),) * 2),
            Stage(width=16, dilation=2, shortcut_kernel=3, blocks=(Block(inner=(6, 7)),) * 2),
        ),
        levels=(
            Level(stage=2, neck=8, cls=branch, loc=branch),
            Level(stage=3, neck=10, cls=branch, loc=branch),
        ),
        template_crop=5,
        search_padding=1,
        correlation_padding=1,
        anchors=Anchors(stride=8, ratios=(0.5, 1.0, 2.0), scale=3.5),
        input="imagenet",
    )


PRESETS: Mapping[str, Architecture] = {
    "siamrpn-r50": _published_r50(),
    "siamrpn-small": _small(),
    "siamrpn-tiny": _tiny(),
}


class SiamRPN(TrackerNetwork):
    """The template leaves the correlation kernels: (cls, loc) of every level, in one row."""

    anchor_boxes: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        levels, stages = architecture.levels, architecture.stages
        self.architecture = architecture
        self.backbone = ResNet(architecture.stem, stages)
        self.neck = Neck(levels, tuple(stages[level.stage - 1].width for level in levels))
        self.rpn_head = MultiLevelHeads(levels, _head_shape(architecture), architecture.weighted)
        initialise(self)
        boxes = anchor_boxes(
            architecture.anchors, _map_size(architecture), architecture.search_size
        )
        self.register_buffer("anchor_boxes", boxes, persistent=False)

    def template(self, crop: Tensor) -> tuple[Tensor, ...]:
        side = self.architecture.template_crop
        return self.rpn_head.kernels([_middle(x, side) for x in self._features(crop)])

    def maps(self, crop: Tensor, template: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """(cls (b, 2 * boxes, s, s), loc (b, 4 * boxes, s, s))."""
        return cast(tuple[Tensor, ...], self.rpn_head(self._features(crop), template))

    def decode(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        cls, loc = maps
        scores = cls.reshape(len(cls), 2, -1).softmax(dim=1)[:, 1]
        deltas = loc.reshape(len(loc), 4, -1).transpose(1, 2)
        return scores, decode_boxes(deltas, self.anchor_boxes)

    def anchors(self) -> Tensor:
        return self.anchor_boxes

    def _features(self, crop: Tensor) -> list[Tensor]:
        stages = self.backbone(crop)
        used = [stages[level.stage - 1] for level in self.architecture.levels]
        return cast(list[Tensor], self.neck(used))


def build(architecture: Architecture) -> SiamRPN:
    """A network with fresh weights, or an ArchitectureError that names the field in the way."""
    _check(architecture)
    return SiamRPN(architecture)


def geometry(architecture: Architecture) -> Geometry:
    _check(architecture)
    raw = architecture.input == "bgr255"
    return Geometry(
        template_size=architecture.template_size,
        search_size=architecture.search_size,
        rule="context",
        context=0.5,
        padding="mean",
        normalisation=Normalisation(order="bgr") if raw else IMAGENET,
        map_size=_map_size(architecture),
        boxes_per_cell=len(architecture.anchors.ratios),
        choice=Choice(
            window="blend",
            window_shape="zero_border",
            window_weight=architecture.window,
            change_penalty=architecture.penalty,
            size_rate=architecture.size_rate,
            clip="centre",
        ),
    )


def units(architecture: Architecture) -> tuple[Units, ...]:
    """Every width: those between convolutions one by one, the residual ones once per stage."""
    found: list[Units] = []

    def note(name: str, layer: str, width: int) -> int:
        found.append(Units(name=name, layer=layer, width=width))
        return width

    _each_width(architecture, note)
    return tuple(found)


def with_widths(architecture: Architecture, widths: Mapping[str, int]) -> Architecture:
    known = [unit.name for unit in units(architecture)]
    for name, width in widths.items():
        if name not in known:
            raise ArchitectureError(f"no units named {name!r}; choose from {', '.join(known)}")
        if width < 1:
            raise ArchitectureError(f"units {name!r}: expected at least 1, got {width}")
    return _each_width(architecture, lambda name, _, width: widths.get(name, width))


def layers(architecture: Architecture) -> tuple[str, ...]:
    """Every residual block but the first of its stage, which changes size and width."""
    return tuple(f"backbone.{name}" for name in optional_blocks(architecture.stages))


def with_layers(architecture: Architecture, kept: Sequence[int]) -> Architecture:
    return replace(architecture, stages=with_blocks(architecture.stages, kept))


def _each_width(architecture: Architecture, width: Width) -> Architecture:
    """The architecture with every width passed through ``width``, in the network's order."""
    stem, stages = each_width(architecture.stem, architecture.stages, "backbone.", width)
    levels = tuple(
        _each_level_width(level, i, width) for i, level in enumerate(architecture.levels, start=2)
    )
    return replace(architecture, stem=stem, stages=stages, levels=levels)


def _each_level_width(level: Level, number: int, width: Width) -> Level:
    neck = width(f"neck{number}", f"neck.downsample{number}.downsample.0", level.neck)
    branches = []
    for side, branch in (("cls", level.cls), ("loc", level.loc)):
        name = f"rpn{number}.{side}"
        correlation = width(
            f"{name}.correlation", f"rpn_head.{name}.conv_kernel.0", branch.correlation
        )
        hidden = width(f"{name}.hidden", f"rpn_head.{name}.head.0", branch.hidden)
        branches.append(Branch(correlation=correlation, hidden=hidden))
    return replace(level, neck=neck, cls=branches[0], loc=branches[1])


def _head_shape(architecture: Architecture) -> HeadShape:
    return HeadShape(
        boxes=len(architecture.anchors.ratios),
        search_padding=architecture.search_padding,
        correlation_padding=architecture.correlation_padding,
        hidden_kernel=architecture.hidden_kernel,
    )


def _feature_sides(architecture: Architecture, size: int) -> tuple[int, ...]:
    """The side of each level's features for a crop of this size."""
    sides = feature_sides(architecture.stem, architecture.stages, size)
    return tuple(sides[level.stage - 1] for level in architecture.levels)


def _map_size(architecture: Architecture) -> int:
    template = _feature_sides(architecture, architecture.template_size)[0]
    search = _feature_sides(architecture, architecture.search_size)[0]
    kept = _kept_cells(architecture, template)
    return correlated_side(_head_shape(architecture), kept, search)


def _kept_cells(architecture: Architecture, template: int) -> int:
    crop = architecture.template_crop
    return template if crop is None else crop


def _check(architecture: Architecture) -> None:
    check_backbone(architecture.stem, architecture.stages)
    check_levels(architecture.levels, len(architecture.stages))
    check_anchors(architecture.anchors)
    if min(architecture.search_padding, architecture.correlation_padding) < 0:
        raise ArchitectureError(
            "search_padding, correlation_padding: expected at least 0, got "
            f"{architecture.search_padding} and {architecture.correlation_padding}"
        )
    _check_sizes(architecture)
    stem, stages = architecture.stem, architecture.stages
    stride = 2 * (2 if stem.pool else 1) * prod(stage.stride for stage in stages)
    if architecture.anchors.stride != stride:
        raise ArchitectureError(
            f"anchors.stride: {architecture.anchors.stride}, but the network's stride is {stride}"
        )


def _check_sizes(architecture: Architecture) -> None:
    template = _feature_sides(architecture, architecture.template_size)
    search = _feature_sides(architecture, architecture.search_size)
    if len(set(search)) > 1 or len(set(template)) > 1:
        raise ArchitectureError(
            f"levels: their features differ in size (search {search}, template {template} cells "
            "along a side); choose stages of one stride"
        )
    kept = _kept_cells(architecture, template[0])
    if not SMALLEST_TEMPLATE <= kept <= template[0]:
        raise ArchitectureError(
            f"template_size {architecture.template_size} gives {template[0]} cells, template_crop "
            f"{architecture.template_crop} keeps {kept}: expected at least {SMALLEST_TEMPLATE} "
            "and no more than there are"
        )
    if _map_size(architecture) < 1:
        raise ArchitectureError(
            f"search_size: {architecture.search_size} gives {search[0]} cells, too few for the "
            f"kernels that {kept} cells of the template become"
        )


def _middle(feature: Tensor, side: int | None) -> Tensor:
    """The cells in the middle, for a correlation kernel that sees little of the background."""
    if side is None:
        return feature
    first = (feature.shape[-1] - side) // 2
    return feature[..., first : first + side, first : first + side]
