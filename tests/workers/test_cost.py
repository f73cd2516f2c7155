"""Costs against numbers worked out by hand, and against torch's own counter."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from search_spaces import Choice, Geometry, Normalisation, TrackerNetwork, load, names
from workers.cost import CostError, cost_by_layer, measure_cost

GEOMETRY = Geometry(
    template_size=8,
    search_size=16,
    rule="factor",
    normalisation=Normalisation(),
    map_size=16,
    choice=Choice(window="multiply", window_shape="inner"),
)


class _Toy(TrackerNetwork):
    """A tracker whose frame branch does one thing that a test knows the cost of."""

    def __init__(self, middle: nn.Module, channels: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.middle = middle
        self.unused = nn.Parameter(torch.zeros(5))

    def template(self, crop: Tensor) -> tuple[Tensor, ...]:
        return (self.stem(crop),)

    def maps(self, crop: Tensor, template: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (self.middle(self.stem(crop)),)

    def decode(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        return maps[0].reshape(1, -1), maps[0].new_zeros(1, 4)


class _Doing(nn.Module):
    def __init__(self, do: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._do = do

    def forward(self, x: Tensor) -> Tensor:
        return self._do(x)


CELLS = 16 * 16
STEM = 3 * 4 * 9


def _tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2).contiguous()  # (1, cells, 4)


def _attention(x: Tensor) -> Tensor:
    heads = _tokens(x).unflatten(2, (2, 2)).transpose(1, 2)
    return F.scaled_dot_product_attention(heads, heads, heads)


def _correlation(x: Tensor) -> Tensor:
    return F.conv2d(x, x[:, :, :3, :3].transpose(0, 1), groups=4)


def _matrix_times_vector(x: Tensor) -> Tensor:
    return _tokens(x)[0] @ x[0, :, 0, 0]


def _scaled_and_summed(x: Tensor) -> Tensor:
    return torch.addmv(x.new_ones(CELLS), _tokens(x)[0], x[0, :, 0, 0])


def _summed_batch_product(x: Tensor) -> Tensor:
    return torch.addbmm(x.new_ones(16, 16), x[0], x[0])


MIDDLES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "nothing": (nn.Identity, 0),
    "convolution": (lambda: nn.Conv2d(4, 6, 5, padding=2), CELLS * 4 * 6 * 25),
    "strided": (lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1), 64 * 4 * 6 * 9),
    "dilated": (lambda: nn.Conv2d(4, 6, 3, padding=2, dilation=2), CELLS * 4 * 6 * 9),
    "depth-wise": (lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4), CELLS * 4 * 9),
    "grouped": (lambda: nn.Conv2d(4, 8, 3, padding=1, groups=2), CELLS * 8 * 2 * 9),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 2, stride=2), CELLS * 4 * 6 * 4),
    "correlation": (lambda: _Doing(_correlation), 14 * 14 * 4 * 9),
    "linear": (lambda: nn.Sequential(_Doing(_tokens), nn.Linear(4, 7)), CELLS * 4 * 7),
    "attention": (lambda: _Doing(_attention), 2 * 2 * CELLS * CELLS * 2),
    "matrix times vector": (lambda: _Doing(_matrix_times_vector), CELLS * 4),
    "matrix times vector, added": (lambda: _Doing(_scaled_and_summed), CELLS * 4),
    "batch products": (lambda: _Doing(lambda x: x @ x), 4 * 16 * 16 * 16),
    "summed batch product": (lambda: _Doing(_summed_batch_product), 4 * 16 * 16 * 16),
    "normalised": (lambda: nn.Sequential(nn.BatchNorm2d(4), nn.GELU(), nn.MaxPool2d(2)), 0),
}


@pytest.mark.parametrize("name", MIDDLES)
def test_multiply_accumulates_are_those_of_the_formula(name: str) -> None:
    make, expected = MIDDLES[name]
    cost = measure_cost(_Toy(make()), GEOMETRY)
    assert cost.macs_template == 8 * 8 * STEM
    assert cost.macs_frame == CELLS * STEM + expected


@settings(max_examples=40, deadline=None)
@given(
    groups=st.integers(1, 3),
    inputs=st.integers(1, 3),
    outputs=st.integers(1, 3),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
)
def test_any_convolution_costs_its_outputs_times_its_kernel(
    groups: int, inputs: int, outputs: int, kernel: int, stride: int, padding: int
) -> None:
    layer = nn.Conv2d(
        inputs * groups, outputs * groups, kernel, stride, padding=padding, groups=groups
    )
    network = _Toy(layer, channels=inputs * groups)
    side = (16 + 2 * padding - kernel) // stride + 1
    expected = side**2 * outputs * groups * inputs * kernel**2
    assert cost_by_layer(network, GEOMETRY).get("middle") == expected


@pytest.mark.parametrize("backend", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION])
def test_attention_costs_the_same_whichever_kernel_runs(backend: SDPBackend) -> None:
    with sdpa_kernel(backend):
        cost = measure_cost(_Toy(_Doing(_attention)), GEOMETRY)
    assert cost.macs_frame == CELLS * STEM + MIDDLES["attention"][1]


def test_multi_head_attention_of_torch_is_not_free() -> None:
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            tokens = _tokens(x)
            return self.attention(tokens, tokens, tokens, need_weights=False)[0]

    projections = 4 * CELLS * 4 * 4
    cost = measure_cost(_Toy(Attending()), GEOMETRY)
    assert cost.macs_frame == CELLS * STEM + projections + 2 * CELLS * CELLS * 4


def test_a_hidden_product_is_refused_rather_than_free() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory = nn.LSTM(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.memory(_tokens(x))[0]

    with pytest.raises(CostError, match="whose multiplications are not known"):
        measure_cost(_Toy(Recurrent()), GEOMETRY)


def _preset(family: str, name: str, device: str = "cpu") -> tuple[TrackerNetwork, Geometry]:
    module = load(family)
    with torch.device(device):
        return module.build(module.PRESETS[name]), module.geometry(module.PRESETS[name])


def test_the_published_vit_b_tracker_costs_what_paper_and_pencil_say() -> None:
    tokens, embed, hidden = 64 + 256, 768, 3072
    block = tokens * embed * (3 * embed + embed + 2 * hidden) + 2 * tokens**2 * embed
    widths = (embed, 256, 128, 64, 32)
    tower = sum(a * b * 9 for a, b in pairwise(widths))
    head = 256 * (3 * tower + 32 * (1 + 2 + 2))
    patch = embed * 3 * 16 * 16
    network, geometry = _preset("ostrack", "ostrack-256-all-tokens", "meta")
    cost = measure_cost(network, geometry)
    assert cost.macs_template == 64 * patch
    assert cost.macs_frame == 256 * patch + 12 * block + head
    assert cost.parameters == 92_518_533
    layers = cost_by_layer(network, geometry)
    of_block = sum(macs for path, macs in layers.items() if path.startswith("backbone.blocks.3."))
    of_head = sum(macs for path, macs in layers.items() if path.startswith("box_head"))
    assert (of_block, of_head) == (block, head)
    figures = [block, head, 320 * patch, cost.macs_template + cost.macs_frame]
    assert [round(figure / 1e9, 2) for figure in figures] == [2.42, 1.66, 0.19, 30.91]


def test_eliminated_tokens_are_not_counted() -> None:
    whole, _ = _preset("ostrack", "ostrack-256-all-tokens", "meta")
    eliminating, geometry = _preset("ostrack", "ostrack-256", "meta")
    share = (
        measure_cost(eliminating, geometry).macs_frame / measure_cost(whole, geometry).macs_frame
    )
    assert 0.65 < share < 0.8


def test_the_published_siamese_tracker_costs_what_its_convolutions_say() -> None:
    network, geometry = _preset("siamrpn", "siamrpn-r50", "meta")
    cost = measure_cost(network, geometry)
    assert cost.parameters == 53_950_624
    assert round(cost.macs_frame / 1e9, 1) == 48.7
    correlation = 25 * 25 * 256 * 5 * 5  # the template's kernels over the search features
    layers = cost_by_layer(network, geometry)
    for level in (2, 3, 4):
        for side in ("cls", "loc"):
            assert layers[f"rpn_head.rpn{level}.{side}"] == correlation


CASES = [(family, f"{family}-{size}") for family in names() for size in ("tiny", "small")]


@pytest.mark.parametrize(("family", "preset"), CASES)
def test_every_family_agrees_with_the_counter_of_torch(family: str, preset: str) -> None:
    network, geometry = _preset(family, preset)
    network.eval()
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    known = {attention: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v)}
    template = torch.zeros(1, 3, *(geometry.template_size,) * 2)
    search = torch.zeros(1, 3, *(geometry.search_size,) * 2)
    flops = []
    with torch.no_grad():
        for branch in ("template", "frame"):
            with FlopCounterMode(display=False, custom_mapping=known) as counter:
                if branch == "template":
                    memory = network.template(template)
                else:
                    network.frame(search, memory)
            flops.append(counter.get_total_flops())
    cost = measure_cost(network, geometry)
    assert [2 * cost.macs_template, 2 * cost.macs_frame] == flops
    assert sum(cost_by_layer(network, geometry).values()) == cost.macs_frame


@pytest.mark.parametrize(("family", "preset"), CASES)
def test_the_meta_device_counts_the_same(family: str, preset: str) -> None:
    real, meta = (measure_cost(*_preset(family, preset, device)) for device in ("cpu", "meta"))
    for field in ("macs_template", "macs_frame", "parameters", "parameters_template"):
        assert getattr(real, field) == getattr(meta, field)
    assert real.parameters_frame == meta.parameters_frame
    assert real.weights_bytes == meta.weights_bytes


@pytest.mark.parametrize(("family", "preset"), CASES)
def test_inference_mode_around_it_changes_nothing(family: str, preset: str) -> None:
    network, geometry = _preset(family, preset)
    expected = measure_cost(network, geometry)
    with torch.inference_mode():
        measured = measure_cost(network, geometry)
        assert measured.macs_frame == expected.macs_frame
        assert measured.parameters_frame == expected.parameters_frame
        built_inside, _ = _preset(family, preset)
        assert measure_cost(built_inside, geometry).macs_frame == expected.macs_frame


def test_parameters_are_counted_for_the_branch_that_reads_them() -> None:
    network = _Toy(nn.Sequential(nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2)))
    cost = measure_cost(network, GEOMETRY)
    assert cost.parameters_template == STEM
    assert cost.parameters_frame == STEM + (4 * 2 + 2) + 2 * 2
    assert cost.parameters == cost.parameters_frame + 5
    buffers = 2 * 2 * 4 + 8  # mean, variance and an int64 counter
    assert cost.weights_bytes == 4 * cost.parameters + buffers


def test_peak_memory_is_what_lives_at_once_and_not_what_was_freed() -> None:
    plane = CELLS * 4  # bytes of one channel of the search crop
    template = 8 * 8 * 4 * 4
    chain = nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=1, bias=False) for _ in range(10)))
    crop, feature = 3 * plane, 4 * plane
    # The crop and the first feature are held by their callers while the chain runs.
    expected = template + crop + feature + 2 * feature
    assert measure_cost(_Toy(chain), GEOMETRY).peak_memory_frame == expected


def test_peak_memory_counts_views_and_work_in_place_once() -> None:
    plane = CELLS * 4
    views = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Unflatten(1, (4, 16, 16)))
    scores_and_boxes = 4 * 4
    expected = 8 * 8 * 4 * 4 + 3 * plane + 4 * plane + scores_and_boxes
    # When the boxes appear, only the crop, the template and one feature are alive.
    assert measure_cost(_Toy(views), GEOMETRY).peak_memory_frame == expected


def test_the_network_is_left_as_it_was() -> None:
    network = _Toy(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Dropout()))
    network.train()
    network.middle[1].eval()  # type: ignore[index, operator]
    modes = [module.training for module in network.modules()]
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    measure_cost(network, GEOMETRY)
    assert [module.training for module in network.modules()] == modes
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_a_network_that_fails_is_left_as_it_was_too() -> None:
    def fail(x: Tensor) -> Any:
        raise ArithmeticError

    network = _Toy(_Doing(fail)).train()
    with pytest.raises(ArithmeticError):
        measure_cost(network, GEOMETRY)
    assert all(module.training for module in network.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
