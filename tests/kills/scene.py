"""A job of the whole search, what is done to it, and what must be true of it afterwards."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from optuna.trial import FrozenTrial
from sqlalchemy import Engine

from service.trials import read_rungs, read_trials
from tests.kills.controller_process import Orders
from tests.kills.stand_in import HURRY, RUNGS, STEPS, Step, steps_done
from workers.on_ray._process import session_processes

PATIENCE = 240.0  # seconds: whoever waits for that long has failed
MOMENTS = 3.0  # seconds among which that of a kill is chosen
MARK = "PARETRACK_TEST_SCENE"  # in the environment of every process of a scene
T = TypeVar("T")


@dataclass
class Scene:
    """One job called night, and the processes that were started for it."""

    orders: Orders
    chance: random.Random
    controllers: "list[subprocess.Popen[bytes]]" = field(default_factory=list)
    killed: list[int] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, MARK: self.orders.home, "OMP_NUM_THREADS": "1"}

    @property
    def job_folder(self) -> Path:
        return Path(self.orders.home) / "jobs" / "night"

    def start_controller(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "tests.kills.controller_process", self.orders.words()]
        log = Path(self.orders.journal).with_suffix(".log")
        with log.open("ab") as output:
            self.controllers.append(
                subprocess.Popen(command, env=self.environment, stdout=output, stderr=output)
            )
        return self.controllers[-1]

    def journal(self, kind: str | None = None) -> list[dict[str, Any]]:
        """What controllers have noted, of one kind; a line that is being written is left out."""
        file = Path(self.orders.journal)
        lines = file.read_text().split("\n")[:-1] if file.exists() else []
        return [told for told in map(json.loads, lines) if kind in (None, told["kind"])]

    def steps(self) -> list[Step]:
        return steps_done(self.job_folder)

    def until(self, what: str, found: Callable[[], T | None]) -> T:
        """What is found at last; the controller must not end meanwhile."""
        deadline = time.monotonic() + PATIENCE
        while not (answer := found()):
            assert time.monotonic() < deadline, f"no {what}: {self.last_words()}"
            assert self.controllers[-1].poll() is None, f"ended: {self.last_words()}"
            time.sleep(0.01)
        return answer

    def wait_for_a_random_moment(self) -> None:
        """Some time after the first candidate was asked for, while there is still work left."""
        self.until("work", lambda: self.journal("asked"))
        time.sleep(self.chance.uniform(0, MOMENTS))
        assert self.controllers[-1].poll() is None, f"too late: {self.last_words()}"

    def working(self, session: int | None = None) -> Step:
        """The last step of somebody who is in the midst of a training; one of a session."""

        def last() -> Step | None:
            wanted = None if session is None else set(session_processes(session))
            done = [step for step in self.steps() if wanted is None or step.pid in wanted]
            last = {step.pid: step for step in done}
            found = [s for s in last.values() if s.step + 1 not in (*RUNGS, STEPS)]
            fresh = [s for s in found if time.time() - s.time < 1 and _alive(s.pid)]
            return self.chance.choice(fresh) if fresh else None

        return self.until("process at work", last)

    def kill(self, *pids: int) -> float:
        """When it was done."""
        self.killed += pids
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return time.time()

    def until_ended(self) -> None:
        """What is left is done quickly."""
        (Path(self.orders.home) / HURRY).touch()
        code = self.controllers[-1].wait(PATIENCE)
        assert code == 0, self.last_words()

    def last_words(self) -> str:
        log = Path(self.orders.journal).with_suffix(".log")
        return f"{log.read_text()[-3000:]}\n{self.journal()[-5:]}"

    # --- how long it took ---------------------------------------------------------------------

    def resumed(self, at: float, not_by: Collection[int]) -> float:
        """Seconds until somebody works who did not before."""

        def first() -> Step | None:
            return next((s for s in self.steps() if s.time > at and s.pid not in not_by), None)

        return self.until("work by another", first).time - at

    def gone_on_with(self, at: float, left: Step, not_by: Collection[int]) -> float:
        """Seconds until what was left in the midst is gone on with."""

        def first() -> float | None:
            heard = [note for note in self.journal("rung") if note["number"] == left.trial]
            heard += [note for note in self.journal("finished") if note["number"] == left.trial]
            times = [float(note["time"]) for note in heard]
            times += [s.time for s in self.steps() if s.trial == left.trial and s.pid not in not_by]
            return min((time for time in times if time > left.time), default=None)

        return max(0.0, self.until("work on what was left", first) - at)

    def acknowledged(self, at: float) -> float:
        """Seconds until the record takes something in."""

        def first() -> float | None:
            return self._first_acknowledged(at)

        return self.until("event", first) - at

    def _first_acknowledged(self, at: float) -> float | None:
        kinds = ("asked", "rung", "finished")
        times = [float(note["time"]) for note in self.journal() if note["kind"] in kinds]
        return next((time for time in times if time > at), None)

    # --- what must be true --------------------------------------------------------------------

    def check(self, engine: Engine) -> None:
        """The job has ended; nothing is lost and nothing was done or counted twice."""
        trials = read_trials(engine, "night")
        assert [note["reason"] for note in self.journal("ended")] == ["the budget is spent"]
        assert [t.number for t in trials] == list(range(len(trials)))
        states = Counter(t.user_attrs["state"] for t in trials)
        assert set(states) <= {"COMPLETE", "STOPPED", "INFEASIBLE"}, states
        assert len(trials) - states["INFEASIBLE"] == self.orders.trials
        digests = [t.user_attrs["digest"] for t in trials]
        assert len(set(digests)) == len(digests)
        self._check_journal(trials, engine)
        self._check_steps(trials)
        self.check_nobody_is_left()

    def _check_journal(self, trials: list[FrozenTrial], engine: Engine) -> None:
        """What was acknowledged, to whichever controller, is there as it was."""
        rungs = {(at.number, tuple(at.values.values())) for at in read_rungs(engine, "night")}
        for note in self.journal():
            if note["kind"] == "asked":
                assert trials[note["number"]].params
            elif note["kind"] == "rung" and note["values"]:
                assert (note["number"], tuple(note["values"].values())) in rungs
            elif note["kind"] == "finished":
                trial = trials[note["number"]]
                assert trial.user_attrs["state"] == note["state"]
                assert (trial.values or []) == list(note["values"].values())
        for kind in ("asked", "finished"):
            numbers = [note["number"] for note in self.journal(kind)]
            assert len(numbers) == len(set(numbers)), f"{kind} twice"

    def _check_steps(self, trials: list[FrozenTrial]) -> None:
        done = Counter((step.trial, step.step) for step in self.steps())
        assert [step for step, times in done.items() if times > 1] == [], "done twice"
        for trial in trials:
            mine = sorted(step for number, step in done if number == trial.number)
            assert mine == list(range(len(mine)))
            wanted = {"COMPLETE": {STEPS}, "INFEASIBLE": {0}, "STOPPED": set(range(STEPS))}
            assert len(mine) in wanted[trial.user_attrs["state"]], (trial.number, mine)

    def check_nobody_is_left(self) -> None:
        deadline = time.monotonic() + 60
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert left == []

    def processes(self) -> list[str]:
        """Who was started for this scene, directly or not, and lives."""
        mark = f"{MARK}={self.orders.home}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has just ended
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    name = (entry / "cmdline").read_bytes().replace(b"\0", b" ")[:80]
                    found.append(f"{entry.name} {name.decode(errors='replace')}")
        return found

    def close(self) -> None:
        """End whatever a failed test leaves."""
        for controller in self.controllers:
            controller.kill()
            controller.wait()
        for process in self.processes():
            with suppress(ProcessLookupError):
                os.kill(int(process.split()[0]), signal.SIGKILL)
        for ray in self.journal("ray"):  # what a broken one has left for its operator
            shutil.rmtree(ray["folder"], ignore_errors=True)


def program(pid: int) -> str:
    """The name of what a process runs."""
    try:
        return Path(Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]).name
    except OSError:  # it has just ended
        return ""


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
