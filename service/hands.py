"""The pool that a process was asked for: workers in this process, or on Ray."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from service.settings import Settings

if TYPE_CHECKING:
    from workers.pool import Pool

Hands = Literal["in_process", "ray"]


@contextmanager
def open_pool(
    hands: Hands,
    settings: Settings,
    *,
    parallel: int = 1,
    threads: int = 1,
    needs: Mapping[str, Any] | None = None,
    say: Callable[[str], None],
) -> "Iterator[Pool]":
    """A pool while the block runs. ``parallel``: candidates at once in this process; ``needs``:
    what a candidate takes of Ray's resources; ``say`` hears of workers that went and came back."""
    from workers.machine import use_threads

    pool: Pool
    if hands == "ray":
        from workers.on_ray import Needs, RayPool
        from workers.reopening import ReopeningPool

        pool = ReopeningPool(
            lambda: RayPool(
                home=settings.home,
                address=settings.ray_address,
                threads=threads,
                needs=Needs(**(needs or {})),
            ),
            hear=say,
        )
    else:
        from workers.in_process import InProcessPool

        use_threads(threads)
        pool = InProcessPool(slots=parallel, threads=threads)
    try:
        yield pool
    finally:
        pool.close()


def ray_address(pool: "Pool", settings: Settings) -> str | None:
    """Where the Ray of a pool listens; None: it has none."""
    from workers.on_ray import RayPool
    from workers.reopening import ReopeningPool

    now = pool.current if isinstance(pool, ReopeningPool) else pool
    return now.address if isinstance(now, RayPool) else settings.ray_address
