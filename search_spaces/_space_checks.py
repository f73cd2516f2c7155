"""Whether a space can be searched: every lever exists and leaves a choice."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING

import search_spaces
from search_spaces._errors import ArchitectureError
from search_spaces._family import Architecture, Units
from search_spaces._levers import Layers, Lever, Range, SpaceError, check_width

if TYPE_CHECKING:
    from search_spaces._space import Space


def check(space: Space) -> None:
    """Whether there is something to choose, and every lever chooses."""
    check_names(space.whole, space.levers)
    if space.round_to < 1:
        raise SpaceError(f"round_to: expected at least 1, got {space.round_to}")
    for name, lever in space.levers.items():
        if isinstance(lever, Layers) != (name == "layers"):
            raise SpaceError(f"lever {name!r}: {lever!r} is for {_other_levers(name)}")
        if isinstance(lever, (int, float)):
            check_width(lever, f"lever {name!r}")
    if "layers" in space.levers:
        _check_layers(space)
    for name, lever in space.levers.items():
        _check_widths(space, name, lever)
    if not space.free_layers and not space.free_grids:
        raise SpaceError(
            "nothing is left to choose: every lever is fixed, or there is none; give at least one "
            'a range, such as {"channels": {"least": 0.1}}'
        )


def _other_levers(name: str) -> str:
    return "units" if name == "layers" else "layers"


def check_names(whole: Architecture, levers: Mapping[str, object]) -> None:
    family = search_spaces.load(whole.family)
    units = family.units(whole)
    kinds = list(dict.fromkeys(one.kind for one in units))
    known = [*(["layers"] if family.layers(whole) else []), *kinds, *(one.name for one in units)]
    for name in levers:
        if name not in known:
            close = get_close_matches(str(name), known, n=1)
            hint = f"; did you mean {close[0]!r}? T" if close else ": t"
            raise SpaceError(
                f"no lever {name!r}{hint}his {whole.family} tracker has {', '.join(known)} "
                "(beside them, round_to may be given)"
            )


def _check_layers(space: Space) -> None:
    lever, count = space.layers_lever, len(space.layers)
    assert lever is not None
    if lever.kept_only is not None:
        try:
            search_spaces.load(space.whole.family).with_layers(space.whole, lever.kept_only)
        except ArchitectureError as error:
            raise SpaceError(f"lever 'layers': kept_only: {error}") from error
        return
    fewest = fewest_layers(space.whole)
    if not fewest <= space.least_layers < count:
        raise SpaceError(
            f"lever 'layers': least: expected a number from {fewest} to {count - 1}, got "
            f"{space.least_layers}: this {space.whole.family} tracker has {count} layers that may "
            f"be left out ({', '.join(space.layers)}), needs {fewest} of them, and with all of "
            "them kept there is nothing to choose"
        )


def _check_widths(space: Space, name: str, lever: Lever) -> None:
    """A lever on a kind must leave a choice somewhere, one on a unit there."""
    of_kind = [
        found
        for found in space.grids
        if found.units.kind == name and found.units.name not in space.levers
    ]
    concerned = of_kind or [found for found in space.grids if found.units.name == name]
    if not of_kind and concerned:
        _check_unit(space, name, lever, concerned[0].units)
    if not isinstance(lever, Range) or not concerned:
        return
    multiple = 1 if concerned[0].units.kind == "heads" else space.round_to
    if lever.step is not None and lever.step % multiple:
        raise SpaceError(
            f"lever {name!r}: step {lever.step} is no multiple of round_to {multiple}: the widths "
            "would not be, either"
        )
    if not any(found in space.free_grids for found in concerned):
        widths = sorted({found.units.width for found in concerned})
        there = f"{widths[0]} to {widths[-1]}" if len(widths) > 1 else f"{widths[0]}"
        raise SpaceError(
            f"lever {name!r} leaves one choice only: of {there} units, least {lever.least}, most "
            f"{lever.most} and multiples of {multiple} leave no two widths; make the range wider, "
            "round_to or step smaller, or give a number alone to fix the width"
        )


def _check_unit(space: Space, name: str, lever: Lever, units: Units) -> None:
    """Numbers that one unit cannot have, which a kind of many widths may well be given."""
    asked = [lever.least, lever.most] if isinstance(lever, Range) else [lever]
    over = [width for width in asked if isinstance(width, int) and width > units.width]
    if over:
        raise SpaceError(f"lever {name!r}: there are {units.width} units, got {over[0]}")
    gone = [path for i, path in enumerate(space.layers) if i not in space.possible_layers]
    if any(inside(units, path) for path in gone):
        raise SpaceError(f"lever {name!r}: 'layers' leaves its layer out; leave this lever out too")


def inside(units: Units, path: str) -> bool:
    return f"{units.layer}.".startswith(f"{path}.")


def fewest_layers(whole: Architecture) -> int:
    """As few of its layers as the family builds a tracker with."""
    family = search_spaces.load(whole.family)
    count = len(family.layers(whole))
    for kept in range(count):
        try:
            family.with_layers(whole, range(kept))
        except ArchitectureError:
            continue
        return kept
    return count
