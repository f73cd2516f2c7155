"""From a wish ("keep half", "10 million multiply-accumulates") to the widths of an architecture."""

from collections.abc import Mapping, Sequence

from search_spaces import Architecture, ParetrackError, load
from workers.cost import cost_of

# What scales a whole network evenly. Heads stay: all of them get fewer dimensions instead.
EVEN_KINDS = frozenset({"channels", "head_dims"})


def narrowed(
    architecture: Architecture,
    *,
    keep: float = 1.0,
    widths: Mapping[str, int] | None = None,
    layers: Sequence[int] | None = None,
    round_to: int = 1,
) -> Architecture:
    """The architecture with only ``layers``, ``keep`` of all other units, and these ``widths``.

    Widths are rounded to multiples of ``round_to`` (devices like 4 or 8) and stay at least that,
    or as they are where they are narrower.
    """
    if not 0 < keep <= 1:
        raise ParetrackError(f"the share to keep is over 0 and at most 1, got {keep}")
    if round_to < 1:
        raise ParetrackError(f"widths are rounded to multiples of 1 or more, got {round_to}")
    family = load(architecture.family)
    if layers is not None:
        architecture = family.with_layers(architecture, layers)
    even = {
        units.name: _rounded(units.width, keep, round_to)
        for units in family.units(architecture)
        if units.kind in EVEN_KINDS
    }
    known = {units.name: units.width for units in family.units(architecture)}
    for name, width in (widths or {}).items():
        if name not in known or not 1 <= width <= known[name]:
            reason = f"1 to {known[name]}" if name in known else f"one of {', '.join(known)}"
            raise ParetrackError(f"width {name}={width}: expected {reason}")
    changed = {**even, **(widths or {})}
    if all(known[name] == width for name, width in changed.items()):
        return architecture
    smaller: Architecture = family.with_widths(architecture, changed)
    return smaller


def within_macs(
    architecture: Architecture,
    macs: float,
    *,
    layers: Sequence[int] | None = None,
    round_to: int = 1,
) -> Architecture:
    """The evenly narrowed architecture closest below this many multiply-accumulates a frame."""
    low, high = 0.0, 1.0
    best = narrowed(architecture, keep=1e-9, layers=layers, round_to=round_to)
    least = cost_of(best).macs_frame
    if least > macs:
        raise ParetrackError(
            f"at least {least:,} multiply-accumulates a frame are left of this tracker, "
            f"got a limit of {macs:,.0f}; leave layers out, or start from a smaller one"
        )
    whole = narrowed(architecture, layers=layers)
    if cost_of(whole).macs_frame <= macs:
        return whole
    for _ in range(12):
        keep = (low + high) / 2
        candidate = narrowed(architecture, keep=keep, layers=layers, round_to=round_to)
        if cost_of(candidate).macs_frame <= macs:
            best, low = candidate, keep
        else:
            high = keep
    return best


def _rounded(width: int, keep: float, round_to: int) -> int:
    if keep == 1:
        return width
    return min(width, max(round_to, round(width * keep / round_to) * round_to))
