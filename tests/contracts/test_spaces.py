"""What every family's search space promises, whichever levers are moved."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from typing import Any

import optuna
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FixedTrial

import search_spaces
from search_spaces import (
    Architecture,
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
from tests.contracts.test_families import (
    FAMILIES,
    LIGHTEST,
    PRESETS,
    every_family,
    every_preset,
    on_paper,
    real_width,
    settled,
)
from workers.cost import measure_cost
from workers.pruning import cut

optuna.logging.set_verbosity(optuna.logging.WARNING)


def tiny(name: str) -> Architecture:
    return FAMILIES[name].PRESETS[LIGHTEST[name]]


@cache
def macs(architecture: Architecture) -> int:
    geometry = FAMILIES[architecture.family].geometry(architecture)
    return measure_cost(on_paper(architecture), geometry).macs_frame


class Drawn:
    """A trial whose answers hypothesis draws, and what it was asked."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data
        self.params: dict[str, Any] = {}

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        steps = self._data.draw(st.integers(0, (high - low) // step), label=name)
        self.params[name] = low + steps * step
        return low + steps * step

    def suggest_categorical(self, name: str, choices: Sequence[bool]) -> bool:
        chosen = self._data.draw(st.sampled_from(choices), label=name)
        self.params[name] = chosen
        return chosen


class Recorded:
    """A trial that answers from a list of numbers and remembers how many answers there were."""

    def __init__(self, answers: Sequence[int]) -> None:
        self._answers = [*answers]
        self.choices: list[int] = []

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        return low + step * self._answer((high - low) // step + 1)

    def suggest_categorical(self, name: str, choices: Sequence[bool]) -> bool:
        return choices[self._answer(len(choices))]

    def _answer(self, count: int) -> int:
        self.choices.append(count)
        return self._answers[len(self.choices) - 1] if self._answers else 0


def every_point(space: Space) -> Iterator[Sampled]:
    """Each combination of parameters, whether or not another means the same."""
    counted = Recorded([])
    sample(space, counted)
    for answers in product(*(range(count) for count in counted.choices)):
        yield sample(space, Recorded(answers))


def written(space: Space, **changes: Any) -> Space:
    return space_from_json(space.whole, {**space_to_json(space), **changes})


@every_preset
def test_the_default_space_of_every_preset_can_be_written_and_read(name: str, preset: str) -> None:
    space = default_space(FAMILIES[name].PRESETS[preset])
    document = json.dumps(space_to_json(space))
    assert space_from_json(space.whole, json.loads(document)) == space
    units = {unit.name: unit for unit in FAMILIES[name].units(space.whole)}
    assert {found.units.name for found in space.free_grids} == {
        unit.name for unit in units.values() if unit.width > 1
    }
    assert len(space.free_layers) == len(FAMILIES[name].layers(space.whole))


@every_preset
def test_the_largest_point_is_the_teacher_itself_and_the_smallest_can_be_built(
    name: str, preset: str
) -> None:
    space = default_space(FAMILIES[name].PRESETS[preset])
    assert largest(space) == Sampled(space.whole, None)
    low = smallest(space)
    network = on_paper(low.architecture)
    widths = {unit.name: unit.width for unit in FAMILIES[name].units(low.architecture)}
    assert all(real_width(network, u) == u.width for u in FAMILIES[name].units(low.architecture))
    assert max(widths.values()) < 0.25 * max(u.width for u in FAMILIES[name].units(space.whole))


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_parameters_of_a_study_rebuild_the_same_point(name: str, preset: str) -> None:
    space = default_space(FAMILIES[name].PRESETS[preset])
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=5))
    asked: list[Mapping[str, Any]] = []
    for _ in range(5):
        trial = study.ask()
        found = sample(space, trial)
        assert sample(space, FixedTrial(trial.params)) == found
        stored = study.trials[trial.number]
        assert sample(space, FixedTrial(stored.params)) == found
        asked.append(stored.distributions)
        study.tell(trial, 0.0)
    assert all(list(one) == list(asked[0]) for one in asked)  # a static space, in one order
    assert all(one == asked[0] for one in asked)


@every_family
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_point_builds_is_decoded_alike_and_lies_between_the_ends(
    name: str, data: st.DataObject
) -> None:
    whole = tiny(name)
    layers = len(FAMILIES[name].layers(whole))
    space = written(
        default_space(whole),
        round_to=data.draw(st.sampled_from([1, 2, 4]), label="round_to"),
        layers={"least": data.draw(st.integers(1, layers - 1), label="least")},
    )
    trial = Drawn(data)
    found = sample(space, trial)
    assert sample(space, FixedTrial(trial.params)) == found

    network = on_paper(found.architecture)
    units = FAMILIES[name].units(found.architecture)
    assert {u.name: real_width(network, u) for u in units} == {u.name: u.width for u in units}
    kept = range(layers) if found.kept_layers is None else found.kept_layers
    assert space.least_layers <= len(kept) == len(FAMILIES[name].layers(found.architecture))
    small, large = smallest(space, macs), largest(space)
    assert macs(small.architecture) <= macs(found.architecture) <= macs(large.architecture)


@every_family
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_any_point_is_what_a_cut_of_the_teacher_makes(name: str, data: st.DataObject) -> None:
    space = default_space(tiny(name))
    found = sample(space, Drawn(data))
    torch.manual_seed(0)
    teacher = settled(search_spaces.build(space.whole))
    network = cut(teacher, space.whole, found.architecture, found.kept_layers)
    fresh = search_spaces.build(found.architecture).state_dict()
    assert {n: t.shape for n, t in network.state_dict().items()} == {
        n: t.shape for n, t in fresh.items()
    }


@every_family
def test_widths_are_given_by_the_names_of_the_teachers_layers(name: str) -> None:
    """Leaving layers out before or after narrowing is the same."""
    whole = tiny(name)
    family = FAMILIES[name]
    layers = family.layers(whole)
    last = len(layers) - 1
    mine = next(u for u in family.units(whole) if u.layer.startswith(f"{layers[last]}."))
    space = space_from_json(whole, {"layers": {"kept_only": [last]}, mine.name: {"least": 1}})
    low = smallest(space)
    shallow = family.with_layers(whole, [last])
    path = family.layers(shallow)[0] + mine.layer.removeprefix(layers[last])
    renamed = next(u.name for u in family.units(shallow) if (u.layer, u.kind) == (path, mine.kind))
    assert low.kept_layers == (last,)
    assert low.architecture == family.with_widths(shallow, {renamed: 1})


@every_family
def test_the_size_is_the_number_of_different_points(name: str) -> None:
    whole = tiny(name)
    family = FAMILIES[name]
    layers = family.layers(whole)
    inside = [
        next(u.name for u in family.units(whole) if u.layer.startswith(f"{path}.") and u.width > 3)
        for path in layers
    ]
    outside = next(
        u.name
        for u in family.units(whole)
        if not any(u.layer.startswith(f"{path}.") for path in layers)
    )
    widths: dict[str, Any] = {outside: {"choices": 2}}
    widths |= {n: {"choices": 3 + i} for i, n in enumerate(inside)}
    for extra in ({}, {"layers": {}}, {"layers": {"least": 1}}, {"layers": {"kept_only": [1]}}):
        gone = {inside[0]} if "kept_only" in extra.get("layers", {}) else set()
        levers = {n: lever for n, lever in widths.items() if n not in gone}
        space = space_from_json(whole, {**levers, **extra})
        points = list(every_point(space))
        assert size(space) == len(set(points)), extra
        fewest = min(macs(point.architecture) for point in points)
        assert macs(smallest(space, macs).architecture) == fewest, extra


@every_family
def test_every_lever_of_the_default_space_may_stand_alone(name: str) -> None:
    whole = tiny(name)
    data = space_to_json(default_space(whole))
    for lever in data.keys() - {"round_to"}:
        alone = space_from_json(whole, {lever: data[lever]})
        assert 1 < size(alone) < size(default_space(whole))
        assert largest(alone) == Sampled(whole, None)
        small = smallest(alone, macs)
        assert macs(small.architecture) < macs(whole)


@every_family
def test_a_lever_that_the_family_lacks_is_answered_with_those_it_has(name: str) -> None:
    with pytest.raises(search_spaces.SpaceError, match=r"'depht'.*layers, channels"):
        space_from_json(tiny(name), {"depht": {"least": 2}})
