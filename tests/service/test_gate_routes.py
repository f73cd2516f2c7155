"""The funnel of a job's gates: what it counts is what the record says, while it runs as well."""

import json
from collections import Counter
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from optuna.study import StudyDirection
from sqlalchemy import Engine, insert, update

from service import _optuna_tables as optuna_tables
from service import gates, jobs
from service._studies import create_study, find_study
from service._trial_rows import insert_trial
from service._trial_summaries import SUMMARIES
from service.database import database_now, reading, writing
from service.gates import KnownGates
from service.jobs import StoredJob
from service.recorded import read_job
from service.spending import MEASURED_BEFORE
from tests.service.asking import ask
from tests.service.jobs import Bench
from tests.service.searched import API, Night, searched, submitted


def get(app: FastAPI, job: StoredJob, status: int = 200) -> dict[str, Any]:
    answer: httpx.Response = ask(app, "GET", f"{API}/jobs/{job.id}/gates")
    assert answer.status_code == status, answer.text[:2000]
    found: dict[str, Any] = answer.json()
    return found


def by_name(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {stage["name"]: stage for stage in found["stages"]}


def fell(found: dict[str, Any]) -> Counter[str]:
    """How many fell anywhere, by state."""
    counts: Counter[str] = Counter()
    for stage in found["stages"]:
        for one in stage["fell"]:
            counts[one["state"]] += one["count"]
    return counts


def test_everybody_who_was_asked_fell_somewhere_or_was_judged_to_the_end(
    night: Night, app: FastAPI
) -> None:
    for job in (*night.jobs, night.big):
        found = get(app, job)
        assert found["asked"] == sum(found["states"].values())
        ended = {k: n for k, n in found["states"].items() if k not in ("COMPLETE", "RUNNING")}
        assert {k: n for k, n in fell(found).items() if k != "COMPLETE"} == ended
        assert all(stage["came"] > 0 for stage in found["stages"])


def test_a_limit_and_early_stopping_take_candidates_where_they_were_tested(
    engine: Engine, here: Bench
) -> None:
    job = searched(engine, here, limits=["macs_frame<=850k"])
    found = funnel(engine, job, KnownGates())
    stages = {stage.name: stage for stage in found.stages}
    recorded = read_job(engine, job.id).trials
    broken = [t.number for t in recorded if t.state == "INFEASIBLE"]
    assert broken, "some break the limit"
    (by_limit,) = stages["cost"].fell
    assert by_limit.reason == "limit macs_frame<=850000"
    assert (by_limit.count, by_limit.example) == (len(broken), max(broken))
    assert [stages[f"rung {i}"].steps for i in (0, 1)] == [0, 25]
    assert stages["rung 0"].came == len(recorded) - len(broken)
    stopped = stages["rung 0"].fell
    assert stages["rung 1"].came == stages["rung 0"].came - sum(one.count for one in stopped)
    assert stopped and all("trial" not in one.reason for one in stopped), "reasons are kinds"


def test_seconds_are_those_that_the_trials_tell_and_nothing_known_counts_again(
    night: Night, app: FastAPI
) -> None:
    before, after = by_name(get(app, night.stopped)), by_name(get(app, night.whole))
    assert before["cost"]["seconds"] == pytest.approx(
        before["cost"]["median"] * before["cost"]["came"]
    ), "the table's measurements all take as long"
    recorded = night.recorded(night.whole).trials
    known = [t for t in recorded if t.reason.startswith(MEASURED_BEFORE)]
    assert known, "the second job has met candidates of the first"
    assert after["known before"]["came"] == len(known)
    assert after["cost"]["came"] == len(recorded) - len(known)


def put(engine: Engine, job: StoredJob, rows: list[dict[str, Any]], first: int = 0) -> None:
    """Trials that have ended so, with the seconds of their gates."""
    with writing(engine) as connection:
        study = find_study(connection, job.id)
        if study is None:
            study = create_study(connection, job.id, [StudyDirection.MINIMIZE], ["pair_loss"])
        for number, row in enumerate(rows, first):
            words = {k: v for k, v in row.items() if k != "seconds"}
            now = database_now(connection)
            trial = insert_trial(connection, study, number, now.replace(tzinfo=None))
            text = json.dumps(row.get("seconds", {}))
            said = {"trial_id": trial, "key": "seconds", "value_json": text}
            connection.execute(insert(optuna_tables.USER_ATTRS), said)
            whole = {
                "job_id": job.id, "number": number, "holds": True, "on_front": False,
                "moved": False, "began_at": now, "ended_at": now, "reason": "", "flag": "",
                "digest": str(number), "tracker": "", "params_json": "{}", "figures_json": "{}",
                "ranges_json": "{}", **words,
            }  # fmt: skip
            connection.execute(insert(SUMMARIES), whole)
        jobs.add_events(connection, job.id, [("trial_finished", {"number": 0})])


def funnel(engine: Engine, job: StoredJob, kept: KnownGates) -> gates.Funnel:
    with reading(engine) as connection:
        return kept.of(connection, jobs.known(connection, job.id))


TESTS = {"accuracy": 5.0, "recovery": 4.0, "cost": 1.0, "latency, eager": 2.0, "build": 3.0}


def test_tests_come_in_their_order_and_who_was_lost_is_no_failure_of_a_test(
    engine: Engine, here: Bench
) -> None:
    job = submitted(engine, here, rungs=[0, 25])
    put(engine, job, [
        {"state": "COMPLETE", "rung": 2, "seconds": TESTS},
        {"state": "COMPLETE", "rung": 2, "holds": False, "seconds": TESTS},
        {"state": "FAILED", "reason": "lost: the worker died", "rung": 0, "seconds": {"cost": 1.0}},
        {"state": "FAILED", "reason": "trained to nan 3 times", "rung": 1,
         "seconds": {n: TESTS[n] for n in ("cost", "latency, eager", "build", "recovery")}},
        {"state": "FAILED", "reason": "no memory", "seconds": {}},
        {"state": "INFEASIBLE", "reason": f"{MEASURED_BEFORE}; macs_frame is 9, the limit m<=3",
         "seconds": TESTS},
        {"state": "RUNNING", "ended_at": None},
    ])  # fmt: skip
    found = funnel(engine, job, KnownGates())
    assert [one.name for one in found.stages] == [
        "known before", "cost", "latency, eager", "build", "rung 0", "recovery", "rung 1",
        "accuracy", "limits on accuracy", "lost", "unrecorded",
    ]  # fmt: skip
    where = {f"{one.state} {one.reason}": s.name for s in found.stages for one in s.fell}
    assert where == {
        "INFEASIBLE limit m<=3": "known before",
        "FAILED trained to nan … times": "recovery",
        "COMPLETE ": "limits on accuracy",
        "FAILED lost: the worker died": "lost",
        "FAILED no memory": "unrecorded",
    }
    cost = next(one for one in found.stages if one.name == "cost")
    assert (cost.came, cost.seconds, cost.median) == (4, 4.0, 1.0)
    assert (found.asked, found.states["RUNNING"]) == (7, 1)


def test_what_is_kept_is_extended_by_what_ended_since(engine: Engine, here: Bench) -> None:
    job, kept = submitted(engine, here, rungs=[0, 25]), KnownGates()
    batches: list[list[dict[str, Any]]] = [
        [{"state": "COMPLETE", "rung": 2, "seconds": TESTS}],
        [{"state": "STOPPED", "rung": 0, "reason": "stopped at rung 0: dominated by trial 0",
          "seconds": {"cost": 9.0}}] * 2,
        [{"state": "RUNNING", "ended_at": None}],
    ]  # fmt: skip
    came = []
    for i, rows in enumerate(batches):
        put(engine, job, rows, first=10 * i)
        found = funnel(engine, job, kept)
        assert found == funnel(engine, job, KnownGates())
        came.append((found.asked, found.stages[0].came, found.stages[0].median))
    assert came == [(1, 1, 1.0), (3, 3, 9.0), (4, 3, 9.0)]


def test_many_different_reasons_are_told_in_short(engine: Engine, here: Bench) -> None:
    job = submitted(engine, here)
    words = [chr(97 + i % 26) * (1 + i // 26) for i in range(40)]
    put(engine, job, [
        {"state": "FAILED", "reason": f"reason {word}", "seconds": {"build": 1.0}} for word in words
    ])  # fmt: skip
    (stage,) = funnel(engine, job, KnownGates()).stages
    assert len(stage.fell) < 20
    assert sum(one.count for one in stage.fell) == 40
    assert stage.fell[-1].reason == "other reasons"


def test_nothing_is_read_again_until_something_happens(engine: Engine, here: Bench) -> None:
    job, kept = submitted(engine, here), KnownGates()
    put(engine, job, [{"state": "RUNNING", "ended_at": None}])
    assert funnel(engine, job, kept).stages == ()
    with writing(engine) as connection:
        ended = {"state": "FAILED", "reason": "no memory", "ended_at": database_now(connection)}
        connection.execute(update(SUMMARIES).values(**ended))
    assert funnel(engine, job, kept).stages == ()
    with writing(engine) as connection:
        jobs.add_events(connection, job.id, [("trial_finished", {"number": 0})])
    assert funnel(engine, job, kept).stages[0].came == 1


def test_many_that_ended_at_once_are_read_as_one_by_one(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_by_one = funnel(night.engine, night.big, KnownGates())
    monkeypatch.setattr(gates, "_ALL", 0)
    assert funnel(night.engine, night.big, KnownGates()) == one_by_one
