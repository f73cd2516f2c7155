"""Which module of a network each node of its optimised graph belongs to.

The exporter notes at each node the module that it comes from. ONNX Runtime then merges nodes, lays
tensors out anew, and notes nothing, but values keep their names, or nodes are named after them: so
it can be found out for what part of the exported graph an optimised node stands.
"""

from collections.abc import Collection, Iterable, Mapping
from itertools import takewhile

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

MODULE = "module"  # the key under which an exported node says where it comes from
_NETWORK = "network."  # what the exported branches call the network that they are of
_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})  # where the time goes
_LARGE = 256  # numbers


def modules_of_nodes(
    exported: GraphProto, optimised: GraphProto, modules: Collection[str]
) -> dict[str, str]:
    """By the name of each optimised node.

    One that stands for several goes to the layer among them, or else to the innermost module with
    all of them; one that ONNX Runtime has put in, to the innermost with all its neighbours.
    """
    makers = {value: node for node in exported.node for value in node.output if value}
    named = {node.name: node for node in exported.node}
    values = {node.name: _values(node, makers, named) for node in optimised.node}
    ends = {value for each in values.values() for value in each}
    found = {
        name: _module_of(_covered(given, makers, ends), modules)
        for name, given in values.items()
        if given
    }
    _place_inserted(optimised, found)
    return found


def _values(
    node: NodeProto, makers: Mapping[str, NodeProto], named: Mapping[str, NodeProto]
) -> set[str]:
    """What it makes, as the exported graph calls it."""
    made = {value for value in node.output if value in makers}
    before = node.name.split("/")[0].removeprefix("fused ")  # of a fusion
    if before in named:
        made.update(named[before].output)
    value = node.name.removesuffix("_nchwc")  # of a convolution in blocks of channels
    return made | {value} if value in makers else made


def _covered(
    values: Collection[str], makers: Mapping[str, NodeProto], ends: Collection[str]
) -> list[NodeProto]:
    """The exported nodes behind these values, as far as those that others make."""
    waiting, found = list(values), dict[str, NodeProto]()
    while waiting:
        node = makers[waiting.pop()]
        if node.name not in found:
            found[node.name] = node
            waiting += [value for value in node.input if value in makers and value not in ends]
    return list(found.values())


def _module_of(nodes: Collection[NodeProto], modules: Collection[str]) -> str:
    layers = [_module(node, modules) for node in nodes if node.op_type in _LAYERS]
    return innermost(layers or [_module(node, modules) for node in nodes])


def _module(node: NodeProto, modules: Collection[str]) -> str:
    """The one whose weights it multiplies with, or where it was called.

    A convolution with a normalisation in it was called as the normalisation.
    """
    weights = str(node.input[1]) if node.op_type in _LAYERS and len(node.input) > 1 else ""
    owner = weights.removeprefix(_NETWORK).rpartition(".")[0]
    if weights.startswith(_NETWORK) and owner in modules:
        return owner
    said = next((str(each.value) for each in node.metadata_props if each.key == MODULE), "")
    return said if said in modules else ""


def innermost(paths: Iterable[str]) -> str:
    """The innermost module that has all of these in it, or is them."""
    steps = zip(*(path.split(".") for path in paths), strict=False)
    return ".".join(step[0] for step in takewhile(lambda step: len(set(step)) == 1, steps))


def _place_inserted(optimised: GraphProto, found: dict[str, str]) -> None:
    makers = {value: node.name for node in optimised.node for value in node.output}
    beside: dict[str, set[str]] = {node.name: set() for node in optimised.node}
    for node in optimised.node:
        for maker in (makers[value] for value in node.input if value in makers):
            beside[node.name].add(maker)
            beside[maker].add(node.name)
    while waiting := [name for name in beside if name not in found]:
        placed = {name: [found[one] for one in beside[name] if one in found] for name in waiting}
        if not any(placed.values()):
            break
        found.update({name: innermost(near) for name, near in placed.items() if near})


# --- a graph without its weights ------------------------------------------------------------------


def without_weights(model: ModelProto) -> bytes:
    """The graph to be kept: how long it takes does not depend on weights. Empties the model."""
    for tensor in model.graph.initializer:
        if _is_large(tensor):
            tensor.ClearField("raw_data")
    return bytes(model.SerializeToString())


def with_some_weights(model: ModelProto) -> ModelProto:
    """The same with small numbers where there are none. Fills the model itself."""
    some = np.random.default_rng(0).normal(0, 0.02, 4099)
    for tensor in model.graph.initializer:
        if _is_large(tensor) and not tensor.raw_data:
            kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            tensor.raw_data = np.resize(some, int(np.prod(tensor.dims))).astype(kind).tobytes()
    return model


def _is_large(tensor: TensorProto) -> bool:
    floats = tensor.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
    return floats and int(np.prod(tensor.dims)) > _LARGE
