"""What a job will meet, said before anything is trained: how many candidates there are, what they
can cost, whether its limits can be held.

``look`` needs torch and the teacher's weights. So it runs in a process beside the API (``Beside``),
which starts when it is first needed and is given up when it takes too long.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from search_spaces import ParetrackError
from service.errors import Problem
from service.job import Job, JobError, job_from_json
from service.settings import Settings
from workers.documents import plain

SECONDS = 90.0  # that a look may take; the first one imports torch
COUNTED = ("macs_frame", "parameters", "peak_memory")  # costs that need no device


@dataclass(frozen=True, kw_only=True)
class CostRange:
    """Between what a cost lies over a space: that of its smallest candidate and its teacher's."""

    metric: str
    unit: str
    smallest: float
    teacher: float


@dataclass(frozen=True, kw_only=True)
class LimitSeen:
    """Whether a limit can be held; None where only a measurement can tell."""

    limit: str
    satisfiable: bool | None
    note: str


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is known of a job without running it."""

    family: str
    teacher_sha256: str
    size: float  # candidates in the space
    layers_free: int
    widths_free: int
    costs: tuple[CostRange, ...]
    limits: tuple[LimitSeen, ...]
    digests: tuple[str, str]  # of the teacher as it is, and of the smallest


def look(job: Job, settings: Settings) -> dict[str, Any]:
    """A ``Look`` as plain data, or an error about the first thing in the job that cannot be."""
    from search_spaces import size
    from service.plan import plan
    from workers.cost import cost_of

    ready = plan(job, settings)
    least, whole = ready.the_smallest(), ready.the_teacher()
    ends = [{"cost": asdict(cost_of(c.architecture))} for c in (least, whole)]
    found = Look(
        family=ready.space.whole.family,
        teacher_sha256=ready.teacher_sha256,
        size=float(size(ready.space)),
        layers_free=len(ready.space.free_layers),
        widths_free=len(ready.space.free_grids),
        costs=_costs(ends[0], ends[1]),
        limits=tuple(_seen(limit, ends[0], ends[1]) for limit in ready.limits),
        digests=(ready.digest(whole), ready.digest(least)),
    )
    return asdict(found)


def _costs(least: Mapping[str, Any], whole: Mapping[str, Any]) -> tuple[CostRange, ...]:
    from workers.metrics import metric, value

    found = []
    for name in COUNTED:
        asked = metric(name)
        low, high = value(least, asked), value(whole, asked)
        if low is not None and high is not None:
            found.append(CostRange(metric=name, unit=asked.unit, smallest=low, teacher=high))
    return tuple(found)


def _seen(limit: Any, least: Mapping[str, Any], whole: Mapping[str, Any]) -> LimitSeen:
    from workers.metrics import metric, value

    asked = metric(limit.metric)
    low, high = value(least, asked), value(whole, asked)
    if low is None or high is None:
        return LimitSeen(limit=str(limit), satisfiable=None, note="only a measurement can tell")
    reach = f"the smallest candidate has {low:,.4g} {asked.unit}, the teacher {high:,.4g}"
    if limit.violation(low) <= 0 or limit.violation(high) <= 0:
        return LimitSeen(limit=str(limit), satisfiable=True, note=reach)
    between = limit.at_most is None or limit.at_most >= low
    between = between and (limit.at_least is None or limit.at_least <= high)
    return LimitSeen(limit=str(limit), satisfiable=None if between else False, note=reach)


class Beside:
    """One process for what the API must not import. It reads a question a line, and answers it."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()  # one question at a time
        self._process: subprocess.Popen[bytes] | None = None

    def look(self, job: Job, settings: Settings) -> dict[str, Any]:
        """As ``look``, there."""
        question = {"job": plain(job), "home": str(settings.home)}
        answer = self._asked(json.dumps(question).encode() + b"\n")
        if answer is None:
            raise Problem(
                "unavailable",
                "looking at this took too long, or too much memory, and was given up; try a "
                "smaller space, or ask again",
                headers={"Retry-After": "30"},
            )
        found: dict[str, Any] = json.loads(answer)
        if "error" in found:
            raise JobError(found["error"])
        return found

    def close(self) -> None:
        """End the process, whatever it does."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # what was not read any more
                        pipe.close()

    def _asked(self, question: bytes) -> bytes | None:
        deadline = time.monotonic() + self._seconds
        with self._lock:
            try:
                return self._answered(question, deadline)
            except OSError:  # it has ended since, or just now: out of memory, perhaps
                self.close()
                return None

    def _answered(self, question: bytes, deadline: float) -> bytes | None:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(question)
        process.stdin.flush()
        answer = b""
        while not answer.endswith(b"\n"):
            left = deadline - time.monotonic()
            ready = left > 0 and select.select([process.stdout], [], [], left)[0]
            more = os.read(process.stdout.fileno(), 1 << 16) if ready else b""
            if not more:
                self.close()
                return None
            answer += more
        return answer

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "service.checking"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        return self._process


def main() -> None:
    """The process itself: until nobody asks any more."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints must not look like an answer
    for line in sys.stdin:
        question = json.loads(line)
        settings = Settings(home=Path(question["home"]), database_url=None)
        try:
            answer = look(job_from_json(question["job"]), settings)
        except ParetrackError as error:
            answer = {"error": str(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
