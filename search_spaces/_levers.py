"""Levers: what a user lets a search change of a teacher, and the widths that this leaves.

``{"least": 0.1, "most": 1.0, "choices": 8}`` or ``{"least": 8, "most": 48, "step": 8}`` for units,
a number for a width that is fixed, ``{"least": 2}`` or ``{"kept_only": [0, 2]}`` for layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import ceil, floor
from typing import Any

from search_spaces._architecture import value_from_json
from search_spaces._errors import ArchitectureError, ParetrackError
from search_spaces._family import Units

CHOICES = 16  # at most so many widths of one unit, where a lever does not say
_ROUNDING = 1e-9  # 0.07 * 100 is a little over 7


class SpaceError(ParetrackError):
    """A space that cannot be searched."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """Widths from ``least`` to ``most``: numbers of units, or shares (0.5) of what there are.

    ``most: 1`` means all, as 1.0 does (some JSON writers drop the point); ``least: 1`` one unit.
    The widths lie evenly, ``step`` apart or at most ``choices`` of them, counted down from ``most``
    so that this one is always there.
    """

    least: int | float = 1
    most: int | float = 1.0
    choices: int | None = None
    step: int | None = None

    def __post_init__(self) -> None:
        for name in ("least", "most"):
            check_width(getattr(self, name), name)
        if self.choices is not None and self.step is not None:
            raise SpaceError("give 'choices' or 'step', not both")
        if self.choices is not None and self.choices < 2:
            raise SpaceError(
                f"choices: expected at least 2, got {self.choices}; a number alone, without "
                "braces, fixes a width"
            )
        if self.step is not None and self.step < 1:
            raise SpaceError(f"step: expected at least 1 unit, got {self.step}")
        if _is_share(self.least) == _is_share(self.most) and self.least > self.most != 1:
            raise SpaceError(f"least {self.least} is more than most {self.most}")


@dataclass(frozen=True, kw_only=True)
class Layers:
    """Any ``least`` or more of the layers that may be left out, or ``kept_only`` these of them."""

    least: int | None = None  # None: as few as the family can do with
    kept_only: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.least is not None and self.kept_only is not None:
            raise SpaceError("give 'least' or 'kept_only', not both")


Lever = Range | Layers | int | float  # a number: that width or share, nothing to choose


@dataclass(frozen=True)
class Grid:
    """The widths that may be asked for one unit: low, low + step, ... high, never over ``whole``.

    ``high`` is over ``whole`` where the teacher's width is no multiple of ``round_to``.
    """

    units: Units
    low: int
    high: int
    step: int

    @property
    def choices(self) -> int:
        return (self.high - self.low) // self.step + 1

    def width(self, asked: int) -> int:
        return min(asked, self.units.width)


def grid(units: Units, lever: Lever | None, round_to: int) -> Grid:
    """The widths of one unit; a single one where the lever's range holds no two."""
    whole = units.width
    if lever is None:
        return _alone(units, whole)
    multiple = 1 if units.kind == "heads" else round_to  # devices see heads * head_dim
    if isinstance(lever, int):
        return _alone(units, min(lever, whole))
    if isinstance(lever, float):
        nearest = round(lever * whole / multiple) * multiple
        return _alone(units, min(whole, max(multiple, nearest)))
    assert isinstance(lever, Range)
    most = min(whole, _counted(1.0 if lever.most == 1 else lever.most, whole))
    least = max(1.0, _counted(lever.least, whole))
    if most == whole:
        high = ceil(whole / multiple) * multiple
    else:
        high = floor((most + _ROUNDING) / multiple) * multiple
    low = ceil((least - _ROUNDING) / multiple) * multiple
    if low > high:  # no multiple fits: the width that comes closest without being over
        return _alone(units, max(1, floor(most + _ROUNDING)))
    step, steps = _steps((high - low) // multiple, multiple, lever)
    return Grid(units, high - steps * step, high, step)


def _alone(units: Units, width: int) -> Grid:
    return Grid(units, width, width, 1)


def _steps(span: int, multiple: int, lever: Range) -> tuple[int, int]:
    """How far apart widths are, and how often that fits into ``span`` multiples."""
    if lever.step is not None:
        return lever.step, span * multiple // lever.step
    most = (CHOICES if lever.choices is None else lever.choices) - 1
    tries = {max(1, span // most), max(1, ceil(span / most))}
    reach = {at: min(most, span // at) for at in tries}
    best = max(tries, key=lambda at: (at * reach[at], reach[at]))  # the lowest, then the most
    return best * multiple, reach[best]


def _counted(width: int | float, whole: int) -> float:
    return width * whole if _is_share(width) else width


def _is_share(width: int | float) -> bool:
    return isinstance(width, float)


def check_width(width: int | float, name: str = "width") -> None:
    """A number of units from 1, or a share over 0 and up to 1.0."""
    if isinstance(width, int) and not isinstance(width, bool) and width >= 1:
        return
    if not (isinstance(width, float) and 0 < width <= 1):
        raise SpaceError(
            f"{name}: expected a whole number of units from 1 on or a share over 0 and up to 1.0, "
            f"got {width!r}"
        )


def lever_from_json(name: str, data: Any) -> Lever:
    """The lever that a user wrote; an error begins with its name."""
    kind: type[Layers] | type[Range] = Layers if name == "layers" else Range
    known = [field.name for field in fields(kind)]
    form = f"an object with any of {', '.join(known)}" + (", or a number" * (kind is Range))
    try:
        if kind is Range and isinstance(data, (int, float)):
            check_width(data)
            return data
        if not isinstance(data, dict) or not set(data) <= set(known):
            raise SpaceError(f"expected {form}; got {data!r}")
        return value_from_json(kind, data)
    except (ArchitectureError, SpaceError) as error:
        raise SpaceError(f"lever {name!r}: {error}") from error


def lever_to_json(lever: Lever) -> Any:
    if isinstance(lever, (int, float)):
        return lever
    given: Mapping[str, Any] = asdict(lever)
    plain = {name: value for name, value in given.items() if value is not None}
    return {n: list(value) if isinstance(value, tuple) else value for n, value in plain.items()}
