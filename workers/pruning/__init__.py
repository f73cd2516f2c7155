"""Cutting a trained network down to a smaller architecture: one file per way to choose.

``cut`` is the story: leave layers out, choose which units survive, remove the others through the
dependency graph, rebuild from the architecture alone and make sure that nothing was lost.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from search_spaces import Architecture, ParetrackError, TrackerNetwork, Units, load
from workers.pruning import _origins, magnitude, random_choice
from workers.pruning._origins import Origin, Origins
from workers.pruning._surgery import Scorer, remove_units

__all__ = [
    "METHODS",
    "Origin",
    "Origins",
    "PruningError",
    "cut",
    "cut_with_origins",
    "same_outputs",
]

METHODS: Mapping[str, Scorer] = {
    "magnitude": magnitude.scores,
    "random": random_choice.scores,
}


class PruningError(ParetrackError):
    """A network that cannot be cut as asked."""


def cut(
    network: TrackerNetwork,
    architecture: Architecture,
    target: Architecture,
    kept_layers: Sequence[int] | None,
    method: str = "magnitude",
    seed: int = 0,
) -> TrackerNetwork:
    """A new network of architecture ``target`` with the best of ``network``'s weights."""
    return _cut(network, architecture, target, kept_layers, _scorer(method), seed)


def cut_with_origins(
    network: TrackerNetwork,
    architecture: Architecture,
    target: Architecture,
    kept_layers: Sequence[int] | None,
    method: str = "magnitude",
    seed: int = 0,
) -> tuple[TrackerNetwork, Origins]:
    """What ``cut`` makes and, for every layer of it, which rows of which layer it was."""
    choices: list[Tensor] = []
    recording = _origins.recorded(_scorer(method), choices)
    smaller = _cut(network, architecture, target, kept_layers, recording, seed)
    twin = _origins.numbered(network)
    twin = _cut(twin, architecture, target, kept_layers, _origins.repeated(choices), seed)
    renamed = _new_names(architecture, kept_layers)
    before = {new: old for old, new in renamed.items()}

    def former(name: str) -> str:
        layer = _layer_above(name, before)
        return name if layer is None else before[layer] + name[len(layer) :]

    return smaller, _origins.read(twin, former)


def _scorer(method: str) -> Scorer:
    if method not in METHODS:
        raise PruningError(f"no pruning method {method!r}; choose one of {', '.join(METHODS)}")
    return METHODS[method]


def _cut(
    network: TrackerNetwork,
    architecture: Architecture,
    target: Architecture,
    kept_layers: Sequence[int] | None,
    scorer: Scorer,
    seed: int,
) -> TrackerNetwork:
    if architecture.family != target.family:
        raise PruningError(f"a {architecture.family} network cannot become a {target.family} one")
    if target == architecture and kept_layers is None:
        return copy.deepcopy(network).eval()
    shallow_architecture, shallow = _without_layers(network, architecture, kept_layers)
    removals = _removals(shallow_architecture, target)
    remove_units(shallow, shallow_architecture, removals, scorer, seed)
    return _rebuilt(shallow, target)


def _without_layers(
    network: TrackerNetwork, architecture: Architecture, kept: Sequence[int] | None
) -> tuple[Architecture, TrackerNetwork]:
    """The network without the layers that are not kept; always a copy."""
    family = load(architecture.family)
    before = family.layers(architecture)
    renamed = _new_names(architecture, kept)
    smaller = family.with_layers(architecture, [before.index(old) for old in renamed])
    weights = _renamed(network.state_dict(), before, renamed)
    copy = family.build(smaller)
    wanted = copy.state_dict()
    # Parameters that the cut architecture no longer declares were never used by its forward pass.
    copy.load_state_dict({name: weights[name] for name in wanted})
    return smaller, copy.eval()


def _new_names(architecture: Architecture, kept: Sequence[int] | None) -> dict[str, str]:
    """What the layers that are kept are called before and after the others are left out."""
    family = load(architecture.family)
    before = family.layers(architecture)
    kept = range(len(before)) if kept is None else kept
    wrong = [index for index in kept if not 0 <= index < len(before)]
    if wrong or len(set(kept)) != len(kept) or list(kept) != sorted(kept):
        raise PruningError(
            f"layers to keep are rising numbers from 0 to {len(before) - 1}, got {list(kept)}"
        )
    after = family.layers(family.with_layers(architecture, kept))
    return dict(zip((before[i] for i in kept), after, strict=True))


def _renamed(
    weights: Mapping[str, Tensor], layers: Sequence[str], renamed: Mapping[str, str]
) -> dict[str, Tensor]:
    result: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        layer = _layer_above(name, layers)
        if layer is None:
            result[name] = tensor
        elif layer in renamed:
            result[renamed[layer] + name[len(layer) :]] = tensor
    return result


def _layer_above(name: str, layers: Iterable[str]) -> str | None:
    return next((path for path in layers if name.startswith(path + ".")), None)


def _removals(architecture: Architecture, target: Architecture) -> list[tuple[Units, int]]:
    """Which units must go down to which width, in the network's order."""
    family = load(architecture.family)
    now, wanted = family.units(architecture), family.units(target)
    if [unit.name for unit in now] != [unit.name for unit in wanted]:
        missing = sorted({unit.name for unit in now} ^ {unit.name for unit in wanted})
        raise PruningError(f"the target has other layers than the network: {', '.join(missing)}")
    grown = [
        f"{w.name} {u.width} -> {w.width}"
        for u, w in zip(now, wanted, strict=True)
        if w.width > u.width
    ]
    if grown:
        raise PruningError(f"pruning cannot add units: {', '.join(grown)}")
    return [(u, w.width) for u, w in zip(now, wanted, strict=True) if w.width < u.width]


def _rebuilt(pruned: TrackerNetwork, target: Architecture) -> TrackerNetwork:
    """The same network made from the architecture alone: what will be stored is what was cut."""
    fresh = load(target.family).build(target)
    weights, wanted = pruned.state_dict(), fresh.state_dict()
    wrong = [
        f"{name}: {tuple(weights[name].shape) if name in weights else 'missing'}"
        f" instead of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name not in weights or weights[name].shape != tensor.shape
    ]
    if wrong or set(weights) != set(wanted):
        extra = sorted(set(weights) - set(wanted))
        raise PruningError(f"cutting left a network of another shape: {wrong[:5]} {extra[:5]}")
    fresh.load_state_dict(weights)
    return fresh.eval()


def same_outputs(a: TrackerNetwork, b: TrackerNetwork, template: Tensor, search: Tensor) -> bool:
    """Whether two networks answer the same bits."""
    with torch.inference_mode():
        pairs = zip(a(template, search), b(template, search), strict=True)
        return all(torch.equal(x, y) for x, y in pairs)
