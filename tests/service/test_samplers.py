"""Samplers and the study that they see: constraints, restarts, what is told late or not at all."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from service._points import OutsideSpaceError
from service.job import Job
from service.samplers import (
    GRID_AT_MOST,
    POPULATION,
    SAMPLERS,
    Asked,
    SamplerError,
    View,
    estimate,
    make,
)

WIDTHS = 6
LIMIT = 16
NEEDS_SCIPY = pytest.mark.skipif(find_spec("scipy") is None, reason="GPSampler needs scipy")
EVERY = [
    pytest.param(name, marks=[NEEDS_SCIPY, pytest.mark.slow] if name == "gp" else [])
    for name in sorted(SAMPLERS)
]
LEARNING = [p for p in EVERY if p.values[0] not in ("random", "grid")]


def sample(trial: Any) -> list[int]:
    return [trial.suggest_int(f"w{i}", 0, 9) for i in range(WIDTHS)]


def small(trial: Any) -> tuple[int, str]:
    return trial.suggest_int("depth", 1, 3), trial.suggest_categorical("kind", ["a", "b"])


def judged(widths: Sequence[int]) -> tuple[list[float | None] | None, dict[str, float]]:
    """Few candidates hold the limit; those that do not are never trained: no accuracy."""
    cost = float(sum(widths))
    constraints = {"step_ms": cost / LIMIT - 1}
    error = sum(np.exp(-w / (3 + i)) for i, w in enumerate(widths))
    return ([None, cost] if cost > LIMIT else [float(error), cost]), constraints


def view(name: str, *, seed: int = 0, done: int = 0, size: float = 10**WIDTHS) -> View:
    return View(
        make(name, seed=seed, space_size=size, done=done),
        ["minimize", "minimize"],
        ["error", "macs"],
        constraints=["step_ms"],
        seed=seed,
    )


def asked_of(a_view: View, what: Callable[[Any], Any] = sample) -> Asked[Any]:
    asked = a_view.ask(what)
    assert asked is not None
    return asked


def search(a_view: View, count: int, flying: int = 1) -> list[FrozenTrial]:
    """What a record would hold of it: nothing but what really happened."""
    waiting: list[Asked[list[int]]] = []
    record: list[FrozenTrial] = []
    for _ in range(count):
        while len(waiting) < flying:
            waiting.append(asked_of(a_view))
        asked = waiting.pop(0)
        values, constraints = judged(asked.value)
        a_view.tell(asked, values, constraints)
        record.append(frozen(asked, values, constraints))
    return record


def frozen(asked: Asked[Any], values: Any, constraints: dict[str, float]) -> FrozenTrial:
    feasible = values is not None and None not in values
    return create_trial(
        state=TrialState.COMPLETE if feasible else TrialState.PRUNED,
        params=asked.params,
        distributions=asked.distributions,
        system_attrs=dict(asked.system_attrs),
        values=values if feasible else None,
        constraints=constraints,
    )


def restored(name: str, record: Sequence[FrozenTrial], seed: int = 0) -> View:
    again = view(name, seed=seed, done=len(record))
    for trial in record:
        again.add(trial, [None, float(sum(trial.params.values()))])
    return again


def holds(trial: FrozenTrial) -> bool:
    return all(v <= 0 for v in trial.constraints.values())


@pytest.mark.parametrize("name", LEARNING)
def test_the_share_that_holds_the_limit_rises(name: str) -> None:
    count = 36 if name == "gp" else 150
    record = search(view(name), count, flying=2)
    third = count // 3
    first, last = (sum(map(holds, part)) / third for part in (record[:third], record[-third:]))
    assert last > first + 0.3


@pytest.mark.parametrize("name", LEARNING)
def test_a_restart_goes_on_where_it_stopped(name: str) -> None:
    count = 24 if name == "gp" else 90
    record = search(view(name), count)
    again = restored(name, record)
    more = search(again, 8 if name == "gp" else 30)
    known = {tuple(t.params.values()) for t in record}
    assert not known & {tuple(t.params.values()) for t in more}
    assert sum(map(holds, more)) / len(more) > sum(map(holds, record[:20])) / 20 + 0.2


@pytest.mark.parametrize("name", ["nsga2", "nsga3"])
def test_generations_and_parents_are_the_same_after_a_restart(name: str) -> None:
    first = view(name)
    record = search(first, 6 * POPULATION + 1)
    again = restored(name, record)
    [one], [other] = search(first, 1), search(again, 1)
    key = next(k for k in one.system_attrs if k.endswith("generation"))
    assert one.system_attrs[key] == other.system_attrs[key] == 6
    ours, theirs = parents(first, 6), parents(again, 6)
    assert len(ours) == len(theirs) == POPULATION
    # NSGA-III draws among the candidates of a crowded niche.
    assert ours == theirs if name == "nsga2" else len(ours & theirs) >= 0.7 * POPULATION


def parents(a_view: View, generation: int) -> set[tuple[int, ...]]:
    sampler: Any = a_view._sampler
    chosen = sampler.get_parent_population(a_view._study, generation)
    return {tuple(t.params.values()) for t in chosen}


# The grid's order is the same, and what was tried is left out: tested below.
@pytest.mark.parametrize("name", [p for p in EVERY if p.values[0] != "grid"])
def test_a_restart_does_not_repeat_its_first_draws(name: str) -> None:
    first, again = view(name), view(name, done=5)
    assert asked_of(first).params != asked_of(again).params
    assert asked_of(view(name)).params == asked_of(view(name)).params


@pytest.mark.parametrize("name", EVERY)
def test_a_small_space_is_tried_to_its_end_and_no_further(name: str) -> None:
    a_view = view(name, size=6)
    seen = set()
    for _ in range(6):
        asked = asked_of(a_view, small)
        seen.add(asked.value)
        a_view.tell(asked, [float(asked.value[0]), 1.0], {"step_ms": -1.0})
    assert len(seen) == 6
    assert a_view.ask(small) is None
    assert a_view.ask(small) is None


@pytest.mark.parametrize("name", EVERY)
def test_many_in_flight_are_all_different(name: str) -> None:
    if name == "grid":
        a_view, what, count = view(name, size=6), small, 6
    else:
        a_view, what, count = view(name), sample, 16
        search(a_view, 12)
    flying = [asked_of(a_view, what) for _ in range(count)]
    assert len({tuple(a.params.items()) for a in flying}) == count


def test_a_grid_goes_on_after_a_restart_and_refuses_what_it_cannot_finish() -> None:
    first = view("grid", size=6)
    record = []
    for _ in range(4):
        asked = asked_of(first, small)
        first.tell(asked, [1.0, 1.0], {})
        record.append(frozen(asked, [1.0, 1.0], {}))
    again = view("grid", size=6, done=4)
    for trial in record:
        again.add(trial)
    rest = [asked_of(again, small).params for _ in range(2)]
    assert again.ask(small) is None
    assert not [t for t in record if t.params in rest]
    with pytest.raises(SamplerError, match=rf"1e\+06.*at most {GRID_AT_MOST}"):
        make("grid", seed=0, space_size=10**6)


def shown(a_view: View) -> list[FrozenTrial]:
    return a_view._study.get_trials(deepcopy=False)


def test_what_was_not_measured_is_shown_as_the_worst_that_was_seen() -> None:
    a_view = view("nsga2")
    early = asked_of(a_view)
    a_view.tell(early, [None, 40.0], {"step_ms": 0.5})
    assert shown(a_view)[0].values == [0.0, 40.0]  # nothing was seen yet
    for values in ([3.0, 10.0], [2.0, 12.0]):
        a_view.tell(asked_of(a_view), values, {"step_ms": -0.1})
    late = asked_of(a_view)
    a_view.tell(late, None, {"step_ms": 0.2})
    assert [t.values for t in shown(a_view)] == [[3.0, 40.0], [3.0, 10.0], [2.0, 12.0], [3.0, 40.0]]
    assert [t.constraints["step_ms"] for t in shown(a_view)] == [0.5, -0.1, -0.1, 0.2]
    assert all(t.state == TrialState.COMPLETE for t in shown(a_view))


def test_an_estimate_is_shown_until_the_truth_is_told_and_is_never_the_worst() -> None:
    a_view = view("tpe")
    a_view.tell(asked_of(a_view), [1.0, 10.0], {"step_ms": -0.1})
    waits = asked_of(a_view)
    a_view.tell(waits, [9.0, 11.0], {"step_ms": -0.1}, final=False)
    assert shown(a_view)[1].values == [9.0, 11.0]
    a_view.tell(asked_of(a_view), [None, 50.0], {"step_ms": 1.0})
    assert shown(a_view)[2].values == [1.0, 50.0]
    a_view.tell(waits, [0.5, 11.0], {"step_ms": -0.2})
    assert (shown(a_view)[1].values, shown(a_view)[1].constraints) == (
        [0.5, 11.0],
        {"step_ms": -0.2},
    )


def test_a_trial_that_failed_teaches_nothing_and_is_not_asked_again() -> None:
    a_view = view("random", size=6)
    failed = asked_of(a_view, small)
    a_view.tell(failed, None, {})
    assert shown(a_view) == []
    others = [asked_of(a_view, small).params for _ in range(5)]
    assert failed.params not in others
    late = view("tpe")
    waits = asked_of(late)
    late.tell(waits, [1.0, 1.0], {}, final=False)
    late.tell(waits, None, {})  # it failed at a later rung
    assert shown(late) == []
    unknown = asked_of(late)
    late.tell(unknown, [None, 1.0], {}, final=False)
    late.tell(unknown, None, {})
    late.tell(asked_of(late), [2.0, 1.0], {})
    assert [t.values for t in shown(late)] == [[2.0, 1.0]]


def test_constraints_are_stored_as_optuna_stores_them() -> None:
    a_view = view("nsga2")
    a_view.tell(asked_of(a_view), [1.0, 2.0], {"step_ms": 0.25})
    study = optuna.create_study(directions=["minimize"] * 2)
    theirs = study.ask()
    theirs.set_constraint("step_ms", 0.25)
    study.tell(theirs, [1.0, 2.0])
    held = {k: v for k, v in shown(a_view)[0].system_attrs.items() if k.startswith("constraints")}
    assert held == study.trials[0].system_attrs


@pytest.mark.parametrize("name", EVERY)
def test_given_candidates_come_first_in_their_order(name: str) -> None:
    a_view = view(name, size=6)
    wanted = [{"depth": 3, "kind": "b"}, {"depth": 1, "kind": "a"}]
    a_view.enqueue([*wanted, wanted[0]], small)
    assert [asked_of(a_view, small).params for _ in range(2)] == wanted
    assert asked_of(a_view, small).params not in wanted


def test_candidates_that_are_not_in_the_space_are_refused_by_name() -> None:
    a_view = view("random")
    with pytest.raises(OutsideSpaceError, match="missing: kind; not in the space: width"):
        a_view.enqueue([{"depth": 1, "width": 3}], small)
    with pytest.raises(OutsideSpaceError, match="depth is 9, but the space offers 1, 2, 3"):
        a_view.enqueue([{"depth": 9, "kind": "a"}], small)
    with pytest.raises(OutsideSpaceError, match="kind is 'c', but the space offers a, b"):
        a_view.enqueue([{"depth": 1, "kind": "c"}], small)


@pytest.mark.parametrize("name", LEARNING)
def test_an_earlier_job_teaches_but_its_candidates_may_be_proposed(name: str) -> None:
    earlier = [t for t in search(view("nsga2"), 120) if t.state == TrialState.COMPLETE][-25:]
    warm, cold = view(name, seed=7), view(name, seed=7)
    warm.learn(earlier, sample)
    warm.enqueue([earlier[0].params], sample)
    assert asked_of(warm).params == earlier[0].params
    count = 8 if name == "gp" else 20
    warm_share = sum(map(holds, search(warm, count))) / count
    cold_share = sum(map(holds, search(cold, count))) / count
    assert warm_share > cold_share + 0.2


def test_an_unfinished_trial_of_an_earlier_controller_is_told_as_any_other() -> None:
    first = view("nsga2")
    asked = asked_of(first)
    left = create_trial(
        state=TrialState.RUNNING,
        params=asked.params,
        distributions=asked.distributions,
        system_attrs=dict(asked.system_attrs),
    )
    again = view("nsga2", done=1)
    taken_up = again.running(left, sample)
    assert taken_up.value == asked.value
    again.tell(taken_up, [1.0, 2.0], {"step_ms": -0.5})
    assert shown(again)[0].values == [1.0, 2.0]
    assert shown(again)[0].system_attrs.items() >= asked.system_attrs.items()


def numbered(number: int, constraints: dict[str, float]) -> FrozenTrial:
    """The ``number``-th of a long job, worse than the one before."""
    return create_trial(
        params={f"w{i}": (number // 8**i) % 8 for i in range(WIDTHS)},
        distributions={f"w{i}": IntDistribution(0, 9) for i in range(WIDTHS)},
        system_attrs={"NSGAIISampler:generation": number // POPULATION},
        values=[float(number), 1.0],
        constraints=constraints,
    )


@pytest.mark.parametrize(("name", "most"), [("nsga2", 4 * POPULATION), ("tpe", 376), ("random", 1)])
def test_a_sampler_sees_no_more_than_it_can_use(name: str, most: int) -> None:
    a_view = view(name)
    for number in range(600):
        a_view.add(numbered(number, {"step_ms": -0.1}))
        assert len(shown(a_view)) <= most
    if name != "random":
        assert min(t.values[0] for t in shown(a_view)) == 0.0


def test_tpe_keeps_the_best_of_long_ago() -> None:
    a_view = view("tpe")
    for number in range(500):
        a_view.add(numbered(number, {"step_ms": -1.0 if number < 20 else 1.0}))
    assert {float(n) for n in range(20)} <= {t.values[0] for t in shown(a_view)}


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=12),
    st.floats(0, 1),
    st.floats(0, 1),
)
@settings(max_examples=60)
def test_a_better_rung_never_gives_a_worse_estimate(
    pairs: list[tuple[float, float]], one: float, other: float
) -> None:
    low, high = estimate(min(one, other), pairs), estimate(max(one, other), pairs)
    if low is None or high is None:
        assert len(pairs) < 3
        return
    assert low <= high + 1e-9


def test_an_estimate_lies_on_the_line_of_those_that_finished() -> None:
    assert estimate(0.5, [(0.2, 0.4), (0.4, 0.8), (0.3, 0.6)]) == pytest.approx(1.0)
    assert estimate(9.0, [(0.2, 0.4), (0.4, 0.8), (0.3, 0.6)]) == pytest.approx(1.2)
    assert estimate(0.1, [(0.2, 0.8), (0.3, 0.6), (0.4, 0.4)]) == pytest.approx(0.6)
    assert estimate(0.1, [(0.3, 0.5)] * 3) == pytest.approx(0.5)
    assert estimate(0.1, [(0.3, 0.5)] * 2) is None


def test_the_default_is_on_offer() -> None:
    assert Job.sampler in SAMPLERS


def test_mistakes_are_said() -> None:
    with pytest.raises(SamplerError, match="no sampler named 'cmaes'; choose one of nsga2, nsga3"):
        make("cmaes", seed=0, space_size=10)
    a_view = view("random")
    with pytest.raises(SamplerError, match=r"1 values were told.*error, macs"):
        a_view.tell(asked_of(a_view), [1.0], {})
    with pytest.raises(SamplerError, match="a NaN was told"):
        a_view.tell(asked_of(a_view), [float("nan"), 2.0], {})
    with pytest.raises(SamplerError, match=r"'watts' was not announced.*step_ms"):
        a_view.tell(asked_of(a_view), [1.0, 2.0], {"watts": 1.0})
