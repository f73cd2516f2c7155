"""Tunings by real Tune on a real Ray: who decides, and what happens when somebody dies."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.workers.conftest import PrivateRay
from tests.workers.small_work import until_gone
from tests.workers.tuning.tiny import RATES, candidate, tuning
from workers.candidate import Candidate
from workers.on_ray._process import session_processes
from workers.pool import PoolBroken
from workers.tuning import Ended, Happening, Reached, Stage, tune
from workers.tuning.records import TrialRecord, read_all, read_end

NOWHERE = "127.0.0.1:1"


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    return candidate(tmp_path_factory.mktemp("half"))


def steps_of(record: TrialRecord) -> list[int]:
    return [rung.step for rung in record.rungs]


def test_asha_stops_most_trials_early_but_never_the_starting_recipe(
    private_ray: PrivateRay, half: Candidate, tmp_path: Path
) -> None:
    heard: list[Happening] = []
    asked = tuning(half, tmp_path / "asha")
    dead = {"learning_rate": 1e30, "weights.l1": 5.0}
    asked = replace(asked, values=(*asked.values, dead))

    found = tune(asked, private_ray.home, address=private_ray.address, watch=heard.append)

    start, *others, diverged = found.records
    assert steps_of(start) == [1, 3, 9] and start.values["learning_rate"] == RATES[0]
    ends = [read_end(asked.folder, record.number) for record in found.records]
    assert ends[0] == "complete" and ends.count("stopped") >= 2 and ends[-1] == "failed"
    assert all(steps_of(r) in ([1], [1, 3], [1, 3, 9]) for r in others)
    assert diverged.failed is not None and "learning rate" in diverged.failed
    assert [r.values["learning_rate"] for r in found.records[:-1]] == list(RATES)
    best = found.ranked[0]
    assert best.step == 9 and best.score("one_step_iou") == max(
        r.rungs[-1].one_step_iou for r in found.records if r.step == 9
    )
    assert set(found.checks) == ({0, best.number} if best.number else set())
    assert all(m.candidate.seed == 1 and m.accuracy for m in found.checks.values())
    assert found.inherited.inherited is not None
    told = {happening.number for happening in heard if isinstance(happening, Ended)}
    assert told == set(range(7)) and isinstance(heard[0], Stage)
    left = [p for p in asked.folder.rglob("*") if p.name == "tune" or p.suffix == ".state"]
    assert left == [], "what nobody needs any more is gone"
    assert tune(asked, tmp_path, address=NOWHERE) == found, "what is done is not begun again"


def test_a_population_takes_over_from_its_best_and_leaves_the_starting_recipe_alone(
    private_ray: PrivateRay, half: Candidate, tmp_path: Path
) -> None:
    asked = tuning(half, tmp_path / "pbt", trials=4, scheduler="pbt", metric="pair_loss")

    found = tune(asked, private_ray.home, address=private_ray.address)

    start, *others = found.records
    assert steps_of(start) == [2, 4, 6, 8, 9] and start.takeovers == ()
    assert start.values == asked.values[0]
    takers = [record for record in others if record.takeovers]
    assert takers, "nobody went on with the weights of a better one"
    for taker in takers:
        assert taker.step == 9 and taker.takeovers[-1].trial != taker.number
        for name, value in taker.values.items():
            assert asked.ranges[name].least <= value <= asked.ranges[name].most  # type: ignore[union-attr]
    assert any(taker.values not in asked.values for taker in takers)


class Asked:
    """As Tune names and knows a trial."""

    def __init__(self, number: int) -> None:
        self.trial_id, self.config = f"id-{number}", dict[str, Any]()
        self.number = number

    def __str__(self) -> str:
        return f"trial-{self.number}"


def test_a_starting_recipe_that_lags_behind_goes_on_where_another_is_stopped(
    half: Candidate, tmp_path: Path
) -> None:
    from ray.tune.schedulers import TrialScheduler

    from workers.tuning._driver import _scheduler

    asha: Any = _scheduler(tuning(half, tmp_path))
    asha.set_search_properties("score", "max")
    trials = [Asked(number) for number in range(4)]
    for trial in trials:
        asha.on_trial_add(SimpleNamespace(), trial)
    decided = [
        asha.on_trial_result(SimpleNamespace(), trials[n], {"step": 1, "score": score})
        for n, score in ((1, 0.9), (2, 0.8), (3, 0.1), (0, 0.0))
    ]
    go_on, stop = TrialScheduler.CONTINUE, TrialScheduler.STOP
    assert decided == [go_on, stop, stop, go_on]
    ended = asha.on_trial_result(SimpleNamespace(), trials[0], {"step": 9, "score": 0.0})
    assert ended == stop


def begun(folder: Path, scheduler: str) -> Any:
    """A tuning in a process of its own; it tells its driver's process."""
    script = """
        import sys
        from pathlib import Path
        from tests.workers.tuning.test_tuning import long_tuning
        from workers import tuning as parts
        from workers.on_ray._process import DriverProcess
        class Told(DriverProcess):
            def __init__(self, *said):
                super().__init__(*said)
                print(self.pid, flush=True)
        parts.DriverProcess = Told
        if __name__ == "__main__":
            folder = Path(sys.argv[1])
            parts.tune(long_tuning(folder, sys.argv[2]), folder / "home", cpus=2, silence=6.0)
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(folder), scheduler],
        stdout=subprocess.PIPE,
        text=True,
    )


def long_tuning(folder: Path, scheduler: str) -> Any:
    return tuning(candidate(folder, steps=45), folder / "tuning", trials=4, scheduler=scheduler)


def fragile_tuning(folder: Path, trials: int) -> Any:
    """Its starting recipe is the best, so that it ends without a last comparison."""
    asked = long_tuning(folder, "asha")
    start, best, *others = asked.values
    return replace(asked, values=(best, start, *others)[:trials])


def until_some_rungs(folder: Path, asked: Any, count: int) -> list[TrialRecord]:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        records = read_all(folder, asked.values)
        if sum(len(record.rungs) for record in records) >= count:
            return records
        time.sleep(0.05)
    raise AssertionError("no rung was reached")


@pytest.mark.parametrize("scheduler", ["asha", pytest.param("pbt", marks=pytest.mark.slow)])
def test_a_tuning_that_is_killed_leaves_no_process_and_goes_on_where_it_was(
    private_ray: PrivateRay, tmp_path: Path, scheduler: str
) -> None:
    process = begun(tmp_path, scheduler)
    with process.stdout as told:
        driver = int(told.readline())
    asked = long_tuning(tmp_path, scheduler)
    until_some_rungs(asked.folder, asked, 3)
    everybody = session_processes(driver)
    assert driver in everybody and len(everybody) > 5
    process.kill()
    process.wait()
    until_gone(*everybody)
    before = read_all(asked.folder, asked.values)

    found = tune(asked, private_ray.home, address=private_ray.address)

    for old, new in zip(before, found.records, strict=True):
        assert new.rungs[: len(old.rungs)] == old.rungs, "what was known was found again"
    assert found.records[0].step == 45
    assert sum(len(r.rungs) for r in found.records) > sum(len(r.rungs) for r in before)


@pytest.mark.slow
def test_a_ray_that_dies_is_replaced(tmp_path: Path) -> None:
    """Its node, its store and its driver, each when it has brought something new."""
    asked = fragile_tuning(tmp_path, trials=3)
    said, drivers, reached = list[str](), list[int](), set[tuple[int, int]]()
    victims = ["raylet", "gcs_server", "driver"]

    def kill_the_next(happening: Happening) -> None:
        if not isinstance(happening, Reached) or not victims:
            return
        is_new = (happening.number, happening.step) not in reached
        reached.add((happening.number, happening.step))
        new = [driver for driver in _children(os.getpid()) if driver not in drivers]
        if is_new and new:
            [driver] = new
            drivers.append(driver)
            killed = victims.pop(0)
            os.kill(driver if killed == "driver" else _named(driver, killed), signal.SIGKILL)

    found = tune(
        asked, tmp_path / "home", cpus=2, silence=6.0, watch=kill_the_next, hear=said.append
    )
    assert (victims, len(said)) == ([], 3), said
    assert found.records[0].step == 45
    until_gone(*drivers)


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced_by_its_ray(tmp_path: Path) -> None:
    asked = fragile_tuning(tmp_path, trials=1)  # so that it was at work on that one
    said, killed = list[str](), list[int]()

    def kill_once(happening: Happening) -> None:
        if isinstance(happening, Reached) and not killed:
            [driver] = _children(os.getpid())
            killed.append(_named(driver, "worker"))
            os.kill(killed[0], signal.SIGKILL)

    found = tune(asked, tmp_path / "home", cpus=2, silence=6.0, watch=kill_once, hear=said.append)
    assert (len(killed), said) == (1, [])
    assert found.records[0].step == 45
    until_gone(*killed)


def _children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, its_parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        command = (entry / "cmdline").read_bytes()
        if int(its_parent) == parent and state != "Z" and b"workers.tuning._driver" in command:
            found.append(int(entry.name))
    return found


def _named(driver: int, name: str) -> int:
    """A process of the driver's session; "worker": one that holds a trial."""
    seen = []
    for pid in session_processes(driver):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
        seen.append(command)
        holds = command.startswith("ray::") and not any(x in command for x in ("IDLE", "Agent"))
        if holds if name == "worker" else name in command:
            return pid
    raise AssertionError(f"no {name} among {seen}")


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_said(half: Candidate, tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(PoolBroken, match="nobody listens there"):
        tune(tuning(half, tmp_path), tmp_path, address=NOWHERE, hear=said.append)
    assert len(said) == 0, "the same would be found again"
