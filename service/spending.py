"""What a search has spent of its budget, and which part of it ends the job."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.trial import FrozenTrial

from service.events import Watch
from service.job import Budget

MEASURED_BEFORE = "measured before"  # the reason of a trial that cost nothing: its answer was known
MEASURED_AGAIN = "latency measured again, all else measured before"
SECONDS = "job_seconds"  # attribute of a trial: how long its job had run when it ended
HYPERVOLUME = "hypervolume"  # the same: the front's, with it


class Spending:
    """The counters of one job; what earlier controllers spent is read from the record."""

    def __init__(self, budget: Budget, clock: Callable[[], float]) -> None:
        self.budget, self._clock, self._began = budget, clock, clock()
        self.asked = 0
        self.states: Counter[str] = Counter()  # of those that have ended
        self.hypervolume = 0.0
        self._earlier_seconds = 0.0
        self._moved_at = 0  # feasible candidates that had been asked for when the front last moved
        self._asked_then = 0  # all of them; what of these is infeasible in the end was not feasible
        self.cpu_seconds = 0.0
        self.gpu_seconds = 0.0
        self._work: dict[int, tuple[float, float]] = {}  # seconds of CPUs and GPUs, by trial

    def take_up(self, stored: Sequence[FrozenTrial]) -> None:
        """What the record says of the trials of earlier controllers."""
        ended = [t for t in stored if t.state.is_finished() and SECONDS in t.user_attrs]
        ended.sort(key=lambda t: float(t.user_attrs[SECONDS]))
        self._earlier_seconds = float(ended[-1].user_attrs[SECONDS]) if ended else 0.0
        best = 0.0
        for trial in ended:
            if trial.user_attrs[HYPERVOLUME] > best:
                best = trial.user_attrs[HYPERVOLUME]
                before = _begun_before(stored, trial)
                self._asked_then = len(before)
                self._moved_at = sum(t.user_attrs.get("state") != "INFEASIBLE" for t in before)
        for trial in ended:
            if not trial.user_attrs["reason"].startswith(MEASURED_BEFORE):
                self._worked(trial.number, trial.user_attrs)

    # --- what happens -------------------------------------------------------------------------

    def answered(self, number: int, measurement: Mapping[str, Any]) -> None:
        """A worker's answer; a later one of the same trial contains the earlier."""
        self._worked(number, measurement)

    def ended(self, number: int, state: str) -> None:
        """What became of a trial; they are numbered as they were asked for."""
        self.states[state] += 1
        self._moved_at -= state == "INFEASIBLE" and number < self._asked_then

    def front_is(self, hypervolume: float) -> None:
        if hypervolume > self.hypervolume:
            self.hypervolume, self._moved_at = hypervolume, self.feasible
            self._asked_then = self.asked

    def recall(self, hypervolume: float) -> None:
        """The front after what the record says; when it moved is known from there."""
        self.hypervolume = hypervolume

    def _worked(self, number: int, told: Mapping[str, Any]) -> None:
        seconds = sum((told.get("seconds") or {}).values())
        where = told.get("environment") or {}
        on_gpu = where.get("device", "cpu") != "cpu"
        before = self._work.get(number, (0.0, 0.0))
        now = (seconds * int(where.get("threads", 1)), seconds * on_gpu)
        self.cpu_seconds += now[0] - before[0]
        self.gpu_seconds += now[1] - before[1]
        self._work[number] = now

    # --- what that comes to -------------------------------------------------------------------

    @property
    def feasible(self) -> int:
        """Those on their way count as if they were."""
        return self.asked - self.states["INFEASIBLE"]

    @property
    def seconds(self) -> float:
        """That all controllers of this job have run."""
        return self._earlier_seconds + self._clock() - self._began

    def attrs(self) -> dict[str, float]:
        """What a trial that ends now says of its job."""
        return {HYPERVOLUME: self.hypervolume, SECONDS: round(self.seconds, 3)}

    @property
    def since_gain(self) -> int:
        """Candidates that have not moved the front; none before anything is on it."""
        return self.feasible - self._moved_at if self.hypervolume else 0

    def told(self) -> dict[str, float]:
        """For whoever looks on. How many were asked for, and the front, are told elsewhere."""
        return {
            "seconds": round(self.seconds, 3),
            "cpu_seconds": round(self.cpu_seconds, 3),
            "gpu_seconds": round(self.gpu_seconds, 3),
            "since_gain": self.since_gain,
        }

    def telling(self, watch: Watch) -> Watch:
        """The same watcher, who hears with every event what is spent."""
        return lambda event: watch(replace(event, spent=self.told()))

    # --- whether that is all ------------------------------------------------------------------

    def all_asked(self) -> bool:
        """Whether no new candidate may be asked for; those that wait may still go on."""
        enough = self.feasible >= self.budget.trials
        return bool(enough or self.asked >= self.budget.most_asked)

    def over(self) -> str:
        """Why nothing at all may begin any more; '' while something may."""
        budget = self.budget
        if _reached(self.seconds, budget.seconds):
            return f"the time is over ({budget.seconds:g} s)"
        if _reached(self.cpu_seconds, budget.cpu_seconds):
            return f"the CPU time is spent ({budget.cpu_seconds:g} s)"
        if _reached(self.gpu_seconds, budget.gpu_seconds):
            return f"the GPU time is spent ({budget.gpu_seconds:g} s)"
        if _reached(self.hypervolume, budget.hypervolume):
            return f"the front has reached hypervolume {budget.hypervolume:g}"
        if _reached(self.since_gain, budget.plateau):
            return f"{budget.plateau} candidates have not moved the front"
        return ""


def _begun_before(stored: Sequence[FrozenTrial], ended: FrozenTrial) -> list[FrozenTrial]:
    end = ended.datetime_complete
    assert end is not None
    return [t for t in stored if t.datetime_start is not None and t.datetime_start <= end]


def _reached(figure: float, bound: float | None) -> bool:
    return bound is not None and figure >= bound
