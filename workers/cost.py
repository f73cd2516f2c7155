"""What a tracker costs, counted on the operators that really run.

A MAC is one multiplication with its addition; FLOPs, where somebody wants them, are 2 * MACs.
Counted are matrix products, convolutions (depth-wise, grouped and those with the template as their
kernel) and attention, as is usual in this field; not counted are normalisation, activations,
pooling, interpolation and other work on single elements. Everything is for one video (batch 1).
"""

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_flop

from search_spaces import Architecture, Geometry, ParetrackError, TrackerNetwork, load

aten = torch.ops.aten


class CostError(ParetrackError):
    """A network whose cost cannot be counted."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Multiply-accumulates (not FLOPs), parameters and bytes of a tracker at batch 1."""

    macs_template: int  # once per video
    macs_frame: int  # every frame
    parameters: int
    parameters_template: int  # those that the template branch reads
    parameters_frame: int  # those that the frame branch reads
    peak_memory_frame: int  # most bytes of crops, template and activations alive at once
    weights_bytes: int  # parameters and buffers that are saved


def measure_cost(network: TrackerNetwork, geometry: Geometry) -> Cost:
    """Run both branches once where the network lies (meta too) and count. Weights stay as they are.

    The peak covers tensors, not what a kernel allocates for itself while it runs, nor weights.
    """
    template, frame = _counted(network, geometry)
    return Cost(
        macs_template=sum(template.macs.values()),
        macs_frame=sum(frame.macs.values()),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        parameters_template=template.parameters_read(),
        parameters_frame=frame.parameters_read(),
        peak_memory_frame=frame.peak,
        weights_bytes=sum(tensor.nbytes for tensor in network.state_dict().values()),
    )


def cost_of(architecture: Architecture) -> Cost:
    """The cost of what would be built: shapes are enough, no weight is made."""
    family = load(architecture.family)
    with torch.device("meta"):
        network = family.build(architecture)
    return measure_cost(network, family.geometry(architecture))


def cost_by_layer(network: TrackerNetwork, geometry: Geometry) -> dict[str, int]:
    """MACs of the frame branch by the path of the innermost module, in order of execution.

    '' is the tracker itself: what it computes outside of its modules.
    """
    return _counted(network, geometry)[1].macs


def _counted(network: TrackerNetwork, geometry: Geometry) -> tuple["_Counter", "_Counter"]:
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    dtype = next((p.dtype for p in network.parameters()), torch.float32)

    def crop(side: int) -> Tensor:
        return torch.zeros(1, 3, side, side, device=device, dtype=dtype)

    with _evaluating(network), torch.no_grad(), _path_followed(network) as path:
        template, search = crop(geometry.template_size), crop(geometry.search_size)
        with _Counter(network, path, (template,)) as of_template:
            memory = network.template(template)
        del template
        with _Counter(network, path, (search, *memory)) as of_frame:
            network.frame(search, memory)
    return of_template, of_frame


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operator below autograd and adds up what it costs."""

    def __init__(self, network: nn.Module, path: list[str], given: tuple[Tensor, ...]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs: dict[str, int] = {}
        self.peak = 0
        self._path = path
        self._parameters = {id(parameter): parameter for parameter in network.parameters()}
        self._read: set[int] = set()
        weights = (*network.parameters(), *network.buffers())
        self._weights = {weight.untyped_storage()._cdata for weight in weights}
        self._alive: set[int] = set()
        self._bytes = 0
        for tensor in given:
            self._note(tensor)

    def parameters_read(self) -> int:
        return sum(self._parameters[key].numel() for key in self._read)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        flops = _FLOPS.get(func.overloadpacket)
        if flops is None and func.namespace == "aten":
            with self:  # under inference mode composite operators arrive whole
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
            _refuse_hidden_product(func.overloadpacket.__name__)
        self._read.update(id(x) for x in tree_leaves((args, kwargs)) if id(x) in self._parameters)
        out = func(*args, **kwargs)
        if flops is not None:
            macs = flops(*args, **kwargs, out_val=out) // 2
            self.macs[self._path[-1]] = self.macs.get(self._path[-1], 0) + macs
        for value in tree_leaves(out):
            if isinstance(value, Tensor):
                self._note(value)
        return out

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata in self._alive or storage._cdata in self._weights:
            return
        self._alive.add(storage._cdata)
        self._bytes += storage.nbytes()
        self.peak = max(self.peak, self._bytes)
        weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes()).atexit = False

    def _forget(self, storage: int, nbytes: int) -> None:
        self._alive.remove(storage)
        self._bytes -= nbytes


def _vector_flops(matrix: Any, vector: Any, *_: Any, out_val: Any) -> int:
    """Matrix times vector, or vector times vector."""
    return int(2 * matrix.numel())


def _added_vector_flops(base: Any, matrix: Any, vector: Any, *_: Any, out_val: Any) -> int:
    return int(2 * matrix.numel())


def _summed_batch_flops(base: Any, left: Any, right: Any, *_: Any, out_val: Any) -> int:
    return int(2 * left.numel() * right.shape[2])


# What torch's own counter knows, and the operators that it lets pass as free: attention on the CPU
# is one of them.
_FLOPS: Mapping[Any, Callable[..., int]] = {
    **flop_registry,
    aten._scaled_dot_product_flash_attention_for_cpu: sdpa_flop,
    aten._scaled_dot_product_fused_attention_overrideable: sdpa_flop,
    aten._scaled_dot_product_attention_math_for_mps: sdpa_flop,
    aten.mv: _vector_flops,
    aten.dot: _vector_flops,
    aten.addmv: _added_vector_flops,
    aten.addbmm: _summed_batch_flops,
}
_PRODUCTS = {"mm", "matmul", "linear", "trilinear", "attention", "cdist", "lstm", "gru", "rnn"}


def _refuse_hidden_product(operator: str) -> None:
    """Better no figure than one that takes a convolution for free."""
    for word in operator.split("_"):
        if word in _PRODUCTS or (word.startswith("conv") and word != "convert"):
            raise CostError(
                f"the network runs the operator {operator}, whose multiplications are not known "
                "here: add its formula to workers/cost.py, or use another operator"
            )


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while, without fused encoder layers; then all is as it was."""
    modes = {module: module.training for module in network.modules()}
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one operator would hide all the products
    network.eval()
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for module, training in modes.items():
            module.training = training


@contextmanager
def _path_followed(network: nn.Module) -> Iterator[list[str]]:
    """The paths of the modules that are running, the innermost last; '' is the network."""
    path = [""]
    with ExitStack() as stack:
        for name, module in network.named_modules():
            if name:
                enter = module.register_forward_pre_hook(lambda *_, n=name: path.append(n))
                leave = module.register_forward_hook(
                    lambda *_: path.pop() and None, always_call=True
                )
                stack.callback(enter.remove)
                stack.callback(leave.remove)
        yield path
