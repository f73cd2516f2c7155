"""The record of a job: each event once, wholly, and only from the holder of the lease."""

import math
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.distributions import (
    CategoricalDistribution,
    IntDistribution,
)
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from search_spaces import ParetrackError
from service.database import writing
from service.leases import LeaseLost, acquire, release
from service.trials import Record, TrialFinished, read_rungs, read_trials
from tests.service.night import (
    begin,
    by_optuna,
    complete,
    counted,
    open_record,
    stored,
)


def test_a_finished_trial_is_not_finished_again(record: Record, engine: Engine) -> None:
    number = complete(record, 0.5, 8.0, step_ms=-1.0)
    before = stored(engine)
    with pytest.raises(TrialFinished, match=r"trial 0 of job 'night'.*COMPLETE"):
        record.finish(number, TrialState.FAIL, None, {"more": 1.0}, {"state": "FAILED"})
    with pytest.raises(TrialFinished, match="nothing was changed"):
        record.rung(number, 0, 50, {"loss": 1.0}, "wait", "")
    again = open_record(engine, attrs={})  # another process knows as much
    with pytest.raises(TrialFinished):
        again.finish(number, TrialState.COMPLETE, [1.0, 1.0], {}, {})
    assert stored(engine) == before
    assert record.rungs() == []


def test_a_trial_that_is_not_there_cannot_end(record: Record) -> None:
    with pytest.raises(ParetrackError, match="job 'night' has no trial 5"):
        record.finish(5, TrialState.FAIL, None, {}, {})


WRITES: dict[str, Callable[[Record], object]] = {
    "begin": begin,
    "rung": lambda record: record.rung(0, 0, 50, {"loss": 1.0}, "wait", ""),
    "finish": lambda record: record.finish(0, TrialState.FAIL, None, {"c": 1.0}, {"a": 1}),
    "remember": lambda record: record.remember("digest", 50, False, {"state": "AT_RUNG"}),
    "set_study_attrs": lambda record: record.set_study_attrs({"ended": "why"}),
}


@pytest.mark.parametrize("what", WRITES)
def test_one_event_is_one_commit(record: Record, engine: Engine, what: str) -> None:
    begin(record)
    with counted(engine, "commit") as commits:
        WRITES[what](record)
    assert commits == [1]


@pytest.mark.parametrize("what", WRITES)
def test_a_holder_of_the_past_writes_nothing_at_all(engine: Engine, what: str) -> None:
    lease = acquire(engine, "night", "old", 600)
    record = open_record(engine, lease=lease)
    begin(record)
    release(engine, lease)
    acquire(engine, "night", "new", 600)
    before = stored(engine)
    with pytest.raises(LeaseLost, match="new took it over"):
        WRITES[what](record)
    assert stored(engine) == before
    assert (record.rungs(), record.remembered("digest")) == ([], None)
    with pytest.raises(LeaseLost):
        open_record(engine, "another", lease=lease)
    assert stored(engine) == before


def test_an_event_that_fails_halfway_leaves_nothing(record: Record, engine: Engine) -> None:
    number = begin(record)
    before = stored(engine)

    with writing(engine) as connection:
        for statement in refusing(engine.dialect.name, "trial_user_attributes"):  # the last of all
            connection.exec_driver_sql(statement)
    with pytest.raises(DBAPIError, match="refused"):
        record.finish(number, TrialState.COMPLETE, [0.5, 8.0], {"c": 1.0}, {"a": 1})
    with writing(engine) as connection:
        on = " ON trial_user_attributes" if engine.dialect.name == "postgresql" else ""
        connection.exec_driver_sql(f"DROP TRIGGER refuse{on}")
    assert stored(engine) == before
    record.finish(number, TrialState.COMPLETE, [0.5, 8.0], {"c": 1.0}, {"a": 1})


def refusing(dialect: str, table: str) -> list[str]:
    """A trigger that lets nothing be inserted."""
    when = f"CREATE TRIGGER refuse BEFORE INSERT ON {table}"
    if dialect == "sqlite":
        return [f"{when} BEGIN SELECT RAISE(ABORT, 'refused'); END"]
    body = "BEGIN RAISE EXCEPTION 'refused'; END"
    return [
        f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $${body}$$",
        f"{when} FOR EACH ROW EXECUTE FUNCTION refuse()",
    ]


@pytest.mark.parametrize(
    ("state", "values", "constraints"),
    [
        (TrialState.RUNNING, None, {}),
        (TrialState.COMPLETE, None, {}),
        (TrialState.COMPLETE, [0.5], {}),
        (TrialState.COMPLETE, [0.5, math.nan], {}),
        (TrialState.FAIL, [0.5, 8.0], {}),
        (TrialState.COMPLETE, [0.5, 8.0], {"step_ms": math.nan}),
    ],
)
def test_an_end_that_optuna_would_refuse_is_refused(
    record: Record, state: TrialState, values: Any, constraints: dict[str, float]
) -> None:
    number = begin(record)
    with pytest.raises(ValueError, match=r"values|end as|not a number"):
        record.finish(number, state, values, constraints, {})
    assert record.trials()[number].state == TrialState.RUNNING


def test_a_value_outside_its_distribution_is_refused(record: Record) -> None:
    with pytest.raises(ValueError, match="layers"):
        begin(record, layers=99)
    assert record.trials() == []


def test_a_job_is_taken_up_where_it_was_left(record: Record, engine: Engine) -> None:
    running = begin(record)
    again = open_record(engine, attrs={"more": 1})
    again.finish(running, TrialState.COMPLETE, [0.5, 8.0], {}, {})
    assert begin(again) == 1
    assert again.study_attrs() == {"spec": {"trials": 40}, "more": 1}
    assert read_trials(engine, "night") == again.trials()


def test_other_objectives_under_the_same_name_are_refused(record: Record, engine: Engine) -> None:
    for changes in (
        {"directions": ("maximize", "maximize")},
        {"metric_names": ("success", "step_ms")},
        {"directions": ("maximize",), "metric_names": ("average_overlap",)},
    ):
        with pytest.raises(ParetrackError, match=r"'night' is there already.*another name"):
            open_record(engine, **changes)


def test_a_parameter_that_changed_its_kind_or_choices_is_refused(
    record: Record, engine: Engine
) -> None:
    begin(record)
    for again in (record, open_record(engine, attrs={})):
        for changed in (CategoricalDistribution(("corner", "new")), IntDistribution(0, 3)):
            value = "corner" if isinstance(changed, CategoricalDistribution) else 1
            with pytest.raises(ParetrackError, match=r"'head' of job 'night'.*another name"):
                again.begin({"head": value}, {"head": changed}, {}, {})
        again.begin({"layers": 40}, {"layers": IntDistribution(2, 50)}, {}, {})
    assert len(record.trials()) == 3


def test_numbers_go_on_when_others_add_trials_with_optuna(
    record: Record, optuna_storage: RDBStorage, engine: Engine
) -> None:
    study = by_optuna(optuna_storage)
    other = open_record(engine, "other")
    begin(other)
    assert begin(record) == 0
    study.enqueue_trial({"layers": 3})
    begin(other)
    assert begin(record) == 2
    assert study.ask().number == 1
    study.ask()
    assert begin(open_record(engine, attrs={})) == 4
    assert begin(record) == 5
    assert [t.number for t in record.trials()] == list(range(6))
    assert record.trials() == study.get_trials()


def test_a_study_that_was_deleted_meanwhile_is_said(
    record: Record, optuna_storage: RDBStorage
) -> None:
    optuna.delete_study(study_name="night", storage=optuna_storage)
    with pytest.raises(ParetrackError, match=r"no job named 'night'.*there is none"):
        begin(record)


def test_a_new_trial_inherits_nothing_from_a_deleted_one(
    record: Record, engine: Engine, optuna_storage: RDBStorage
) -> None:
    record.rung(begin(record), 0, 50, {"loss": 1.0}, "wait", "")
    optuna.delete_study(study_name="night", storage=optuna_storage)
    again = open_record(engine, attrs={})
    begin(again)
    assert again.rungs() == []


def test_the_last_verdict_at_a_rung_counts_and_the_measurement_stays(
    record: Record, engine: Engine
) -> None:
    first, second = begin(record), begin(record)
    measured = {"state": "AT_RUNG", "steps": 50, "recovered": {"loss": 1.0}}
    record.rung(first, 0, 50, {"loss": 1.0, "step_ms": 7.0}, "wait", "needs 2", measured)
    record.rung(second, 0, 50, {"loss": math.inf}, "stop", "dominated by trial 0")
    record.rung(first, 0, 50, {"loss": 1.0, "step_ms": 7.0}, "go_on", "best of 2")
    told = {(r.number, r.rung): r for r in read_rungs(engine, "night")}
    assert told[first, 0].verdict == "go_on"
    assert told[first, 0].note == "best of 2"
    assert told[first, 0].measurement == measured
    assert told[first, 0].values == {"loss": 1.0, "step_ms": 7.0}
    assert told[second, 0].values == {"loss": math.inf}
    assert told[second, 0].measurement is None


def test_a_job_that_is_not_there_is_said_with_those_that_are(engine: Engine) -> None:
    with pytest.raises(ParetrackError, match="there is none yet"):
        read_trials(engine, "night")
    open_record(engine, "one")
    with pytest.raises(ParetrackError, match=r"no job named 'night'.*there are one"):
        read_rungs(engine, "night")


def test_a_measurement_is_known_to_every_job(record: Record, engine: Engine) -> None:
    large = {"state": "COMPLETE", "story": ["word"] * 50_000, "nan": None}
    record.remember("d", 50, False, {"at": 50})
    record.remember("d", 200, True, large)
    record.remember("d", 200, False, {"at": 200})
    other = open_record(engine, "other")
    assert other.remembered("d") == large
    assert other.remembered("d", 50) == {"at": 50}
    assert other.remembered("d", 100) is None
    assert other.remembered("e") is None
    other.remember("d", 50, False, {"at": "another time"})
    assert record.remembered("d", 50) == {"at": 50}


def test_loading_many_trials_asks_as_often_as_loading_few(record: Record, engine: Engine) -> None:
    counts = []
    for _ in range(2):
        for _ in range(15):
            complete(record, 0.5, 8.0)
        with counted(engine, "before_cursor_execute") as queries:
            record.trials()
        counts.append(queries[0])
    assert counts[0] == counts[1] <= 8
