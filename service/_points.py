"""The points of a space of parameters, as Optuna's distributions describe it."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from search_spaces import ParetrackError

Params = Mapping[str, Any]


class OutsideSpaceError(ParetrackError):
    """Parameters that are no point of the space."""


def key_of(params: Params) -> tuple[Any, ...]:
    return tuple(sorted(params.items()))


def choices_of(distribution: BaseDistribution) -> Sequence[Any] | None:
    """Every value, or None where they are continuous."""
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    return distribution.choices if isinstance(distribution, CategoricalDistribution) else None


def size(space: Mapping[str, BaseDistribution]) -> float:
    choices = [choices_of(d) for d in space.values()]
    return math.prod(math.inf if c is None else len(c) for c in choices)


def every_point(space: Mapping[str, BaseDistribution]) -> Iterable[dict[str, Any]]:
    choices = [choices_of(d) or () for d in space.values()]
    return (dict(zip(space, point, strict=True)) for point in itertools.product(*choices))


def draw(random: np.random.Generator, distribution: BaseDistribution) -> Any:
    choices = choices_of(distribution)
    if choices is not None:
        return choices[int(random.integers(len(choices)))]
    assert isinstance(distribution, FloatDistribution)
    return float(random.uniform(distribution.low, distribution.high))


def check(params: Params, space: Mapping[str, BaseDistribution]) -> None:
    """That these parameters are a point of the space."""
    missing, unknown = sorted(space.keys() - params), sorted(params.keys() - space)
    if missing or unknown:
        raise OutsideSpaceError(
            "the parameters do not fit the space"
            + (f"; missing: {', '.join(missing)}" if missing else "")
            + (f"; not in the space: {', '.join(unknown)}" if unknown else "")
        )
    for name, distribution in space.items():
        choices = choices_of(distribution)
        if choices is not None and params[name] not in choices:
            raise OutsideSpaceError(
                f"{name} is {params[name]!r}, but the space offers "
                f"{', '.join(str(c) for c in choices)}"
            )
