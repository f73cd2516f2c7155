"""Work for pools that takes no time to speak of, chosen by the first word of the ticket."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from search_spaces import ParetrackError, load
from workers.candidate import Candidate, Data
from workers.evaluation import Happening
from workers.pool import Assignment, Done, Hear, Lost, Pool, Progress, Report

TINY = load("siamrpn").PRESETS["siamrpn-tiny"]
STEPS = 30
LONG = 60.0  # seconds: whoever waits for it has failed


def work(assignment: Assignment, folder: Path, hear: Hear) -> dict[str, Any]:
    """Writes down that it begins, does what the ticket says, counts how often it has begun."""
    begun = folder / "begun.txt"
    with begun.open("a") as file:
        file.write(f"{os.getpid()}\n")
    WORKS[assignment.ticket.split()[0]](assignment, folder, hear)
    teacher = {"teacher": str(assignment.candidate.teacher), "data": {}}
    count = len(begun.read_text().split())
    return {
        "state": "COMPLETE", "ticket": assignment.ticket, "begun": count, "candidate": teacher
    }  # fmt: skip


def _measure(assignment: Assignment, folder: Path, hear: Hear) -> None:
    """Done already."""


def _tell(assignment: Assignment, folder: Path, hear: Hear) -> None:
    for n in range(STEPS):
        hear(Happening("recovery", n + 1, STEPS))
        time.sleep(0.01)


def _fail(assignment: Assignment, folder: Path, hear: Hear) -> None:
    raise ArithmeticError("one and one is three")


def _misuse(assignment: Assignment, folder: Path, hear: Hear) -> None:
    raise ParetrackError("the teacher is asleep; wake it")


def _loop(assignment: Assignment, folder: Path, hear: Hear) -> None:
    """Works, and says so."""
    for n in _busy():
        hear(Happening("recovery", n, 10**6))


def _spin(assignment: Assignment, folder: Path, hear: Hear) -> None:
    """Works, and never says a word."""
    list(_busy())


def _busy() -> Iterator[int]:
    matrix = torch.rand(200, 200)
    until = time.monotonic() + LONG
    n = 0
    while time.monotonic() < until:
        matrix = torch.nn.functional.normalize(matrix @ matrix)
        n += 1
        yield n


def _sleep(assignment: Assignment, folder: Path, hear: Hear) -> None:
    time.sleep(LONG)


def _die(assignment: Assignment, folder: Path, hear: Hear) -> None:
    """So many times, and then no more."""
    times = int(assignment.ticket.split()[1])
    if len((folder / "begun.txt").read_text().split()) <= times:
        os.kill(os.getpid(), signal.SIGKILL)


def _train(assignment: Assignment, folder: Path, hear: Hear) -> None:
    """Goes on where it was, a step in a file each."""
    for n in range(len(list(folder.glob("step-*"))), STEPS):
        time.sleep(0.05)
        (folder / f"step-{n}").write_text(str(os.getpid()))
        hear(Happening("recovery", n + 1, STEPS))


def _teacher(assignment: Assignment, folder: Path, hear: Hear) -> None:
    """Shows which one it was given."""
    weights = assignment.candidate.teacher / "weights.safetensors"
    (folder / "seen.bin").write_bytes(weights.read_bytes())


WORKS: Mapping[str, Callable[[Assignment, Path, Hear], None]] = {
    "measure": _measure,
    "tell": _tell,
    "fail": _fail,
    "misuse": _misuse,
    "loop": _loop,
    "spin": _spin,
    "sleep": _sleep,
    "die": _die,
    "train": _train,
    "teacher": _teacher,
}


def assignment(ticket: str, folder: Path | str, teacher: Path | None = None) -> Assignment:
    """Nobody looks at its candidate."""
    here = Path(__file__).parent
    candidate = Candidate(
        teacher=teacher or here, architecture=TINY, data=Data(dataset="folder", root=here)
    )
    return Assignment(ticket=ticket, candidate=candidate, folder=str(folder))


def until_answered(pool: Pool, *tickets: str, within: float = 90.0) -> list[Report]:
    """Every report up to the last answer; an answer too many or too few is a failure."""
    waiting, heard = set(tickets), list[Report]()
    deadline = time.monotonic() + within
    while waiting and time.monotonic() < deadline:
        for report in pool.reports(timeout=1.0):
            heard.append(report)
            if not isinstance(report, Progress):
                waiting.remove(report.ticket)
    assert not waiting, f"no answer for {waiting}"
    return heard


def answer(pool: Pool, ticket: str) -> Done | Lost:
    heard = until_answered(pool, ticket)  # the progress of others may come after the answer
    return next(report for report in heard if not isinstance(report, Progress))


def until_begun(folder: Path, times: int = 1) -> int:
    """The process that works in the folder."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        begun = folder / "begun.txt"
        if begun.exists() and len(pids := begun.read_text().splitlines()) >= times:
            return int(pids[-1])
        time.sleep(0.02)
    raise AssertionError(f"nobody began to work in {folder}")


def until_gone(*pids: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not any(alive(pid) for pid in pids):
            return
        time.sleep(0.05)
    raise AssertionError(f"still there: {[pid for pid in pids if alive(pid)]}")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
