"""The one-stream family: the authors' layout, elimination, attention that really gets smaller."""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torch_pruning
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from search_spaces import ArchitectureError, ostrack
from search_spaces._layers.attention import Attention
from search_spaces._layers.centre_head import HeadWidths
from search_spaces._layers.vision_transformer import drop_path
from search_spaces.ostrack import Architecture, Block, Elimination, OSTrack

TINY = ostrack.PRESETS["ostrack-tiny"]
ELIMINATING = replace(TINY, elimination=Elimination(blocks=(0, 1), keep=0.6))  # 16 -> 10 -> 6


def trained(architecture: Architecture, seed: int = 0) -> OSTrack:
    """A network whose every part matters, as if it had been trained."""
    torch.manual_seed(seed)
    network = ostrack.build(architecture).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
        if isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
    nn.init.normal_(network.backbone.pos_embed_z)
    nn.init.normal_(network.backbone.pos_embed_x)
    return network


def pair(architecture: Architecture, batch: int = 1) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(5)
    sides = architecture.template_size, architecture.search_size
    template, search = (torch.randn(batch, 3, side, side, generator=random) for side in sides)
    return template, search


@pytest.mark.parametrize(
    ("preset", "parameters", "tokens", "centre"),
    [("ostrack-256", 92_518_533, (64, 256), 27), ("ostrack-384", 92_825_733, (144, 576), 65)],
)
def test_published_presets_have_the_published_layout(
    preset: str, parameters: int, tokens: tuple[int, int], centre: int
) -> None:
    with torch.device("meta"):
        network = ostrack.build(ostrack.PRESETS[preset])
    state = network.state_dict()
    assert len(state) == 242
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert state["backbone.cls_token"].shape == (1, 1, 768)
    assert state["backbone.pos_embed"].shape == (1, 197, 768)
    assert state["backbone.pos_embed_z"].shape == (1, tokens[0], 768)
    assert state["backbone.pos_embed_x"].shape == (1, tokens[1], 768)
    assert state["backbone.patch_embed.proj.weight"].shape == (768, 3, 16, 16)
    assert state["backbone.blocks.11.attn.qkv.weight"].shape == (2304, 768)
    assert state["backbone.blocks.0.mlp.fc1.bias"].shape == (3072,)
    assert state["box_head.conv4_offset.0.weight"].shape == (32, 64, 3, 3)
    assert state["box_head.conv4_size.1.running_var"].shape == (32,)
    assert state["box_head.conv5_size.weight"].shape == (2, 32, 1, 1)
    watched = [block.watched for block in network.backbone.blocks]
    assert watched == [centre if i in (3, 6, 9) else None for i in range(12)]


def test_the_small_preset_weighs_less_than_three_megabytes() -> None:
    state = ostrack.build(ostrack.PRESETS["ostrack-small"]).state_dict()
    assert sum(tensor.numel() * tensor.element_size() for tensor in state.values()) < 3e6


def test_a_fresh_network_expects_few_targets() -> None:
    architecture = ostrack.PRESETS["ostrack-small"]
    torch.manual_seed(0)
    score, size, _ = ostrack.build(architecture).eval()(*pair(architecture))
    assert 0.01 < score.min() < score.max() < 0.15
    assert 0.3 < size.min() < size.max() < 0.7


def test_a_box_is_read_from_its_cell() -> None:
    score, size, offset = torch.zeros(1, 1, 4, 4), torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    score[0, 0, 1, 3] = 0.9
    size[0, :, 1, 3] = torch.tensor([0.5, 0.25])
    offset[0, :, 1, 3] = torch.tensor([0.25, 0.75])
    scores, boxes = ostrack.build(TINY).decode((score, size, offset))
    best = scores.argmax(1).item()
    assert best == 1 * 4 + 3
    # stride 16: cx = (3 + .25) * 16, cy = (1 + .75) * 16; sizes are shares of the 64 pixel crop
    torch.testing.assert_close(boxes[0, best], torch.tensor([52.0, 28.0, 32.0, 16.0]))


def test_attention_is_the_textbook_one() -> None:
    torch.manual_seed(0)
    attention = Attention(12, heads=3, head_dim=5, scale_dim=8)
    x = torch.randn(2, 7, 12)
    out, row = attention(x, watched=4)
    heads = []
    rows = []
    q_rows, k_rows, v_rows = attention.qkv(x).split(15, dim=-1)
    for h in range(3):
        q, k, v = (part[..., 5 * h : 5 * h + 5] for part in (q_rows, k_rows, v_rows))
        weights = (q @ k.transpose(1, 2) / math.sqrt(8)).softmax(-1)
        heads.append(weights @ v)
        rows.append(weights[:, 4])
    torch.testing.assert_close(out, attention.proj(torch.cat(heads, -1)))
    torch.testing.assert_close(row, torch.stack(rows).mean(0))
    assert attention(x)[1] is None


def fresh_attention() -> tuple[Attention, Tensor]:
    torch.manual_seed(1)
    return Attention(12, heads=4, head_dim=6, scale_dim=6), torch.randn(2, 5, 12)


@settings(max_examples=15, deadline=None)
@given(kept=st.sets(st.integers(0, 3), min_size=1).map(sorted))
def test_keeping_heads_equals_silencing_the_others(kept: list[int]) -> None:
    attention, x = fresh_attention()
    silent = copy.deepcopy(attention)
    with torch.no_grad():
        for head in set(range(4)) - set(kept):
            silent.proj.weight[:, 6 * head : 6 * head + 6] = 0
    attention.keep_heads(kept)
    assert attention.heads == len(kept)
    assert attention.qkv.weight.shape == (3 * len(kept) * 6, 12)
    torch.testing.assert_close(attention(x)[0], silent(x)[0])


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_keeping_head_dims_equals_silencing_the_others(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 6))
    some = st.sets(st.integers(0, 5), min_size=count, max_size=count).map(sorted)
    kept = [data.draw(some) for _ in range(4)]
    attention, x = fresh_attention()
    silent = copy.deepcopy(attention)
    gone = [6 * h + d for h in range(4) for d in range(6) if d not in kept[h]]
    with torch.no_grad():
        for part in range(3):  # q, k and v: the scale stays that of 6 dimensions
            silent.qkv.weight[[24 * part + row for row in gone]] = 0
            silent.qkv.bias[[24 * part + row for row in gone]] = 0
    attention.keep_head_dims(kept)
    assert attention.head_dim == count
    assert attention.proj.weight.shape == (12, 4 * count)
    torch.testing.assert_close(attention(x)[0], silent(x)[0])


def test_keeping_inputs_and_outputs_slices_the_token_channels() -> None:
    attention, x = fresh_attention()
    before = copy.deepcopy(attention)
    some = [0, 3, 4, 9]
    attention.keep_inputs(some)
    attention.keep_outputs(some)
    blind = torch.zeros_like(x)
    blind[..., some] = x[..., some]
    torch.testing.assert_close(attention(x[..., some])[0], before(blind)[0][..., some])
    assert (attention.qkv.in_features, attention.proj.out_features) == (4, 4)


@pytest.mark.parametrize("wrong", [[], [4], [-1], [1, 1]])
def test_heads_that_are_not_there_are_refused(wrong: list[int]) -> None:
    attention, _ = fresh_attention()
    with pytest.raises(ValueError, match="below 4"):
        attention.keep_heads(wrong)


def test_heads_cannot_keep_different_numbers_of_dimensions() -> None:
    attention, _ = fresh_attention()
    with pytest.raises(ValueError, match="equal length"):
        attention.keep_head_dims([[0], [1], [2], [0, 1]])


def test_eliminated_cells_are_zero_and_the_rest_is_not() -> None:
    network = trained(ELIMINATING)
    template, search = pair(ELIMINATING, batch=2)
    features = network.backbone(search, network.template(template)[0])
    assert features.shape == (2, 16, 4, 4)
    alive = features.flatten(2).abs().sum(1) > 0
    assert alive.sum(1).tolist() == [6, 6]  # ceil(.6 * 16) = 10, ceil(.6 * 10) = 6
    assert not torch.equal(alive[0], alive[1])


def test_tokens_survive_that_the_template_centre_attends_to() -> None:
    architecture = replace(TINY, elimination=Elimination(blocks=(1,), keep=0.25))
    network = trained(architecture)
    template, search = pair(architecture)
    seen: list[Tensor] = []

    def note(module: nn.Module, args: Any, output: tuple[Tensor, Tensor]) -> None:
        seen.append(output[1])

    network.backbone.blocks[1].attn.register_forward_hook(note)
    tokens = network.template(template)[0]
    features = network.backbone(search, tokens)
    best = seen[0][0, tokens.shape[1] :].topk(4).indices
    alive = features.flatten(2).abs().sum(1)[0].nonzero().flatten()
    assert set(alive.tolist()) == set(best.tolist())


def test_elimination_that_keeps_all_changes_nothing() -> None:
    whole = trained(TINY)
    keeping = ostrack.build(replace(TINY, elimination=Elimination(blocks=(0, 1), keep=1.0))).eval()
    keeping.load_state_dict(whole.state_dict())
    crops = pair(TINY)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(whole(*crops), keeping(*crops), strict=True))


def test_elimination_leaves_with_its_block() -> None:
    published = ostrack.PRESETS["ostrack-256"]
    half = ostrack.with_layers(published, [0, 2, 3, 5, 8, 9])
    assert half.elimination == Elimination(blocks=(2, 5), keep=0.7)
    assert ostrack.with_layers(published, [0, 1]).elimination is None


def test_a_tracker_without_blocks_is_refused() -> None:
    with pytest.raises(ArchitectureError, match="at least one"):
        ostrack.with_layers(TINY, [])


def test_a_cut_network_keeps_the_scale_of_its_attention_and_no_unused_tokens() -> None:
    published = ostrack.PRESETS["ostrack-256"]
    narrow = ostrack.with_widths(published, {"backbone.blocks.2.head_dim": 48})
    assert narrow.blocks[2] == Block(heads=12, head_dim=48, mlp=3072)
    assert narrow.scale_dim == 64
    assert narrow.imagenet_tokens == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"search_size": 100}, "search_size: .* multiple of the stride 16 .* got 100"),
        ({"template_size": 40}, "template_size: .* multiple of the stride 16"),
        ({"patch": 0}, "patch: expected at least 1, got 0"),
        ({"embed": 0}, "backbone.embed: expected at least 1, got 0"),
        ({"stem": (4, 0)}, "backbone.stem.1: .* got 0"),
        ({"blocks": ()}, "blocks: expected at least 1"),
        ({"blocks": (Block(heads=0, head_dim=8, mlp=8),)}, "backbone.blocks.0.heads: .* got 0"),
        ({"blocks": (Block(heads=1, head_dim=8, mlp=-2),)}, "backbone.blocks.0.mlp: .* got -2"),
        ({"scale_dim": 0}, "scale_dim"),
        ({"head": HeadWidths(ctr=(8,), offset=(8, 0), size=(8,))}, "box_head.conv2_offset"),
        ({"search_factor": 0.0}, "search_factor"),
        ({"imagenet_tokens": -1}, "imagenet_tokens"),
        ({"elimination": Elimination(blocks=(2,), keep=0.5)}, r"elimination.blocks: .* 0\.\.1"),
        ({"elimination": Elimination(blocks=(0,), keep=0.0)}, "elimination.keep"),
    ],
)
def test_what_cannot_be_built_is_refused_by_field(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        ostrack.build(replace(TINY, **change))


class AttentionChannels(torch_pruning.pruner.BasePruningFunc):
    """How torch-pruning takes token channels out of an attention module."""

    def prune_in_channels(self, layer: Attention, idxs: Sequence[int]) -> Attention:
        layer.keep_inputs(sorted(set(range(layer.qkv.in_features)) - set(idxs)))
        return layer

    def prune_out_channels(self, layer: Attention, idxs: Sequence[int]) -> Attention:
        layer.keep_outputs(sorted(set(range(layer.proj.out_features)) - set(idxs)))
        return layer

    def get_in_channels(self, layer: Attention) -> int:
        return layer.qkv.in_features

    def get_out_channels(self, layer: Attention) -> int:
        return layer.proj.out_features


@pytest.mark.parametrize("keep", [0.5, 0.01])
@pytest.mark.parametrize("architecture", [TINY, ELIMINATING], ids=["whole", "eliminating"])
def test_units_cut_out_of_a_network_leave_the_narrowed_architecture(
    architecture: Architecture, keep: float
) -> None:
    network = trained(architecture)
    crops = pair(architecture)
    embeddings = network.backbone.pos_embed_z, network.backbone.pos_embed_x
    graph = torch_pruning.DependencyGraph().build_dependency(
        network,
        crops,
        customized_pruners={Attention: AttentionChannels()},
        unwrapped_parameters=[(parameter, 2) for parameter in embeddings],
    )
    widths = {}
    for unit in ostrack.units(architecture):
        widths[unit.name] = max(1, round(keep * unit.width))
        layer: Any = network.get_submodule(unit.layer)
        kept = list(range(unit.width))[-widths[unit.name] :]
        if unit.kind == "heads":
            layer.keep_heads(kept)
        elif unit.kind == "head_dims":
            layer.keep_head_dims([kept] * layer.heads)
        else:
            prune = graph.get_pruner_of_module(layer).prune_out_channels
            gone = list(range(unit.width))[: -widths[unit.name]]
            graph.get_pruning_group(layer, prune, gone).prune()
    rebuilt = ostrack.build(ostrack.with_widths(architecture, widths)).eval()
    rebuilt.load_state_dict(network.state_dict())
    with torch.no_grad():
        for a, b in zip(network(*crops), rebuilt(*crops), strict=True):
            assert torch.equal(a, b)


class Frame(nn.Module):
    def __init__(self, network: OSTrack) -> None:
        super().__init__()
        self.network = network

    def forward(self, crop: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.frame(crop, (tokens,))


@pytest.mark.filterwarnings("ignore::FutureWarning:copyreg")  # torch's own, while exporting
def test_the_eliminating_frame_network_runs_the_same_as_onnx(tmp_path: Path) -> None:
    network = trained(ELIMINATING)
    template, search = pair(ELIMINATING)
    with torch.no_grad():
        inputs = (search, *network.template(template))
        wanted = network.frame(search, inputs[1:])
        program = torch.onnx.export(Frame(network).eval(), inputs, dynamo=True, verbose=False)
    assert program is not None
    program.save(tmp_path / "frame.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "frame.onnx")
    names = [value.name for value in session.get_inputs()]
    answers = session.run(None, dict(zip(names, (x.numpy() for x in inputs), strict=True)))
    for answer, tensor in zip(answers, wanted, strict=True):
        np.testing.assert_allclose(answer, tensor.numpy(), rtol=1e-4, atol=1e-4)


def test_softened_a_network_keeps_more_tokens_and_afterwards_is_as_before() -> None:
    network, whole = trained(ELIMINATING), trained(replace(ELIMINATING, elimination=None))
    crops = pair(ELIMINATING, batch=2)
    places: list[int] = []
    network.backbone.blocks[0].register_forward_hook(
        lambda block, inputs, outputs: places.append(outputs[1].shape[1])
    )
    before = network(*crops)[0]
    with network.softened(elimination=0.0):
        assert torch.equal(network(*crops)[0], whole(*crops)[0])
    with network.softened(elimination=0.5):
        network(*crops)
    with pytest.raises(RuntimeError), network.softened(elimination=0.0, drop_path=0.9):
        raise RuntimeError
    assert torch.equal(network(*crops)[0], before)
    assert places == [10, 16, 13, 10]  # of 16: .6 of them, all, .8, .6


def test_drop_path_rises_over_the_blocks_and_skips_some_pictures_in_each() -> None:
    five = replace(TINY, blocks=TINY.blocks[:1] * 5)
    network = trained(five)
    skipped: dict[int, float] = {}

    def count(at: int) -> Any:
        def hook(block: Any, inputs: Any, outputs: Any) -> None:
            skipped[at] = (outputs[0] == inputs[0]).all(2).all(1).double().mean().item()

        return hook

    for at, block in enumerate(network.backbone.blocks):
        block.register_forward_hook(count(at))
    with network.softened(drop_path=0.8):
        network(*pair(five, batch=400))
    # Attention and MLP are skipped apart: both with the square of the rate.
    rates = [0.0, 0.2, 0.4, 0.6, 0.8]
    assert list(skipped.values()) == pytest.approx([rate**2 for rate in rates], abs=0.08)
    assert skipped[0] == 0


def test_a_dropped_branch_keeps_its_mean() -> None:
    torch.manual_seed(0)
    ones = torch.ones(4000, 3, 2)
    dropped = drop_path(ones, 0.2)
    assert set(dropped.unique().tolist()) == {0.0, 1.25}
    assert (dropped == dropped[:, :1, :1]).all()  # all of a picture or nothing of it
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)
    assert drop_path(ones, 0.0) is ones
