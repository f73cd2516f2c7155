"""What of a recipe can be tuned, and where trials begin."""

from dataclasses import dataclass, field, replace
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.losses import LossWeights
from workers.training import Recipe
from workers.tuning.ranges import (
    Between,
    OneOf,
    Range,
    RangeError,
    drawn,
    hyper_parameters,
    ranges_from_json,
    usual_ranges,
    values_of,
    with_values,
)

START = Recipe(steps=100, learning_rate=0.004, weights=LossWeights(l1=0.2))


@dataclass(frozen=True, kw_only=True)
class Guidance:
    features: float = 0.5
    until: float = 0.0


@dataclass(frozen=True, kw_only=True)
class LaterRecipe(Recipe):
    """As a recipe may be one day."""

    distillation: Guidance = field(default_factory=Guidance)
    temperature: float = 2.0


def test_a_field_that_is_new_in_a_recipe_can_be_tuned_without_a_change_here() -> None:
    later = LaterRecipe(steps=100)
    known = hyper_parameters(later)
    assert known["distillation.features"] == 0.5 and known["temperature"] == 2.0
    assert "distillation.features" in usual_ranges(later)
    ranges = ranges_from_json({"temperature": None, "distillation.features": None}, later)
    assert ranges["temperature"] == Between(least=1.0, most=4.0, log=True)
    tried = with_values(later, {"temperature": 3.0, "distillation.features": 0.25})
    assert tried == replace(later, temperature=3.0, distillation=Guidance(features=0.25))


def test_what_is_usual_lies_around_the_starting_recipe() -> None:
    ranges = usual_ranges(START)
    assert ranges["learning_rate"] == Between(least=0.001, most=0.016, log=True)
    assert ranges["weights.l1"] == Between(least=0.05, most=0.8, log=True)
    assert not {"steps", "seed", "batch", "weights.score", "augmentation.flip"} & set(ranges)


def test_a_weight_that_is_off_is_not_switched_on_unasked() -> None:
    off = replace(START, weights=LossWeights(l1=0))
    assert "weights.l1" not in usual_ranges(off)
    with pytest.raises(RangeError, match=r"weights\.l1 is 0.* say its least and most"):
        ranges_from_json({"weights.l1": None}, off)


@given(count=st.integers(2, 40), seed=st.integers(0, 2**31 - 1))
def test_trials_begin_all_over_every_range_and_the_first_is_the_starting_recipe(
    count: int, seed: int
) -> None:
    ranges: dict[str, Range] = {
        "learning_rate": Between(least=1e-4, most=1e-2, log=True),
        "batch": Between(least=4, most=64, whole=True),
        "schedule": OneOf(("cosine", "drop")),
    }
    first, *others = drawn(START, ranges, count, seed)
    assert first == {"learning_rate": 0.004, "batch": 32, "schedule": "cosine"}
    shares = sorted(log(v["learning_rate"] / 1e-4) / log(100) for v in others)  # type: ignore[operator, arg-type]
    for k, share in enumerate(shares):
        assert k / (count - 1) - 1e-4 <= share <= (k + 1) / (count - 1) + 1e-4
    for values in others:
        tried = with_values(START, values)
        assert 4 <= tried.batch <= 64 and isinstance(tried.batch, int)
        assert values_of(tried, ranges) == values
    assert drawn(START, ranges, count, seed) == [first, *others]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"learning_rat": None}, r"no hyper-parameter 'learning_rat'; choose from learning_rate"),
        ({"l1": None}, r"weights\.l1"),
        ({"steps": {"least": 1, "most": 9}}, "no hyper-parameter 'steps'"),
        ({"learning_rate": {"least": 0.1, "most": 0.1}}, "the range is empty"),
        ({"learning_rate": {"least": 0, "most": 0.1, "log": True}}, "with log, least is over 0"),
        ({"learning_rate": {"least": "a", "most": 0.1}}, "are numbers"),
        ({"learning_rate": {"from": 1, "to": 2}}, "expected least, most"),
        ({"learning_rate": 0.1}, "expected least, most"),
        ({"learning_rate": {"least": -1, "most": 1}}, r"learning_rate: -1.0 cannot be tried"),
        ({"warmup": {"least": 0, "most": 3}}, "warmup is from 0 to less than 1"),
        ({"schedule": ["cosine"]}, "two choices or more"),
        ({"schedule": ["cosine", "linear"]}, "'linear' cannot be tried"),
        ({"schedule": {"least": 0, "most": 1}}, "give a list of choices"),
        ({}, "say what to vary"),
    ],
)
def test_what_cannot_be_varied_is_said(asked: object, said: str) -> None:
    with pytest.raises(RangeError, match=said):
        ranges_from_json(asked, START)
