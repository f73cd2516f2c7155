"""Where a trial that did not get to the end would have ended: learnt from those that did."""

from collections import defaultdict
from collections.abc import Mapping

from service.samplers import estimate


class Guesses:
    """Errors at rungs and in the end, both to be minimised."""

    def __init__(self) -> None:
        self._at_rungs: defaultdict[int, dict[int, float]] = defaultdict(dict)
        self._finals: dict[int, float] = {}
        self._pairs: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)

    def at_rung(self, number: int, rung: int, error: float) -> None:
        self._at_rungs[rung][number] = error
        if number in self._finals:
            self._pairs[rung].append((error, self._finals[number]))

    def final(self, number: int, error: float) -> None:
        self._finals[number] = error
        for rung, errors in self._at_rungs.items():
            if number in errors:
                self._pairs[rung].append((errors[number], error))

    def error_at(self, rung: int) -> Mapping[int, float]:
        return self._at_rungs[rung]

    def guess(self, number: int, rung: int) -> float | None:
        """The error of the whole recovery; None while too few have ended."""
        return estimate(self._at_rungs[rung][number], self._pairs[rung])
