"""What of a recipe can be tuned, between which bounds; the values that trials begin with.

Hyper-parameters are found by looking at the recipe itself, those in groups as "weights.l1".
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from fnmatch import fnmatch
from math import exp, log
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from search_spaces import ParetrackError, value_from_json
from workers.documents import plain
from workers.training import Recipe

Value = float | int | bool | str | None
NOT_TUNED = ("steps", "seed", "mixed_precision")  # budget, luck, and what a device can do


class RangeError(ParetrackError):
    """A hyper-parameter that does not exist, or bounds that nothing lies between."""


@dataclass(frozen=True, kw_only=True)
class Between:
    """Numbers between two bounds, both included."""

    least: float
    most: float
    log: bool = False
    whole: bool = False

    def at(self, share: float) -> float | int:
        """The value after that share of the way, from 0 to 1."""
        if self.log:
            found = exp(log(self.least) + share * (log(self.most) - log(self.least)))
        else:
            found = self.least + share * (self.most - self.least)
        return self.nearest(found)

    def nearest(self, value: float) -> float | int:
        inside = min(max(value, self.least), self.most)
        return round(inside) if self.whole else float(f"{inside:.6g}")


@dataclass(frozen=True)
class OneOf:
    """One of some values."""

    choices: tuple[Value, ...]

    def at(self, share: float) -> Value:
        return self.choices[min(int(share * len(self.choices)), len(self.choices) - 1)]


Range = Between | OneOf


@dataclass(frozen=True)
class _Times:
    """So many times the starting recipe's value, where that is over 0."""

    least: float
    most: float


# The first pattern that fits a hyper-parameter says where it is looked for, unless a user does.
_USUAL: tuple[tuple[str, _Times | Between], ...] = (
    ("learning_rate", _Times(1 / 4, 4)),
    ("backbone_rate", Between(least=0.1, most=1.0, log=True)),
    ("weight_decay", _Times(1 / 10, 10)),
    ("warmup", Between(least=0.0, most=0.2)),
    ("clip", _Times(1 / 4, 4)),
    ("ema", Between(least=0.8, most=0.999)),
    ("weights.*", _Times(1 / 4, 4)),
    ("*distil*", _Times(1 / 4, 4)),
    ("*replac*", _Times(1 / 4, 4)),
    ("*", _Times(1 / 2, 2)),
)
# What is tuned where nobody says what. Of the loss's weights only their ratios matter.
_TUNED = (
    "learning_rate", "backbone_rate", "weight_decay", "warmup",
    "weights.giou", "weights.l1", "*distil*", "*replac*",
)  # fmt: skip


def hyper_parameters(recipe: Recipe) -> dict[str, Value]:
    """Everything that can be tuned, with its value in this recipe."""
    return {name: value for name, (_, value) in _leaves(recipe).items()}


def usual_ranges(recipe: Recipe) -> dict[str, Range]:
    """What is tuned around this recipe where nobody says what."""
    found: dict[str, Range] = {}
    for name in hyper_parameters(recipe):
        usual = _usual(name, recipe) if any(fnmatch(name, p) for p in _TUNED) else None
        if isinstance(usual, Between):
            found[name] = usual
    return found


def ranges_from_json(data: Any, recipe: Recipe) -> dict[str, Range]:
    """Bounds by hyper-parameter: {"least", "most", "log"}, a list of choices, or null: the usual.

    Every bound must make a recipe.
    """
    if not isinstance(data, Mapping) or not data:
        raise RangeError(
            'say what to vary as {"learning_rate": {"least": 1e-4, "most": 1e-2, "log": true}}, '
            f"got {data!r}"
        )
    known = _leaves(recipe)
    found = {}
    for name, said in data.items():
        if name not in known:
            close = get_close_matches(name, known, n=4, cutoff=0.5)
            listed = ", ".join(dict.fromkeys([*close, *known]))
            raise RangeError(f"a recipe has no hyper-parameter {name!r}; choose from {listed}")
        found[name] = _read(name, said, recipe)
        for value in _ends(found[name]):
            try:
                with_values(recipe, {name: value})
            except ParetrackError as error:
                raise RangeError(f"{name}: {value!r} cannot be tried: {error}") from error
    return found


def with_values(recipe: Recipe, values: Mapping[str, Value]) -> Recipe:
    """The recipe with these hyper-parameters instead."""
    told = plain(recipe)
    for name, value in values.items():
        *groups, last = name.split(".")
        inner = told
        for group in groups:
            inner = inner[group]
        inner[last] = value
    return value_from_json(type(recipe), told)


def values_of(recipe: Recipe, names: Mapping[str, Any]) -> dict[str, Value]:
    """What this recipe has under these names."""
    known = hyper_parameters(recipe)
    return {name: known[name] for name in names}


def drawn(
    recipe: Recipe, ranges: Mapping[str, Range], count: int, seed: int
) -> list[dict[str, Value]]:
    """The hyper-parameters of ``count`` trials: the recipe's own, then points of a Latin square.

    Of n points each has its own n-th of every range, so that few trials still see all of it.
    """
    random = np.random.default_rng(seed)
    others = count - 1
    shares = {
        name: (random.permutation(others) + random.random(others)) / max(others, 1)
        for name in ranges
    }
    points = [
        {name: range_.at(float(shares[name][k])) for name, range_ in ranges.items()}
        for k in range(others)
    ]
    return [values_of(recipe, ranges), *points]


def _leaves(value: Any, prefix: str = "") -> dict[str, tuple[Any, Value]]:
    """Kind and value of everything in a recipe that is one number, name or switch."""
    found: dict[str, tuple[Any, Value]] = {}
    kinds = get_type_hints(type(value))
    for field in fields(value):
        name, inner = f"{prefix}{field.name}", getattr(value, field.name)
        if is_dataclass(inner):
            found |= _leaves(inner, f"{name}.")
        elif name not in NOT_TUNED and _single(kinds[field.name]):
            found[name] = kinds[field.name], inner
    return found


def _single(kind: Any) -> bool:
    if get_origin(kind) in (Union, UnionType):
        return all(_single(part) for part in get_args(kind) if part is not type(None))
    return kind in (int, float, bool) or get_origin(kind) is Literal


def _choices(kind: Any) -> tuple[Value, ...] | None:
    if kind is bool:
        return (False, True)
    return get_args(kind) if get_origin(kind) is Literal else None


def _usual(name: str, recipe: Recipe) -> Range | None:
    """The declared bounds; None where they depend on a value that this recipe does not have."""
    kind, value = _leaves(recipe)[name]
    if (choices := _choices(kind)) is not None:
        return OneOf(choices)
    declared = next(usual for pattern, usual in _USUAL if fnmatch(name, pattern))
    if isinstance(declared, Between):
        return declared
    if not isinstance(value, (int, float)) or value <= 0:
        return None
    least, most = declared.least * value, declared.most * value
    if kind is int:
        return Between(least=max(1, round(least)), most=max(2, round(most)), log=True, whole=True)
    return Between(least=least, most=most, log=True)


def _read(name: str, said: Any, recipe: Recipe) -> Range:
    kind, value = _leaves(recipe)[name]
    if said is None:
        usual = _usual(name, recipe)
        if usual is None:
            raise RangeError(f"{name} is {value!r} at the start: say its least and most")
        return usual
    if isinstance(said, list):
        if len(said) < 2:
            raise RangeError(f"{name}: expected two choices or more, got {said}")
        return OneOf(tuple(said))
    if not isinstance(said, Mapping) or set(said) - {"log"} != {"least", "most"}:
        raise RangeError(f"{name}: expected least, most and perhaps log, or a list, got {said!r}")
    if _choices(kind) is not None:
        raise RangeError(f"{name} is one of {_choices(kind)}: give a list of choices, got {said!r}")
    return _between(name, said, whole=kind is int)


def _between(name: str, said: Mapping[str, Any], whole: bool) -> Between:
    least, most, by_factors = said["least"], said["most"], said.get("log", False)
    if not all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in (least, most)):
        raise RangeError(f"{name}: least and most are numbers, got {least!r} and {most!r}")
    if not least < most:
        raise RangeError(f"{name}: the range is empty: least {least} is not below most {most}")
    if by_factors and least <= 0:
        raise RangeError(f"{name}: with log, least is over 0, got {least}")
    return Between(least=least, most=most, log=bool(by_factors), whole=whole)


def _ends(range_: Range) -> tuple[Value, ...]:
    return range_.choices if isinstance(range_, OneOf) else (range_.at(0.0), range_.at(1.0))
