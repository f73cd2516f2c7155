"""Whether two ONNX graphs are the network that they were made from: its weights and its answers."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from search_spaces import Geometry, ParetrackError, TrackerNetwork
from workers.onnx_predictor import FRAME, TEMPLATE, OnnxPredictor
from workers.predictor import TorchPredictor
from workers.tracking import Crops, Follower

TOLERANCE = 1e-3  # of an output's standard deviation; the boxes of a tracker move less than that
ROUNDING = 1e-5  # of an output's largest number: some 80 units in the last place of float32
NOISE_INPUTS = 4

_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})  # what they read are weights

Sizes = Counter[tuple[int, ...]]  # how many tensors there are of each size


class ExportError(ParetrackError):
    """A network that cannot be exported, or a folder that cannot be written to."""


class TemplateBranch(nn.Module):
    """The template branch as a module of its own."""

    def __init__(self, network: TrackerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, crop: Tensor) -> tuple[Tensor, ...]:
        return self.network.template(crop)


class FrameBranch(nn.Module):
    """The per-frame branch as a module of its own."""

    def __init__(self, network: TrackerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, crop: Tensor, *template: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.frame(crop, template)


@dataclass(frozen=True)
class Branch:
    """One of the two graphs before it is one."""

    module: nn.Module
    inputs: dict[str, Tensor]  # of the shapes that it takes
    outputs: tuple[str, ...]


def branches(network: TrackerNetwork, geometry: Geometry) -> dict[str, Branch]:
    """The branches by the file name of their graph."""
    template_crop = torch.zeros(1, 3, geometry.template_size, geometry.template_size)
    search_crop = torch.zeros(1, 3, geometry.search_size, geometry.search_size)
    with torch.no_grad():
        memory = {f"template_{i}": part for i, part in enumerate(network.template(template_crop))}
    template = Branch(TemplateBranch(network).eval(), {"crop": template_crop}, tuple(memory))
    frame = Branch(
        FrameBranch(network).eval(), {"crop": search_crop, **memory}, ("scores", "boxes")
    )
    return {TEMPLATE: template, FRAME: frame}


def check_graphs(network: TrackerNetwork, geometry: Geometry, folder: Path) -> None:
    """Raise an ExportError unless the graphs in the folder are this network."""
    for name, branch in branches(network, geometry).items():
        used = [weight.detach().numpy() for weight in weights_used(branch)]
        _check_weights(folder / name, used)
    _check_answers(network, geometry, folder)


def _check_weights(path: Path, used: list[NDArray[Any]]) -> None:
    """Compare the sizes of all tensors of two and more dimensions.

    These the exporter does not drop, and of equal ones it may keep one. Vectors it folds into
    others and leaves out. What it computes beforehand (grids, anchors) is read by no layer.
    """
    held, read = _weights_held(path)
    missing = _sizes(_different(used)) - _sizes(_different(held))
    foreign = _sizes(_different(read)) - _sizes(used)
    if missing or foreign:
        raise ExportError(
            f"{path.name} is not the network that was to be exported: its layers read "
            f"{_numbers(read):,} weights, the network uses {_numbers(used):,} there; "
            f"missing: {_listed(missing)}; not the network's: {_listed(foreign)}"
        )


def weights_used(branch: Branch) -> list[nn.Parameter]:
    """Parameters of two and more dimensions on which the branch's answers depend.

    Those are the ones that get a gradient, for which all are made trainable.
    """
    weights = [weight for weight in branch.module.parameters() if weight.dim() > 1]
    for weight in weights:
        weight.requires_grad_()
    total = sum(answer.sum() for answer in branch.module(*branch.inputs.values()))
    gradients = torch.autograd.grad(total, weights, allow_unused=True)
    return [w for w, gradient in zip(weights, gradients, strict=True) if gradient is not None]


def _weights_held(path: Path) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """All tensors of two and more dimensions in a graph, and those that a layer reads."""
    graph = onnx.load(path).graph
    read = {name for node in graph.node if node.op_type in _LAYERS for name in node.input}
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    large = {name: a for name, a in arrays.items() if a.ndim > 1 and a.dtype.kind == "f"}
    return list(large.values()), [a for name, a in large.items() if name in read]


def _different(tensors: list[NDArray[Any]]) -> list[NDArray[Any]]:
    return list({(_size(tensor), hash(tensor.tobytes())): tensor for tensor in tensors}.values())


def _sizes(tensors: list[NDArray[Any]]) -> Sizes:
    return Counter(_size(tensor) for tensor in tensors)


def _size(tensor: NDArray[Any]) -> tuple[int, ...]:
    """The same for a matrix and its transpose, in which a graph may hold it."""
    return tuple(sorted(side for side in tensor.shape if side > 1))


def _numbers(tensors: list[NDArray[Any]]) -> int:
    return sum(tensor.size for tensor in tensors)


def _listed(sizes: Sizes) -> str:
    words = [f"{count} of {'x'.join(map(str, size))}" for size, count in sorted(sizes.items())]
    return ", ".join(words[:3]) + (", ..." if len(words) > 3 else "") if words else "none"


def _check_answers(network: TrackerNetwork, geometry: Geometry, folder: Path) -> None:
    """Compare every output for several inputs; the graphs' own template goes into their frame."""
    expected, exported = TorchPredictor(network, geometry), OnnxPredictor(folder, geometry)
    for kind, template_crop, search_crop in _inputs(geometry):
        memory, kept = expected.template(template_crop), exported.template(template_crop)
        for i, (tensor, array) in enumerate(zip(memory, kept, strict=True)):
            _check_close(f"template_{i}", kind, tensor.numpy(), array)
        wanted = expected.frame(search_crop, memory)
        for name, want, got in zip(
            ("scores", "boxes"), wanted, exported.frame(search_crop, kept), strict=True
        ):
            _check_close(name, kind, want, got)


def _check_close(output: str, kind: str, want: NDArray[Any], got: NDArray[Any]) -> None:
    if want.shape != got.shape:
        raise ExportError(f"{output} has shape {got.shape} in the graph, {want.shape} in torch")
    difference = float(np.abs(want - got).max())
    allowed = TOLERANCE * float(want.std()) + ROUNDING * float(np.abs(want).max())
    if not difference <= allowed:  # also where one of them is not a number
        raise ExportError(
            f"{output} of the graph and of torch differ by {difference:.3g} on {kind}, "
            f"at most {allowed:.3g} is rounding: the export went wrong, or the network's weights "
            "are not finite"
        )


def _inputs(geometry: Geometry) -> Iterator[tuple[str, Crops, Crops]]:
    """What it is, a template crop and a search crop."""
    random = np.random.default_rng(0)
    for i in range(NOISE_INPUTS):
        template, search = (
            random.integers(0, 256, (1, side, side, 3), np.uint8)
            for side in (geometry.template_size, geometry.search_size)
        )
        yield f"noise {i}", template, search
    first, second = _scene(random, 0), _scene(random, 6)
    follower = Follower(geometry)
    template = follower.begin(first, np.array([140.0, 100.0, 44.0, 36.0]))
    yield "a picture", template[None], follower.look(second)[None]


def _scene(random: np.random.Generator, moved: int) -> NDArray[np.uint8]:
    """A textured box before soft clouds."""
    clouds = random.integers(60, 200, (8, 10, 3), np.uint8)
    image = cv2.resize(clouds, (320, 240), interpolation=cv2.INTER_CUBIC)
    texture = np.indices((36, 44)).sum(axis=0)[..., None] * (5, 3, 2) % 256
    image[100 : 100 + 36, 140 + moved : 140 + moved + 44] = texture
    return np.asarray(image, np.uint8)
