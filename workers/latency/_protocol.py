"""The one way in which time is measured here; a probe only says what is put under the clock.

What is timed, each apart: ``init`` (the template branch, once per video), ``step`` (the per-frame
network), ``track`` (a whole frame: crop, normalisation, network, choice; only where the caller has
frames), all at batch 1, and a reference network that never changes. How: a few calls to warm up,
then rounds. In every round each of them runs a few times in turn, back and forth, so that whatever
else the machine does meets all of them alike. Every call is timed alone, with the device
synchronised before and after, a fixed number of threads and no garbage collection.

What is said: the median of all calls, the 10 % and 90 % quantiles, and the spread, a robust
coefficient of variation of the rounds' medians (1.4826 * median absolute deviation / median).
``relative`` is step divided by reference, taken within each round: it holds still on a machine that
does not, and ``noisy`` says that the milliseconds did not.
"""

import gc
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from search_spaces import Geometry, ParetrackError

Call = Callable[[], object]
Milliseconds = NDArray[np.float64]  # (rounds, calls of a round)

_FEWEST_ROUNDS = 5
_NOISY = 0.1


class LatencyError(ParetrackError):
    """Something that cannot be timed as it was asked for."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How often things are called."""

    warm_up: int = 10  # calls of each before the clock starts
    rounds: int = 20
    calls: int = 5  # of each in a round
    seconds: float = 60.0  # no further round begins after this, but five there are


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Milliseconds of one thing, called many times."""

    median_ms: float
    p10_ms: float
    p90_ms: float
    spread: float  # robust coefficient of variation of the rounds' medians
    runs: int


@dataclass(frozen=True, kw_only=True)
class Latency:
    """What a probe found, and all that the figures depend on."""

    probe: str
    device: str
    versions: dict[str, str]
    threads: int
    load_average: float  # of the last minute, before it began
    init: Timing
    step: Timing
    track: Timing | None
    reference: Timing
    relative: float  # step / reference
    relative_spread: float

    @property
    def init_ms(self) -> float:
        return self.init.median_ms

    @property
    def step_ms(self) -> float:
        return self.step.median_ms

    @property
    def track_ms(self) -> float | None:
        return self.track.median_ms if self.track else None

    @property
    def reference_ms(self) -> float:
        return self.reference.median_ms

    @property
    def noisy(self) -> bool:
        """The reference network did not hold still: trust ``relative`` before milliseconds."""
        return self.reference.spread > _NOISY


class Branches(Protocol):
    """A tracker's two networks in some runtime, as TrackerNetwork offers them."""

    def template(self, crop: Tensor) -> tuple[Tensor, ...]: ...

    def frame(self, crop: Tensor, template: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]: ...


# Given the branches in the probe's runtime and where they want their crops: a call that takes the
# tracker one frame further.
Tracking = Callable[[Branches, torch.device], Call]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a probe puts under the clock."""

    probe: str
    branches: Branches
    reference: Call  # one run of the reference network in the same runtime
    inputs: torch.device  # where the branches want their crops
    device: str  # its name
    versions: dict[str, str]
    synchronise: Callable[[], None] = lambda: None


def measured(
    subject: Subject,
    geometry: Geometry,
    *,
    threads: int,
    plan: Plan,
    track: Tracking | None,
    clock: Callable[[], float] = time.perf_counter,
) -> Latency:
    """The latency of a subject by the protocol of this module."""
    if min(threads, plan.warm_up, plan.rounds, plan.calls) < 1:
        raise LatencyError(f"threads and all counts are at least 1, got {threads} threads, {plan}")
    load = os.getloadavg()[0]
    with fixed_threads(threads), torch.inference_mode():
        calls = _calls(subject, geometry, track)
        with no_garbage_collection():
            times = interleaved(calls, plan, synchronise=subject.synchronise, clock=clock)
    of_rounds = np.median(times["step"], axis=1) / np.median(times["reference"], axis=1)
    return Latency(
        probe=subject.probe,
        device=subject.device,
        versions={"python": platform.python_version(), **subject.versions},
        threads=threads,
        load_average=load,
        init=timing(times["init"]),
        step=timing(times["step"]),
        track=timing(times["track"]) if "track" in times else None,
        reference=timing(times["reference"]),
        relative=float(np.median(of_rounds)),
        relative_spread=spread(of_rounds),
    )


def _calls(subject: Subject, geometry: Geometry, track: Tracking | None) -> dict[str, Call]:
    branches = subject.branches
    template = noise_crop(geometry.template_size, subject.inputs)
    search = noise_crop(geometry.search_size, subject.inputs)
    memory = branches.template(template)
    calls: dict[str, Call] = {
        "reference": subject.reference,
        "init": lambda: branches.template(template),
        "step": lambda: branches.frame(search, memory),
    }
    if track is not None:
        calls["track"] = track(branches, subject.inputs)
    return calls


def noise_crop(side: int, device: torch.device) -> Tensor:
    """A crop of this size, the same at all times."""
    generator = torch.Generator().manual_seed(side)
    return torch.randn(1, 3, side, side, generator=generator).to(device)


def interleaved(
    calls: Mapping[str, Call],
    plan: Plan,
    *,
    synchronise: Callable[[], None],
    clock: Callable[[], float],
) -> dict[str, Milliseconds]:
    """Milliseconds of every call, by name."""
    for call in calls.values():
        for _ in range(plan.warm_up):
            call()
    times: dict[str, list[list[float]]] = {name: [] for name in calls}
    forth = list(calls)
    back = forth[::-1]
    began = clock()
    for number in range(plan.rounds):
        if number >= _FEWEST_ROUNDS and clock() - began > plan.seconds:
            break
        for name in back if number % 2 else forth:
            times[name].append(_timed(calls[name], plan.calls, synchronise, clock))
    return {name: np.array(rows) for name, rows in times.items()}


def _timed(
    call: Call, times: int, synchronise: Callable[[], None], clock: Callable[[], float]
) -> list[float]:
    found = []
    for _ in range(times):
        synchronise()
        began = clock()
        call()
        synchronise()
        found.append((clock() - began) * 1000)
    return found


def timing(times: Milliseconds) -> Timing:
    low, middle, high = np.quantile(times, (0.1, 0.5, 0.9))
    return Timing(
        median_ms=float(middle),
        p10_ms=float(low),
        p90_ms=float(high),
        spread=spread(np.median(times, axis=1)),
        runs=times.size,
    )


def spread(values: NDArray[np.float64]) -> float:
    """Robust coefficient of variation: one round that was disturbed does not show."""
    middle = float(np.median(values))
    return 1.4826 * float(np.median(np.abs(values - middle))) / max(middle, 1e-12)


@contextmanager
def fixed_threads(threads: int) -> Iterator[None]:
    """So many threads for torch and OpenCV, and then as before."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """What was left is collected now, and nothing for a while."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def cpu_name() -> str:
    """The processor as its maker calls it."""
    facts = Path("/proc/cpuinfo")
    if facts.is_file():
        for line in facts.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
