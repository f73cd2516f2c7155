"""Probes: one module per runtime, all by the protocol of ``_protocol.py``."""

from collections.abc import Mapping
from pathlib import Path
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
from workers.latency._split import Split

__all__ = [
    "PROBES",
    "SPLITS",
    "Branches",
    "Latency",
    "LatencyError",
    "Plan",
    "Probe",
    "Split",
    "Splitting",
    "Timing",
    "Tracking",
]


class Probe(Protocol):
    """``measure`` of a module of this folder.

    What its ``split`` will need is kept in the file ``keep``, if there is anything.
    """

    def __call__(
        self,
        network: TrackerNetwork,
        geometry: Geometry,
        *,
        device: str = ...,
        threads: int = ...,
        plan: Plan = ...,
        track: Tracking | None = ...,
        keep: Path | None = ...,
    ) -> Latency: ...


class Splitting(Protocol):
    """``split`` of a module of this folder: where the step that its ``measure`` timed spends it."""

    def __call__(
        self,
        network: TrackerNetwork,
        geometry: Geometry,
        timed: Latency,
        *,
        device: str = ...,
        kept: Path | None = ...,
    ) -> Split: ...


PROBES: Mapping[str, Probe] = {"eager": eager.measure, "onnx_runtime": onnx_runtime.measure}
SPLITS: Mapping[str, Splitting] = {"eager": eager.split, "onnx_runtime": onnx_runtime.split}
