"""Where the rows of a cut network come from: a twin whose weights are row numbers is cut alike.

What then stands in the twin's weights is which rows survived, whatever did the cutting.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_spaces import TrackerNetwork
from workers.pruning._surgery import Scorer, UnitWeights

ROWED = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)


@dataclass(frozen=True)
class Origin:
    """What a layer of a cut network was before: its name, and which of its rows are left."""

    layer: str
    rows: tuple[int, ...]


Origins = Mapping[str, Origin]  # by the name of the layer in the cut network


def recorded(scorer: Scorer, into: list[Tensor]) -> Scorer:
    """The same choices, written down."""

    def scores(weights: list[UnitWeights], generator: torch.Generator) -> Tensor:
        into.append(scorer(weights, generator))
        return into[-1]

    return scores


def repeated(record: list[Tensor]) -> Scorer:
    """The choices that were written down, one after the other."""
    following: Iterator[Tensor] = iter(record)
    return lambda weights, generator: next(following)


def numbered(network: TrackerNetwork) -> TrackerNetwork:
    """A copy in which every weight is the number of its row."""
    twin = copy.deepcopy(network)
    with torch.no_grad():
        for layer in _rowed(twin).values():
            numbers = torch.arange(len(layer.weight), device=layer.weight.device)
            layer.weight.copy_(numbers.view(-1, *(1,) * (layer.weight.ndim - 1)))
    return twin


def read(twin: TrackerNetwork, former: Callable[[str], str]) -> Origins:
    """The origins that a cut twin tells; ``former`` is the name that a layer had before."""
    return {
        name: Origin(
            former(name), tuple(layer.weight.reshape(len(layer.weight), -1)[:, 0].int().tolist())
        )
        for name, layer in _rowed(twin).items()
    }


def _rowed(network: TrackerNetwork) -> dict[str, nn.Conv2d | nn.Linear | nn.BatchNorm2d]:
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, ROWED)}
