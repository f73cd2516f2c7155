"""The loop, with a pool that answers from a table in virtual time."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import Engine

from search_spaces import ParetrackError, size
from service.controller import Finished
from service.database import embedded_url, open_database
from service.events import Event
from service.search import FAILURES_IN_A_ROW, search
from service.trials import Record, read_rungs, read_trials
from tests.service.jobs import Bench, brute_front, said
from tests.service.table_pool import LATER, Disk, TablePool
from workers.pool import Assignment, Done, Lost, Report


@pytest.fixture
def url(tmp_path: Path, prepared_sqlite: Path) -> str:
    return embedded_url(Path(shutil.copy(prepared_sqlite, tmp_path / "p.db")))


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = open_database(url)
    yield engine
    engine.dispose()


def check(engine: Engine, finished: Finished) -> Finished:
    """What holds for every job that has ended."""
    trials = finished.trials
    assert [trial.number for trial in trials] == list(range(finished.outcome.asked))
    assert all(trial.state.is_finished() for trial in trials)
    assert set(finished.outcome.front) == brute_front(trials, finished.plan)
    assert Counter(t.user_attrs["state"] for t in trials) == finished.outcome.states
    digests = [trial.user_attrs["digest"] for trial in trials]
    assert len(set(digests)) == len(digests)
    for trial in trials:
        assert trial.user_attrs["reason"] or trial.state == TrialState.COMPLETE
    return finished


# --- how it ends ------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["nsga2", "tpe", "random"])
def test_the_budget_counts_what_passed_the_tests_before_training(
    here: Bench, engine: Engine, sampler: str
) -> None:
    job = here.job(sampler=sampler, limits=["macs_frame<=850k"], budget={"trials": 8})
    outcome = check(engine, here.run(engine, TablePool(2), job)).outcome

    assert outcome.reason == "the budget is spent"
    assert outcome.states["INFEASIBLE"] > 0
    assert outcome.asked - outcome.states["INFEASIBLE"] == 8
    assert outcome.states["COMPLETE"] > 0


def test_infeasible_candidates_do_not_make_a_search_endless(here: Bench, engine: Engine) -> None:
    least = here.plan().the_smallest()
    from tests.service.table_pool import cost

    bound = cost(least.architecture).macs_frame + 1
    job = here.job(limits=[f"macs_frame<={bound}"], budget={"trials": 5, "asked": 9})
    outcome = check(engine, here.run(engine, TablePool(2), job)).outcome

    assert (outcome.asked, outcome.reason) == (9, "the budget is spent")
    assert outcome.states["INFEASIBLE"] >= 8


@pytest.mark.parametrize("rule", ["mo_asha", "median", "none"])
@pytest.mark.parametrize("slots", [1, 3])
def test_a_small_space_is_tried_wholly_and_each_of_its_points_once(
    here: Bench, engine: Engine, rule: str, slots: int
) -> None:
    space = {"layers": {"least": 1}, "layer3.1.conv1": {"least": 0.5, "choices": 3}}
    pool = TablePool(slots)
    job = here.job(space=space, early_stopping=rule, budget={"trials": 99})
    finished = check(engine, here.run(engine, pool, job))

    assert finished.outcome.reason == "every candidate of the space was tried"
    assert finished.outcome.asked == size(finished.plan.space) == 7
    distinct = {repr(pool.disk.architectures[folder]) for folder in trained(pool.disk)}
    assert len(distinct) == 7
    assert max(pool.disk.steps_done.values()) == 1
    assert rule != "none" or finished.outcome.states == {"COMPLETE": 7}


def trained(disk: Disk) -> list[str]:
    return [folder for folder in disk.reached if "/trials/" in folder]


def test_the_time_budget_lets_what_runs_finish_and_begins_nothing_new(
    here: Bench, engine: Engine
) -> None:
    finished = here.run(engine, TablePool(2), here.job(budget={"trials": 1}))
    job = here.job("short", budget={"trials": 60, "seconds": 40.0})
    pool = TablePool(2)
    record = opened(engine, here, "short")
    begun: list[float] = []

    outcome = search(
        here.plan(name="short", budget=job_budget(60, 40.0)), finished.reach, record, pool,
        clock=lambda: pool.now,
        watch=lambda e: begun.append(pool.now) if e.kind == "asked" else None,
    )  # fmt: skip

    assert outcome.reason == "the time is over (40 s)"
    assert max(begun) < 40 <= outcome.seconds < 60
    assert all(t.state.is_finished() for t in read_trials(engine, job.name))


def job_budget(trials: int, seconds: float) -> dict[str, Any]:
    return {"trials": trials, "seconds": seconds}


class CancellingPool(TablePool):
    """One whose assignments can be ended."""

    def __init__(self, slots: int) -> None:
        super().__init__(slots)
        self.ended: list[str] = []

    def cancel(self, ticket: str) -> None:
        assert ticket not in self.ended, "asked once"
        self.ended.append(ticket)

    def reports(self, timeout: float) -> list[Report]:
        heard = super().reports(timeout)
        return [
            Lost(r.ticket, "ended", cancelled=True) if r.ticket in self.ended else r for r in heard
        ]


def opened(engine: Engine, here: Bench, name: str) -> Record:
    from service.leases import acquire

    made = here.plan(name=name)
    return Record.open(
        engine, name, directions=made.directions, metric_names=[m.name for m in made.objectives],
        attrs={}, lease=acquire(engine, name, "test", 600),
    )  # fmt: skip


def test_asked_to_stop_it_lets_what_runs_finish(here: Bench, engine: Engine) -> None:
    heard: list[Event] = []
    finished = here.run(
        engine,
        TablePool(2),
        here.job(),
        watch=heard.append,
        wish=lambda: "stop" if len(heard) > 5 else "go_on",
    )

    check(engine, finished)
    assert finished.outcome.reason == "stopped by request"
    assert 0 < finished.outcome.asked < 12


def test_paused_it_concludes_nothing_and_goes_on_to_the_same_end(
    here: Bench, engine: Engine
) -> None:
    heard: list[Event] = []
    disk = Disk()
    paused = here.run(
        engine,
        TablePool(2, disk),
        here.job(),
        watch=heard.append,
        wish=lambda: "pause" if len(heard) > 9 else "go_on",
    )
    assert paused.outcome.paused
    assert "ended" not in {e.kind for e in heard}
    running = [t for t in read_trials(engine, "night") if not t.state.is_finished()]
    assert running, "those that wait at a rung go on waiting"
    whole = check(engine, here.run(engine, TablePool(2, disk), here.job()))
    assert not whole.outcome.paused
    assert whole.outcome.asked == 12
    assert max(disk.steps_done.values()) == 1, "nothing is trained twice"


def test_cancelled_it_ends_what_runs(here: Bench, engine: Engine) -> None:
    heard: list[Event] = []
    pool = CancellingPool(3)
    finished = here.run(
        engine,
        pool,
        here.job(),
        watch=heard.append,
        wish=lambda: "cancel" if len(heard) > 8 else "go_on",
    )
    assert finished.outcome.reason == "cancelled by request"
    assert pool.ended, "three were in flight"
    trials = read_trials(engine, "night")
    assert all(trial.state.is_finished() for trial in trials)
    reasons = [t.user_attrs["reason"] for t in trials]
    assert reasons.count("cancelled by request") == len(pool.ended)
    assert "FAILED" not in finished.outcome.states


# --- what is trained --------------------------------------------------------------------------


def test_only_those_who_may_go_on_are_trained_on(here: Bench, engine: Engine) -> None:
    pool = TablePool(2)
    heard: list[Event] = []
    finished = check(engine, here.run(engine, pool, here.job(), watch=heard.append))
    rungs = {(at.number, at.rung): at for at in read_rungs(engine, "night")}
    by_rung = Counter(rung for number, rung in rungs if rungs[number, rung].values)

    assert by_rung[0] == 12
    assert 1 <= by_rung[1] <= 4  # one in three
    assert 1 <= finished.outcome.states["COMPLETE"] <= 2
    for trial in finished.trials:
        folder = f"{finished.plan.folder}/trials/{trial.number}"
        went = [e for e in heard if (e.number, e.kind, e.state) == (trial.number, "rung", "go_on")]
        assert pool.disk.reached[folder] == LATER or trial.user_attrs["state"] == "STOPPED"
        assert (trial.number, 1) in rungs or pool.disk.reached[folder] == 0
        assert not went or went[0].note
        if trial.user_attrs["state"] == "STOPPED":
            assert trial.user_attrs["reason"].startswith("stopped at rung")


def test_slots_are_kept_busy(here: Bench, engine: Engine) -> None:
    pool = TablePool(3)
    job = here.job(budget={"trials": 30}, early_stopping="none")
    reach_over: list[tuple[float, float]] = []

    def watch(event: Event) -> None:
        if event.kind == "asked":
            reach_over.append((pool.now, pool.idle))

    here.run(engine, pool, job, watch=watch)
    (_, before), (_, at_the_last) = reach_over[0], reach_over[-1]
    assert at_the_last == before  # while there was anything to ask for, nobody had nothing to do


def test_a_job_has_no_more_on_their_way_than_it_may(here: Bench, engine: Engine) -> None:
    class Counting(TablePool):
        most = 0

        def submit(self, assignment: Assignment) -> None:
            super().submit(assignment)
            self.most = max(self.most, len(self._working) + len(self._queue))

    for at_once, most in ((2, 2), (None, 4)):
        pool = Counting(4)
        here.run(engine, pool, here.job(f"at once {at_once}", at_once=at_once))
        assert pool.most == most


def test_what_another_job_measured_is_not_measured_again(here: Bench, engine: Engine) -> None:
    disk = Disk()
    space = {"layer3": {"least": 0.1, "choices": 4}}
    words = {"space": space, "early_stopping": "none", "budget": {"trials": 99}}
    first = check(engine, here.run(engine, TablePool(2, disk), here.job(**words)))
    done = len(trained(disk))
    second = check(
        engine,
        here.run(
            engine, TablePool(2, disk), here.job("again", **words, limits=["parameters<=11k"])
        ),
    )

    assert first.outcome.states == {"COMPLETE": 4}
    assert len(trained(disk)) == done == 4
    assert second.outcome.states.keys() == {"COMPLETE", "INFEASIBLE"}
    assert all(t.user_attrs["reason"].startswith("measured before") for t in second.trials)
    assert all("/night/" in t.user_attrs["tracker"] for t in second.trials)
    values = {t.user_attrs["digest"]: t.values for t in first.trials}
    for trial in second.trials:
        if trial.user_attrs["state"] == "COMPLETE":
            assert trial.values == values[trial.user_attrs["digest"]]
        else:
            assert "parameters is 1" in trial.user_attrs["reason"]
            assert trial.constraints["parameters<=11000"] > 0


def test_the_parameters_given_come_first(here: Bench, engine: Engine) -> None:
    first = {"keep.backbone.layer2.1": True, "keep.backbone.layer3.1": True,
             "width.layer3.1.conv1": 5, "width.layer3": 8, "width.neck3": 7}  # fmt: skip
    job = here.job(first=[first], budget={"trials": 2})

    assert here.run(engine, TablePool(), job).trials[0].params == first


# --- what goes wrong --------------------------------------------------------------------------


def failing(count: int) -> Callable[[Assignment], Report | None]:
    """The first candidates of a job end as FAILED."""

    def instead(assignment: Assignment) -> Report | None:
        if ":" not in assignment.ticket or int(assignment.ticket.split(":")[0]) >= count:
            return None
        return Done(assignment.ticket, {"state": "FAILED", "reason": "ValueError: no luck"})

    return instead


def test_a_candidate_that_fails_is_written_down_and_the_search_goes_on(
    here: Bench, engine: Engine
) -> None:
    pool = TablePool(2, instead=failing(FAILURES_IN_A_ROW - 1))
    finished = check(engine, here.run(engine, pool, here.job(budget={"trials": 16})))

    assert finished.outcome.states["FAILED"] == FAILURES_IN_A_ROW - 1
    assert finished.trials[0].state == TrialState.FAIL
    assert finished.trials[0].user_attrs["reason"] == "ValueError: no luck"


def test_failures_in_a_row_end_the_search(here: Bench, engine: Engine) -> None:
    with pytest.raises(ParetrackError, match=r"10 candidates failed.*no luck"):
        here.run(engine, TablePool(2, instead=failing(99)), here.job(budget={"trials": 50}))
    states = Counter(state for state, _ in said(engine).values())
    assert states["FAILED"] == FAILURES_IN_A_ROW


def test_a_lost_ticket_is_a_failed_trial(here: Bench, engine: Engine) -> None:
    def instead(assignment: Assignment) -> Report | None:
        lost = assignment.ticket in ("1:0", "3:1")
        return Lost(assignment.ticket, "its node went away") if lost else None

    finished = check(engine, here.run(engine, TablePool(2, instead=instead), here.job()))

    assert finished.trials[1].state == TrialState.FAIL
    assert finished.trials[1].user_attrs["reason"] == "lost: its node went away"


# --- as Optuna sees it ------------------------------------------------------------------------


def test_optuna_reads_the_record_and_finds_the_same_front(
    here: Bench, engine: Engine, url: str
) -> None:
    limits = ["macs_frame<=900k", "average_overlap>=0.69"]
    job = here.job(limits=limits, budget={"trials": 15}, early_stopping="none")
    finished = check(engine, here.run(engine, TablePool(2), job))
    study = optuna.load_study(study_name="night", storage=url)

    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == ["average_overlap", "macs_frame"]
    assert study.user_attrs["job"]["limits"] == limits
    assert {t.number for t in study.best_trials} == set(finished.outcome.front)
    assert any(t.constraints.get("average_overlap>=0.69", -1) > 0 for t in study.trials)
    kinds = {
        "COMPLETE": TrialState.COMPLETE, "INFEASIBLE": TrialState.PRUNED,
        "STOPPED": TrialState.PRUNED, "FAILED": TrialState.FAIL,
    }  # fmt: skip
    for theirs, ours in zip(study.trials, finished.trials, strict=True):
        assert (theirs.state, theirs.params) == (kinds[ours.user_attrs["state"]], ours.params)
        assert theirs.user_attrs == ours.user_attrs
        assert {"state", "reason", "digest"} <= set(theirs.user_attrs)
        assert theirs.constraints == ours.constraints
        if theirs.state == TrialState.COMPLETE:
            assert theirs.values == ours.values
            assert theirs.values == [ours.user_attrs[m] for m in study.metric_names]
    study._storage.remove_session()  # type: ignore[attr-defined]
