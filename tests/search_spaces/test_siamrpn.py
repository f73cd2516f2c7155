from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from search_spaces import (
    ArchitectureError,
    architecture_from_json,
    architecture_to_json,
    siamrpn,
)
from search_spaces._layers.anchors import Anchors, anchor_boxes
from search_spaces._layers.correlation import depthwise_correlation
from search_spaces._layers.resnet import Block, Stem

R50 = siamrpn.PRESETS["siamrpn-r50"]
SMALL = siamrpn.PRESETS["siamrpn-small"]
TINY = siamrpn.PRESETS["siamrpn-tiny"]


def test_the_published_network_has_the_published_keys_and_size() -> None:
    with torch.device("meta"):
        network = siamrpn.build(R50)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert len(shapes) == 458
    assert sum(parameter.numel() for parameter in network.parameters()) == 53_950_624
    assert shapes["backbone.conv1.weight"] == (64, 3, 7, 7)
    assert shapes["backbone.layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
    assert shapes["backbone.layer3.0.downsample.0.weight"] == (1024, 512, 3, 3)
    assert shapes["backbone.layer4.2.bn3.running_var"] == (2048,)
    assert shapes["neck.downsample4.downsample.0.weight"] == (256, 2048, 1, 1)
    assert shapes["rpn_head.rpn2.cls.conv_kernel.0.weight"] == (256, 256, 3, 3)
    assert shapes["rpn_head.rpn4.loc.head.3.bias"] == (20,)
    assert shapes["rpn_head.cls_weight"] == shapes["rpn_head.loc_weight"] == (3,)


def test_the_published_network_answers_25_by_25_cells_from_5_by_5_kernels() -> None:
    with torch.device("meta"):
        network = siamrpn.build(R50)
        kernels = network.template(torch.empty(2, 3, 127, 127))
        cls, loc = network.maps(torch.empty(2, 3, 255, 255), kernels)
    assert [tuple(kernel.shape) for kernel in kernels] == [(2, 256, 5, 5)] * 6
    assert (cls.shape, loc.shape) == ((2, 10, 25, 25), (2, 20, 25, 25))


def test_the_published_tracker_sees_raw_bgr_and_chooses_as_published() -> None:
    geometry = siamrpn.geometry(R50)
    assert (geometry.map_size, geometry.boxes_per_cell) == (25, 5)
    assert (geometry.rule, geometry.context, geometry.padding) == ("context", 0.5, "mean")
    normalisation = geometry.normalisation
    assert (normalisation.order, normalisation.scale, normalisation.std) == ("bgr", 1.0, (1,) * 3)
    choice = geometry.choice
    assert (choice.window, choice.window_shape, choice.clip) == ("blend", "zero_border", "centre")
    assert (choice.change_penalty, choice.window_weight, choice.size_rate) == (0.05, 0.42, 0.38)


def test_published_anchors_have_the_published_numbers() -> None:
    sizes = [(104, 32), (88, 40), (64, 64), (40, 80), (32, 96)]  # pysot's, for a target of 64 px
    expected = [
        (127.5 + 8 * (column - 12), 127.5 + 8 * (row - 12), *size)
        for size in sizes
        for row in range(25)
        for column in range(25)
    ]
    boxes = anchor_boxes(R50.anchors, map_size=25, search_size=255)
    assert torch.equal(boxes, torch.tensor(expected))


@given(
    stride=st.sampled_from([4, 8, 16]),
    ratios=st.lists(st.floats(0.3, 3.0), min_size=1, max_size=5),
    side=st.integers(1, 9),
    size=st.integers(20, 120),
)
def test_the_anchor_grid_lies_symmetrically_in_the_crop(
    stride: int, ratios: list[float], side: int, size: int
) -> None:
    anchors = Anchors(stride=stride, ratios=tuple(ratios), scale=2.0)
    boxes = anchor_boxes(anchors, side, size).view(len(ratios), side, side, 4)
    mirrored = boxes.flip(1, 2)
    torch.testing.assert_close(
        boxes[..., :2] + mirrored[..., :2], torch.full_like(boxes[..., :2], size)
    )


@settings(deadline=None, max_examples=20)
@given(
    batch=st.integers(1, 3),
    channels=st.integers(1, 4),
    kernel=st.integers(1, 3),
    padding=st.integers(0, 2),
)
def test_each_image_is_correlated_with_its_own_kernels(
    batch: int, channels: int, kernel: int, padding: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    search = torch.randn(batch, channels, 5, 5, generator=generator)
    kernels = torch.randn(batch, channels, kernel, kernel, generator=generator)
    answer = depthwise_correlation(search, kernels, padding)
    padded = F.pad(search, (padding,) * 4)
    for row in range(answer.shape[2]):
        for column in range(answer.shape[3]):
            patch = padded[:, :, row : row + kernel, column : column + kernel]
            expected = (patch * kernels).sum(dim=(2, 3))
            torch.testing.assert_close(answer[:, :, row, column], expected)
    assert answer.shape[2:] == (5 + 2 * padding - kernel + 1,) * 2


def test_two_branches_answer_as_the_whole_network_and_each_image_for_itself() -> None:
    network = _randomised(TINY)
    templates, searches = _crops(TINY, batch=3)
    with torch.no_grad():
        together = network(templates, searches)
        kernels = network.template(templates)
        for a, b in zip(together, network.maps(searches, kernels), strict=True):
            assert torch.equal(a, b)
        second = network.maps(searches[1:2], tuple(kernel[1:2] for kernel in kernels))
    for a, b in zip(together, second, strict=True):
        torch.testing.assert_close(a[1:2], b)


def test_another_template_changes_the_answer() -> None:
    network = _randomised(TINY)
    templates, searches = _crops(TINY, batch=2)
    with torch.no_grad():
        right, wrong = network(templates, searches)[0], network(templates.flip(0), searches)[0]
    assert (right - wrong).abs().max() > 0.1 * right.std()


def test_the_score_peaks_at_the_anchor_that_lies_on_the_target() -> None:
    torch.manual_seed(0)
    network = siamrpn.build(SMALL).eval()
    branch = network.rpn_head.levels()[0].cls
    branch.conv_search.load_state_dict(branch.conv_kernel.state_dict())
    side = siamrpn.geometry(SMALL).map_size
    target = torch.randn(1, 3, 56, 56)
    for row, column in ((3, 4), (5, 6), (7, 4)):
        cx, cy = network.anchor_boxes.view(-1, side, side, 4)[0, row, column, :2].int().tolist()
        search = torch.zeros(1, 3, 3 * 96, 3 * 96)
        search[..., 96 + cy - 28 : 96 + cy + 28, 96 + cx - 28 : 96 + cx + 28] = target
        with torch.no_grad():
            stages = network.backbone(search[..., 96:192, 96:192])
            features = network.neck([stages[-1]])[0]
            kernel = network.template(target)[0]
            found = depthwise_correlation(branch.conv_search(features), kernel, branch.padding)
        assert divmod(int(found.sum(1).argmax()), side) == (row, column)


def test_decoding_reads_anchor_then_row_then_column() -> None:
    network = siamrpn.build(TINY).eval()
    side, count = 8, 3
    cls, loc = torch.zeros(1, 2 * count, side, side), torch.zeros(1, 4 * count, side, side)
    anchor, row, column = 2, 1, 5
    cls[0, count + anchor, row, column] = 3.0  # the second half of the channels: "target"
    loc[0, torch.arange(4) * count + anchor, row, column] = torch.tensor([0.5, -0.25, 0.1, -0.2])
    scores, boxes = network.decode((cls, loc))
    best = int(scores[0].argmax())
    assert best == (anchor * side + row) * side + column
    assert scores[0, best].item() == pytest.approx(1 / (1 + np.exp(-3.0)))
    # 8 px stride, ratio 2: int(8 / sqrt(2)) = 5 and 10, times 3.5; the grid begins at 4 px.
    expected = [44 + 0.5 * 17.5, 12 - 0.25 * 35, 17.5 * np.exp(0.1), 35 * np.exp(-0.2)]
    assert boxes[0, best].tolist() == pytest.approx(expected)
    assert torch.equal(boxes[0, :best], network.anchors()[:best])


def test_boxes_stay_finite_whatever_the_head_says() -> None:
    network = siamrpn.build(TINY).eval()
    _, boxes = network.decode((torch.zeros(1, 6, 8, 8), torch.full((1, 12, 8, 8), 1e4)))
    assert torch.isfinite(boxes).all()


def test_the_small_preset_keeps_to_its_budget() -> None:
    network = siamrpn.build(SMALL).eval()
    template, search = _crops(SMALL, batch=1)
    with torch.no_grad():
        kernels = network.template(template)
        with FlopCounterMode(display=False) as counter:
            network.maps(search, kernels)
    assert 36e6 < counter.get_total_flops() / 2 < 42e6
    assert sum(4 * value.numel() for value in network.state_dict().values()) < 3e6


def test_every_weight_learns() -> None:
    network = siamrpn.build(TINY).train()
    cls, loc = network(*_crops(TINY, batch=2))
    (cls.square().mean() + loc.square().mean()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("name", siamrpn.PRESETS)
def test_an_architecture_survives_json(name: str) -> None:
    architecture = siamrpn.PRESETS[name]
    assert architecture_from_json(architecture_to_json(architecture)) == architecture


@pytest.mark.parametrize("name", siamrpn.PRESETS)
def test_units_name_every_width_and_the_layer_that_writes_it(name: str) -> None:
    architecture = siamrpn.PRESETS[name]
    with torch.device("meta"):
        network = siamrpn.build(architecture)
    units = siamrpn.units(architecture)
    assert len({unit.name for unit in units}) == len({unit.layer for unit in units}) == len(units)
    for unit in units:
        layer = network.get_submodule(unit.layer)
        assert isinstance(layer, nn.Conv2d)
        assert layer.out_channels == unit.width
    for layer_name in siamrpn.layers(architecture):
        assert network.get_submodule(layer_name).downsample is None


@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_any_widths_build_a_network_of_these_widths(data: st.DataObject) -> None:
    wanted = {
        unit.name: data.draw(st.integers(1, unit.width), label=unit.name)
        for unit in siamrpn.units(TINY)
        if data.draw(st.booleans())
    }
    narrow = siamrpn.with_widths(TINY, wanted)
    before = {unit.name: unit.width for unit in siamrpn.units(TINY)}
    assert {unit.name: unit.width for unit in siamrpn.units(narrow)} == before | wanted
    network = siamrpn.build(narrow).eval()
    with torch.no_grad():
        maps = network(*_crops(narrow, batch=1))
    assert [tuple(part.shape) for part in maps] == [(1, 6, 8, 8), (1, 12, 8, 8)]


def test_a_network_of_one_unit_each_still_tracks() -> None:
    single = siamrpn.with_widths(SMALL, {unit.name: 1 for unit in siamrpn.units(SMALL)})
    network = siamrpn.build(single).eval()
    template, search = _crops(single, batch=1)
    with torch.no_grad():
        scores, boxes = network.frame(search, network.template(template))
    assert (scores.shape, boxes.shape) == ((1, 432), (1, 432, 4))


@pytest.mark.parametrize("kept", [(), (0,), (1,), (0, 1)])
def test_leaving_a_block_out_is_passing_it_by(kept: tuple[int, ...]) -> None:
    whole = _randomised(TINY)
    paths = siamrpn.layers(TINY)
    shallow_architecture = siamrpn.with_layers(TINY, kept)
    assert len(siamrpn.layers(shallow_architecture)) == len(kept)
    for i, path in enumerate(paths):
        if i not in kept:
            parent, _, child = path.rpartition(".")
            whole.get_submodule(parent).register_module(child, nn.Identity())
    shallow = siamrpn.build(shallow_architecture).eval()
    shallow.load_state_dict(whole.state_dict(), strict=True)
    crops = _crops(TINY, batch=1)
    with torch.no_grad():
        for a, b in zip(whole(*crops), shallow(*crops), strict=True):
            assert torch.equal(a, b)


STAGE = TINY.stages[1]
LEVELS = TINY.levels


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"stem": Stem(width=0)}, "stem"),
        ({"stages": ()}, "stages"),
        (
            {"stages": (TINY.stages[0], replace(STAGE, width=0), TINY.stages[2])},
            r"stages\[1\].width",
        ),
        ({"stages": (replace(STAGE, dilation=2), *TINY.stages[1:])}, r"stages\[0\].dilation"),
        ({"stages": (replace(STAGE, blocks=()), *TINY.stages[1:])}, r"stages\[0\].blocks"),
        (
            {"stages": (replace(STAGE, blocks=(Block(inner=(1, 2, 3)),)), *TINY.stages[1:])},
            r"stages\[0\].blocks\[0\].inner",
        ),
        (
            {"stages": (replace(STAGE, stride_padding=0), *TINY.stages[1:])},
            r"stages\[0\].shortcut_kernel",
        ),
        ({"levels": LEVELS[:1]}, "levels"),
        ({"levels": (replace(LEVELS[0], neck=0), LEVELS[1])}, r"levels\[0\].neck"),
        ({"levels": (replace(LEVELS[0], stage=1), LEVELS[1])}, "levels: their features differ"),
        ({"template_crop": 9}, "template_crop"),
        ({"template_crop": 0}, "template_crop"),
        ({"template_size": 8}, "template_size"),
        ({"search_size": 8, "search_padding": 0}, "search_size"),
        ({"search_padding": -1}, "search_padding"),
        ({"anchors": Anchors(stride=16, ratios=(1.0,), scale=2.0)}, "anchors.stride"),
        ({"anchors": Anchors(stride=8, ratios=(), scale=2.0)}, "anchors.ratios"),
        ({"anchors": Anchors(stride=8, ratios=(0.0,), scale=2.0)}, "anchors.ratios"),
        ({"anchors": Anchors(stride=8, ratios=(100.0,), scale=2.0)}, "anchors.ratios"),
    ],
)
def test_what_cannot_be_built_is_refused_by_the_name_of_its_field(
    change: dict[str, Any], named: str
) -> None:
    impossible = replace(TINY, **change)
    with pytest.raises(ArchitectureError, match=named):
        siamrpn.build(impossible)


def test_unknown_units_and_layers_are_refused() -> None:
    with pytest.raises(ArchitectureError, match=r"no units named 'layer9'.*rpn2.cls.hidden"):
        siamrpn.with_widths(TINY, {"layer9": 2})
    with pytest.raises(ArchitectureError, match="'stem': expected at least 1, got 0"):
        siamrpn.with_widths(TINY, {"stem": 0})
    for kept in ([2], [1, 0], [0, 0], [-1]):
        with pytest.raises(ArchitectureError, match=r"out of 0\.\.1"):
            siamrpn.with_layers(TINY, kept)


def _crops(architecture: siamrpn.Architecture, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    sizes = (architecture.template_size, architecture.search_size)
    template, search = (torch.randn(batch, 3, n, n, generator=generator) for n in sizes)
    return template, search


def _randomised(architecture: siamrpn.Architecture) -> siamrpn.SiamRPN:
    """A network in which no norm and no level weight is at its neutral start."""
    torch.manual_seed(0)
    network = siamrpn.build(architecture).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2.0)
    for weight in (network.rpn_head.cls_weight, network.rpn_head.loc_weight):
        if weight is not None:
            nn.init.normal_(weight)
    return network
