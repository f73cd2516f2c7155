"""What every tracker family promises. A new module of search_spaces/ is tested on arrival."""

import json
from dataclasses import FrozenInstanceError, replace
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import search_spaces
from search_spaces import Architecture, ArchitectureError, Family, Geometry, TrackerNetwork

LIGHT = 2_000_000  # parameters; heavier presets are built without memory for their weights

FAMILIES = {name: search_spaces.load(name) for name in search_spaces.names()}
PRESETS = [(name, preset) for name, family in FAMILIES.items() for preset in family.PRESETS]


def on_paper(architecture: Architecture) -> TrackerNetwork:
    with torch.device("meta"):
        return search_spaces.build(architecture).eval()


@cache
def weight_count(name: str, preset: str) -> int:
    network = on_paper(FAMILIES[name].PRESETS[preset])
    return sum(parameter.numel() for parameter in network.parameters())


LIGHT_PRESETS = [pair for pair in PRESETS if weight_count(*pair) < LIGHT]
LIGHTEST = {
    name: min(FAMILIES[name].PRESETS, key=lambda p: weight_count(name, p)) for name in FAMILIES
}

every_family = pytest.mark.parametrize("name", FAMILIES)
every_preset = pytest.mark.parametrize(("name", "preset"), PRESETS)
every_light_preset = pytest.mark.parametrize(("name", "preset"), LIGHT_PRESETS)


def chosen(name: str, preset: str) -> tuple[Family[Any], Any]:
    return FAMILIES[name], FAMILIES[name].PRESETS[preset]


def lightest(name: str) -> tuple[Family[Any], Any]:
    return chosen(name, LIGHTEST[name])


def crops(geometry: Geometry, batch: int, device: str = "cpu") -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(7)
    sides = geometry.template_size, geometry.search_size
    template, search = (torch.randn(batch, 3, side, side, generator=random) for side in sides)
    return template.to(device), search.to(device)


def settled(network: TrackerNetwork) -> TrackerNetwork:
    """Statistics of batch norms away from 0 and 1, as after training, so that they matter."""
    random = torch.Generator().manual_seed(8)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3, generator=random)
            module.running_var.uniform_(0.5, 2, generator=random)
    return network.eval()


def as_trained(name: str, preset: str) -> tuple[TrackerNetwork, Geometry]:
    family, architecture = chosen(name, preset)
    return settled(family.build(architecture)), family.geometry(architecture)


def corresponding(key: str, new: tuple[str, ...], old: list[str]) -> str:
    """Where the old network keeps what the new one calls ``key``."""
    for mine, theirs in zip(new, old, strict=True):
        if key.startswith(f"{mine}."):
            return theirs + key.removeprefix(mine)
    return key


def inherit(student: TrackerNetwork, teacher: TrackerNetwork, new: Any, old: Any) -> None:
    weights = teacher.state_dict()
    student.load_state_dict(
        {key: weights[corresponding(key, new, old)] for key in student.state_dict()}
    )


@every_preset
def test_an_architecture_names_its_family_and_does_not_change(name: str, preset: str) -> None:
    architecture = FAMILIES[name].PRESETS[preset]
    assert isinstance(architecture, FAMILIES[name].Architecture)
    assert architecture.family == name
    with pytest.raises(FrozenInstanceError):
        architecture.family = "another"
    assert hash(architecture) == hash(replace(architecture))


@every_preset
def test_an_architecture_survives_json(name: str, preset: str) -> None:
    architecture = FAMILIES[name].PRESETS[preset]
    text = json.dumps(search_spaces.architecture_to_json(architecture))
    assert search_spaces.architecture_from_json(json.loads(text)) == architecture


@every_preset
def test_shapes_are_those_that_the_geometry_announces(name: str, preset: str) -> None:
    family, architecture = chosen(name, preset)
    geometry = family.geometry(architecture)
    network = on_paper(architecture)
    template_crop, search_crop = crops(geometry, 2, "meta")
    template = network.template(template_crop)
    maps = network.maps(search_crop, template)
    scores, boxes = network.decode(maps)
    count = geometry.boxes_per_cell * geometry.map_size**2
    assert all(len(tensor) == 2 for tensor in (*template, *maps))
    assert all(tensor.shape[-2:] == (geometry.map_size,) * 2 for tensor in maps)
    assert scores.shape == (2, count)
    assert boxes.shape == (2, count, 4)


@every_light_preset
def test_scores_are_probabilities_and_boxes_have_a_size(name: str, preset: str) -> None:
    network, geometry = as_trained(name, preset)
    template_crop, search_crop = crops(geometry, 3)
    with torch.no_grad():
        scores, boxes = network.frame(search_crop, network.template(template_crop))
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert boxes.isfinite().all()
    assert (boxes[..., 2:] > 0).all()


@every_light_preset
def test_boxes_are_ordered_by_box_of_the_cell_then_row_then_column(name: str, preset: str) -> None:
    network, geometry = as_trained(name, preset)
    with torch.no_grad():
        maps = network(*crops(geometry, 1))
        _, boxes = network.decode(tuple(torch.zeros_like(tensor) for tensor in maps))
    side = geometry.map_size
    grid = boxes.view(geometry.boxes_per_cell, side, side, 4)
    x, y = grid[..., 0], grid[..., 1]
    assert (x.diff(dim=2) > 0).all()
    assert (y.diff(dim=1) > 0).all()
    assert torch.equal(x, x[:, :1].expand_as(x))
    assert torch.equal(y, y[:, :, :1].expand_as(y))


@every_light_preset
def test_the_two_branches_together_are_the_forward_pass(name: str, preset: str) -> None:
    network, geometry = as_trained(name, preset)
    template_crop, search_crop = crops(geometry, 2)
    with torch.no_grad():
        together = network(template_crop, search_crop)
        apart = network.maps(search_crop, network.template(template_crop))
    assert all(torch.equal(a, b) for a, b in zip(together, apart, strict=True))


@every_light_preset
def test_pairs_in_a_batch_do_not_see_each_other(name: str, preset: str) -> None:
    network, geometry = as_trained(name, preset)
    template_crop, search_crop = crops(geometry, 2)
    with torch.no_grad():
        both = network(template_crop, search_crop)
        second = network(template_crop[1:], search_crop[1:])
    for a, b in zip(both, second, strict=True):
        torch.testing.assert_close(a[1:], b, rtol=1e-4, atol=1e-5)


@every_light_preset
def test_every_weight_learns(name: str, preset: str) -> None:
    family, architecture = chosen(name, preset)
    network = family.build(architecture).train()
    maps = network(*crops(family.geometry(architecture), 2))
    sum((tensor.square().sum() for tensor in maps), torch.zeros(())).backward()
    assert [key for key, p in network.named_parameters() if p.grad is None] == []


@every_family
def test_one_seed_builds_one_network(name: str) -> None:
    family, architecture = lightest(name)
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(family.build(architecture).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def real_width(network: nn.Module, unit: search_spaces.Units) -> int:
    layer: Any = network.get_submodule(unit.layer)
    match unit.kind:
        case "channels":
            return int(layer.weight.shape[0])
        case "heads":
            return int(layer.heads)
        case "head_dims":
            return int(layer.head_dim)


@every_preset
def test_units_are_the_widths_that_the_network_has(name: str, preset: str) -> None:
    family, architecture = chosen(name, preset)
    units = family.units(architecture)
    network = on_paper(architecture)
    assert len({unit.name for unit in units}) == len(units)
    assert len({(unit.layer, unit.kind) for unit in units}) == len(units)
    assert {unit.name: unit.width for unit in units} == {
        unit.name: real_width(network, unit) for unit in units
    }


@every_preset
def test_no_changed_width_changes_no_width(name: str, preset: str) -> None:
    family, architecture = chosen(name, preset)
    same = family.with_widths(architecture, {})
    assert family.units(same) == family.units(architecture)
    assert family.with_widths(same, {}) == same
    assert family.geometry(same) == family.geometry(architecture)


@every_family
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_any_widths_can_be_built_and_run(name: str, data: st.DataObject) -> None:
    family, architecture = lightest(name)
    ask = {
        unit.name: data.draw(st.integers(1, unit.width), label=unit.name)
        for unit in family.units(architecture)
    }
    narrow = family.with_widths(architecture, ask)
    network = settled(family.build(narrow))
    assert {unit.name: real_width(network, unit) for unit in family.units(narrow)} == ask
    with torch.no_grad():
        template_crop, search_crop = crops(family.geometry(narrow), 1)
        scores, boxes = network.frame(search_crop, network.template(template_crop))
    assert scores.isfinite().all()
    assert boxes.isfinite().all()


@every_preset
def test_one_unit_of_each_is_enough(name: str, preset: str) -> None:
    family, architecture = chosen(name, preset)
    ones = {unit.name: 1 for unit in family.units(architecture)}
    network = on_paper(family.with_widths(architecture, ones))
    scores, _ = network.decode(network(*crops(family.geometry(architecture), 1, "meta")))
    assert sum(p.numel() for p in network.parameters()) < 0.03 * weight_count(name, preset) + 1000
    assert len(scores) == 1


@every_family
def test_units_that_are_not_there_or_none_left_are_refused_by_name(name: str) -> None:
    family, architecture = lightest(name)
    first = family.units(architecture)[0].name
    with pytest.raises(ArchitectureError, match=r"backbone\.nowhere"):
        family.with_widths(architecture, {"backbone.nowhere": 3})
    with pytest.raises(ArchitectureError, match=first):
        family.with_widths(architecture, {first: 0})


@every_preset
def test_layers_are_parts_of_the_network(name: str, preset: str) -> None:
    family, architecture = chosen(name, preset)
    network = on_paper(architecture)
    paths = family.layers(architecture)
    assert len(set(paths)) == len(paths) > 0
    assert all(list(network.get_submodule(path).parameters()) for path in paths)


@every_light_preset
def test_keeping_all_layers_keeps_the_function(name: str, preset: str) -> None:
    family, architecture = chosen(name, preset)
    paths = family.layers(architecture)
    same = family.with_layers(architecture, range(len(paths)))
    assert family.layers(same) == paths
    teacher, student = settled(family.build(architecture)), family.build(same).eval()
    inherit(student, teacher, paths, list(paths))
    pair = crops(family.geometry(architecture), 1)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(teacher(*pair), student(*pair), strict=True))


@every_light_preset
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_remaining_layers_take_their_weights_along(
    name: str, preset: str, data: st.DataObject
) -> None:
    family, architecture = chosen(name, preset)
    paths = family.layers(architecture)
    kept = sorted(data.draw(st.sets(st.integers(0, len(paths) - 1), min_size=1), label="kept"))
    shallow = family.with_layers(architecture, kept)
    assert len(family.layers(shallow)) == len(kept)
    teacher, student = family.build(architecture), settled(family.build(shallow))
    inherit(student, teacher, family.layers(shallow), [paths[i] for i in kept])
    for new, old in zip(family.layers(shallow), kept, strict=True):
        mine = student.get_submodule(new).state_dict()
        theirs = teacher.get_submodule(paths[old]).state_dict()
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    assert family.geometry(shallow) == family.geometry(architecture)


@every_family
@pytest.mark.parametrize("wrong", ["twice", "backwards", "outside"])
def test_layers_that_cannot_be_kept_are_refused(name: str, wrong: str) -> None:
    family, architecture = lightest(name)
    count = len(family.layers(architecture))
    kept = {"twice": [0, 0], "backwards": [count - 1, 0], "outside": [0, count]}[wrong]
    with pytest.raises(ArchitectureError, match="got"):
        family.with_layers(architecture, kept)


@every_family
@pytest.mark.parametrize("field", ["template_size", "search_size"])
def test_a_crop_without_pixels_is_an_architecture_error(name: str, field: str) -> None:
    family, architecture = lightest(name)
    with pytest.raises(ArchitectureError, match=field):
        family.build(replace(architecture, **{field: 0}))


def test_a_family_that_does_not_exist_is_answered_with_those_that_do() -> None:
    with pytest.raises(ArchitectureError, match=", ".join(search_spaces.names())):
        search_spaces.load("siamese_fc")
