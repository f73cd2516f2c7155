"""The modules of a network that an architecture means: what each is, costs and holds, and how many
tokens leave its layers. Built without weights, and run once.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from search_spaces import Architecture, TrackerNetwork, load
from workers.cost import cost_by_layer

_KEPT = 16  # networks whose parts a process keeps


@dataclass(frozen=True)
class NetworkParts:
    """A network's modules by their paths."""

    kinds: Mapping[str, str]
    macs: Mapping[str, int]
    parameters: Mapping[str, int]
    tokens: Mapping[str, int]  # of layers that work on tokens


def parts_of(architecture: Architecture) -> NetworkParts:
    """The parts of the network that this architecture means."""
    # Architectures are frozen dataclasses, which their protocol cannot say.
    return _built(cast(Hashable, architecture))


@lru_cache(_KEPT)
def _built(key: Hashable) -> NetworkParts:
    architecture = cast(Architecture, key)
    family = load(architecture.family)
    with torch.device("meta"):
        network = family.build(architecture)
    with _tokens_counted(network, family.layers(architecture)) as tokens:
        macs = cost_by_layer(network, family.geometry(architecture))
    parameters: dict[str, int] = {}
    for name, parameter in network.named_parameters():
        path = name.rpartition(".")[0]
        parameters[path] = parameters.get(path, 0) + parameter.numel()
    kinds = {path: type(module).__name__ for path, module in network.named_modules()}
    return NetworkParts(kinds, macs, parameters, tokens)


@contextmanager
def _tokens_counted(network: TrackerNetwork, layers: Sequence[str]) -> Iterator[dict[str, int]]:
    """By layer: how many tokens left it when it ran last."""
    found: dict[str, int] = {}

    def note(path: str, out: Any) -> None:
        first = next((each for each in tree_leaves(out) if isinstance(each, Tensor)), None)
        if first is not None and first.ndim == 3:  # (videos, tokens, channels)
            found[path] = first.shape[1]

    handles = [
        network.get_submodule(path).register_forward_hook(
            lambda _module, _given, out, at=path: note(at, out)
        )
        for path in layers
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
