"""What a search tries first: networks of every size that its limits let pass.

Half of them is a ladder of evenly narrowed ones, the other half is narrowed unevenly around such
shares and loses layers. A sampler that begins with these knows both ends of the front.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
from optuna.trial import FixedTrial

from search_spaces import Architecture, narrowed, sample
from service.plan import Plan
from service.reach import Reach
from workers.metrics import Limit, metric, value

WIDEST = 0.9  # above it is the teacher, which is measured anyway
UNEVEN = 0.35  # of the logarithm of a width's share
DEPTHS = (1.0, 0.75, 1.0, 0.5)
REDRAWN = 3  # times, when it would probably break a limit
HALVINGS = 6

Params = dict[str, Any]


def opening(plan: Plan, reach: Reach) -> list[Params]:
    """``job.opening`` candidates, the ladder first; fewer where the space has no more."""
    count = 0 if plan.job.sampler == "grid" else plan.job.opening
    if count == 0:
        return []
    odds = _Odds(plan, reach)
    top = _widest(plan, odds)
    rungs = -(-count // 2)
    ladder = [narrowed(plan.space, top * (rungs - k) / rungs) for k in range(rungs)]
    # Every second one first: whoever compares the first three sees large and small.
    found = [*ladder[::2], *ladder[1::2], *_uneven(plan, odds, top, count - rungs)]
    distinct = {tuple(params.items()): params for params in found}
    return [params for params in distinct.values() if _architecture(plan, params) != odds.whole]


def _uneven(plan: Plan, odds: "_Odds", top: float, count: int) -> Iterator[Params]:
    random = np.random.default_rng([plan.job.seed, 1])
    for k in range(count):
        # An even spread of shares, whatever their number.
        share = top * (0.15 + 0.85 * ((k * 0.618 + 0.3) % 1))
        for _ in range(REDRAWN):
            params = narrowed(
                plan.space,
                share,
                depth=DEPTHS[k % len(DEPTHS)],
                uneven=lambda: float(np.exp(UNEVEN * random.standard_normal())),
            )
            if odds.holds(params):
                break
        yield params


def _widest(plan: Plan, odds: "_Odds") -> float:
    """The widest even share that probably holds the limits."""
    if not odds.limits or odds.holds(narrowed(plan.space, WIDEST)):
        return WIDEST
    low, high = 0.0, WIDEST
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        fits = odds.holds(narrowed(plan.space, middle))
        low, high = (middle, high) if fits else (low, middle)
    return low or high


def _architecture(plan: Plan, params: Params) -> Architecture:
    return sample(plan.space, FixedTrial(params)).architecture


class _Odds:
    """Whether a candidate will probably hold the limits; MACs and parameters are known exactly,
    a latency lies between those of the two ends as the MACs do."""

    def __init__(self, plan: Plan, reach: Reach) -> None:
        self._plan, self._reach = plan, reach
        self.whole = plan.space.whole
        self.limits = [x for x in plan.limits if x.hard and x.at_most is not None]

    def holds(self, params: Params) -> bool:
        from workers.cost import cost_of

        if not self.limits:
            return True
        cost = {"cost": asdict(cost_of(_architecture(self._plan, params)))}
        return all(self._expected(limit, cost) <= 0 for limit in self.limits)

    def _expected(self, limit: Limit, cost: dict[str, Any]) -> float:
        """The violation."""
        asked, macs = metric(limit.metric), metric("macs_frame")
        figure = value(cost, asked)
        least, most = (value(m, asked) for m in (self._reach.smallest, self._reach.teacher))
        ends = [value(m, macs) for m in (self._reach.smallest, self._reach.teacher)]
        here = value(cost, macs)
        if figure is None and None not in (least, most, here, *ends):
            assert least is not None and most is not None and here is not None
            low, high = (end or 0.0 for end in ends)
            figure = least + (most - least) * (here - low) / max(high - low, 1.0)
        return -math.inf if figure is None else limit.violation(figure)
