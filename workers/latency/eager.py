"""The probe ``eager``: torch as it is, without compilation, on a device of choice."""

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from search_spaces import Geometry, TrackerNetwork
from workers.latency._protocol import (
    Latency,
    LatencyError,
    Plan,
    Subject,
    Tracking,
    cpu_name,
    fixed_threads,
    measured,
    no_garbage_collection,
    noise_crop,
)
from workers.latency._reference import REFERENCE_INPUT, reference_network
from workers.latency._split import Split, repeated, split_of


def measure(
    network: TrackerNetwork,
    geometry: Geometry,
    *,
    device: str = "cpu",
    threads: int = 1,
    plan: Plan = Plan(),  # noqa: B008 - frozen
    track: Tracking | None = None,
    keep: Path | None = None,
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
        synchronise=_waiting(place),
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
    """How the step that was timed spreads over the modules, by hooks before and after each."""
    place = _place(device)
    copied = copy.deepcopy(network).to(place).eval()
    with (
        fixed_threads(timed.threads),
        torch.inference_mode(),
        _watched(copied, _waiting(place)) as watch,
    ):
        search = noise_crop(geometry.search_size, place)
        memory = copied.template(noise_crop(geometry.template_size, place))
        with no_garbage_collection():
            runs = repeated(lambda: watch.time(lambda: copied.frame(search, memory)))
    paths = list(watch.runs[-1])
    times = np.array([[run.get(path, 0.0) for path in paths] for run in watch.runs[-runs:]])
    return split_of(paths, times * 1000, np.array(watch.wholes[-runs:]) * 1000, timed.step_ms)


class _Watch:
    """A clock that is read whenever a module is entered or left."""

    def __init__(self, synchronise: Callable[[], None]) -> None:
        self.runs: list[dict[str, float]] = []  # seconds by path, each without those inside
        self.wholes: list[float] = []
        self._synchronise = synchronise
        self._path = [""]
        self._now: dict[str, float] = {}
        self._last = 0.0

    def time(self, step: Callable[[], object]) -> None:
        self._now = {}
        self._synchronise()
        began = self._last = time.perf_counter()
        step()
        self._note()
        self.wholes.append(time.perf_counter() - began)
        self.runs.append(self._now)

    def enter(self, path: str) -> None:
        self._note()
        self._path.append(path)
        self._last = time.perf_counter()

    def leave(self) -> None:
        self._note()
        self._path.pop()
        self._last = time.perf_counter()

    def _note(self) -> None:
        self._synchronise()
        path, passed = self._path[-1], time.perf_counter() - self._last
        self._now[path] = self._now.get(path, 0.0) + passed


@contextmanager
def _watched(network: nn.Module, synchronise: Callable[[], None]) -> Iterator[_Watch]:
    watch = _Watch(synchronise)
    with ExitStack() as stack:
        for path, module in network.named_modules():
            if path:
                enter = module.register_forward_pre_hook(lambda *_, at=path: watch.enter(at))
                leave = module.register_forward_hook(lambda *_: watch.leave())
                stack.callback(enter.remove)
                stack.callback(leave.remove)
        yield watch


def _waiting(place: torch.device) -> Callable[[], None]:
    return _nothing if place.type == "cpu" else partial(torch.cuda.synchronize, place)


def _place(device: str) -> torch.device:
    kind, _, index = device.partition(":")
    here = {"cpu": 1, "cuda": torch.cuda.device_count()}
    if not (index or "0").isdigit() or int(index or 0) >= here.get(kind, 0):
        found = ["cpu", *(f"cuda:{i}" for i in range(here["cuda"]))]
        raise LatencyError(f"no device {device!r} here; choose one of {', '.join(found)}")
    return torch.device(device)


def _nothing() -> None:
    """A CPU has finished when the call returns."""
