"""OSTrack: one plain vision transformer reads the template and the search crop together.

Ye et al., "Joint Feature Learning and Relation Modeling for Tracking: A One-Stream Framework"
(ECCV 2022). State dict and maps are those of the authors' code, so their files load strictly.
Candidate elimination drops search tokens to which the template's centre pays little attention.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from torch import Tensor, nn

from search_spaces._errors import ArchitectureError
from search_spaces._family import Units
from search_spaces._geometry import IMAGENET, Choice, Geometry
from search_spaces._layers.attention import Attention
from search_spaces._layers.centre_head import CentreHead, HeadWidths, decode_centres
from search_spaces._layers.vision_transformer import (
    Mlp,
    PatchEmbed,
    convolutional_stem,
    drop_path,
    eliminate,
    initialise_linear,
    small_normal,
)
from search_spaces._network import TrackerNetwork


@dataclass(frozen=True, kw_only=True)
class Block:
    """Widths inside one transformer block."""

    heads: int
    head_dim: int
    mlp: int


@dataclass(frozen=True, kw_only=True)
class Elimination:
    """After the attention of these blocks only the share ``keep`` of the search tokens goes on."""

    blocks: tuple[int, ...]
    keep: float


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """All about a one-stream tracker but its weights."""

    family: Literal["ostrack"] = "ostrack"
    template_size: int  # pixels along a side of the crop
    search_size: int
    template_factor: float  # side of the window in units of sqrt(w * h)
    search_factor: float
    stem: tuple[int, ...] = ()  # widths of 3x3 convolutions of stride 2 before the patches
    patch: int  # kernel and stride of the patch convolution
    embed: int
    blocks: tuple[Block, ...]
    scale_dim: int  # the head dimension at training time: attention is scaled by its -0.5 power
    head: HeadWidths
    elimination: Elimination | None = None
    imagenet_tokens: int = 0  # rows of the unused pos_embed in published files, 0 for none

    @property
    def stride(self) -> int:
        return self.patch << len(self.stem)


def _same_head(*widths: int) -> HeadWidths:
    return HeadWidths(ctr=widths, offset=widths, size=widths)


_OSTRACK_256 = Architecture(
    template_size=128,
    search_size=256,
    template_factor=2.0,
    search_factor=4.0,
    patch=16,
    embed=768,
    blocks=(Block(heads=12, head_dim=64, mlp=3072),) * 12,
    scale_dim=64,
    head=_same_head(256, 128, 64, 32),
    elimination=Elimination(blocks=(3, 6, 9), keep=0.7),
    imagenet_tokens=197,
)
_OSTRACK_384 = replace(_OSTRACK_256, template_size=192, search_size=384, search_factor=5.0)
_SMALL = Architecture(
    template_size=48,
    search_size=96,
    template_factor=1.5,
    search_factor=3.0,
    stem=(24, 48, 64),
    patch=1,
    embed=64,
    blocks=(Block(heads=2, head_dim=32, mlp=128),) * 4,
    scale_dim=32,
    head=_same_head(48, 24),
)
_TINY = Architecture(
    template_size=32,
    search_size=64,
    template_factor=1.5,
    search_factor=3.0,
    stem=(4, 8),
    patch=4,
    embed=16,
    blocks=(Block(heads=2, head_dim=8, mlp=32),) * 2,
    scale_dim=8,
    head=_same_head(8),
)

PRESETS: Mapping[str, Architecture] = {
    "ostrack-256": _OSTRACK_256,
    "ostrack-384": _OSTRACK_384,
    "ostrack-256-all-tokens": replace(_OSTRACK_256, elimination=None),
    "ostrack-384-all-tokens": replace(_OSTRACK_384, elimination=None),
    "ostrack-small": _SMALL,  # for the synthetic benchmark
    "ostrack-tiny": _TINY,  # for tests
}


class OSTrack(TrackerNetwork):
    """The network; the template branch leaves the template's tokens."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.search_size = architecture.search_size
        self.backbone = _Backbone(architecture)
        self.box_head = CentreHead(architecture.embed, architecture.head)

    def template(self, crop: Tensor) -> tuple[Tensor, ...]:
        return (self.backbone.template(crop),)

    def maps(self, crop: Tensor, template: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Score, size and offset maps."""
        return cast(tuple[Tensor, ...], self.box_head(self.backbone(crop, template[0])))

    def decode(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        score, size, offset = maps
        return decode_centres((score, size, offset), self.search_size)

    @contextmanager
    def softened(self, *, elimination: float = 1.0, drop_path: float = 0.0) -> Iterator[None]:
        """As the authors train it, while the context lasts.

        ``elimination`` is the way gone from keeping every token (0) to what the architecture says
        (1); ``drop_path`` the last block's rate, to which the blocks' rates rise from 0.
        """
        blocks = [cast(_Block, block) for block in self.backbone.blocks]
        if elimination < 1 and all(block.keep is None for block in blocks):
            raise ArchitectureError(
                "this ostrack network eliminates no tokens, so that none can be eliminated step by "
                "step: take the schedule out of the recipe, or give the architecture an elimination"
            )
        for i, block in enumerate(blocks):
            block.eliminated, block.drop_path = elimination, drop_path * i / max(len(blocks) - 1, 1)
        try:
            yield
        finally:
            for block in blocks:
                block.eliminated, block.drop_path = 1.0, 0.0


def build(architecture: Architecture) -> OSTrack:
    """A network with fresh weights, or an ArchitectureError that names the field in the way."""
    _check(architecture)
    return OSTrack(architecture)


def geometry(architecture: Architecture) -> Geometry:
    _check(architecture)
    return Geometry(
        template_size=architecture.template_size,
        search_size=architecture.search_size,
        rule="factor",
        template_factor=architecture.template_factor,
        search_factor=architecture.search_factor,
        padding="zero",
        normalisation=IMAGENET,
        map_size=architecture.search_size // architecture.stride,
        choice=Choice(window="multiply", window_shape="inner", clip="corners", minimum_size=10.0),
    )


def units(architecture: Architecture) -> tuple[Units, ...]:
    """Everything that may be made narrower, in the network's order."""
    found: list[Units] = []

    def note(unit: Units) -> int:
        found.append(unit)
        return unit.width

    _each_width(architecture, note)
    return tuple(found)


def with_widths(architecture: Architecture, widths: Mapping[str, int]) -> Architecture:
    """The same network with these numbers of units, and without the unused tokens."""
    known = [unit.name for unit in units(architecture)]
    unknown = sorted(set(widths) - set(known))
    if unknown:
        raise ArchitectureError(f"no units named {unknown}; choose from {', '.join(known)}")
    changed = _each_width(architecture, lambda unit: widths.get(unit.name, unit.width))
    _check(changed)
    return replace(changed, imagenet_tokens=0)


def layers(architecture: Architecture) -> tuple[str, ...]:
    """Paths of the blocks, any of which may be left out."""
    return tuple(f"backbone.blocks.{i}" for i in range(len(architecture.blocks)))


def with_layers(architecture: Architecture, kept: Sequence[int]) -> Architecture:
    """The same network with only these blocks; an elimination leaves with its block."""
    count = len(architecture.blocks)
    if not kept or list(kept) != sorted(set(kept) & set(range(count))):
        raise ArchitectureError(
            f"layers to keep: expected rising numbers out of 0..{count - 1}, at least one, "
            f"got {list(kept)}"
        )
    elimination = architecture.elimination
    if elimination is not None:
        remaining = tuple(new for new, old in enumerate(kept) if old in elimination.blocks)
        elimination = replace(elimination, blocks=remaining) if remaining else None
    blocks = tuple(architecture.blocks[i] for i in kept)
    return replace(architecture, blocks=blocks, elimination=elimination, imagenet_tokens=0)


Width = Callable[[Units], int]  # units as they are -> the number there shall be


def _each_width(architecture: Architecture, width: Width) -> Architecture:
    """The architecture with every width passed through ``width``, in the network's order."""

    def channels(name: str, layer: str, count: int) -> int:
        return width(Units(name=name, layer=layer, width=count))

    def branch(name: str, counts: tuple[int, ...]) -> tuple[int, ...]:
        paths = (f"box_head.conv{i}_{name}" for i in range(1, len(counts) + 1))
        return tuple(channels(at, f"{at}.0", n) for at, n in zip(paths, counts, strict=True))

    return replace(
        architecture,
        stem=tuple(
            channels(f"backbone.stem.{i}", f"backbone.stem.{i}.0", count)
            for i, count in enumerate(architecture.stem)
        ),
        embed=channels("backbone.embed", "backbone.patch_embed.proj", architecture.embed),
        blocks=tuple(
            _each_block_width(block, f"backbone.blocks.{i}", width)
            for i, block in enumerate(architecture.blocks)
        ),
        head=HeadWidths(
            ctr=branch("ctr", architecture.head.ctr),
            offset=branch("offset", architecture.head.offset),
            size=branch("size", architecture.head.size),
        ),
    )


def _each_block_width(block: Block, at: str, width: Width) -> Block:
    attention = f"{at}.attn"
    return Block(
        heads=width(Units(name=f"{at}.heads", layer=attention, width=block.heads, kind="heads")),
        head_dim=width(
            Units(name=f"{at}.head_dim", layer=attention, width=block.head_dim, kind="head_dims")
        ),
        mlp=width(Units(name=f"{at}.mlp", layer=f"{at}.mlp.fc1", width=block.mlp)),
    )


def _check(architecture: Architecture) -> None:
    counts = {unit.name: float(unit.width) for unit in units(architecture)}
    for name in ("template_size", "search_size", "patch", "scale_dim"):
        counts[name] = getattr(architecture, name)
    for name, count in counts.items():
        if count < 1:
            raise ArchitectureError(f"{name}: expected at least 1, got {count:g}")
    if architecture.imagenet_tokens < 0:
        raise ArchitectureError(
            f"imagenet_tokens: expected at least 0, got {architecture.imagenet_tokens}"
        )
    for name in ("template_factor", "search_factor"):
        if not getattr(architecture, name) > 0:
            raise ArchitectureError(f"{name}: expected over 0, got {getattr(architecture, name)}")
    _check_tokens(architecture)


def _check_tokens(architecture: Architecture) -> None:
    for name in ("template_size", "search_size"):
        size = getattr(architecture, name)
        if size % architecture.stride:
            raise ArchitectureError(
                f"{name}: expected a multiple of the stride {architecture.stride} (patch "
                f"{architecture.patch} after {len(architecture.stem)} stem layers), got {size}"
            )
    count = len(architecture.blocks)
    if count == 0:
        raise ArchitectureError("blocks: expected at least 1, or nothing joins the two crops")
    elimination = architecture.elimination
    if elimination is None:
        return
    if not 0 < elimination.keep <= 1:
        raise ArchitectureError(
            f"elimination.keep: expected over 0 and at most 1, got {elimination.keep}"
        )
    if not set(elimination.blocks) <= set(range(count)):
        raise ArchitectureError(
            f"elimination.blocks: expected numbers out of 0..{count - 1}, "
            f"got {list(elimination.blocks)}"
        )


class _Backbone(nn.Module):
    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.map_size = architecture.search_size // architecture.stride
        template_side = architecture.template_size // architecture.stride
        embed, rows = architecture.embed, architecture.imagenet_tokens
        if rows:
            self.cls_token = small_normal(1, 1, embed)
            self.pos_embed = small_normal(1, rows, embed)
        self.pos_embed_z = small_normal(1, template_side**2, embed)
        self.pos_embed_x = small_normal(1, self.map_size**2, embed)
        self.stem = convolutional_stem(architecture.stem)
        self.patch_embed = PatchEmbed((3, *architecture.stem)[-1], embed, architecture.patch)
        centre = (template_side - 1) // 2 * (template_side + 1)  # the authors' CTR_POINT
        self.blocks = nn.ModuleList(
            _Block(embed, block, architecture.scale_dim, keep, centre)
            for block, keep in zip(architecture.blocks, _kept_shares(architecture), strict=True)
        )
        self.norm = nn.LayerNorm(embed, eps=1e-6)
        self.apply(initialise_linear)
        for module in self.modules():
            if isinstance(module, Attention):
                module.start_by_similarity()

    def template(self, crop: Tensor) -> Tensor:
        """The template's tokens (batch, tokens, embed)."""
        return self._patches(crop) + self.pos_embed_z

    def forward(self, crop: Tensor, template: Tensor) -> Tensor:
        """Features (batch, embed, map_size, map_size) of the search crop."""
        search = self._patches(crop) + self.pos_embed_x
        cells = search.shape[1]
        places = torch.arange(cells, device=crop.device).expand(search.shape[0], -1)
        x = torch.cat([template, search], 1)
        for block in self.blocks:
            x, places = block(x, places)
        x = self.norm(x)[:, template.shape[1] :]
        if places.shape[1] < cells:  # what was eliminated is zero in the map
            index = places.unsqueeze(-1).expand_as(x)
            x = x.new_zeros(x.shape[0], cells, x.shape[2]).scatter(1, index, x)
        return cast(Tensor, x.transpose(1, 2).unflatten(2, (self.map_size, self.map_size)))

    def _patches(self, crop: Tensor) -> Tensor:
        return cast(Tensor, self.patch_embed(self.stem(crop)))


class _Block(nn.Module):
    """Pre-norm transformer block that may drop search tokens between attention and MLP."""

    def __init__(
        self, embed: int, widths: Block, scale_dim: int, keep: float | None, centre: int
    ) -> None:
        super().__init__()
        self.keep = keep
        self.eliminated = 1.0  # these two differ only while the network is softened
        self.drop_path = 0.0
        self.watched = None if keep is None else centre
        self.norm1 = nn.LayerNorm(embed, eps=1e-6)
        self.attn = Attention(embed, widths.heads, widths.head_dim, scale_dim)
        self.norm2 = nn.LayerNorm(embed, eps=1e-6)
        self.mlp = Mlp(embed, widths.mlp)

    def forward(self, x: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens, template first; ``places`` (batch, search tokens) are their cells of the map."""
        attended, row = self.attn(self.norm1(x), self.watched)
        x = x + drop_path(attended, self.drop_path)
        if row is not None and self.keep is not None:
            keep = 1 - self.eliminated * (1 - self.keep) if self.eliminated < 1 else self.keep
            x, places = eliminate(x, places, row, keep)
        return x + drop_path(self.mlp(self.norm2(x)), self.drop_path), places


def _kept_shares(architecture: Architecture) -> list[float | None]:
    elimination = architecture.elimination
    return [
        elimination.keep if elimination is not None and i in elimination.blocks else None
        for i in range(len(architecture.blocks))
    ]
