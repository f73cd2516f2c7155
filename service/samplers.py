"""What to try next: Optuna's samplers, each with a study of its own in memory.

The record in the database says what happened; a ``View`` is what a sampler is shown of it: an
estimate where training was stopped, the worst seen where nothing was measured, nothing twice, and
only as many trials as the sampler can use, so that asking costs the same after ten thousand:

- nsga2, nsga3: the generation that fills, the one before, and the parents of both;
- tpe: the best 100 and the latest 200; gp, whose cost is cubic: the best 40 and the latest 60;
- random, grid: none.
"""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from optuna import Trial
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseGASampler,
    BaseSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)
from optuna.storages import InMemoryStorage
from optuna.study import Study, StudyDirection
from optuna.study._tell import _tell_with_warning
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from search_spaces import ParetrackError
from service._points import Params, check, draw, every_point, key_of, size
from service._shown_trials import ShownTrials
from service.front import crowding, ranks

T = TypeVar("T")

POPULATION = 20  # of the genetic samplers: docs/decisions/0014-defaults-of-a-search.md
GRID_AT_MOST = 10_000
ENUMERATED_AT_MOST = 100_000  # a space of this size is listed to find what was not tried yet
AGAIN = 5  # so often a sampler is asked again when it proposes what was tried


class SamplerError(ParetrackError):
    """A sampler that does not exist or does not fit, or an answer that does not."""


class Grid(RandomSampler):
    """Every point of a small space, in an order that the seed shuffles."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._seed = seed

    def points(self, space: Mapping[str, BaseDistribution]) -> list[dict[str, Any]]:
        points = list(every_point(space))
        np.random.default_rng(self._seed).shuffle(points)
        return points


SAMPLERS: Mapping[str, Callable[[int], BaseSampler]] = {
    "nsga2": lambda seed: NSGAIISampler(population_size=POPULATION, seed=seed),
    "nsga3": lambda seed: NSGAIIISampler(population_size=POPULATION, seed=seed),
    "tpe": lambda seed: TPESampler(multivariate=True, constant_liar=True, seed=seed),
    "gp": lambda seed: GPSampler(seed=seed, warn_independent_sampling=False),
    "random": lambda seed: RandomSampler(seed),
    "grid": Grid,
}


def make(name: str, *, seed: int, space_size: float, done: int = 0) -> BaseSampler:
    """The sampler called ``name``. ``done`` trials exist already: their draws are not repeated."""
    if name not in SAMPLERS:
        raise SamplerError(f"no sampler named {name!r}; choose one of {', '.join(SAMPLERS)}")
    if name == "grid" and space_size > GRID_AT_MOST:
        raise SamplerError(
            f"grid tries every candidate, and this space has {space_size:.3g}: at most "
            f"{GRID_AT_MOST} are fair. Cut fewer levers, take a coarser step, or choose "
            "another sampler"
        )
    # A grid keeps its order over a restart; what was tried is left out of it.
    entropy = [seed] if name == "grid" else [seed, done]
    with warnings.catch_warnings():
        # NSGAIIISampler is called experimental since 2023.
        warnings.simplefilter("ignore", ExperimentalWarning)
        return SAMPLERS[name](int(np.random.SeedSequence(entropy).generate_state(1)[0]))


def estimate(value: float, pairs: Sequence[tuple[float, float]]) -> float | None:
    """The final value of a trial stopped at ``value``, from others' (value at that rung, final).

    A least-squares line that never falls (both must point the same way, as error at the rung and
    final error do), and that leaves the finals really seen by no more than their range. None from
    fewer than three pairs: the worst seen is then fairer than a guess.
    """
    if len(pairs) < 3:
        return None
    rung, final = np.array(pairs, dtype=np.float64).T
    spread = float(((rung - rung.mean()) ** 2).sum())
    covariance = float(((rung - rung.mean()) * (final - final.mean())).sum())
    slope = max(0.0, covariance / spread) if spread > 0 else 0.0
    guess = float(final.mean() + slope * (value - rung.mean()))
    room = float(final.max() - final.min())
    return float(np.clip(guess, final.min() - room, final.max() + room))


@dataclass(frozen=True)
class Asked(Generic[T]):
    """A proposal. ``system_attrs`` is what the sampler must find again after a restart."""

    number: int  # in the view
    params: dict[str, Any]
    distributions: dict[str, BaseDistribution]
    system_attrs: dict[str, Any]
    value: T


class View:
    """The study that a sampler sees."""

    def __init__(
        self,
        sampler: BaseSampler,
        directions: Sequence[str],
        metric_names: Sequence[str],
        *,
        constraints: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        self._sampler, self._metrics, self._seed = sampler, tuple(metric_names), seed
        self._constraints = tuple(sorted(constraints))
        self._shown = ShownTrials()
        wanted = [StudyDirection[direction.upper()] for direction in directions]
        self._shown.create_new_study(wanted, "view")
        self._study = Study("view", self._shown, sampler)
        self._worse = [max if d == StudyDirection.MINIMIZE else min for d in wanted]
        self._worst: list[float | None] = [None for _ in wanted]
        self._incomplete: dict[int, tuple[Sequence[float | None], Params]] = {}
        self._space: dict[str, BaseDistribution] = {}
        self._given: deque[Params] = deque()
        self._tried: set[tuple[Any, ...]] = set()
        self._generation = 0

    # --- asking -------------------------------------------------------------------------------

    def ask(self, sample: Callable[[Trial], T]) -> Asked[T] | None:
        """A proposal that was not tried yet; None when the whole space was."""
        self._know_space(sample)
        if len(self._tried) >= size(self._space):
            return None
        while self._given:
            asked = self._propose(sample, self._given.popleft())
            if asked is not None:
                return asked
        # A Gaussian process takes seconds, and mostly says the same again.
        for _ in range(1 if isinstance(self._sampler, GPSampler) else AGAIN):
            asked = self._propose(sample, None)
            if asked is not None:
                return asked
        unseen = self._untried()
        return None if unseen is None else self._propose(sample, unseen)

    def enqueue(self, candidates: Iterable[Params], sample: Callable[[Trial], Any]) -> None:
        """Proposes these before all others, in this order; what was tried is passed over."""
        self._know_space(sample)
        checked = [dict(params) for params in candidates]
        for params in checked:
            check(params, self._space)
        self._given.extendleft(reversed(checked))

    def _know_space(self, sample: Callable[[Trial], Any]) -> None:
        if self._space:
            return
        storage = InMemoryStorage()
        storage.create_new_study([StudyDirection.MINIMIZE], "once")
        trial = Study("once", storage, RandomSampler(0)).ask()
        sample(trial)
        self._space = trial.distributions
        if isinstance(self._sampler, Grid):
            self._given.extend(self._sampler.points(self._space))

    def _propose(self, sample: Callable[[Trial], T], params: Params | None) -> Asked[T] | None:
        if params is not None:
            if key_of(params) in self._tried:
                return None
            self._study.enqueue_trial(dict(params))
        trial = self._study.ask()
        value = sample(trial)
        sampled = trial.params  # one copy: Optuna makes a new one each time
        if key_of(sampled) in self._tried:
            self._study.tell(trial, state=TrialState.FAIL)
            self._hide(trial.number)
            return None
        self._tried.add(key_of(sampled))
        shown = self._shown.get_trial(trial.number)
        attrs = self._attrs_to_keep(shown.system_attrs)
        self._advance(attrs)
        return Asked(trial.number, sampled, shown.distributions, attrs, value)

    def _untried(self) -> Params | None:
        random = np.random.default_rng([self._seed, len(self._tried)])
        if size(self._space) <= ENUMERATED_AT_MOST:
            left = [p for p in every_point(self._space) if key_of(p) not in self._tried]
            return left[int(random.integers(len(left)))] if left else None
        for _ in range(10_000):
            point = {name: draw(random, d) for name, d in self._space.items()}
            if key_of(point) not in self._tried:
                return point
        return None

    # --- telling ------------------------------------------------------------------------------

    def tell(
        self,
        asked: Asked[Any],
        values: Sequence[float | None] | None,
        constraints: Mapping[str, float],
        *,
        final: bool = True,
    ) -> None:
        """What became of a proposal; told again, the later word counts.

        ``final=False``: an estimate, of a trial that waits or was stopped. Values that are None
        become the worst seen so far, constraints that were not measured neither hold nor break.
        No values at all: infeasible if a constraint is broken, else it failed and teaches nothing.
        """
        self._check_told(values, constraints)
        if values is None and not any(v > 0 for v in constraints.values()):
            self._finish(asked.number, TrialState.FAIL)
            self._hide(asked.number)
            return
        known = [None] * len(self._worst) if values is None else list(values)
        self._finish(asked.number, TrialState.COMPLETE)
        self._show(asked.number, known, constraints)
        if final:
            self._learn_worst(known)
        self._forget()

    def _hide(self, number: int) -> None:
        self._shown.hide(number)
        self._incomplete.pop(number, None)

    def _check_told(self, values: Sequence[Any] | None, constraints: Mapping[str, float]) -> None:
        if values is not None and len(values) != len(self._metrics):
            raise SamplerError(
                f"{len(values)} values were told, one is expected for each of "
                f"{', '.join(self._metrics)}"
            )
        if any(v is not None and math.isnan(v) for v in [*(values or ()), *constraints.values()]):
            raise SamplerError(
                f"a NaN was told: values {values}, constraints {dict(constraints)}; "
                "what has no value is None, and a constraint without one is left out"
            )
        unknown = sorted(set(constraints) - set(self._constraints))
        if unknown:
            raise SamplerError(
                f"constraint {unknown[0]!r} was not announced to the view, which knows: "
                f"{', '.join(self._constraints) or 'none'}"
            )

    def _finish(self, number: int, state: TrialState) -> None:
        if not self._shown.get_trial(number).state.is_finished():
            nothing = [0.0] * len(self._worst) if state == TrialState.COMPLETE else None
            # Study.tell without its last step, a deep copy of the trial that nobody looks at.
            _tell_with_warning(self._study, number, nothing, state)

    def _show(self, number: int, values: Sequence[float | None], constraints: Params) -> None:
        filled = [w if v is None else v for v, w in zip(values, self._worst, strict=True)]
        if None in filled:
            self._incomplete[number] = (values, constraints)
        else:
            self._incomplete.pop(number, None)
        # GPSampler wants every constraint of every trial, in one order; 0 is on the border.
        complete = {name: constraints.get(name, 0.0) for name in self._constraints}
        self._shown.correct(number, [0.0 if v is None else v for v in filled], complete)

    def _learn_worst(self, values: Sequence[float | None]) -> None:
        first = False
        for i, value in enumerate(values):
            if value is not None and math.isfinite(value):
                old = self._worst[i]
                first = first or old is None
                self._worst[i] = value if old is None else self._worse[i](old, value)
        if first:
            for number, told in list(self._incomplete.items()):
                self._show(number, *told)

    # --- beginning again, and beginning warm --------------------------------------------------

    def add(self, trial: FrozenTrial, estimate: Sequence[float | None] | None = None) -> None:
        """A finished trial of this job, from the record, in the order of the numbers.

        ``estimate``: what a stopped trial is shown with, which has no values of its own.
        """
        asked = self._restored(trial, None)
        if trial.state == TrialState.FAIL:
            self.tell(asked, None, {})
        elif trial.state == TrialState.COMPLETE:
            self.tell(asked, trial.values, trial.constraints)
        else:
            unknown = [None] * len(self._worst)
            self.tell(
                asked, unknown if estimate is None else estimate, trial.constraints, final=False
            )

    def running(self, trial: FrozenTrial, sample: Callable[[FixedTrial], T]) -> Asked[T]:
        """A trial of this job that an earlier controller left unfinished; it will be told."""
        return self._restored(trial, sample(FixedTrial(trial.params)))

    def learn(self, trials: Iterable[FrozenTrial], sample: Callable[[Trial], Any]) -> None:
        """Complete trials of an earlier job over the same space: they teach, but were not tried."""
        self._know_space(sample)
        for trial in trials:
            check(trial.params, self._space)
            held = {k: v for k, v in trial.constraints.items() if k in self._constraints}
            self.tell(self._placed(trial, {}, None), trial.values, held)

    def _restored(self, trial: FrozenTrial, value: T) -> Asked[T]:
        self._tried.add(key_of(trial.params))
        attrs = self._attrs_to_keep(trial.system_attrs)
        self._advance(attrs)
        return self._placed(trial, attrs, value)

    def _placed(self, trial: FrozenTrial, attrs: dict[str, Any], value: T) -> Asked[T]:
        if not attrs and isinstance(self._sampler, BaseGASampler):
            attrs = {self._sampler._get_generation_key(): self._generation}
        params, distributions = trial.params, trial.distributions
        template = create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions=distributions,
            system_attrs=attrs,
        )
        number = self._shown.create_new_trial(self._study._study_id, template)
        return Asked(number, params, distributions, attrs, value)

    # --- what the sampler is shown ------------------------------------------------------------

    def _attrs_to_keep(self, attrs: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(self._sampler, BaseGASampler):
            return {}
        key = self._sampler._get_generation_key()
        return {key: attrs[key]} if key in attrs else {}

    def _advance(self, attrs: Mapping[str, Any]) -> None:
        """With a new generation, what came before the last one is no longer needed."""
        sampler = self._sampler
        if not isinstance(sampler, BaseGASampler) or not attrs:
            return
        key = sampler._get_generation_key()
        if attrs[key] <= self._generation:
            return
        self._generation = attrs[key]
        # Chosen now and remembered in the study, from what is told so far: as when it ran.
        parents = {t.number for t in sampler.get_parent_population(self._study, attrs[key])}
        for trial in self._shown.finished():
            old = trial.system_attrs.get(key, 0) < self._generation - 1
            if old and trial.number not in parents:
                self._hide(trial.number)

    def _forget(self) -> None:
        """Of what the other samplers look at, the best and the latest; seldom, as it is a sort."""
        sampler = self._sampler
        if isinstance(sampler, BaseGASampler):
            return
        best, latest = _MEMORY.get(type(sampler), (0, 0))
        finished = self._shown.finished()
        if len(finished) <= 1.25 * (best + latest):
            return
        older = finished[: len(finished) - latest]
        for i in self._by_merit(older)[best:] if best else range(len(older)):
            self._hide(older[i].number)

    def _by_merit(self, trials: Sequence[FrozenTrial]) -> list[int]:
        """Positions: feasible before infeasible, by rank, the less crowded first."""
        signs = [1.0 if worse is max else -1.0 for worse in self._worse]
        points = np.array([t.values for t in trials]) * signs
        broken = np.array([sum(max(v, 0.0) for v in t.constraints.values()) for t in trials])
        ranked = ranks(points)
        alone = np.zeros(len(trials))
        for rank in np.unique(ranked):
            alone[ranked == rank] = crowding(points[ranked == rank])
        return [int(i) for i in np.lexsort((-alone, ranked, broken))]


_MEMORY: Mapping[type[BaseSampler], tuple[int, int]] = {  # the best, the latest
    TPESampler: (100, 200),
    GPSampler: (40, 60),
}
