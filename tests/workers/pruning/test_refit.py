"""Refitting a cut network: rows are traced, what can be had again is, and nothing is lost."""

import copy
from dataclasses import replace
from typing import cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from search_spaces import Architecture, TrackerNetwork, load
from search_spaces._layers.attention import Attention
from search_spaces.ostrack import Elimination
from tests.workers.test_pruning import crops, trained_like
from workers.pruning import METHODS, cut, cut_with_origins
from workers.pruning import refit as refitting
from workers.pruning._surgery import Scorer, UnitWeights
from workers.pruning.refit import RefitError, refit
from workers.pruning.widths import narrowed

PRESETS = ["siamrpn-tiny", "ostrack-tiny"]


def doubled(architecture: Architecture) -> TrackerNetwork:
    """A network in which the second half of all units repeats what the first half says."""
    torch.manual_seed(0)
    network = load(architecture.family).build(architecture).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.3, 0.3)
    for name, module in network.named_modules():
        for tensor, dim in _rows_of(name, module):
            _repeat(tensor, dim)
    for name, parameter in network.named_parameters():
        if "pos_embed" in name:
            _repeat(parameter.data, 2)
    return network


def _rows_of(name: str, module: nn.Module) -> list[tuple[Tensor, int]]:
    """What a layer holds of each unit that it writes, and along which dimension."""
    if isinstance(module, Attention):
        parts = (module.qkv.weight.data, module.qkv.bias.data)
        return [(part.view(3, module.heads, -1), 1) for part in parts]
    last = ("head.3", "conv2_ctr", "conv2_offset", "conv2_size", "qkv")
    rowed = isinstance(module, (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.LayerNorm))
    if not rowed or name.endswith(last):
        return []
    return [(tensor, 0) for tensor in module.state_dict().values() if tensor.ndim]


def _repeat(rows: Tensor, dim: int) -> None:
    half = rows.shape[dim] // 2
    rows.narrow(dim, half, half).copy_(rows.narrow(dim, 0, half))


def halved(architecture: Architecture) -> Architecture:
    """Half of everything but the dimensions of heads: attention is of what is left of them."""
    family = load(architecture.family)
    widths = {u.name: u.width // 2 for u in family.units(architecture) if u.kind != "head_dims"}
    smaller: Architecture = family.with_widths(architecture, widths)
    return smaller


def even(preset: str) -> Architecture:
    return narrowed(load(preset.split("-")[0]).PRESETS[preset], keep=0.99, round_to=2)


def largest_difference(a: TrackerNetwork, b: TrackerNetwork, pairs: tuple[Tensor, Tensor]) -> float:
    with torch.inference_mode():
        return max(
            float((x - y).abs().max() / y.abs().max())
            for x, y in zip(a(*pairs), b(*pairs), strict=True)
        )


def first(weights: list[UnitWeights], generator: torch.Generator) -> Tensor:
    """Units in their order: of a network that repeats itself, all that is new."""
    return -torch.arange(len(weights[0].rows)).float()


@pytest.mark.parametrize("preset", PRESETS)
def test_half_a_network_that_says_everything_twice_answers_like_the_whole(
    preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cast(dict[str, Scorer], METHODS), "first", first)
    architecture = even(preset)
    teacher = doubled(architecture)
    smaller, origins = cut_with_origins(teacher, architecture, halved(architecture), None, "first")
    as_cut = copy.deepcopy(smaller)

    refit(smaller, teacher, origins, *crops(architecture, 64), ridge=1e-9)

    unseen = tuple(part.flip(0) for part in crops(architecture, 40))
    assert largest_difference(smaller, teacher, unseen) < 1e-4  # type: ignore[arg-type]
    assert largest_difference(as_cut, teacher, unseen) > 1e-2  # type: ignore[arg-type]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_network_that_keeps_everything_stays_as_it_is(preset: str) -> None:
    architecture, teacher = trained_like(preset)
    same, origins = cut_with_origins(teacher, architecture, architecture, None)

    refit(same, teacher, origins, *crops(architecture, 8))

    for name, tensor in same.state_dict().items():
        torch.testing.assert_close(tensor, teacher.state_dict()[name], rtol=1e-3, atol=1e-4)
    assert largest_difference(same, teacher, crops(architecture)) < 1e-4


@pytest.mark.parametrize("preset", PRESETS)
@given(data=st.data())
@settings(max_examples=8, deadline=None)
def test_the_rows_that_are_told_are_those_that_survived(preset: str, data: st.DataObject) -> None:
    """No number stands twice in the teacher: a row is where all of its numbers come from."""
    architecture, teacher = trained_like(preset)
    family = load(architecture.family)
    for parameter in teacher.parameters():
        nn.init.normal_(parameter)
    count = len(family.layers(architecture))
    wanted = sorted(data.draw(st.sets(st.integers(0, count - 1), min_size=1), label="layers"))
    shallow = family.with_layers(architecture, wanted)
    widths = {u.name: data.draw(st.integers(1, u.width)) for u in family.units(shallow)}
    target = family.with_widths(shallow, widths)
    method = data.draw(st.sampled_from(sorted(METHODS)))

    smaller, origins = cut_with_origins(teacher, architecture, target, wanted, method, 3)

    alike = cut(teacher, architecture, target, wanted, method, 3).state_dict()
    assert all(torch.equal(tensor, alike[name]) for name, tensor in smaller.state_dict().items())
    before = [family.layers(architecture)[i] for i in wanted]
    paths = dict(zip(family.layers(shallow), before, strict=True))
    rowed = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)
    layers = {name: layer for name, layer in smaller.named_modules() if isinstance(layer, rowed)}
    assert set(origins) == set(layers)
    for name, layer in layers.items():
        path = next((path for path in paths if name.startswith(path + ".")), "")
        assert origins[name].layer == paths.get(path, "") + name[len(path) :]
        whole = cast(Tensor, teacher.get_submodule(origins[name].layer).weight)
        for row, number in zip(layer.weight, origins[name].rows, strict=True):
            assert [n for n, of in enumerate(whole) if torch.isin(row, of).all()] == [number]


@pytest.mark.parametrize("preset", PRESETS)
def test_refitting_twice_gives_the_same_bits_and_leaves_the_teacher_alone(preset: str) -> None:
    architecture, teacher = trained_like(preset)
    before = copy.deepcopy(teacher.state_dict())
    target = narrowed(architecture, keep=0.5)
    found = []
    for number in range(2):
        torch.manual_seed(number)
        smaller, origins = cut_with_origins(teacher, architecture, target, None)
        refit(smaller, teacher, origins, *crops(architecture, 20))
        found.append(smaller.state_dict())
    assert all(torch.equal(tensor, found[1][name]) for name, tensor in found[0].items())
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())


@pytest.mark.parametrize("preset", PRESETS)
def test_it_comes_closer_to_the_teacher_with_layers_left_out_and_little_memory(
    preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few answers of the teacher at a time, at a part of the positions, are enough too."""
    monkeypatch.setattr(refitting, "HELD", 30_000)
    monkeypatch.setattr(refitting, "POSITIONS", 2_000)
    architecture, teacher = trained_like(preset)
    target = narrowed(architecture, keep=0.7, layers=[1])
    smaller, origins = cut_with_origins(teacher, architecture, target, [1])
    as_cut = copy.deepcopy(smaller)
    told: list[tuple[int, int]] = []

    refit(
        smaller, teacher, origins, *crops(architecture, 24),
        report=lambda done, total: told.append((done, total)),
    )  # fmt: skip

    assert told == [(i, len(origins)) for i in range(1, len(origins) + 1)]
    assert squared_error(smaller, teacher) < 0.8 * squared_error(as_cut, teacher)


def squared_error(a: TrackerNetwork, b: TrackerNetwork) -> float:
    architecture = next(p for p in PRESETS if p.startswith(type(b).__module__.rpartition(".")[2]))
    pairs = crops(load(architecture.split("-")[0]).PRESETS[architecture], 40)
    with torch.inference_mode():
        maps = zip(a(*pairs), b(*pairs), strict=True)
        return sum(float((x - y).square().mean() / y.var()) for x, y in maps)


def test_networks_that_drop_tokens_are_compared_on_all_of_them() -> None:
    """Where both drop some, each drops its own; kept whole, nothing is to be learnt or lost."""
    architecture, plain = trained_like("ostrack-tiny")
    dropping = replace(architecture, elimination=Elimination(blocks=(0,), keep=0.5))
    teacher = load("ostrack").build(dropping).eval()
    teacher.load_state_dict(plain.state_dict())
    found = []
    for each, of in ((teacher, dropping), (plain, architecture)):
        smaller, origins = cut_with_origins(each, of, narrowed(of, keep=0.5), None)
        refit(smaller, each, origins, *crops(architecture, 8))
        found.append(smaller.state_dict())
    assert all(torch.equal(tensor, found[1][name]) for name, tensor in found[0].items())
    pairs = crops(architecture)
    with torch.inference_mode():  # it drops tokens again
        assert not torch.equal(teacher(*pairs)[0], plain(*pairs)[0])


def test_networks_for_crops_of_other_sizes_are_not_compared() -> None:
    architecture, teacher = trained_like("siamrpn-tiny")
    smaller, origins = cut_with_origins(
        teacher, architecture, narrowed(architecture, keep=0.5), None
    )
    cast(nn.Conv2d, smaller.get_submodule("backbone.conv1")).stride = (3, 3)
    with pytest.raises(RefitError, match=r"backbone.conv1 looks at \d+ positions"):
        refit(smaller, teacher, origins, *crops(architecture, 4))
