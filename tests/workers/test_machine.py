"""A device is usable when it computes; everything else is refused with what is."""

import pytest
import torch

from search_spaces import ParetrackError
from workers.machine import gpus, onnx_runtime, usable_device, usable_devices, why_no_gpu

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


def test_whatever_is_listed_is_usable_and_the_cpu_comes_first() -> None:
    listed = usable_devices()
    assert listed[0] == "cpu"
    assert [usable_device(name) for name in listed] == listed
    assert [gpu.split()[0] for gpu in gpus()] == listed[1:]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("meta", "cannot be called on meta tensors"),
        ("gpu", "torch knows none of this name"),
        ("", "torch knows none of this name"),
        ("vulkan", "Could not run"),
        ("hpu", "No module named"),
        ("cuda:99", ""),
    ],
)
def test_a_device_that_cannot_hold_data_is_refused_with_those_that_can(
    name: str, reason: str
) -> None:
    with pytest.raises(ParetrackError) as refused:
        usable_device(name)
    message = str(refused.value)
    assert message.startswith(f"device {name!r} cannot be used here (")
    assert reason in message
    assert message.endswith(f"usable: {', '.join(usable_devices())}")
    assert len(message) < 200


@without_gpu
def test_without_a_gpu_the_reason_is_given() -> None:
    assert gpus() == []
    assert torch.__version__ in why_no_gpu()


def test_onnx_runtime_computes_and_names_what_it_computes_on() -> None:
    found = onnx_runtime()
    assert "CPUExecutionProvider" in found
    assert "Azure" not in found
