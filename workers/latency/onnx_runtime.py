"""The probe ``onnx_runtime``: both networks exported to ONNX, run by ONNX Runtime."""

import json
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
from workers.latency._graph_modules import modules_of_nodes, with_some_weights, without_weights
from workers.latency._protocol import (
    Latency,
    LatencyError,
    Milliseconds,
    Plan,
    Subject,
    Tracking,
    cpu_name,
    fixed_threads,
    measured,
)
from workers.latency._reference import REFERENCE_INPUT, reference_network
from workers.latency._split import Split, repeated, split_of

_PROVIDERS = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
}
_OPSET, _IR_VERSION = 17, 8  # of the reference network
_KERNEL = "_kernel_time"  # what the profiler adds to the name of a node


def measure(
    network: TrackerNetwork,
    geometry: Geometry,
    *,
    device: str = "cpu",
    threads: int = 1,
    plan: Plan = Plan(),  # noqa: B008 - frozen
    track: Tracking | None = None,
    keep: Path | None = None,
    providers: Sequence[str] | None = None,
) -> Latency:
    """Export the network to a folder that vanishes and time what was exported.

    The frame's graph, without its weights, is kept in the file ``keep`` for ``split``.
    """
    # torch's exporter takes seconds to import, and those who only run graphs do without it.
    from workers.export import export_graphs

    chosen = _available(providers or _PROVIDERS.get(device, (device,)))
    with TemporaryDirectory() as folder:
        template, frame = export_graphs(
            network, geometry, Path(folder), modules_noted=keep is not None
        )
        if keep is not None:
            keep.write_bytes(without_weights(onnx.load(frame)))
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


def split(
    network: TrackerNetwork,
    geometry: Geometry,
    timed: Latency,
    *,
    device: str = "cpu",
    kept: Path | None = None,
) -> Split:
    """How the step that was timed spreads over the modules, by ONNX Runtime's own profiler.

    ``kept``: the graph that was timed; without it, or where there is none, it is exported again.
    """
    chosen = _available(_PROVIDERS.get(device, (device,)))
    if chosen[0] != "CPUExecutionProvider":
        raise LatencyError(
            f"ONNX Runtime's profiler sees when a node begins on {chosen[0]}, not how long it "
            "takes there; the probe eager tells modules apart on such a device"
        )
    with TemporaryDirectory() as name:
        folder = Path(name)
        exported = _graph_again(network, geometry, kept, folder)
        optimised, events, runs = _profiled(exported, folder, timed.threads)
    modules = {path for path, _ in network.named_modules()}
    nodes, times, wholes = _times(events, runs)
    places = modules_of_nodes(exported.graph, optimised.graph, modules)
    return split_of([places.get(node, "") for node in nodes], times, wholes, timed.step_ms)


def _graph_again(
    network: TrackerNetwork, geometry: Geometry, kept: Path | None, folder: Path
) -> onnx.ModelProto:
    from workers.export import export_graphs

    if kept is not None and kept.exists():
        return with_some_weights(onnx.load(kept))
    return onnx.load(export_graphs(network, geometry, folder / "again", modules_noted=True)[1])


def _profiled(
    exported: onnx.ModelProto, folder: Path, threads: int
) -> tuple[onnx.ModelProto, list[dict[str, Any]], int]:
    """The graph as ONNX Runtime has it, what its profiler says, and of how many runs."""
    options = _options(threads)
    options.log_severity_level = 3  # it warns that an optimised graph is of this machine only
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    for word, value in (("file_name", "optimised.data"), ("min_size_in_bytes", "1024")):
        entry = f"session.optimized_model_external_initializers_{word}"
        options.add_session_config_entry(entry, value)
    session = onnxruntime.InferenceSession(
        exported.SerializeToString(), options, providers=list(_PROVIDERS["cpu"])
    )
    random = np.random.default_rng(0)
    given = {
        each.name: random.standard_normal(each.shape).astype(np.float32)
        for each in session.get_inputs()
    }
    with fixed_threads(threads):
        runs = repeated(lambda: session.run(None, given))
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    graph = onnx.load(options.optimized_model_filepath, load_external_data=False)
    return graph, events, runs


def _times(events: list[dict[str, Any]], runs: int) -> tuple[list[str], Milliseconds, Milliseconds]:
    """The nodes, their milliseconds (runs, nodes) and those of the whole runs, the last ones."""
    nodes: dict[str, list[int]] = {}
    wholes: list[int] = []
    for event in events:
        name = event["name"]
        if event["cat"] == "Node" and name.endswith(_KERNEL):
            nodes.setdefault(name.removesuffix(_KERNEL), []).append(event["dur"])
        elif name == "model_run":
            wholes.append(event["dur"])
    uneven = [name for name, found in nodes.items() if len(found) != len(wholes)]
    if uneven or not nodes or len(wholes) < runs:
        raise LatencyError(
            f"ONNX Runtime's profile of {len(wholes)} runs cannot be read: expected every node "
            f"once in each of at least {runs}, but not so {', '.join(uneven[:3]) or 'any'}"
        )
    times = np.array(list(nodes.values()), dtype=np.float64).T
    return list(nodes), times[-runs:] / 1000, np.array(wholes[-runs:]) / 1000


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


def _options(threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return options


def _session(graph: Path | bytes, providers: list[str], threads: int) -> Any:
    options = _options(threads)
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
