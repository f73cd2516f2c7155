"""Cutting: real removal, down to one unit, in every family; the right units; nothing skipped."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from search_spaces import Architecture, ParetrackError, TrackerNetwork, load
from workers.checkpoints import load_tracker, save_tracker
from workers.pruning import METHODS, cut
from workers.pruning.widths import narrowed, within_macs

PRESETS = ["siamrpn-tiny", "ostrack-tiny"]


def trained_like(preset: str) -> tuple[Architecture, TrackerNetwork]:
    """A network whose batch norms are not the identity."""
    family = load(preset.split("-")[0])
    architecture = family.PRESETS[preset]
    torch.manual_seed(0)
    network = family.build(architecture).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
            module.running_mean.uniform_(-0.2, 0.2)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return architecture, network


def crops(architecture: Architecture, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    geometry = load(architecture.family).geometry(architecture)
    generator = torch.Generator().manual_seed(1)
    sizes = (geometry.template_size, geometry.search_size)
    template, search = (torch.randn(batch, 3, s, s, generator=generator) for s in sizes)
    return template, search


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("keep", [0.5, 0.1, 0.01])
def test_every_group_goes_down_to_its_width_and_the_network_still_runs(
    preset: str, keep: float
) -> None:
    architecture, network = trained_like(preset)
    target = narrowed(architecture, keep=keep)

    smaller = cut(network, architecture, target, None)

    before = sum(parameter.numel() for parameter in network.parameters())
    after = sum(parameter.numel() for parameter in smaller.parameters())
    assert after < before * max(keep * 1.2, 0.05)
    fresh = load(target.family).build(target)
    assert after == sum(parameter.numel() for parameter in fresh.parameters())
    with torch.inference_mode():
        assert all(torch.isfinite(part).all() for part in smaller(*crops(architecture)))


@pytest.mark.parametrize("preset", PRESETS)
@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_any_mixture_of_widths_gives_exactly_these_widths(preset: str, data: st.DataObject) -> None:
    architecture, network = trained_like(preset)
    family = load(architecture.family)
    widths = {
        units.name: data.draw(st.integers(1, units.width), label=units.name)
        for units in family.units(architecture)
    }
    target = family.with_widths(architecture, widths)

    smaller = cut(network, architecture, target, None, data.draw(st.sampled_from(sorted(METHODS))))

    reached = {units.name: units.width for units in family.units(target)}
    assert reached == widths
    for units in family.units(target):
        if units.kind == "channels":
            layer = smaller.get_submodule(units.layer)
            assert len(layer.weight) == units.width  # type: ignore[arg-type]


# Groups that can be silenced in one place: in the norm after them, or before a GELU.
SILENCED_AT = {
    "siamrpn-tiny": {
        "layer1.0.conv1": "backbone.layer1.0.bn1",
        "layer3.1.conv1": "backbone.layer3.1.bn1",
        "layer3.1.conv2": "backbone.layer3.1.bn2",
        "rpn2.cls.hidden": "rpn_head.rpn2.cls.head.1",
        "rpn3.loc.hidden": "rpn_head.rpn3.loc.head.1",
    },
    "ostrack-tiny": {
        "backbone.stem.0": "backbone.stem.0.1",
        "backbone.blocks.0.mlp": "backbone.blocks.0.mlp.fc1",
        "backbone.blocks.1.mlp": "backbone.blocks.1.mlp.fc1",
        "box_head.conv1_ctr": "box_head.conv1_ctr.1",
        "box_head.conv1_size": "box_head.conv1_size.1",
    },
}


@pytest.mark.parametrize("preset", PRESETS)
def test_cutting_units_that_say_nothing_changes_nothing(preset: str) -> None:
    """The silent ones are those that go, and what read them loses the right inputs."""
    architecture, network = trained_like(preset)
    family = load(architecture.family)
    groups = {u.name: u for u in family.units(architecture) if u.name in SILENCED_AT[preset]}
    assert set(groups) == set(SILENCED_AT[preset])
    for name, path in SILENCED_AT[preset].items():
        silent = torch.arange(1, groups[name].width, 2)
        layer, source = network.get_submodule(path), network.get_submodule(groups[name].layer)
        with torch.no_grad():
            for part in (layer.weight, layer.bias, source.weight):
                part[silent] = 0  # type: ignore[index, operator]
    target = family.with_widths(
        architecture, {n: u.width - u.width // 2 for n, u in groups.items()}
    )

    smaller = cut(network, architecture, target, None)

    with torch.inference_mode():
        for a, b in zip(network(*crops(architecture)), smaller(*crops(architecture)), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_layers_that_are_kept_are_the_teachers() -> None:
    architecture, network = trained_like("ostrack-tiny")
    family = load("ostrack")
    target = family.with_layers(architecture, [1])

    smaller = cut(network, architecture, target, [1])

    kept = network.get_submodule("backbone.blocks.1").state_dict()
    for name, tensor in smaller.get_submodule("backbone.blocks.0").state_dict().items():
        assert torch.equal(tensor, kept[name]), name


def test_layers_and_widths_can_be_cut_at_once() -> None:
    architecture, network = trained_like("ostrack-tiny")
    target = narrowed(architecture, keep=0.5, layers=[1], round_to=2)
    smaller = cut(network, architecture, target, [1])
    assert len(smaller.get_submodule("backbone.blocks")) == 1  # type: ignore[arg-type]


def test_the_teacher_is_not_touched() -> None:
    architecture, network = trained_like("siamrpn-tiny")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    cut(network, architecture, narrowed(architecture, keep=0.3), None)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_magnitude_keeps_the_large_units_and_random_is_a_matter_of_the_seed() -> None:
    architecture, network = trained_like("ostrack-tiny")
    family = load("ostrack")
    with torch.no_grad():
        fc1 = network.get_submodule("backbone.blocks.0.mlp.fc1")
        fc1.weight[::2] *= 10  # type: ignore[operator, index]
    name = "backbone.blocks.0.mlp"
    width = len(fc1.weight) // 2  # type: ignore[arg-type]
    target = family.with_widths(architecture, {name: width})

    def kept(method: str, seed: int = 0) -> torch.Tensor:
        smaller = cut(network, architecture, target, None, method, seed)
        return smaller.get_submodule(name + ".fc1").weight.detach()  # type: ignore[return-value, operator]

    assert torch.equal(kept("magnitude"), fc1.weight[::2].detach())  # type: ignore[index, operator]
    assert torch.equal(kept("random", 1), kept("random", 1))
    assert not torch.equal(kept("random", 1), kept("random", 2))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_cut_candidate_answers_the_same_bits_in_a_new_process(
    preset: str, tmp_path: Path
) -> None:
    architecture, network = trained_like(preset)
    target = narrowed(architecture, keep=0.6)
    smaller = cut(network, architecture, target, None)
    save_tracker(tmp_path, target, smaller)
    torch.set_num_threads(1)
    with torch.inference_mode():
        here = [part.double().sum().item() for part in smaller(*crops(architecture))]
    script = (
        "import json, sys, torch; torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "from workers.checkpoints import load_tracker\n"
        "from tests.workers.test_pruning import crops\n"
        "from search_spaces import load\n"
        f"architecture, network = load_tracker(Path({str(tmp_path)!r}))\n"
        f"with torch.inference_mode():\n"
        f"    parts = network(*crops(architecture))\n"
        "print(json.dumps([part.double().sum().item() for part in parts]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == here
    again_architecture, again = load_tracker(tmp_path)
    assert again_architecture == target
    with torch.inference_mode():
        for a, b in zip(smaller(*crops(target)), again(*crops(target)), strict=True):
            assert torch.equal(a, b)


def test_a_budget_of_multiply_accumulates_is_kept_and_used() -> None:
    from workers.cost import measure_cost

    architecture, _ = trained_like("siamrpn-tiny")
    family = load("siamrpn")
    geometry = family.geometry(architecture)
    full = measure_cost(family.build(architecture), geometry).macs_frame

    target = within_macs(architecture, full * 0.4)

    reached = measure_cost(family.build(target), geometry).macs_frame
    assert 0.25 * full < reached <= 0.4 * full
    with pytest.raises(ParetrackError, match="multiply-accumulates a frame are left"):
        within_macs(architecture, 10)


def test_widths_are_multiples_of_what_the_device_likes_or_the_old_ones() -> None:
    architecture, _ = trained_like("siamrpn-tiny")
    family = load("siamrpn")
    before = {units.name: units.width for units in family.units(architecture)}
    for keep in (0.01, 0.15, 0.5, 0.99):
        for units in family.units(narrowed(architecture, keep=keep, round_to=4)):
            assert units.width % 4 == 0 or units.width == before[units.name]
            assert units.width >= min(4, before[units.name])
    assert narrowed(architecture, keep=1.0, round_to=7) == architecture


def test_a_limit_over_the_cost_of_the_whole_network_keeps_it_whole() -> None:
    architecture, _ = trained_like("ostrack-tiny")
    assert within_macs(architecture, 1e12) == architecture


def test_a_network_with_tokens_that_only_published_files_have_can_be_judged_uncut() -> None:
    architecture = replace(load("ostrack").PRESETS["ostrack-tiny"], imagenet_tokens=5)
    network = load("ostrack").build(architecture)
    same = cut(network, architecture, architecture, None)
    assert set(same.state_dict()) == set(network.state_dict())
    smaller = cut(network, architecture, narrowed(architecture, keep=0.5), None)
    assert "backbone.cls_token" not in smaller.state_dict()


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"keep": 0.0}, "share to keep"),
        ({"keep": 1.5}, "share to keep"),
        ({"round_to": 0}, "multiples"),
        ({"widths": {"nothing": 3}}, "nothing=3"),
        ({"widths": {"backbone.blocks.0.mlp": 10_000}}, "1 to"),
        ({"layers": [5]}, "layers"),
    ],
)
def test_impossible_wishes_are_refused_with_what_is_possible(
    wish: dict[str, object], message: str
) -> None:
    architecture, _ = trained_like("ostrack-tiny")
    with pytest.raises(ParetrackError, match=message):
        narrowed(architecture, **wish)  # type: ignore[arg-type]


def test_methods_families_and_growth_are_checked() -> None:
    architecture, network = trained_like("ostrack-tiny")
    other, _ = trained_like("siamrpn-tiny")
    with pytest.raises(ParetrackError, match="magnitude"):
        cut(network, architecture, architecture, None, "wishful")
    with pytest.raises(ParetrackError, match="cannot become"):
        cut(network, architecture, other, None)
    smaller = narrowed(architecture, keep=0.5)
    with pytest.raises(ParetrackError, match="cannot add units"):
        cut(load("ostrack").build(smaller), smaller, architecture, None)
