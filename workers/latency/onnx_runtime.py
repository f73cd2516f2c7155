"""The probe ``onnx_runtime``: both networks exported to ONNX, run by ONNX Runtime."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from search_spaces import Geometry, TrackerNetwork
from workers.latency._protocol import (
    Latency,
    LatencyError,
    Plan,
    Subject,
    Tracking,
    cpu_name,
    measured,
)
from workers.latency._reference import REFERENCE_INPUT, reference_network

_PROVIDERS = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
}
_OPSET, _IR_VERSION = 17, 8  # of the reference network


def measure(
    network: TrackerNetwork,
    geometry: Geometry,
    *,
    device: str = "cpu",
    threads: int = 1,
    plan: Plan = Plan(),  # noqa: B008 - frozen
    track: Tracking | None = None,
    providers: Sequence[str] | None = None,
) -> Latency:
    """Export the network to a folder that vanishes and time what was exported."""
    # torch's exporter takes seconds to import, and those who only run graphs do without it.
    from workers.export import export_graphs

    chosen = _available(providers or _PROVIDERS.get(device, (device,)))
    with TemporaryDirectory() as folder:
        template, frame = export_graphs(network, geometry, Path(folder))
        return measure_graphs(
            template, frame, geometry, providers=chosen, threads=threads, plan=plan, track=track
        )


def measure_graphs(
    template: Path,
    frame: Path,
    geometry: Geometry,
    *,
    providers: Sequence[str] = _PROVIDERS["cpu"],
    threads: int = 1,
    plan: Plan = Plan(),  # noqa: B008 - frozen
    track: Tracking | None = None,
) -> Latency:
    """Time two graphs that were exported before."""
    chosen = _available(providers)
    branches = _Graphs(_session(template, chosen, threads), _session(frame, chosen, threads))
    reference = _session(reference_graph(), chosen, threads)
    picture = np.ones(REFERENCE_INPUT, dtype=np.float32)
    subject = Subject(
        probe="onnx_runtime",
        branches=branches,
        reference=partial(reference.run, None, {"picture": picture}),
        inputs=torch.device("cpu"),
        device=f"{cpu_name()} ({', '.join(chosen)})",
        versions={"onnxruntime": onnxruntime.__version__, "torch": torch.__version__},
    )
    return measured(subject, geometry, threads=threads, plan=plan, track=track)


class _Graphs:
    """The exported networks, taking and giving torch tensors without copies."""

    def __init__(self, template: Any, frame: Any) -> None:
        self._template = template
        self._frame = frame

    def template(self, crop: Tensor) -> tuple[Tensor, ...]:
        return _tensors(self._template.run(None, {"crop": crop.numpy()}))

    def frame(self, crop: Tensor, template: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        memory = {f"template_{i}": part.numpy() for i, part in enumerate(template)}
        scores, boxes = _tensors(self._frame.run(None, {"crop": crop.numpy(), **memory}))
        return scores, boxes


def _tensors(arrays: list[Any]) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(array) for array in arrays)


def _available(providers: Sequence[str]) -> list[str]:
    # ONNX Runtime itself falls back to the CPU with a warning, and the figure would be a lie.
    here = onnxruntime.get_available_providers()
    if missing := [provider for provider in providers if provider not in here]:
        raise LatencyError(
            f"this ONNX Runtime has no {', '.join(missing)}; it has {', '.join(here)}"
        )
    return list(providers)


def _session(graph: Path | bytes, providers: list[str], threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    source = graph if isinstance(graph, bytes) else str(graph)
    session = onnxruntime.InferenceSession(source, options, providers=providers)
    if session.get_providers()[0] != providers[0]:
        raise LatencyError(
            f"ONNX Runtime could not start {providers[0]} and took {session.get_providers()[0]}"
        )
    return session


def reference_graph() -> bytes:
    """The reference network as an ONNX model, made by hand: an export would take seconds."""
    nodes, weights, at = [], [], "picture"
    for number, layer in enumerate(reference_network()):
        inputs, after = [at], f"x{number}"
        if isinstance(layer, nn.Conv2d):
            for name, parameter in layer.named_parameters():
                inputs.append(f"{name}{number}")
                weights.append(onnx.numpy_helper.from_array(parameter.detach().numpy(), inputs[-1]))
            nodes.append(onnx.helper.make_node("Conv", inputs, [after], pads=[1, 1, 1, 1]))
        else:
            nodes.append(onnx.helper.make_node("Relu", inputs, [after]))
        at = after
    float32 = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "reference",
        [onnx.helper.make_tensor_value_info("picture", float32, REFERENCE_INPUT)],
        [onnx.helper.make_tensor_value_info(at, float32, None)],
        weights,
    )
    opset = [onnx.helper.make_opsetid("", _OPSET)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)
    return bytes(model.SerializeToString())
