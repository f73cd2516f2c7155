"""How much of each bound of its budget a job has used, in words for a line."""

from collections.abc import Mapping
from typing import Any

_OF_TIME = (("seconds", ""), ("cpu_seconds", " of CPUs"), ("gpu_seconds", " of GPUs"))


def budget_text(summary: Mapping[str, Any]) -> str:
    """Each bound that is given, as used/of; "-" before the job has begun."""
    return ", ".join(words for _, words in _bounds(summary)) or "-"


def nearest_text(summary: Mapping[str, Any]) -> str:
    """The bound that will probably end the job, in a cell of a list."""
    return max(_bounds(summary), key=lambda bound: bound[0], default=(0.0, "-"))[1]


def _bounds(summary: Mapping[str, Any]) -> list[tuple[float, str]]:
    """The share that is used of each, and that in words."""
    budget, states = summary.get("budget") or {}, summary.get("states") or {}
    spent, asked = summary.get("spent") or {}, summary.get("asked", 0)
    found: list[tuple[float, str]] = []
    if most := budget.get("trials"):
        tried = asked - states.get("INFEASIBLE", 0)
        found.append((tried / most, f"{tried}/{most} trials"))
    if most := budget.get("asked"):
        found.append((asked / most, f"{asked}/{most} of all kinds"))
    for name, of in _OF_TIME:
        if most := budget.get(name):
            used = duration(spent[name]) if name in spent else "?"
            found.append((spent.get(name, 0.0) / most, f"{used}/{duration(most)}{of}"))
    if most := budget.get("hypervolume"):
        front = summary.get("hypervolume", 0.0)
        found.append((front / most, f"hypervolume {front:.4f}/{most:g}"))
    if most := budget.get("plateau"):
        since = spent.get("since_gain", "?")
        share = spent.get("since_gain", 0) / most
        found.append((share, f"{since}/{most} since the front moved"))
    return found


def duration(seconds: float) -> str:
    """In the largest unit of which there is more than one and a half."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"
