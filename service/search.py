"""START HERE: the search, top to bottom. Ask, evaluate, hear, decide, tell, until the budget is
spent.

The controller owns the study: it alone asks the sampler and writes the record. A pool has the
hands. Whatever is in flight when this process dies is in the record as RUNNING and is taken up by
the next one: its files lie in its folder, so nothing that was trained is trained again.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial, TrialState

from search_spaces import ParetrackError, Sampled, size
from service._guesses import Guesses
from service._tried import OPTUNA_STATES, Tried, begun_again, is_broken, kept_of, measured_again
from service.early_stopping import Decision, RungResult
from service.events import BY_REQUEST, Event, Outcome, Watch, Wish
from service.front import Front
from service.plan import GATES, Plan
from service.reach import Reach
from service.samplers import Asked
from service.spending import HYPERVOLUME, MEASURED_AGAIN, MEASURED_BEFORE, Spending
from service.trials import ReachedRung, Record

if TYPE_CHECKING:
    from workers.pool import Pool, Report

FAILURES_IN_A_ROW = 10  # so many, and it is not the candidates
TAKEN_UP = 5  # times that what an earlier controller left is begun again
REPETITIONS = 1000  # of what was tried, and there is nothing else to try
WENT_ON = "went_on"  # the verdict at a rung that a trial is on its way to


def search(
    plan: Plan,
    reach: Reach,
    record: Record,
    pool: "Pool",
    *,
    opening: Sequence[Mapping[str, Any]] = (),
    earlier: Sequence[FrozenTrial] = (),
    watch: Watch = lambda event: None,
    wish: Callable[[], Wish] = lambda: "go_on",
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Run a job to its end, or go on where an earlier controller left it.

    ``opening``: parameters to begin with, after those that the job itself names.
    ``earlier``: complete trials of other jobs over the same space, to learn from.
    ``wish``: asked often, what is wanted of the search now.
    """
    job = _Search(plan, reach, record, pool, watch, clock)
    job.view.learn(earlier, plan.sampled)
    job.view.enqueue([*plan.first, *opening], plan.sampled)
    job.take_up()
    while not (reason := job.over(wish())):
        job.fill(wish())
        for report in pool.reports(timeout=0.5):
            job.hear(report)
    return job.outcome(reason) if reason == BY_REQUEST["pause"] else job.conclude(reason)


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
        self.spending = Spending(plan.job.budget, clock)
        self.watch = self.spending.telling(watch)
        self.stored = record.trials()
        self.view = plan.view(len(self.stored))
        self.stopping = plan.stopping()
        self.front = Front(plan.reference(reach.teacher))
        self.everything = plan.everything(reach.teacher)
        self.flying: dict[str, Tried] = {}
        self.cancelled: set[str] = set()  # tickets that nobody waits for any more
        self.waiting: dict[int, Tried] = {}
        self.guesses = Guesses()
        self.failures, self.exhausted = 0, False
        self.digests = {str(trial.user_attrs["digest"]) for trial in self.stored}

    # --- beginning, and beginning again -------------------------------------------------------

    def take_up(self) -> None:
        """Everything that earlier controllers of this job wrote down; what ran, runs again."""
        self.spending.asked = len(self.stored)
        reached: dict[int, ReachedRung] = {}
        training: dict[int, int] = {}  # those that went on, and the rung that they are trained for
        rungs = self.record.rungs()
        for at in (at for at in rungs if at.verdict != WENT_ON):
            reached[at.number] = at
            self.spending.answered(at.number, at.measurement or {})
            self._report(at.number, at.rung, at.values)
        for at in (at for at in rungs if at.verdict == WENT_ON):
            training[at.number] = at.rung
            self.stopping.went_on(at.number, at.rung - 1)
        for trial in self.stored:
            if trial.state == TrialState.COMPLETE:
                self.guesses.final(trial.number, self.plan.point(trial.values)[0])
        for trial in self.stored:
            if trial.state.is_finished():
                self._recall(trial, reached.get(trial.number))
        self.spending.take_up(self.stored)
        self.spending.recall(self.hypervolume)
        running = [trial for trial in self.stored if not trial.state.is_finished()]
        times = begun_again(self.record, [t.number for t in running], reached, training)
        for trial in running:
            self._resume(trial, reached.get(trial.number), training.get(trial.number, 0), times)
        if self.stored:
            self.watch(Event("taken_up", -1))

    def _recall(self, trial: FrozenTrial, at: ReachedRung | None) -> None:
        self.spending.states[str(trial.user_attrs["state"])] += 1
        guess = None
        if at is not None and trial.state == TrialState.PRUNED:
            guess = self._guess(trial.number, at.rung, at.measurement or {})
        self.view.add(trial, guess)
        if trial.state == TrialState.COMPLETE and not is_broken(trial.constraints):
            self.front.add(trial.number, self.plan.point(trial.values))

    def _resume(
        self, trial: FrozenTrial, at: ReachedRung | None, training: int, times: Mapping[int, int]
    ) -> None:
        asked = self.view.running(trial, self.plan.sampled)
        tried = Tried(trial.number, asked, trial.user_attrs["digest"], training)
        if at is not None:
            tried.measurement = at.measurement or {}
            self._tell_guess(tried, at.rung)
        if at is None or trial.number in times:
            if times[trial.number] > TAKEN_UP:
                self._failed(tried, f"begun {TAKEN_UP} times more, and its controllers ended first")
            else:
                self._begin(tried)
            return
        tried.rung = at.rung
        self.waiting[trial.number] = tried
        if at.verdict == "stop":  # decided, and then not written down
            self._stopped(self.waiting.pop(trial.number), at.note)

    # --- while it runs ------------------------------------------------------------------------

    def over(self, wish: Wish) -> str:
        """Why the search ends now; '' while it goes on."""
        if self.flying:
            if wish == "cancel":
                self._cancel()
            return ""
        if wish != "go_on":
            return BY_REQUEST[wish]
        if over := self.spending.over():
            return over
        if self._next() is not None:
            return ""
        if self.exhausted:
            return "every candidate of the space was tried"
        return "the budget is spent" if self.spending.all_asked() else ""

    def _cancel(self) -> None:
        for ticket in self.flying.keys() - self.cancelled:
            self.cancelled.add(ticket)
            self.pool.cancel(ticket)

    def fill(self, wish: Wish) -> None:
        """Give every free slot something to do: those who may go on first, then new candidates."""
        at_once = self.plan.job.at_once or math.inf
        while len(self.flying) < min(self.pool.slots, at_once):
            if wish != "go_on" or self.spending.over():
                return
            promoted = self._next()
            if promoted is not None:
                self._go_on(promoted)
            elif self._nothing_new():
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
        if decision is not None or self.flying or not self._nothing_new():
            return decision
        if self.spending.states["COMPLETE"] or not self.waiting:
            return None
        errors = self.guesses.error_at
        best = min(self.waiting.values(), key=lambda t: (-t.rung, errors(t.rung)[t.number]))
        return Decision(best.number, best.rung, "go_on", "the best of those that wait, at the end")

    def _nothing_new(self) -> bool:
        return self.exhausted or self.spending.all_asked()

    def _ask(self) -> None:
        asked, digest = self._proposed()
        if asked is None:
            self.exhausted = True
            return
        attrs = {"digest": digest}
        number = self.record.begin(asked.params, asked.distributions, attrs, asked.system_attrs)
        self.spending.asked += 1
        self.digests.add(digest)
        self.watch(Event("asked", number))
        self._begin(Tried(number, asked, digest))

    def _proposed(self) -> tuple[Asked[Sampled] | None, str]:
        """What no trial of this job is; other parameters may mean the same architecture."""
        for _ in range(REPETITIONS):
            if len(self.digests) >= size(self.plan.space):
                break
            asked = self.view.ask(self.plan.sampled)
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
        if known is None or not self.plan.says_all(known, self.reach.smallest):
            self._submit(tried)
        elif self.plan.remeasures:
            tried.known, tried.rung = known, GATES
            self._submit(tried)
        elif broken := self.plan.broken(known):
            tried.measurement = known
            self._finish(tried, "INFEASIBLE", reason=f"{MEASURED_BEFORE}; {broken}")
        else:
            self._completed(tried, known, MEASURED_BEFORE)

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
        if kind == "Lost" and report.ticket in self.cancelled:
            tried.rung -= 1  # the last that it has reached, if any
            self._stopped(tried, BY_REQUEST["cancel"])
        elif kind == "Lost":
            self._failed(tried, f"lost: {what.reason}")
        else:
            self._answered(tried, what.measurement)

    def _answered(self, tried: Tried, measurement: Mapping[str, Any]) -> None:
        state = measurement["state"]
        tried.measurement = measurement
        self.spending.answered(tried.number, measurement)
        if state == "FAILED":
            self._failed(tried, measurement["reason"])
            return
        self.failures = 0
        if state == "INFEASIBLE":
            self._finish(tried, state, reason=measurement["reason"])
        elif tried.known is not None:
            self._completed(tried, measured_again(tried.known, measurement), MEASURED_AGAIN)
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
        self.guesses.at_rung(number, rung, point[0])
        return self.stopping.reported(RungResult(number, rung, point, self.plan.space.whole.family))

    def _guess(self, number: int, rung: int, measurement: Mapping[str, Any]) -> list[float | None]:
        """What the sampler is told of a trial that did not get to the end."""
        return self.plan.guessed(self.guesses.guess(number, rung), measurement)

    def _completed(self, tried: Tried, measurement: Mapping[str, Any], reason: str = "") -> None:
        tried.measurement = measurement
        values = self.plan.values(measurement)
        point = self.plan.minimised(values)
        self.guesses.final(tried.number, point[0])
        if not is_broken(self.plan.constraints(measurement)):
            self.front.add(tried.number, point)
            self.spending.front_is(self.hypervolume)
        flag = self.plan.flag(measurement, self.reach.teacher)
        self._finish(tried, "COMPLETE", values=values, reason=reason, flag=flag)

    @property
    def hypervolume(self) -> float:
        """Of the front, as a share of all that there could be."""
        return self.front.hypervolume / self.everything

    def _stopped(self, tried: Tried, note: str) -> None:
        self._finish(tried, "STOPPED", reason=note)

    def _failed(self, tried: Tried, reason: str) -> None:
        self._finish(tried, "FAILED", reason=reason)
        self.failures += 1
        if self.failures >= FAILURES_IN_A_ROW:
            why = f"the last {self.failures} candidates failed, so it is not them"
            raise ParetrackError(f"{why}; the last one said: {reason}")

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
        attrs |= kept_of(self.plan, tried)
        self.spending.ended(tried.number, state)
        attrs |= self.spending.attrs()
        ordered = None if values is None else list(values.values())
        self.record.finish(tried.number, OPTUNA_STATES[state], ordered, constraints, attrs)
        told: list[float | None] | None = None if ordered is None else list(ordered)
        if state == "STOPPED" and known:
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
        self.record.set_study_attrs({"ended": reason, HYPERVOLUME: self.hypervolume})
        return self.outcome(reason)

    def outcome(self, reason: str) -> Outcome:
        return Outcome(
            reason=reason,
            asked=self.spending.asked,
            states=dict(self.spending.states),
            front=tuple(self.front.numbers),
            hypervolume=self.hypervolume,
            seconds=self.spending.seconds,
            paused=reason == BY_REQUEST["pause"],
        )
