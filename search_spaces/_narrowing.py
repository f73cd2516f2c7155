"""Points of a space whose widths go together: what a search begins with.

Widths that are drawn one by one give networks that all cost much the same: of fifty draws some are
wide and some narrow. A front needs networks of every size, and most good ones are narrowed evenly.
"""

from collections.abc import Callable
from typing import Any

from search_spaces._levers import Grid
from search_spaces._space import Space


def narrowed(
    space: Space, share: float, *, depth: float = 1.0, uneven: Callable[[], float] = lambda: 1.0
) -> dict[str, Any]:
    """The parameters of the point whose widths are nearest to ``share`` of the teacher's.

    ``depth``: the share of the layers that stay, spread evenly. ``uneven``: asked for every width,
    what its share is multiplied with.
    """
    stay = _spread(space, depth)
    params: dict[str, Any] = {f"keep.{space.layers[i]}": i in stay for i in space.free_layers}
    for grid in space.free_grids:
        params[f"width.{grid.units.name}"] = _nearest(grid, share * uneven() * grid.units.width)
    return params


def _spread(space: Space, depth: float) -> set[int]:
    """So many of the free layers, as far from each other as can be; the first one always."""
    free = space.free_layers
    if not free:
        return set()
    count = min(len(free), max(space.least_layers, 1, round(depth * len(free))))
    return {free[i * len(free) // count] for i in range(count)}


def _nearest(grid: Grid, width: float) -> int:
    step = round((width - grid.low) / grid.step)
    return grid.low + grid.step * min(max(step, 0), grid.choices - 1)
