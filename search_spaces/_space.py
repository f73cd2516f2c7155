"""What a search may change of one teacher: the space and its decoder, written once.

``sample(space, trial)`` asks an Optuna trial for the parameters and answers the architecture;
``sample(space, FixedTrial(params))`` gives the same again. Every parameter is asked every time, in
one order: ``keep.backbone.blocks.3`` (a boolean for each layer that may be left out), then
``width.layer2.0.conv1`` (a number of units). Names and numbers are the teacher's. Where fewer
layers would stay than the lever's ``least``, the first of those left out come back; the widths of
layers that are left out do not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import search_spaces
from search_spaces._family import Architecture, Units
from search_spaces._levers import (
    Grid,
    Layers,
    Lever,
    Range,
    SpaceError,
    grid,
    lever_from_json,
    lever_to_json,
)
from search_spaces._space_checks import check, check_names, fewest_layers, inside


class Asks(Protocol):
    """An Optuna trial, its FixedTrial, or whatever else answers the same questions."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int: ...

    def suggest_categorical(self, name: str, choices: Sequence[bool]) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class Space:
    """A teacher's architecture and the levers a search may move; what has no lever stays whole.

    A lever is named "layers", after a kind of units ("channels", "heads", "head_dims") or after
    one unit, for which it then stands instead of that of its kind. Widths are multiples of
    ``round_to``, but the teacher's own and fixed ones; heads are counted one by one.
    """

    whole: Architecture
    levers: Mapping[str, Lever]
    round_to: int = 1

    def __post_init__(self) -> None:
        check(self)

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """The teacher's layers that may be left out, by path."""
        return search_spaces.load(self.whole.family).layers(self.whole)

    @cached_property
    def free_layers(self) -> tuple[int, ...]:
        """The layers whose stay is asked for."""
        lever = self.layers_lever
        return () if lever is None or lever.kept_only is not None else self.all_layers

    @cached_property
    def least_layers(self) -> int:
        """Of the layers, at least so many stay."""
        lever = self.layers_lever
        if lever is None:
            return len(self.layers)
        if lever.kept_only is not None:
            return len(lever.kept_only)
        return fewest_layers(self.whole) if lever.least is None else lever.least

    @cached_property
    def grids(self) -> tuple[Grid, ...]:
        """The widths of every unit of the teacher, in its order."""
        units = search_spaces.load(self.whole.family).units(self.whole)
        return tuple(grid(one, self.lever_on(one), self.round_to) for one in units)

    @cached_property
    def free_grids(self) -> tuple[Grid, ...]:
        """The widths that are asked for."""
        gone = [path for i, path in enumerate(self.layers) if i not in self.possible_layers]
        return tuple(
            found
            for found in self.grids
            if found.choices > 1 and not any(inside(found.units, path) for path in gone)
        )

    @property
    def layers_lever(self) -> Layers | None:
        """The lever on layers, if there is one."""
        lever = self.levers.get("layers")
        return lever if isinstance(lever, Layers) else None

    @property
    def all_layers(self) -> tuple[int, ...]:
        """The numbers of ``layers``."""
        return tuple(range(len(self.layers)))

    @property
    def possible_layers(self) -> tuple[int, ...]:
        """The layers that may stay."""
        lever = self.layers_lever
        only = None if lever is None else lever.kept_only
        return self.all_layers if only is None else only

    def lever_on(self, units: Units) -> Lever | None:
        """Its own lever, else that of its kind."""
        return self.levers.get(units.name, self.levers.get(units.kind))


@dataclass(frozen=True)
class Sampled:
    """One point of a space."""

    architecture: Architecture
    kept_layers: tuple[int, ...] | None  # of the teacher's; None: all


def sample(space: Space, trial: Asks) -> Sampled:
    """The architecture that a trial's parameters mean."""
    kept = [
        i
        for i in space.free_layers
        if trial.suggest_categorical(f"keep.{space.layers[i]}", (True, False))
    ]
    widths = {found.units.name: found.low for found in space.grids if found.choices == 1}
    for found in space.free_grids:
        name = found.units.name
        asked = trial.suggest_int(f"width.{name}", found.low, found.high, step=found.step)
        widths[name] = found.width(asked)
    return _built(space, _repaired(space, kept), widths)


def smallest(space: Space, cost: Callable[[Architecture], float] | None = None) -> Sampled:
    """The narrowest and shallowest. Which layers stay is decided by ``cost``, else the first do.

    Layers differ in cost where they differ in shape or decide how many tokens go on, so a bound on
    what a space can reach needs ``cost``. Layers are exchanged one by one while that helps.
    """
    least = space.least_layers if space.free_layers else 0
    kept = frozenset(space.free_layers[:least])
    best = sample(space, _End(space, kept, widest=False))
    if cost is None or least == 0:
        return best
    lowest, improved = cost(best.architecture), True
    while improved:
        improved = False
        for other in _exchanged(kept, space.free_layers):
            tried = sample(space, _End(space, other, widest=False))
            if (price := cost(tried.architecture)) < lowest:
                kept, best, lowest, improved = other, tried, price, True
                break
    return best


def largest(space: Space) -> Sampled:
    """The widest, with all the layers that there may be."""
    return sample(space, _End(space, frozenset(space.free_layers), widest=True))


def size(space: Space) -> int:
    """How many different points there are: widths of layers that are left out do not count."""
    free = [space.layers[i] for i in space.free_layers]
    of_layer = dict.fromkeys(free, 1)
    elsewhere = 1
    for found in space.free_grids:
        path = next((path for path in free if inside(found.units, path)), None)
        if path is None:
            elsewhere *= found.choices
        else:
            of_layer[path] *= found.choices
    with_layers = [1]  # as many points as there are with 0, 1, ... of the layers
    for choices in of_layer.values():
        longer = zip([*with_layers, 0], [0, *with_layers], strict=True)
        with_layers = [out + kept * choices for out, kept in longer]
    return elsewhere * sum(with_layers[space.least_layers if free else 0 :])


def default_space(whole: Architecture) -> Space:
    """What to search for somebody who names nothing: layers, and all widths from a tenth on."""
    family = search_spaces.load(whole.family)
    units = family.units(whole)
    levers: dict[str, Lever] = {}
    if len(family.layers(whole)) > fewest_layers(whole):
        levers["layers"] = Layers()
    for kind in dict.fromkeys(one.kind for one in units if one.width > 1):
        levers[kind] = Range(least=0.1, choices=8)
    rounded = all(one.width >= 8 for one in units if one.kind != "heads")
    return Space(whole=whole, levers=levers, round_to=4 if rounded else 1)


def space_from_json(whole: Architecture, data: Any) -> Space:
    """The space that a user wrote for this teacher: levers by name, and perhaps ``round_to``."""
    if not isinstance(data, dict):
        raise SpaceError(f"a space is an object of levers by name, got {data!r}")
    round_to = data.get("round_to", 1)
    if not isinstance(round_to, int) or isinstance(round_to, bool):
        raise SpaceError(f"round_to: expected a whole number of units, got {round_to!r}")
    written = {name: lever for name, lever in data.items() if name != "round_to"}
    check_names(whole, written)
    levers = {name: lever_from_json(name, lever) for name, lever in written.items()}
    return Space(whole=whole, levers=levers, round_to=round_to)


def space_to_json(space: Space) -> dict[str, Any]:
    """What ``space_from_json`` reads; the teacher is not in it."""
    levers = {name: lever_to_json(lever) for name, lever in space.levers.items()}
    return {"round_to": space.round_to, **levers}


def _exchanged(kept: frozenset[int], free: Sequence[int]) -> list[frozenset[int]]:
    """Every set of layers that differs from this one by a single exchange."""
    others = [i for i in free if i not in kept]
    return [kept - {out} | {new} for out in sorted(kept) for new in others]


class _End:
    """Answers that lead to one end of a space."""

    def __init__(self, space: Space, kept: frozenset[int], widest: bool) -> None:
        self._kept = {f"keep.{space.layers[i]}" for i in kept}
        self._widest = widest

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        return high if self._widest else low

    def suggest_categorical(self, name: str, choices: Sequence[bool]) -> bool:
        return name in self._kept


def _repaired(space: Space, kept: Sequence[int]) -> tuple[int, ...]:
    """The layers that stay: no fewer than the least, no more than the lever lets stay."""
    if not space.free_layers:
        return space.possible_layers
    missing = max(0, space.least_layers - len(kept))
    left_out = [i for i in space.free_layers if i not in kept]
    return tuple(sorted([*kept, *left_out[:missing]]))


def _built(space: Space, kept: tuple[int, ...], widths: Mapping[str, int]) -> Sampled:
    """Widths first, as their names are the teacher's. Nothing changed: the teacher as it is."""
    family = search_spaces.load(space.whole.family)
    architecture: Architecture = space.whole
    whole = {found.units.name: found.units.width for found in space.grids}
    narrower = {name: width for name, width in widths.items() if width != whole[name]}
    if narrower:
        architecture = family.with_widths(architecture, narrower)
    if kept == space.all_layers:
        return Sampled(architecture, None)
    return Sampled(family.with_layers(architecture, kept), kept)
