"""How the time of one step spreads over a network's modules, whoever has measured it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from workers.latency._protocol import Milliseconds

_WARM_UP, _FEWEST, _MOST = 2, 3, 20  # runs
_SECONDS = 0.3  # no further run begins after this, but the fewest there are


@dataclass(frozen=True, kw_only=True)
class Split:
    """Milliseconds of each module without those of the modules inside; '' is the tracker itself.

    A module that is not named took no time of its own. Whoever looks takes time too, so
    that ``profiled_ms`` is more than ``step_ms``; and what passes between the parts is nobody's.
    """

    self_ms: dict[str, float]
    profiled_ms: float  # a whole step while it was looked at
    step_ms: float  # the probe's median, without
    runs: int


def repeated(run: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> int:
    """Run it a few times, and say how often that was; the warm-up before does not count."""
    for _ in range(_WARM_UP):
        run()
    began = clock()
    for count in range(1, _MOST + 1):
        run()
        if count >= _FEWEST and clock() - began > _SECONDS:
            break
    return count


def split_of(
    parts: Sequence[str], times: Milliseconds, wholes: Milliseconds, step_ms: float
) -> Split:
    """The median of the runs for every part; a part may have several columns of ``times``."""
    by_part: dict[str, Milliseconds] = {}
    for part, column in zip(parts, times.T, strict=True):
        by_part[part] = by_part.get(part, 0.0) + column
    medians = {part: round(float(np.median(all_)), 6) for part, all_ in by_part.items()}
    return Split(
        self_ms={part: milliseconds for part, milliseconds in medians.items() if milliseconds > 0},
        profiled_ms=float(np.median(wholes)),
        step_ms=step_ms,
        runs=len(wholes),
    )
