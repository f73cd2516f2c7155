"""Where the milliseconds of a trial's step go, part by part, beside those of its teacher."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.trial_layers import Part

Measured = Mapping[str, Any] | None  # a measurement as it is stored


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How the step of one probe spread over a network's modules; see workers/latency/_split.py."""

    self_ms: Mapping[str, float]
    profiled_ms: float
    step_ms: float
    runs: int


@dataclass(frozen=True, kw_only=True)
class Spreads:
    """The same of the teacher and of a trial; None: it was not measured."""

    probe: str
    teacher: Spread | None
    left: Spread | None
    why: str | None  # there is none of the trial, where that is known

    def of(self, part: Part) -> tuple[float | None, float | None]:
        """Milliseconds of a part in both; 0: it takes no time of its own, or is gone."""
        before = None if self.teacher is None else self.teacher.self_ms.get(part.path, 0.0)
        if self.left is None or part.path_left is None:
            return before, None if self.left is None else 0.0
        return before, self.left.self_ms.get(part.path_left, 0.0)


def spreads(teacher: Measured, trial: Measured) -> list[Spreads]:
    """Of each probe that timed either."""
    both: list[Mapping[str, Any]] = [each or {} for each in (teacher, trial)]
    timed = dict.fromkeys(probe for each in both for probe in each.get("latency", {}))
    return [
        Spreads(
            probe=probe,
            teacher=_spread(both[0], probe),
            left=_spread(both[1], probe),
            why=_why_not(both[1], probe),
        )
        for probe in timed
    ]


def _spread(measured: Mapping[str, Any], probe: str) -> Spread | None:
    found = measured.get("split", {}).get(probe)  # of older measurements there is none
    return None if found is None else Spread(**found)


def _why_not(measured: Mapping[str, Any], probe: str) -> str | None:
    notes = (
        gate["note"]
        for gate in measured.get("gates", ())
        if gate["name"] == f"latency by layer, {probe}" and gate["verdict"] == "failed"
    )
    return next(notes, None)
