"""Tracker families that can be searched: one module per family, found by its file name."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, cast

from search_spaces._architecture import from_json, to_json, value_from_json
from search_spaces._errors import ArchitectureError, ParetrackError
from search_spaces._family import Architecture, Family, Units
from search_spaces._geometry import Choice, Geometry, Normalisation
from search_spaces._levers import Layers, Lever, Range, SpaceError
from search_spaces._narrowing import narrowed
from search_spaces._space import (
    Asks,
    Sampled,
    Space,
    default_space,
    largest,
    sample,
    size,
    smallest,
    space_from_json,
    space_to_json,
)

if TYPE_CHECKING:
    from search_spaces._network import TrackerNetwork

__all__ = [
    "Architecture",
    "ArchitectureError",
    "Asks",
    "Choice",
    "Family",
    "Geometry",
    "Layers",
    "Lever",
    "Normalisation",
    "ParetrackError",
    "Range",
    "Sampled",
    "Space",
    "SpaceError",
    "TrackerNetwork",
    "Units",
    "architecture_from_json",
    "architecture_to_json",
    "build",
    "default_space",
    "largest",
    "load",
    "names",
    "narrowed",
    "sample",
    "size",
    "smallest",
    "space_from_json",
    "space_to_json",
    "value_from_json",
]


def __getattr__(name: str) -> Any:
    # The one name that needs torch, which takes seconds to import: commands that only list, check
    # or explain do without it.
    if name == "TrackerNetwork":
        from search_spaces._network import TrackerNetwork

        return TrackerNetwork
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def names() -> list[str]:
    """The families on offer, sorted."""
    return sorted(m.name for m in iter_modules(__path__) if not m.name.startswith("_"))


def load(name: str) -> Family[Any]:
    """The family called ``name``. The cast is made true by tests/contracts."""
    if name not in names():
        raise ArchitectureError(
            f"no tracker family named {name!r}; choose one of {', '.join(names())}"
        )
    return cast(Family[Any], import_module(f"{__name__}.{name}"))


def build(architecture: Architecture) -> TrackerNetwork:
    """The network that an architecture describes, with fresh weights."""
    return load(architecture.family).build(architecture)


def architecture_to_json(architecture: Architecture) -> dict[str, Any]:
    return to_json(architecture)


def architecture_from_json(data: Any) -> Architecture:
    """The architecture that was stored, of whatever family it names."""
    family = data.get("family") if isinstance(data, dict) else None
    if not isinstance(family, str):
        raise ArchitectureError("not an architecture: there is no field 'family'")
    return cast(Architecture, from_json(load(family).Architecture, data))
