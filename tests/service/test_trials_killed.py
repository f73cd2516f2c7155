"""The record after its writer was killed, and while others read it."""

import json
import random
import subprocess
import sys
import time
from itertools import count, pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Engine, event, update

from service.database import LeaseRow, database_now, open_database, writing
from service.leases import LeaseLost, acquire
from service.trials import Record, read_rungs, read_trials

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

KILLS = 10  # of each kind of database
PARAMS = 16
DISTRIBUTIONS = {f"p{n}": IntDistribution(0, 63) for n in range(PARAMS)}
STATES = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def open_record(engine: Engine, holder: str) -> Record:
    return Record.open(
        engine,
        "night",
        directions=["maximize", "minimize"],
        metric_names=["accuracy", "cost"],
        attrs={},
        lease=acquire(engine, "night", holder, 600),
    )


def write_for_ever(url: str, holder: str, acknowledged: str) -> None:
    """One trial after another; what was acknowledged is noted only after it was."""
    record = open_record(open_database(url), holder)
    with Path(acknowledged).open("a") as notes:

        def note(*told: Any) -> None:
            notes.write(json.dumps(told) + "\n")
            notes.flush()

        for turn in count():
            params = {name: (turn * k) % 64 for k, name in enumerate(DISTRIBUTIONS)}
            number = record.begin(params, DISTRIBUTIONS, {"holder": holder, "turn": turn}, {})
            note("begun", number, params)
            record.rung(number, 0, 50, {"loss": turn / 7}, "wait", "one of many")
            note("rung", number, turn / 7)
            end(record, number, turn)
            note("finished", number, turn)


def end(record: Record, number: int, turn: int) -> None:
    state = STATES[turn % 3]
    values = [turn / 3, -turn / 7] if state == TrialState.COMPLETE else None
    attrs = {f"figure {n}": n * turn for n in range(4)}
    record.finish(number, state, values, {"limit": turn - 5.0}, attrs)


def check_whole(trial: FrozenTrial) -> None:
    """Either all of an event is there or nothing of it."""
    assert set(trial.params) == set(DISTRIBUTIONS)
    turn = trial.user_attrs["turn"]
    figures = {f"figure {n}": n * turn for n in range(4)} if trial.state.is_finished() else {}
    assert trial.user_attrs == {"holder": trial.user_attrs["holder"], "turn": turn, **figures}
    assert trial.constraints == ({"limit": turn - 5.0} if trial.state.is_finished() else {})
    complete = trial.state == TrialState.COMPLETE
    assert trial.values == ([turn / 3, -turn / 7] if complete else None)


def check_record(engine: Engine, acknowledged: list[list[Any]]) -> None:
    trials = read_trials(engine, "night")
    assert [t.number for t in trials] == list(range(len(trials)))
    for trial in trials:
        check_whole(trial)
    losses = {(r.number, r.values["loss"]) for r in read_rungs(engine, "night")}
    for what, number, told in acknowledged:
        if what == "begun":
            assert trials[number].params == told
        elif what == "rung":
            assert (number, told) in losses
            assert trials[number].intermediate_values == {50: told}
        else:
            assert trials[number].state == STATES[told % 3]
    unsaid = [n for n, _ in losses if not trials[n].intermediate_values]
    assert unsaid == []


def test_a_writer_killed_at_any_moment_loses_nothing_and_leaves_no_halves(
    database_url: str, tmp_path: Path
) -> None:
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.service.test_trials_killed"])
    chance = random.Random(3)
    notes = tmp_path / "acknowledged"
    notes.touch()
    engine = open_database(database_url)
    for kill in range(KILLS):
        known = notes.stat().st_size
        writer = context.Process(
            target=write_for_ever, args=(database_url, f"writer {kill}", str(notes))
        )
        writer.start()
        wait_for_notes(notes, known, writer)
        time.sleep(chance.uniform(0, 0.15))
        writer.kill()
        writer.join()
        acknowledged = [json.loads(line) for line in notes.read_text().splitlines()]
        check_record(engine, acknowledged)
        let_the_lease_end(engine)
    held = open_record(engine, "the last")
    running = [t for t in held.trials() if t.state == TrialState.RUNNING]
    for trial in running:
        end(held, trial.number, trial.user_attrs["turn"])
    assert held.begin({}, {}, {}, {}) == len(held.trials()) - 1
    assert len(running) <= KILLS
    assert len(acknowledged) > KILLS
    engine.dispose()


def wait_for_notes(notes: Path, known: int, writer: "BaseProcess") -> None:
    while notes.stat().st_size == known:
        assert writer.is_alive()
        time.sleep(0.005)


def let_the_lease_end(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(update(LeaseRow).values(expires_at=database_now(connection)))


def test_a_writer_that_lost_its_lease_stops_at_its_next_event(engine: Engine) -> None:
    old = open_record(engine, "old")
    number = old.begin({}, {}, {}, {})
    let_the_lease_end(engine)
    new = open_record(engine, "new")
    new.finish(number, TrialState.FAIL, None, {}, {"reason": "lost"})
    with pytest.raises(LeaseLost):
        old.finish(number, TrialState.COMPLETE, [1.0, 1.0], {}, {})
    assert new.trials()[number].user_attrs == {"reason": "lost"}


READER = """
import sys, optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.load_study(study_name="night", storage=sys.argv[1])
print("reading", flush=True)
seen = 0
while seen < int(sys.argv[2]):
    trials = study.get_trials(deepcopy=False)
    seen = sum(t.state.is_finished() for t in trials)
    for t in trials:
        assert len(t.params) == 16, t
        assert not t.state.is_finished() or len(t.user_attrs) == 6, t
        assert t.state.name != "COMPLETE" or len(t.values) == 2, t
    study.best_trials
print("read", seen, flush=True)
"""


def refuse_to_wait(engine: Engine) -> None:
    """Whoever must wait for another's lock fails instead."""

    def set_up(connection: Any, _record: Any) -> None:
        if engine.dialect.name == "sqlite":
            connection.execute("PRAGMA busy_timeout=0")
        else:
            connection.execute("SET lock_timeout = '1ms'")
            connection.commit()

    engine.dispose()
    event.listen(engine, "connect", set_up)


def test_optuna_reads_on_and_on_while_we_write_and_never_blocks_us(
    database_url: str, engine: Engine
) -> None:
    record = open_record(engine, "writer")
    command = [sys.executable, "-W", "error", "-c", READER, database_url, "120"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
        refuse_to_wait(engine)
        for turn in range(120):
            params = dict.fromkeys(DISTRIBUTIONS, turn % 64)
            number = record.begin(params, DISTRIBUTIONS, {"holder": "writer", "turn": turn}, {})
            record.rung(number, 0, 50, {"loss": 0.5}, "wait", "")
            end(record, number, turn)
        assert reader.stdout.readline() == "read 120\n"
    assert reader.returncode == 0
    numbers = [t.number for t in record.trials()]
    assert all(b == a + 1 for a, b in pairwise(numbers))


def test_optuna_in_the_same_process_reads_what_was_just_written(
    engine: Engine, optuna_storage: optuna.storages.RDBStorage
) -> None:
    record = open_record(engine, "writer")
    study = optuna.load_study(study_name="night", storage=optuna_storage)
    for turn in range(3):
        number = record.begin({}, {}, {"turn": turn}, {})
        assert study.get_trials()[-1].state == TrialState.RUNNING
        end(record, number, turn)
        assert study.get_trials() == record.trials()
