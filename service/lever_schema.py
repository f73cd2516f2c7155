"""JSON Schema of what a search may change of one teacher: the names of its levers and their ranges.

The names are the teacher's own, so its family has to be loaded, and that takes torch: ``levers``
runs in the process beside the API, and ``KnownLevers`` keeps what it has answered.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces import Layers, Range
from service.beside import Beside
from service.document_file import read_object
from service.errors import Problem
from service.job_schema import ABOUT, DIALECT, Schema
from workers.documents import plain

if TYPE_CHECKING:
    from search_spaces import Architecture, Space, Units

_KNOWN = 200  # teachers whose levers a process keeps
_KINDS = {
    "channels": "Output channels of all layers that have no lever of their own.",
    "heads": "Attention heads of all layers that have no lever of their own.",
    "head_dims": "Dimensions of every attention head that has no lever of its own.",
}


@dataclass
class KnownLevers:
    """What was asked before, by the file that it was read from."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _known: OrderedDict[tuple[str, str, int], Schema] = field(default_factory=OrderedDict)

    def of(self, beside: Beside, family: str, folder: Path | None) -> Schema:
        """The schema for a tracker's folder, or for the first preset of a family."""
        stamp = 0 if folder is None else (folder / "architecture.json").stat().st_mtime_ns
        key = (family, str(folder or ""), stamp)
        with self._lock:
            if key in self._known:
                return self._known[key]
        words = {"family": family, "folder": None if folder is None else str(folder)}
        found: Schema | None = beside.ask("levers", **words)
        if found is None:
            detail = "reading this tracker took too long and was given up; ask again"
            raise Problem("unavailable", detail, headers={"Retry-After": "30"})
        with self._lock:
            self._known[key] = found
            while len(self._known) > _KNOWN:
                self._known.popitem(last=False)
        return found


# --- there --------------------------------------------------------------------------------------


def levers(family: str, folder: str | None) -> Schema:
    """What the process beside the API answers."""
    from search_spaces import architecture_from_json, default_space, load
    from workers.checkpoints import ARCHITECTURE
    from workers.teachers import names as shipped

    if folder is None:
        named, whole = next(iter(load(family).PRESETS.items()))
    else:
        at = Path(folder)
        named = at.name if at.name in shipped() else "this teacher"
        whole = architecture_from_json(read_object(at / ARCHITECTURE, "an architecture"))
    return schema(whole, default_space(whole), named)


def schema(whole: "Architecture", usual: "Space", named: str) -> Schema:
    """The space of a job with this teacher, as a schema."""
    from search_spaces import load, size, space_to_json

    units = load(whole.family).units(whole)
    properties: dict[str, Any] = {
        "round_to": {
            "type": "integer",
            "minimum": 1,
            "default": 1,
            "description": "Widths are multiples of it, as the device likes them.",
        }
    }
    if usual.layers:
        properties["layers"] = _layers(usual)
    for kind, many in Counter(one.kind for one in units).items():
        of_kind = [one for one in units if one.kind == kind]
        widest = max(one.width for one in of_kind)
        narrowest = min(one.width for one in of_kind)
        about = f"{_KINDS[kind]} There are {many}, {narrowest} to {widest} wide."
        properties[kind] = _width(about, widest)
    for one in units:
        properties[one.name] = _width(f"{one.kind} of {one.layer}: {one.width}.", one.width)
    return {
        "$schema": DIALECT,
        "title": f"Levers of {named} ({whole.family})",
        "description": "What a search may change of it, and how far; what is not named stays.",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "default": plain(space_to_json(usual)),
        "x-candidates": float(size(usual)),
        "x-layers": list(usual.layers),
        "x-units": _units(units),
    }


def _layers(usual: "Space") -> Schema:
    many = len(usual.layers)
    return {
        "type": "object",
        "description": f"Which of its {many} layers may be left out.",
        "properties": {
            "least": {
                "type": "integer",
                "minimum": usual.least_layers,
                "maximum": many,
                "description": ABOUT[Layers]["least"],
            },
            "kept_only": {
                "type": "array",
                "items": {"type": "integer", "minimum": 0, "maximum": many - 1},
                "uniqueItems": True,
                "description": ABOUT[Layers]["kept_only"],
            },
        },
        "not": {"required": ["least", "kept_only"]},
        "additionalProperties": False,
    }


def _width(about: str, whole: int) -> Schema:
    """A range, or one width: in units, or as a share of what there is."""
    one = [
        {"type": "integer", "minimum": 1, "maximum": whole},
        {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    ]
    said = ABOUT[Range]
    ranged = {
        "type": "object",
        "properties": {
            "least": {"anyOf": one, "default": 1, "description": said["least"]},
            "most": {"anyOf": one, "default": 1.0, "description": said["most"]},
            "choices": {"type": "integer", "minimum": 2, "description": said["choices"]},
            "step": {"type": "integer", "minimum": 1, "description": said["step"]},
        },
        "not": {"required": ["choices", "step"]},
        "additionalProperties": False,
    }
    return {"description": about, "anyOf": [ranged, *one]}


def _units(units: "Sequence[Units]") -> list[dict[str, Any]]:
    """For forms: what can be made narrower, in the network's order."""
    return [
        {"name": one.name, "kind": one.kind, "layer": one.layer, "width": one.width}
        for one in units
    ]
