"""Probes: one module per runtime, all by the protocol of ``_protocol.py``."""

from collections.abc import Mapping
from typing import Protocol

from search_spaces import Geometry, TrackerNetwork
from workers.latency import eager, onnx_runtime
from workers.latency._protocol import (
    Branches,
    Latency,
    LatencyError,
    Plan,
    Timing,
    Tracking,
)

__all__ = [
    "PROBES",
    "Branches",
    "Latency",
    "LatencyError",
    "Plan",
    "Probe",
    "Timing",
    "Tracking",
]


class Probe(Protocol):
    """``measure`` of a module of this folder."""

    def __call__(
        self,
        network: TrackerNetwork,
        geometry: Geometry,
        *,
        device: str = ...,
        threads: int = ...,
        plan: Plan = ...,
        track: Tracking | None = ...,
    ) -> Latency: ...


PROBES: Mapping[str, Probe] = {"eager": eager.measure, "onnx_runtime": onnx_runtime.measure}
