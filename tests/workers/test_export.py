"""Graphs: what they offer, that they are the network, and that nothing half-done stays behind."""

import copy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from search_spaces import Choice, Geometry, Normalisation, TrackerNetwork, load
from workers import _graph_checks, export
from workers._graph_checks import check_graphs
from workers.export import ExportError, export_graphs
from workers.onnx_predictor import OnnxPredictor
from workers.predictor import network_input


class Exported(NamedTuple):
    architecture: Any
    network: TrackerNetwork
    geometry: Geometry
    folder: Path
    paths: tuple[Path, Path]


@pytest.fixture(scope="module", params=["ostrack-tiny", "siamrpn-tiny"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp(request.param) / "graphs"
    architecture, network, geometry = preset(request.param)
    return Exported(
        architecture, network, geometry, folder, export_graphs(network, geometry, folder)
    )


def preset(name: str) -> tuple[Any, TrackerNetwork, Geometry]:
    family = load(name.split("-")[0])
    architecture = family.PRESETS[name]
    torch.manual_seed(1)
    network = family.build(architecture)
    for module in network.modules():  # a batch norm that does something, to be folded
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                nn.init.normal_(tensor, std=0.1)
    return architecture, network, family.geometry(architecture)


class Toy(TrackerNetwork):
    """The smallest tracker there is: a convolution, and a score for every cell."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 2, 4, stride=4)
        self.unused = nn.Parameter(torch.ones(5, 7))

    def template(self, crop: Tensor) -> tuple[Tensor, ...]:
        return (self.features(crop).mean((2, 3), keepdim=True),)

    def maps(self, crop: Tensor, template: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (self.features(crop) * template[0],)

    def decode(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        scores = maps[0].flatten(2)
        return scores.mean(1).sigmoid(), torch.cat([scores, scores], 1).transpose(1, 2)


class Undecided(Toy):
    """Takes another path for another input: not a graph of fixed shape."""

    def template(self, crop: Tensor) -> tuple[Tensor, ...]:
        features = self.features(crop)
        return (features[:, : 1 + int(features.sum() > 0)],)


TOY = Geometry(
    template_size=8,
    search_size=16,
    rule="factor",
    normalisation=Normalisation(scale=1 / 255),
    map_size=4,
    choice=Choice(window="multiply", window_shape="inner"),
)


def test_graphs_have_the_promised_names_and_fixed_shapes(exported: Exported) -> None:
    assert [path.name for path in exported.paths] == ["template.onnx", "frame.onnx"]
    template, frame = (onnxruntime.InferenceSession(str(path)) for path in exported.paths)
    memory = [f"template_{i}" for i in range(len(template.get_outputs()))]
    assert [i.name for i in template.get_inputs()] == ["crop"]
    assert [o.name for o in template.get_outputs()] == memory
    assert [i.name for i in frame.get_inputs()] == ["crop", *memory]
    assert [o.name for o in frame.get_outputs()] == ["scores", "boxes"]
    geometry = exported.geometry
    boxes = geometry.boxes_per_cell * geometry.map_size**2
    side = geometry.template_size
    assert template.get_inputs()[0].shape == [1, 3, side, side]
    assert [o.shape for o in frame.get_outputs()] == [[1, boxes], [1, boxes, 4]]


def test_a_graph_is_one_file_of_the_stated_opset_without_a_trace_of_this_machine(
    exported: Exported,
) -> None:
    assert sorted(path.name for path in exported.folder.iterdir()) == [
        "frame.onnx",
        "template.onnx",
    ]
    for path in exported.paths:
        model = onnx.load(path)
        assert [(o.domain, o.version) for o in model.opset_import] == [("", export.OPSET)]
        assert b".py" not in path.read_bytes()


def test_graphs_answer_as_the_network_does(exported: Exported) -> None:
    random = np.random.default_rng(7)
    geometry, network = exported.geometry, copy.deepcopy(exported.network).eval()
    predictor = OnnxPredictor(exported.folder, geometry)
    sides = geometry.template_size, geometry.search_size
    crops = [random.integers(0, 256, (3, side, side, 3), np.uint8) for side in sides]
    inputs = [network_input(crop, geometry) for crop in crops]
    with torch.inference_mode():
        memory = network.template(inputs[0])
        scores, boxes = network.frame(inputs[1], memory)
    kept = predictor.template(crops[0])
    got = predictor.frame(crops[1], kept)
    for want, have in zip((*memory, scores, boxes), (*kept, *got), strict=True):
        assert np.abs(want.numpy() - have).max() < 1e-4 * want.std() + 1e-6


def test_the_network_that_is_exported_is_left_as_it_was(exported: Exported) -> None:
    assert exported.network.training
    assert all(parameter.requires_grad for parameter in exported.network.parameters())
    assert all(parameter.grad is None for parameter in exported.network.parameters())


def test_the_counts_are_of_what_each_branch_uses(exported: Exported) -> None:
    network = copy.deepcopy(exported.network)
    branches = _graph_checks.branches(network, exported.geometry)
    template, frame = (
        {id(weight) for weight in _graph_checks.weights_used(branch)}
        for branch in branches.values()
    )
    weights = {id(weight) for weight in network.parameters() if weight.dim() > 1}
    assert template | frame == weights
    assert template & frame  # the backbone is in both graphs
    assert frame - template


def test_an_unpruned_graph_is_not_taken_for_the_pruned_network(exported: Exported) -> None:
    family = load(exported.architecture.family)
    unit = max(family.units(exported.architecture), key=lambda unit: unit.width)
    narrow = family.with_widths(exported.architecture, {unit.name: unit.width - 1})
    with pytest.raises(ExportError, match="not the network that was to be exported"):
        check_graphs(family.build(narrow), exported.geometry, exported.folder)


def test_a_graph_with_more_layers_is_not_taken_for_the_network(exported: Exported) -> None:
    family = load(exported.architecture.family)
    shorter = family.with_layers(
        exported.architecture, range(len(family.layers(exported.architecture)) - 1)
    )
    with pytest.raises(ExportError, match="not the network's: "):
        check_graphs(family.build(shorter), exported.geometry, exported.folder)


def test_a_graph_with_other_weights_is_not_taken_for_the_network(exported: Exported) -> None:
    other = copy.deepcopy(exported.network)
    largest = max(other.parameters(), key=Tensor.numel)
    with torch.no_grad():
        largest.flatten()[::7] *= 1.1
    with pytest.raises(ExportError, match="of the graph and of torch differ by"):
        check_graphs(other, exported.geometry, exported.folder)


def test_a_dynamic_batch_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"fixed shapes.*dynamic batch"):
        export_graphs(Toy(), TOY, tmp_path / "graphs", dynamic_batch=True)
    assert not list(tmp_path.iterdir())


def test_an_unused_parameter_is_neither_exported_nor_missed_and_old_files_go(
    tmp_path: Path,
) -> None:
    stale = tmp_path / "frame.onnx.data"
    stale.write_text("weights of an older, larger graph")
    with torch.inference_mode():
        paths = export_graphs(Toy(), TOY, tmp_path)
    for path in paths:
        sizes = [list(tensor.dims) for tensor in onnx.load(path).graph.initializer]
        assert [2, 3, 4, 4] in sizes
        assert [5, 7] not in sizes
    assert not stale.exists()


def test_large_weights_lie_beside_the_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "EXTERNAL_BYTES", 100)
    export_graphs(Toy(), TOY, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"template.onnx", "template.onnx.data", "frame.onnx", "frame.onnx.data"}


def test_a_network_that_answers_nan_leaves_nothing_behind(tmp_path: Path) -> None:
    network = Toy()
    nn.init.constant_(network.features.weight, torch.nan)
    with pytest.raises(ExportError, match="weights are not finite"):
        export_graphs(network, TOY, tmp_path / "new" / "graphs")
    assert not list((tmp_path / "new").iterdir())


def test_a_network_without_a_fixed_graph_is_refused_by_the_name_of_its_branch(
    tmp_path: Path,
) -> None:
    with pytest.raises(ExportError, match=r"template\.onnx: torch cannot export this branch"):
        export_graphs(Undecided(), TOY, tmp_path / "graphs")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ExportError, match=r"file.*cannot be written"):
        export_graphs(Toy(), TOY, tmp_path / "file" / "graphs")
