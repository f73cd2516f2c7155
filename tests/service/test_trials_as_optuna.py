"""The record of a job is an ordinary Optuna study, whoever reads it."""

import math
from collections.abc import Mapping
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
)
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Engine

from service.trials import Record
from tests.service.night import (
    ATTRS,
    DIRECTIONS,
    DISTRIBUTIONS,
    METRICS,
    PARAMS,
    begin,
    by_optuna,
    complete,
    open_record,
    stored,
)


def test_optuna_reads_a_job_as_a_study_with_all_that_was_said(
    record: Record, optuna_storage: RDBStorage
) -> None:
    first = begin(record)
    record.finish(first, TrialState.COMPLETE, (0.61, math.inf), {"step_ms": -0.25}, ATTRS)
    second = begin(record, layers=2)
    record.rung(second, 0, 50, {"one_step_iou": 0.4, "loss": 2.0}, "wait", "of 3, needs 4")
    record.finish(second, TrialState.PRUNED, None, {"step_ms": 0.5}, {"state": "STOPPED"})
    third = begin(record)
    record.finish(third, TrialState.FAIL, None, {}, {"state": "FAILED", "reason": "no disk"})
    running = begin(record)
    study = by_optuna(optuna_storage)
    assert [d.name.lower() for d in study.directions] == list(DIRECTIONS)
    assert study.metric_names == list(METRICS)
    assert study.user_attrs == {"spec": {"trials": 40}}
    trials = study.get_trials()
    assert [t.number for t in trials] == [first, second, third, running] == [0, 1, 2, 3]
    assert [t.state.name for t in trials] == ["COMPLETE", "PRUNED", "FAIL", "RUNNING"]
    assert trials[0].params == PARAMS
    assert trials[0].distributions == DISTRIBUTIONS
    assert trials[0].values == [0.61, math.inf]
    assert trials[0].constraints == {"step_ms": -0.25}
    assert trials[0].user_attrs == {**ATTRS}
    assert trials[0].system_attrs["grid"] == 3
    assert trials[1].intermediate_values == {50: 0.4}
    assert trials[2].user_attrs["reason"] == "no disk"
    for trial in trials[:3]:
        assert trial.datetime_start is not None
        assert trial.datetime_complete is not None
        assert trial.datetime_start <= trial.datetime_complete
    assert trials[3].datetime_complete is None
    assert [t.number for t in study.best_trials] == [0]
    assert record.trials() == trials


@pytest.mark.filterwarnings("ignore:.*set_metric_names is experimental")
def test_our_rows_are_those_of_optuna_column_by_column(
    record: Record, engine: Engine, optuna_storage: RDBStorage
) -> None:
    ends: list[tuple[TrialState, list[float] | None, dict[str, float]]] = [
        (TrialState.COMPLETE, [0.1 + 0.2, -math.inf], {"step_ms": -1.0, "macs": math.inf}),
        (TrialState.COMPLETE, [1, math.inf], {"step_ms": 2}),
        (TrialState.PRUNED, None, {"step_ms": 1e-300}),
        (TrialState.FAIL, None, {}),
    ]
    sampler = Prescribed()
    study = optuna.create_study(
        study_name="theirs", storage=optuna_storage, directions=DIRECTIONS, sampler=sampler
    )
    study.set_metric_names(list(METRICS))
    study.set_user_attr("spec", {"trials": 40})
    choices = [None, True, False, "x", 2.5, 7]
    for (state, values, constraints), choice in zip(ends, choices, strict=False):
        params = sampler.params = {**PARAMS, "mixed": choice}
        trial = study.ask(DISTRIBUTIONS)
        for name, value in ATTRS.items():
            trial.set_user_attr(name, value)
        optuna_storage.set_trial_system_attr(trial._trial_id, "grid", 3)
        for name, violation in constraints.items():
            trial.set_constraint(name, violation)
        study.tell(trial, values, state=state)
        number = record.begin(params, DISTRIBUTIONS, {"state": "to be replaced"}, {"grid": 3})
        record.finish(number, state, values, constraints, ATTRS)
    record.begin(params, DISTRIBUTIONS, {"digest": "b"}, {})
    study.ask(DISTRIBUTIONS).set_user_attr("digest", "b")
    assert _sorted(stored(engine, "night")) == _sorted(stored(engine, "theirs"))


@pytest.mark.filterwarnings("ignore:.*set_metric_names is experimental")
def test_an_intermediate_value_is_stored_as_optuna_stores_it(
    engine: Engine, optuna_storage: RDBStorage
) -> None:
    one = {"directions": ["minimize"], "metric_names": ["loss"], "attrs": {}}
    record = open_record(engine, "one", **one)
    study = optuna.create_study(study_name="theirs", storage=optuna_storage)
    study.set_metric_names(["loss"])
    trial = study.ask()
    number = record.begin({}, {}, {}, {})
    for step, value in enumerate([0.5, math.inf, -math.inf, math.nan, 3]):
        trial.report(value, step)
        record.rung(number, step, step, {"loss": value}, "go_on", "")
    assert _sorted(stored(engine, "one")) == _sorted(stored(engine, "theirs"))


class Prescribed(optuna.samplers.RandomSampler):
    """Samples what it is told."""

    params: Mapping[str, Any] = PARAMS

    def sample_independent(
        self, study: Any, trial: Any, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.params[param_name]


def _sorted(rows: dict[str, list[Any]]) -> dict[str, list[str]]:
    return {table: sorted(map(str, told)) for table, told in rows.items()}


def test_optuna_and_we_find_the_same_front(record: Record, optuna_storage: RDBStorage) -> None:
    points = [(0.5, 8.0), (0.6, 9.0), (0.4, 9.0), (0.7, 7.0), (0.9, 1.0), (0.3, 6.5), (0.7, 7.0)]
    for n, point in enumerate(points):
        complete(record, *point, step_ms=0.1 if n == 4 else -0.1)
    feasible = [t for t in record.trials() if max(t.constraints.values()) <= 0]
    front = [t.number for t in feasible if not any(_dominates(o, t) for o in feasible)]
    assert [t.number for t in by_optuna(optuna_storage).best_trials] == front == [3, 5, 6]


def _dominates(one: FrozenTrial, other: FrozenTrial) -> bool:
    a, b = ((-t.values[0], t.values[1]) for t in (one, other))
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


NUMBERS = st.floats(allow_nan=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=4,
)  # fmt: skip
NAMED = st.dictionaries(st.text("abcXYZ_.ö", min_size=1, max_size=6), JSON, max_size=3)
SAMPLED = st.fixed_dictionaries(
    {
        "layers": st.integers(2, 12),
        "width": st.sampled_from(range(8, 65, 8)),
        "wide": st.integers(1, 1024),
        "rate": st.floats(1e-6, 1e-1),
        "share": st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]),
        "head": st.sampled_from(["corner", "center", "größe"]),
        "mixed": st.sampled_from([None, True, False, "x", 2.5, 7]),
    }
)
EVENTS = st.lists(
    st.tuples(
        SAMPLED,
        NAMED,
        st.sampled_from(list(TrialState)),
        st.tuples(NUMBERS, NUMBERS),
        st.dictionaries(st.sampled_from(["step_ms", "macs"]), NUMBERS),
        st.dictionaries(st.integers(0, 9), st.floats()),
    ),
    max_size=4,
)


@given(events=EVENTS)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_what_we_read_is_what_optuna_reads(
    record: Record, optuna_storage: RDBStorage, events: list[Any]
) -> None:
    for params, attrs, state, values, constraints, steps in events:
        number = record.begin(params, DISTRIBUTIONS, attrs, attrs)
        for step, value in steps.items():
            record.rung(number, step, step, {"loss": value}, "wait", "")
        if state.is_finished():
            told = values if state == TrialState.COMPLETE else None
            record.finish(number, state, told, constraints, attrs)
    assert _told(record.trials()) == _told(by_optuna(optuna_storage).get_trials())


def _told(trials: list[FrozenTrial]) -> list[str]:
    """Compared as text, in which a value that is no number equals itself; in the order told."""
    return [
        f"{t.number} {t._trial_id} {t.state} {t.values} {t.params} {t.distributions} "
        f"{sorted(t.user_attrs.items())} {sorted(t.system_attrs.items())} "
        f"{sorted(t.intermediate_values.items())} {t.datetime_start} {t.datetime_complete}"
        for t in trials
    ]
