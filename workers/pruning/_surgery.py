"""Removing units for real, with torch-pruning's dependency graph. No masks, nothing skipped.

torch-pruning refuses silently where a ratio would leave nothing, and does not see through the
reshapes of fused attention. So widths are decided before, attention is one opaque layer that cuts
itself, and every removal is checked afterwards.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import torch_pruning as tp
from torch import Tensor, nn

from search_spaces import Architecture, ParetrackError, TrackerNetwork, Units, load
from search_spaces._layers.attention import Attention


class SurgeryError(ParetrackError):
    """A group of units that could not be cut."""


@dataclass(frozen=True)
class UnitWeights:
    """What one layer holds of each unit: a row a unit, in the order of the group's units."""

    layer: str
    role: Literal["writes", "reads", "scales"]
    rows: Tensor  # (units, weights of one unit)


# One score a unit; the highest survive.
Scorer = Callable[[list[UnitWeights], torch.Generator], Tensor]


def remove_units(
    network: TrackerNetwork,
    architecture: Architecture,
    removals: Sequence[tuple[Units, int]],
    scorer: Scorer,
    seed: int,
) -> None:
    """Cut ``network`` in place: each group of units down to its width."""
    generator = torch.Generator().manual_seed(seed)
    for units, width in removals:
        if units.kind == "heads":
            _cut_heads(_attention(network, units), units, width, scorer, generator)
        elif units.kind == "head_dims":
            _cut_head_dims(_attention(network, units), units, width, scorer, generator)
    channels = [(units, width) for units, width in removals if units.kind == "channels"]
    if channels:
        graph = _dependency_graph(network, architecture)
        for units, width in channels:
            _cut_channels(graph, network, units, width, scorer, generator)


def survivors(scores: Tensor, width: int) -> list[int]:
    """The best ``width`` units in their old order; of equal ones the first."""
    order = torch.argsort(scores, descending=True, stable=True)
    return sorted(int(index) for index in order[:width])


def _cut_channels(
    graph: Any,
    network: TrackerNetwork,
    units: Units,
    width: int,
    scorer: Scorer,
    generator: torch.Generator,
) -> None:
    layer = network.get_submodule(units.layer)
    pruner = graph.get_pruner_of_module(layer)
    everything = list(range(pruner.get_out_channels(layer)))
    group = graph.get_pruning_group(layer, pruner.prune_out_channels, everything)
    kept = set(survivors(scorer(_weights(group, len(everything)), generator), width))
    doomed = [index for index in everything if index not in kept]
    graph.get_pruning_group(layer, pruner.prune_out_channels, doomed).prune()
    left = pruner.get_out_channels(layer)
    if left != width:
        raise SurgeryError(f"{units.name}: {left} units are left where {width} were asked for")


def _weights(group: Any, count: int) -> list[UnitWeights]:
    found = []
    for item in group:
        layer = item.dep.target.module
        reads = item.dep.handler.__name__ == "prune_in_channels"
        rows = _rows(layer, reads)
        if rows is None:
            continue
        own = rows[torch.tensor(item.idxs)]
        by_unit = own.new_zeros(count, own.shape[1]).index_copy(
            0, torch.tensor(item.root_idxs[: len(own)]), own
        )
        is_norm = isinstance(layer, (nn.BatchNorm2d, nn.LayerNorm))
        role: Literal["writes", "reads", "scales"] = (
            "scales" if is_norm else "reads" if reads else "writes"
        )
        found.append(UnitWeights(str(item.dep.target.name), role, by_unit))
    return found


def _rows(layer: nn.Module, reads: bool) -> Tensor | None:
    """A layer's weights, one row a channel that it writes (or reads)."""
    if isinstance(layer, (nn.Conv2d, nn.Linear)):
        weight = layer.weight.detach()
        return (weight.transpose(0, 1) if reads else weight).flatten(1)
    if isinstance(layer, (nn.BatchNorm2d, nn.LayerNorm)):
        return layer.weight.detach()[:, None]
    if isinstance(layer, Attention):
        return layer.qkv.weight.detach().T if reads else layer.proj.weight.detach()
    return None


def _attention(network: TrackerNetwork, units: Units) -> Attention:
    return cast(Attention, network.get_submodule(units.layer))


def _head_weights(attention: Attention) -> tuple[Tensor, Tensor]:
    """What each head dimension writes (heads, dims, 3 * embed) and what is read of it."""
    heads, dims = attention.heads, attention.head_dim
    qkv = attention.qkv.weight.detach().view(3, heads, dims, -1)
    writes = qkv.permute(1, 2, 0, 3).reshape(heads, dims, -1)
    reads = attention.proj.weight.detach().T.reshape(heads, dims, -1)
    return writes, reads


def _cut_heads(
    attention: Attention, units: Units, width: int, scorer: Scorer, generator: torch.Generator
) -> None:
    writes, reads = _head_weights(attention)
    weights = [
        UnitWeights(units.layer + ".qkv", "writes", writes.flatten(1)),
        UnitWeights(units.layer + ".proj", "reads", reads.flatten(1)),
    ]
    attention.keep_heads(survivors(scorer(weights, generator), width))


def _cut_head_dims(
    attention: Attention, units: Units, width: int, scorer: Scorer, generator: torch.Generator
) -> None:
    writes, reads = _head_weights(attention)
    kept = []
    for head in range(attention.heads):
        weights = [
            UnitWeights(units.layer + ".qkv", "writes", writes[head]),
            UnitWeights(units.layer + ".proj", "reads", reads[head]),
        ]
        kept.append(survivors(scorer(weights, generator), width))
    attention.keep_head_dims(kept)


class _OpaqueAttention(tp.BasePruningFunc):  # type: ignore[misc]
    """Attention as the dependency graph sees it: channels in, channels out."""

    def prune_out_channels(self, layer: Attention, idxs: Sequence[int]) -> nn.Module:
        layer.keep_outputs(_others(idxs, layer.proj.out_features))
        return layer

    def prune_in_channels(self, layer: Attention, idxs: Sequence[int]) -> nn.Module:
        layer.keep_inputs(_others(idxs, layer.qkv.in_features))
        return layer

    def get_out_channels(self, layer: Attention) -> int:
        return layer.proj.out_features

    def get_in_channels(self, layer: Attention) -> int:
        return layer.qkv.in_features


def _others(idxs: Sequence[int], width: int) -> list[int]:
    gone = set(idxs)
    return [index for index in range(width) if index not in gone]


def _dependency_graph(network: TrackerNetwork, architecture: Architecture) -> Any:
    geometry = load(architecture.family).geometry(architecture)
    example = {
        "template_crop": torch.zeros(1, 3, geometry.template_size, geometry.template_size),
        "search_crop": torch.zeros(1, 3, geometry.search_size, geometry.search_size),
    }
    # Positions are added to tokens: their last dimension is the tokens' width.
    positions = [
        (parameter, parameter.ndim - 1)
        for name, parameter in network.named_parameters()
        if "pos_embed" in name
    ]
    with torch.enable_grad():
        return tp.DependencyGraph().build_dependency(
            network,
            example_inputs=example,
            forward_fn=lambda model, inputs: model(**inputs),
            customized_pruners={Attention: _OpaqueAttention()},
            unwrapped_parameters=positions,
            verbose=False,
        )
