"""What this machine can do for torch and ONNX Runtime."""

import numpy as np
import torch

from search_spaces import ParetrackError


def usable_device(name: str) -> str:
    """The device, if it computes here: one that torch only knows by name, or that holds no data,
    is refused."""
    obstacle = _obstacle(name)
    if obstacle is not None:
        usable = ", ".join(usable_devices())
        raise ParetrackError(f"device {name!r} cannot be used here ({obstacle}); usable: {usable}")
    return name


def usable_devices() -> list[str]:
    """Their names, the CPU first."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    count = torch.accelerator.device_count() if accelerator else 0
    listed = ["cpu", *(f"{accelerator}:{index}" for index in range(count))]
    return [name for name in listed if _obstacle(name) is None]


def _obstacle(name: str) -> str | None:
    try:
        torch.device(name)
    except RuntimeError:  # torch's own words list all that it was ever ported to
        return "torch knows none of this name"
    try:
        answer = (torch.ones(1, device=name) + 1).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        return str(error).splitlines()[0].split(". ")[0]
    return None if answer == 2 else f"1 + 1 is {answer} on it"


def use_threads(count: int) -> None:
    """Compute with so many threads. Sums are split by threads, so that their number is part of
    what decides a trained network: one is the default wherever figures are to be repeated."""
    torch.set_num_threads(count)


def torch_version() -> str:
    """Version and threads of the CPU, after a product that came out right."""
    product = torch.ones(8, 8) @ torch.ones(8, 8)
    if float(product.sum()) != 512:
        raise RuntimeError(f"torch {torch.__version__} multiplies matrices wrongly")
    return f"{torch.__version__}, CPU threads: {torch.get_num_threads()}"


def gpus() -> list[str]:
    """Each GPU that torch can use, by the name that --device takes."""
    return [f"{name} {_described(name)}".strip() for name in usable_devices() if name != "cpu"]


def why_no_gpu() -> str:
    """What is in the way of a GPU, or that there seems to be none."""
    built_for = torch.version.cuda or torch.version.hip
    if built_for is None and not torch.backends.mps.is_built():
        return f"torch {torch.__version__} is built for the CPU alone"
    obstacle = _obstacle("mps" if built_for is None else "cuda")
    return f"torch {torch.__version__} finds none that works ({obstacle})"


def _described(name: str) -> str:
    if not name.startswith("cuda"):
        return ""
    gpu = torch.cuda.get_device_properties(name)
    return f"({gpu.name}, {gpu.total_memory / 2**30:.0f} GiB)"


def onnx_runtime() -> str:
    """Version and what it computes on, after a graph that gave the right answer."""
    import onnxruntime
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "sum", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (answer,) = session.run(None, {"x": np.ones(2, np.float32)})
    if answer.tolist() != [2, 2]:
        raise RuntimeError(f"onnxruntime {onnxruntime.__version__} adds wrongly")
    # Azure's runs nothing here: it sends the pictures to somebody else's machine.
    local = [name for name in onnxruntime.get_available_providers() if "Azure" not in name]
    return f"{onnxruntime.__version__}, runs on {', '.join(local)}"
