"""What this machine can do for torch and ONNX Runtime."""

import torch

from search_spaces import ParetrackError


def usable_device(name: str) -> str:
    """The device, if this machine has it."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ParetrackError(
            f"device {name!r} cannot be used here: {reason}; `paretrack doctor` lists what can"
        ) from error
    return name


def use_threads(count: int) -> None:
    """Compute with so many threads. Sums are split by threads, so that their number is part of
    what decides a trained network: one is the default wherever figures are to be repeated."""
    torch.set_num_threads(count)


def torch_version() -> str:
    """Version and threads, after a product that came out right."""
    product = torch.ones(8, 8) @ torch.ones(8, 8)
    if float(product.sum()) != 512:
        raise RuntimeError(f"torch {torch.__version__} multiplies matrices wrongly")
    return f"{torch.__version__}, {torch.get_num_threads()} threads"


def gpus() -> list[str]:
    """Name and memory of each GPU that torch can use."""
    if not torch.cuda.is_available():
        return []
    found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return [f"{gpu.name} {gpu.total_memory / 2**30:.0f} GiB" for gpu in found]


def onnx_runtime() -> str:
    """Version and what it can run on."""
    import onnxruntime

    providers = ", ".join(onnxruntime.get_available_providers())
    return f"{onnxruntime.__version__}: {providers}"
