"""The measurement of a candidate while it grows, gate by gate, and who hears of it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from search_spaces import ParetrackError
from workers import metrics
from workers.candidate import Gate, Measurement
from workers.training import Moment


@dataclass(frozen=True)
class Happening:
    """What a candidate is going through, for whoever watches."""

    step: str
    done: int = 0
    total: int = 0
    moment: Moment | None = None  # of the recovery


Watch = Callable[[Happening], None]


class InfeasibleError(ParetrackError):
    """A candidate that breaks a limit. What it would have cost to go on is saved."""


class Story:
    """What happens to one candidate, in order."""

    def __init__(self, start: Measurement, watch: Watch | None) -> None:
        self._watch = watch or _nobody
        self.measurement = start

    def add(self, **parts: Any) -> None:
        self.measurement = replace(self.measurement, **parts)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """One gate: how long it took and how it ended is in the measurement, whatever happens."""
        self._watch(Happening(name))
        began = time.monotonic()
        verdict: Literal["passed", "infeasible", "failed"] = "failed"
        note = ""
        try:
            yield
            verdict = "passed"
        except InfeasibleError as limit:
            verdict, note = "infeasible", str(limit)
            raise
        except BaseException as error:
            note = str(error)
            raise
        finally:
            seconds = time.monotonic() - began
            gate = Gate(name=name, seconds=seconds, verdict=verdict, note=note)
            known = self.measurement.seconds
            self.add(
                gates=(*self.measurement.gates, gate),
                seconds={**known, name: known.get(name, 0.0) + seconds},
            )

    def demand_limits(self) -> None:
        """That no hard limit on a cost that is known by now is broken."""
        known = self.measurement.to_json()
        for limit in self.measurement.candidate.limits:
            metric = metrics.metric(limit.metric)
            value = metrics.value(known, metric)
            is_cost = metric.better == "lower" and metric.path[0] in ("cost", "latency")
            if limit.hard and is_cost and value is not None and limit.violation(value) > 0:
                raise InfeasibleError(f"{metric.label} is {value:g} {metric.unit}, limit {limit}")

    def progress(self, name: str) -> Callable[[int, int], None]:
        return lambda done, total: self._watch(Happening(name, done, total))

    def moment(self, moment: Moment) -> None:
        self._watch(Happening("recovery", moment.step, moment.steps, moment))


def _nobody(happening: Happening) -> None:
    """Nobody watches."""
