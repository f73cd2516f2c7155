"""Processes beside the API, for what it must not import: torch, and all that comes with it.

Each reads a question a line and answers it with a line. ``Beside`` keeps one for questions that are
answered in a moment. ``Errands`` gives a question a process of its own, which ends with the answer:
so a long export holds up nobody, and whatever a stranger's file did to a process ends with it.
"""

import contextlib
import json
import os
import resource
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_spaces import ParetrackError
from service.errors import Problem

SECONDS = 90.0  # that an answer may take; the first one imports torch
AT_ONCE = 2  # errands of one API process
_QUEUES = 10.0  # seconds that an errand waits for another to end


class Refused(ParetrackError):  # noqa: N818 - says what happened
    """What was asked for cannot be; the message says why."""


class Beside:
    """One process, begun when it is first asked. ``memory``: bytes of data that it may have."""

    def __init__(self, seconds: float = SECONDS, memory: int | None = None) -> None:
        self._seconds, self._memory = seconds, memory
        self._lock = threading.Lock()  # one question at a time
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, kind: str, **words: Any) -> Any:
        """The answer; None if it took too long or too much, and the process was given up."""
        question = json.dumps({"kind": kind, "words": words}).encode() + b"\n"
        answer = self._asked(question)
        if answer is None:
            return None
        found = json.loads(answer)
        if "error" in found:
            raise Refused(found["error"])
        return found["answer"]

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
            except (OSError, ValueError):  # it has ended, out of memory perhaps; or was closed
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
            limit = [] if self._memory is None else [str(self._memory)]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "service.beside", *limit],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        return self._process


class Errands:
    """Questions with a process each, a few at a time."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._room = threading.BoundedSemaphore(at_once)
        self._lock = threading.Lock()
        self._running: dict[str, Beside] = {}

    def ask(
        self, subject: str, kind: str, *, seconds: float, memory: int | None = None, **words: Any
    ) -> Any:
        """As ``Beside.ask``. Of a ``subject`` only one thing is asked at a time."""
        if not self._room.acquire(timeout=_QUEUES):
            raise Problem(
                "unavailable",
                "as much is being converted and exported as may be; ask again in a moment",
                headers={"Retry-After": "15"},
            )
        try:
            beside = self._begun(subject, Beside(seconds, memory))
            try:
                return beside.ask(kind, **words)
            finally:
                self._ended(subject)
        finally:
            self._room.release()

    def close(self) -> None:
        """End all of them."""
        with self._lock:
            running = list(self._running.values())
        for beside in running:
            beside.close()

    def _begun(self, subject: str, beside: Beside) -> Beside:
        with self._lock:
            if subject in self._running:
                raise Problem(
                    "in_flight",
                    "the same is being worked on; ask again in a moment",
                    headers={"Retry-After": "5"},
                )
            self._running[subject] = beside
        return beside

    def _ended(self, subject: str) -> None:
        with self._lock:
            beside = self._running.pop(subject)
        beside.close()


# --- there -------------------------------------------------------------------------------------


def _answer(kind: str, words: Mapping[str, Any]) -> Any:
    if kind == "look":
        from service.checking import look_at

        return look_at(**words)
    if kind == "look_at_tuning":
        from service.checking import look_at_tuning

        return look_at_tuning(**words)
    if kind == "levers":
        from service.lever_schema import levers

        return levers(**words)
    if kind == "layers":
        from service.trial_layers import layers_there

        return layers_there(**words)
    if kind == "export":
        from service.artefacts import export_there

        return export_there(**words)
    if kind == "replay":
        from service.replays import replay_there

        return replay_there(**words)
    if kind == "convert":
        from service.teacher_uploads import convert

        return convert(**words)
    raise ParetrackError(f"nobody answers {kind!r}")


def main(memory: int | None = None) -> None:
    """The process itself: until nobody asks any more."""
    if memory is not None:  # not the address space: libraries map much that they never use
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints must not look like an answer
    for line in sys.stdin:
        question = json.loads(line)
        try:
            found = {"answer": _answer(question["kind"], question["words"])}
        except ParetrackError as error:
            found = {"error": str(error)}
        except MemoryError:
            found = {"error": "it takes more memory than it may"}
        answers.write(json.dumps(found) + "\n")
        answers.flush()


def without(path: Path, error: ParetrackError) -> str:
    """What an error says, without where files lie on this machine."""
    return str(error).replace(f"{path}/", "").replace(f"{path}: ", "").replace(str(path), "it")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else None)
