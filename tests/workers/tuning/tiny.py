"""A tuning that takes seconds: half of a tiny tracker on moving squares."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.workers.test_evaluation import tiny_candidate
from workers.candidate import Candidate
from workers.training import Recipe
from workers.tuning import Tuning
from workers.tuning.ranges import Between, Range

RANGES: Mapping[str, Range] = {
    "learning_rate": Between(least=1e-4, most=1e-2, log=True),
    "weights.l1": Between(least=1.0, most=20.0, log=True),
}
RATES = (1e-3, 4e-3, 2e-4, 2e-3, 5e-4, 1e-2)


def candidate(root: Path, steps: int = 9) -> Candidate:
    """Timed by no probe."""
    return replace(tiny_candidate(root), recipe=Recipe(steps=steps, batch=2), probes=())


def tuning(candidate: Candidate, folder: Path, trials: int = 6, **said: Any) -> Tuning:
    """The trials differ in their learning rates."""
    values = tuple({"learning_rate": rate, "weights.l1": 5.0} for rate in RATES[:trials])
    return Tuning(
        candidate=candidate,
        **{"values": values, "ranges": RANGES, "folder": folder, "identity": "tiny", **said},
    )
