"""START HERE: the search, top to bottom. Ask, evaluate, hear, decide, tell, until the budget is
spent.

The controller owns the study: it alone asks the sampler and writes the record. A pool has the
hands. Whatever is in flight when this process dies is in the record as RUNNING and is taken up by
the next one: its files lie in its folder, so nothing that was trained is trained again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial, TrialState

from search_spaces import ParetrackError, Sampled, sample, size
from service.early_stopping import Decision, RungResult
from service.events import Event, Outcome, Watch
from service.front import Front
from service.plan import Plan
from service.reach import Reach
from service.samplers import Asked, estimate
from service.trials import ReachedRung, Record

if TYPE_CHECKING:
    from workers.pool import Pool, Report

FAILURES_IN_A_ROW = 10  # so many, and it is not the candidates
REPETITIONS = 1000  # of what was tried, and there is nothing else to try
WENT_ON = "went_on"  # the verdict at a rung that a trial is on its way to

# What Optuna calls our states. Its COMPLETE are those with all objectives: the front is of them.
_OPTUNA = {
    "COMPLETE": TrialState.COMPLETE,
    "INFEASIBLE": TrialState.PRUNED,
    "STOPPED": TrialState.PRUNED,
    "FAILED": TrialState.FAIL,
}


@dataclass
class Tried:
    """A trial on its way: what was asked, and how far it has come."""

    number: int
    asked: Asked[Sampled]
    digest: str
    rung: int = 0  # the one that it is trained for, or waits at
    measurement: Mapping[str, Any] = field(default_factory=dict)


def search(
    plan: Plan,
    reach: Reach,
    record: Record,
    pool: "Pool",
    *,
    earlier: Sequence[FrozenTrial] = (),
    watch: Watch = lambda event: None,
    stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Run a job to its end, or go on where an earlier controller left it.

    ``earlier``: complete trials of other jobs over the same space, to learn from.
    ``stop``: asked often; once it says so, nothing new begins and what runs may finish.
    """
    job = _Search(plan, reach, record, pool, watch, clock)
    job.view.learn(earlier, job.sampled)
    job.take_up()
    while not (reason := job.over(stop())):
        job.fill(stop())
        for report in pool.reports(timeout=0.5):
            job.hear(report)
    return job.conclude(reason)


class _Search:
    """The state of a running search; all of it can be built again from the record."""

    def __init__(
        self,
        plan: Plan,
        reach: Reach,
        record: Record,
        pool: "Pool",
        watch: Watch,
        clock: Callable[[], float],
    ) -> None:
        self.plan, self.reach, self.record, self.pool = plan, reach, record, pool
        self.watch, self.clock, self.began = watch, clock, clock()
        self.stored = record.trials()
        self.view = plan.view(len(self.stored))
        self.stopping = plan.stopping()
        self.front = Front(plan.reference(reach.teacher))
        self.flying: dict[str, Tried] = {}
        self.waiting: dict[int, Tried] = {}
        self.at_rungs: dict[int, dict[int, float]] = {}  # accuracy by rung and trial
        self.finals: dict[int, float] = {}  # accuracy in the end, by trial
        self.states: dict[str, int] = {}
        self.asked = 0
        self.failures = 0
        self.exhausted = False
        self.digests = {str(trial.user_attrs["digest"]) for trial in self.stored}

    # --- beginning, and beginning again -------------------------------------------------------

    def take_up(self) -> None:
        """Everything that earlier controllers of this job wrote down; what ran, runs again."""
        self.asked = len(self.stored)
        self.view.enqueue(self.plan.job.first, self.sampled)
        reached: dict[int, ReachedRung] = {}
        training: dict[int, int] = {}  # those that went on, and the rung that they are trained for
        rungs = self.record.rungs()
        for at in (at for at in rungs if at.verdict != WENT_ON):
            reached[at.number] = at
            self._report(at.number, at.rung, at.values)
        for at in (at for at in rungs if at.verdict == WENT_ON):
            training[at.number] = at.rung
            self.stopping.went_on(at.number, at.rung - 1)
        self.finals = {
            t.number: self.plan.point(t.values)[0]
            for t in self.stored
            if t.state == TrialState.COMPLETE
        }
        for trial in self.stored:
            if trial.state.is_finished():
                self._recall(trial, reached.get(trial.number))
        for trial in self.stored:
            if not trial.state.is_finished():
                self._resume(trial, reached.get(trial.number), training.get(trial.number, 0))

    def _recall(self, trial: FrozenTrial, at: ReachedRung | None) -> None:
        state = str(trial.user_attrs["state"])
        self.states[state] = self.states.get(state, 0) + 1
        guess = None
        if at is not None and trial.state == TrialState.PRUNED:
            guess = self._guess(trial.number, at.rung, at.measurement or {})
        self.view.add(trial, guess)
        if trial.state == TrialState.COMPLETE and not _broken(trial.constraints):
            self.front.add(trial.number, self.plan.point(trial.values))

    def _resume(self, trial: FrozenTrial, at: ReachedRung | None, training: int) -> None:
        asked = self.view.running(trial, self.sampled)
        tried = Tried(trial.number, asked, trial.user_attrs["digest"], training)
        if at is not None:
            tried.measurement = at.measurement or {}
            self._tell_guess(tried, at.rung)
        if at is None or training > at.rung:
            self._begin(tried)
            return
        tried.rung = at.rung
        self.waiting[trial.number] = tried
        if at.verdict == "stop":  # decided, and then not written down
            self._stopped(self.waiting.pop(trial.number), at.note)

    def sampled(self, trial: Any) -> Sampled:
        return sample(self.plan.space, trial)

    # --- while it runs ------------------------------------------------------------------------

    def over(self, stop: bool) -> str:
        """Why the search ends now; '' while it goes on."""
        if self.flying:
            return ""
        if stop:
            return "stopped by request"
        if self._out_of_time():
            return f"the time is over ({self.plan.job.budget.seconds:g} s)"
        if self._next() is not None:
            return ""
        if self.exhausted:
            return "every candidate of the space was tried"
        return "the budget is spent" if self._spent() else ""

    def fill(self, stop: bool) -> None:
        """Give every free slot something to do: those who may go on first, then new candidates."""
        while len(self.flying) < self.pool.slots and not stop and not self._out_of_time():
            promoted = self._next()
            if promoted is not None:
                self._go_on(promoted)
            elif self.exhausted or self._spent():
                return
            else:
                self._ask()

    def _next(self) -> Decision | None:
        """Who may go on; at the end the best that waits, if nobody got to the end."""
        decision = self.stopping.next()
        while decision is not None and decision.number not in self.waiting:
            # It ended in an earlier run of this job, when there was no budget to go on.
            self.stopping.went_on(decision.number, decision.rung)
            decision = self.stopping.next()
        if decision is not None or self.flying or not (self.exhausted or self._spent()):
            return decision
        if self.states.get("COMPLETE") or not self.waiting:
            return None
        best = min(self.waiting.values(), key=lambda t: (-t.rung, self.at_rungs[t.rung][t.number]))
        return Decision(best.number, best.rung, "go_on", "the best of those that wait, at the end")

    def _out_of_time(self) -> bool:
        seconds = self.plan.job.budget.seconds
        return seconds is not None and self.clock() - self.began >= seconds

    def _spent(self) -> bool:
        """Whether no new candidate may be asked for. Those on their way count as if feasible."""
        feasible = self.asked - self.states.get("INFEASIBLE", 0)
        budget = self.plan.job.budget
        return bool(feasible >= budget.trials or self.asked >= budget.most_asked)

    def _ask(self) -> None:
        asked, digest = self._proposed()
        if asked is None:
            self.exhausted = True
            return
        attrs = {"digest": digest}
        number = self.record.begin(asked.params, asked.distributions, attrs, asked.system_attrs)
        self.asked += 1
        self.digests.add(digest)
        self.watch(Event("asked", number))
        self._begin(Tried(number, asked, digest))

    def _proposed(self) -> tuple[Asked[Sampled] | None, str]:
        """What no trial of this job is; other parameters may mean the same architecture."""
        for _ in range(REPETITIONS):
            if len(self.digests) >= size(self.plan.space):
                break
            asked = self.view.ask(self.sampled)
            if asked is None:
                break
            digest = self.plan.digest(self.plan.candidate(asked.value))
            if digest not in self.digests:
                return asked, digest
            self.view.tell(asked, None, {})
        return None, ""

    def _begin(self, tried: Tried) -> None:
        """Train it, unless it is known how that ends."""
        known = self.record.remembered(tried.digest)
        if known is not None and self._still_true(known):
            self._completed(tried, known, "measured before")
        else:
            self._submit(tried)

    def _still_true(self, measurement: Mapping[str, Any]) -> bool:
        """Whether what was measured earlier says all, and of this machine."""
        same = measurement["environment"] == self.reach.smallest["environment"]
        return same and self.plan.complete(measurement)

    def _go_on(self, decision: Decision) -> None:
        tried = self.waiting.pop(decision.number)
        self.stopping.went_on(decision.number, decision.rung)
        tried.rung += 1
        steps = tried.measurement["steps"]
        self.record.rung(tried.number, tried.rung, steps, {}, WENT_ON, decision.note)
        self.watch(Event("rung", tried.number, "go_on", decision.note))
        self._submit(tried)

    def _submit(self, tried: Tried) -> None:
        ticket = f"{tried.number}:{tried.rung}"
        self.flying[ticket] = tried
        candidate = self.plan.candidate(tried.asked.value)
        self.pool.submit(self.plan.assignment(ticket, tried.number, candidate, tried.rung))

    # --- what comes back ----------------------------------------------------------------------

    def hear(self, report: "Report") -> None:
        tried = self.flying.get(report.ticket)
        if tried is None:
            return  # of an assignment that was given up
        what: Any = report
        kind = type(report).__name__  # the classes lie where torch may be loaded
        if kind == "Progress":
            self.watch(Event("progress", tried.number, happening=what.happening))
            return
        del self.flying[report.ticket]
        if kind == "Lost":
            self._failed(tried, f"lost: {what.reason}")
        else:
            self._answered(tried, what.measurement)

    def _answered(self, tried: Tried, measurement: Mapping[str, Any]) -> None:
        state = measurement["state"]
        tried.measurement = measurement
        if state == "FAILED":
            self._failed(tried, measurement["reason"])
            return
        self.failures = 0
        if state == "INFEASIBLE":
            self._finish(tried, state, reason=measurement["reason"])
        elif state == "AT_RUNG":
            self._at_rung(tried, measurement)
        else:
            self.record.remember(tried.digest, measurement["steps"], True, measurement)
            self._completed(tried, measurement)

    def _at_rung(self, tried: Tried, measurement: Mapping[str, Any]) -> None:
        values = self.plan.values(measurement, at_rung=True)
        self.waiting[tried.number] = tried
        decisions = self._report(tried.number, tried.rung, values)
        mine = next((d for d in decisions if d.number == tried.number), None)
        verdict, note = (mine.action, mine.note) if mine else ("wait", "")
        steps = measurement["steps"]
        self.record.rung(tried.number, tried.rung, steps, values, verdict, note, measurement)
        self.watch(Event("rung", tried.number, verdict, note, values))
        self._tell_guess(tried, tried.rung)
        for decision in decisions:
            if decision.action == "stop":
                self._stopped(self.waiting.pop(decision.number), decision.note)

    def _tell_guess(self, tried: Tried, rung: int) -> None:
        """The sampler learns from those that wait as well."""
        guess = self._guess(tried.number, rung, tried.measurement)
        constraints = self.plan.constraints(tried.measurement)
        self.view.tell(tried.asked, guess, constraints, final=False)

    def _report(self, number: int, rung: int, values: Mapping[str, float]) -> list[Decision]:
        point = self.plan.minimised(values)
        self.at_rungs.setdefault(rung, {})[number] = point[0]
        return self.stopping.reported(RungResult(number, rung, point, self.plan.space.whole.family))

    def _guess(self, number: int, rung: int, measurement: Mapping[str, Any]) -> list[float | None]:
        """What the sampler is told of a trial that did not get to the end."""
        here = self.at_rungs[rung]
        pairs = [(here[n], final) for n, final in self.finals.items() if n in here]
        final = estimate(here[number], pairs)
        return self.plan.guessed(final, measurement)

    def _completed(self, tried: Tried, measurement: Mapping[str, Any], reason: str = "") -> None:
        tried.measurement = measurement
        values = self.plan.values(measurement)
        self.finals[tried.number] = self.plan.minimised(values)[0]
        flag = self.plan.flag(measurement, self.reach.teacher)
        self._finish(tried, "COMPLETE", values=values, reason=reason, flag=flag)
        if not _broken(self.plan.constraints(measurement)):
            self.front.add(tried.number, self.plan.minimised(values))

    def _stopped(self, tried: Tried, note: str) -> None:
        self._finish(tried, "STOPPED", reason=note)

    def _failed(self, tried: Tried, reason: str) -> None:
        self._finish(tried, "FAILED", reason=reason)
        self.failures += 1
        if self.failures >= FAILURES_IN_A_ROW:
            raise ParetrackError(
                f"the last {self.failures} candidates failed, so it is not them; the last one "
                f"said: {reason}"
            )

    def _finish(
        self,
        tried: Tried,
        state: str,
        *,
        values: Mapping[str, float] | None = None,
        reason: str = "",
        flag: str = "",
    ) -> None:
        """One commit to the record, then the sampler's view and whoever watches hear of it."""
        known = tried.measurement
        constraints = self.plan.constraints(known) if known else {}
        attrs: dict[str, Any] = {"state": state, "reason": reason, "flag": flag}
        attrs |= {name: known.get(name) for name in ("seconds", "tracker") if name in known}
        figures = self.plan.figures(known) if known else {}
        ordered = None if values is None else list(values.values())
        attrs |= figures
        self.record.finish(tried.number, _OPTUNA[state], ordered, constraints, attrs)
        self.states[state] = self.states.get(state, 0) + 1
        told: list[float | None] | None = None if ordered is None else list(ordered)
        if state == "STOPPED":
            told = self._guess(tried.number, tried.rung, known)
        self.view.tell(
            tried.asked, told, {} if state == "FAILED" else constraints, final=state != "STOPPED"
        )
        self.watch(Event("finished", tried.number, state, reason, values or {}))

    # --- the end ------------------------------------------------------------------------------

    def conclude(self, reason: str) -> Outcome:
        """Those that wait are stopped, each with its reason; the front is what is left."""
        notes = {decision.number: decision.note for decision in self.stopping.rest()}
        for number in sorted(self.waiting):
            note = notes.get(number, "the job ended while it waited")
            self._stopped(self.waiting.pop(number), note)
        self.record.set_study_attrs({"ended": reason, "hypervolume": self.front.hypervolume})
        return Outcome(
            reason=reason,
            asked=self.asked,
            states=dict(self.states),
            front=tuple(self.front.numbers),
            hypervolume=self.front.hypervolume,
            seconds=self.clock() - self.began,
        )


def _broken(constraints: Mapping[str, float]) -> bool:
    return any(violation > 0 for violation in constraints.values())
