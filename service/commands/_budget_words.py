"""How much of each bound of its budget a job has used, in words for a line."""

from collections.abc import Mapping
from typing import Any

_OF_TIME = (("seconds", ""), ("cpu_seconds", " of CPUs"), ("gpu_seconds", " of GPUs"))


def budget_text(summary: Mapping[str, Any]) -> str:
    """Each bound that is given, as used/of; "-" before the job has begun."""
    budget, states = summary.get("budget") or {}, summary.get("states") or {}
    spent, asked = summary.get("spent") or {}, summary.get("asked", 0)
    parts = []
    if budget.get("trials"):
        parts.append(f"{asked - states.get('INFEASIBLE', 0)}/{budget['trials']} trials")
    if budget.get("asked"):
        parts.append(f"{asked}/{budget['asked']} of all kinds")
    for name, of in _OF_TIME:
        if budget.get(name):
            used = duration(spent[name]) if name in spent else "?"
            parts.append(f"{used}/{duration(budget[name])}{of}")
    if budget.get("hypervolume"):
        front = summary.get("hypervolume", 0.0)
        parts.append(f"hypervolume {front:.4f}/{budget['hypervolume']:g}")
    if budget.get("plateau"):
        parts.append(f"{spent.get('since_gain', '?')}/{budget['plateau']} since the front moved")
    return ", ".join(parts) or "-"


def duration(seconds: float) -> str:
    """In the largest unit of which there is more than one and a half."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"
