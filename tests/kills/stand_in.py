"""Work that takes a while and cannot be done twice unseen: a file for every step, a line for every
time that the step was done, by whom and when."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.service.table_pool import judged
from workers.evaluation import Happening
from workers.pool import Assignment, Hear

STEPS = 12  # of a whole recovery
RUNGS = (4, 8)
STEP_SECONDS = 0.3
HURRY = "hurry"  # once there is such a file in the home, steps take no time


def work(assignment: Assignment, folder: Path, hear: Hear) -> dict[str, Any]:
    """Goes on where it was, to the step that is asked for; what is infeasible gets none."""
    candidate, until = assignment.candidate, assignment.until
    found = judged(candidate, until)
    if found.state != "INFEASIBLE" and candidate.recipe is not None and until != "gates":
        steps = candidate.recipe.steps if until is None else int(until)
        for n in range(len(list(folder.glob("step-*"))), steps):
            if not (folder.parents[3] / HURRY).exists():
                time.sleep(STEP_SECONDS)
            with (folder / f"step-{n:02}").open("a") as file:
                file.write(f"{os.getpid()} {time.time()}\n")
            hear(Happening("recovery", n + 1, steps))
    return {**found.to_json(), "tracker": assignment.folder}


@dataclass(frozen=True)
class Step:
    """One time that a step was done."""

    trial: int
    step: int
    pid: int
    time: float


def steps_done(job: Path) -> list[Step]:
    """All of them, in the order of time."""
    return sorted(_steps(job), key=lambda done: done.time)


def _steps(job: Path) -> Iterator[Step]:
    for file in job.glob("trials/*/step-*"):
        for line in file.read_text().splitlines():
            pid, when = line.split()
            yield Step(int(file.parent.name), int(file.name[5:]), int(pid), float(when))
