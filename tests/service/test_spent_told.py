"""What a job has spent of its budget, as its summary says it: right after a restart, too."""

from collections.abc import Callable
from itertools import takewhile
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine

from service import queue
from service.events import Event
from service.job import job_from_json
from service.journal import Journal
from service.queue import Claimed
from service.spending import Spending
from service.trials import read_trials
from tests.service.asking import ask
from tests.service.jobs import Bench
from tests.service.searched import API, read, submitted
from tests.service.table_pool import Disk, TablePool

A_TRIAL = 0.5  # seconds, of the table: on a device that is no CPU, with one thread


class Gone(Exception):  # noqa: N818 - the process is
    """Nobody catches it."""


def begun(engine: Engine, here: Bench, **budget: Any) -> Claimed:
    words = {"budget": {"trials": 8, **budget}, "early_stopping": "none", "rungs": []}
    job = submitted(engine, here, **words)
    claimed = queue.claim(engine, "test", 600)
    assert claimed is not None and claimed.job.id == job.id
    return claimed


def run(
    engine: Engine, here: Bench, claimed: Claimed, disk: Disk, hear: Callable[[Event], None]
) -> None:
    job = job_from_json({**claimed.job.spec, "name": claimed.job.id})
    lease = claimed.lease
    here.run(engine, TablePool(1, disk), job, watch=hear, lease=lease, lease_seconds=600)


def ended(engine: Engine, claimed: Claimed) -> list[Any]:
    return [t for t in read_trials(engine, claimed.job.id) if t.state.is_finished()]


def since_gain(trials: list[Any]) -> int:
    """By the record alone; with one slot they end in their order."""
    told = [t.user_attrs["hypervolume"] for t in trials]
    return len(list(takewhile(lambda volume: volume == told[-1], reversed(told)))) - 1


@pytest.mark.parametrize("untold", [False, True])
def test_after_a_restart_the_numbers_are_those_of_the_record(
    engine: Engine, here: Bench, fresh: FastAPI, untold: bool
) -> None:
    claimed, disk = begun(engine, here, plateau=100), Disk()
    first = Journal(engine, claimed.lease, claimed.job.id)
    finished = [0]

    def dies(event: Event) -> None:
        first.hear(event)
        finished[0] += event.kind == "finished"
        if finished[0] < 5 or not untold:
            first.tell()
        if finished[0] == 5:
            raise Gone

    with pytest.raises(Gone):
        run(engine, here, claimed, disk, dies)
    assert len(ended(engine, claimed)) == 5
    before = read(engine, claimed.job).summary["spent"]
    assert before["gpu_seconds"] == (4 if untold else 5) * A_TRIAL

    second = Journal(engine, claimed.lease, claimed.job.id)
    second.take_up()
    summary = read(engine, claimed.job).summary
    assert summary["spent"] == before, "until the record was counted"
    assert sum(summary["states"].values()) == 5
    heard: list[Event] = []

    def hear(event: Event) -> None:
        second.hear(event)
        second.tell()
        if not heard:
            spent = read(engine, claimed.job).summary["spent"]
            assert (spent["cpu_seconds"], spent["gpu_seconds"]) == (5 * A_TRIAL, 5 * A_TRIAL)
            assert spent["since_gain"] == since_gain(ended(engine, claimed))
            assert spent["seconds"] >= before["seconds"]
        heard.append(event)

    run(engine, here, claimed, disk, hear)
    assert heard[0].kind == "taken_up"
    after = ask(fresh, "GET", f"{API}/jobs/{claimed.job.id}").json()["summary"]
    assert after["spent"]["gpu_seconds"] == 8 * A_TRIAL == after["spent"]["cpu_seconds"]
    assert after["spent"]["since_gain"] == since_gain(ended(engine, claimed))
    assert after["budget"]["plateau"] == 100 and after["asked"] == 8


def test_a_job_that_begins_has_spent_nothing_yet(engine: Engine, here: Bench) -> None:
    claimed = begun(engine, here)
    journal = Journal(engine, claimed.lease, claimed.job.id)
    journal.take_up()
    assert read(engine, claimed.job).summary.get("spent", {}) == {}
    heard: list[Event] = []

    def hear(event: Event) -> None:
        journal.hear(event)
        heard.append(event)

    run(engine, here, claimed, Disk(), hear)
    assert {event.kind for event in heard} == {"asked", "finished"}, "nothing was taken up"
    assert heard[0].spent["cpu_seconds"] == 0.0
    gains = [event.spent["since_gain"] for event in heard if event.kind == "finished"]
    moved = [t.user_attrs["hypervolume"] for t in ended(engine, claimed)]
    expected = [since_gain(ended(engine, claimed)[: i + 1]) for i in range(len(moved))]
    assert gains == expected


def test_whenever_a_controller_ends_the_next_one_counts_the_same(
    engine: Engine, here: Bench
) -> None:
    """Candidates that are on their way when the front moves, and are infeasible in the end, too."""
    job = here.job(
        limits=["macs_frame<=950k"], budget={"trials": 20, "plateau": 50}, rungs=[],
        early_stopping="none",
    )  # fmt: skip
    seen: list[tuple[int, int]] = []

    def counted_anew() -> int:
        stored = read_trials(engine, job.name)
        spending = Spending(job.budget, lambda: 0.0)
        spending.asked = len(stored)
        ended = [t for t in stored if t.state.is_finished()]
        for trial in ended:
            spending.states[trial.user_attrs["state"]] += 1
        spending.take_up(stored)
        spending.recall(max((t.user_attrs["hypervolume"] for t in ended), default=0.0))
        return spending.since_gain

    def hear(event: Event) -> None:
        if event.kind == "finished":
            seen.append((int(event.spent["since_gain"]), counted_anew()))

    here.run(engine, TablePool(4), job, watch=hear)
    states = {t.user_attrs["state"] for t in read_trials(engine, job.name)}
    assert states == {"COMPLETE", "INFEASIBLE"}
    assert [live for live, _ in seen] == [anew for _, anew in seen]
    assert min(live for live, _ in seen) >= 0 and len({live for live, _ in seen}) > 2
