"""What Ray adds to a candidate, beside the pool in this process. Printed, not asserted.

The work does next to nothing, so what is measured is the way there and back. Cold is a pool that is
opened for the purpose and its first answer; warm is one candidate after the other in an open pool.
"""

import os
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.workers.small_work import assignment, work
from workers.in_process import InProcessPool
from workers.on_ray import LocalRay, RayPool
from workers.pool import Done, Pool, Progress

ONE_BY_ONE, AT_ONCE = 100, 400
COLD_STARTS = 5


def answered(pool: Pool, count: int) -> list[float]:
    """When each of so many came back."""
    ends: list[float] = []
    while len(ends) < count:
        for report in pool.reports(timeout=5.0):
            assert isinstance(report, Done | Progress), report
            ends += [time.perf_counter()] * isinstance(report, Done)
    return ends


def begun_after(pool: Pool, folder: Path) -> tuple[float, float]:
    """Seconds from submitting until the work has begun, and until it is answered."""
    began, at = time.perf_counter(), time.time()
    pool.submit(assignment("measure", folder))
    seconds = answered(pool, 1)[0] - began
    return (folder / "begun.txt").stat().st_mtime - at, seconds


def cold(open_pool: Callable[[], Pool], folder: Path) -> list[tuple[float, float, float]]:
    """Seconds to open the pool, then to the first begun candidate, then to its answer."""
    found = []
    for n in range(COLD_STARTS):
        began = time.perf_counter()
        with closing(open_pool()) as pool:
            opened = time.perf_counter() - began
            found.append((opened, *begun_after(pool, folder / f"cold-{n}")))
    return found


def one_by_one(pool: Pool, folder: Path) -> list[tuple[float, float]]:
    begun_after(pool, folder / "first")
    return [begun_after(pool, folder / f"warm-{n}") for n in range(ONE_BY_ONE)]


def at_once(pool: Pool, folder: Path) -> float:
    """Seconds a candidate when the pool is never empty."""
    began = time.perf_counter()
    for n in range(AT_ONCE):
        pool.submit(assignment(f"measure {n}", folder / f"many-{n}"))
    return (answered(pool, AT_ONCE)[-1] - began) / AT_ONCE


def spread(seconds: list[float]) -> str:
    low, *_, high = statistics.quantiles(seconds, n=10)
    middle = statistics.median(seconds)
    return f"{1e3 * middle:.1f} ms ({1e3 * low:.1f} to {1e3 * high:.1f})"


@pytest.mark.benchmark
def test_overhead_of_ray_a_candidate(tmp_path: Path) -> None:
    kinds: dict[str, Callable[[], Pool]] = {
        "in process": lambda: InProcessPool(slots=2, work=work),
        "on Ray": lambda: RayPool(
            tmp_path / "home", local=LocalRay(cpus=2, object_store_mb=100), work=work
        ),
    }
    for name, open_pool in kinds.items():
        folder = tmp_path / name.replace(" ", "-")
        starts = cold(open_pool, folder)
        with closing(open_pool()) as pool:
            warm = one_by_one(pool, folder)
            each = at_once(pool, folder)
        assert len(warm) == ONE_BY_ONE
        print(  # noqa: T201 - a benchmark speaks
            f"\n{name}, load {os.getloadavg()[0]:.1f}, median (tenths):\n"
            f"  cold: open {spread([s[0] for s in starts])}, then begun after "
            f"{spread([s[1] for s in starts])}, answered {spread([s[2] for s in starts])}\n"
            f"  warm: begun after {spread([s[0] for s in warm])}, answered "
            f"{spread([s[1] for s in warm])}\n"
            f"  {AT_ONCE} at once on 2 slots: {1e3 * each:.1f} ms a candidate"
        )
