"""The probe ``eager``: torch as it is, without compilation, on a device of choice."""

import copy
from functools import partial

import torch

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


def measure(
    network: TrackerNetwork,
    geometry: Geometry,
    *,
    device: str = "cpu",
    threads: int = 1,
    plan: Plan = Plan(),  # noqa: B008 - frozen
    track: Tracking | None = None,
) -> Latency:
    """Time a copy of the network on ``device``; the network itself stays as it is."""
    place = _place(device)
    copied = copy.deepcopy(network).to(place).eval()
    reference = reference_network().to(place)
    subject = Subject(
        probe="eager",
        branches=copied,
        reference=partial(reference, torch.ones(REFERENCE_INPUT, device=place)),
        inputs=place,
        device=cpu_name() if place.type == "cpu" else torch.cuda.get_device_name(place),
        versions={"torch": torch.__version__},
        synchronise=_nothing if place.type == "cpu" else partial(torch.cuda.synchronize, place),
    )
    return measured(subject, geometry, threads=threads, plan=plan, track=track)


def _place(device: str) -> torch.device:
    kind, _, index = device.partition(":")
    here = {"cpu": 1, "cuda": torch.cuda.device_count()}
    if not (index or "0").isdigit() or int(index or 0) >= here.get(kind, 0):
        found = ["cpu", *(f"cuda:{i}" for i in range(here["cuda"]))]
        raise LatencyError(f"no device {device!r} here; choose one of {', '.join(found)}")
    return torch.device(device)


def _nothing() -> None:
    """A CPU has finished when the call returns."""
