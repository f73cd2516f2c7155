"""What a worker of either pool does with an assignment."""

import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces import ParetrackError
from workers.pool import Assignment, Hear, Work, failed

if TYPE_CHECKING:
    from workers.evaluation import Happening

PROGRESS_EVERY = 0.5  # seconds
SAVE_EVERY = 60.0  # seconds; only a folder behind a URL needs it
TRACEBACK = "error.txt"


def carry_out(work: Work, assignment: Assignment, hear: Hear) -> dict[str, Any]:
    """Do the work in the assignment's folder. What goes wrong is a measurement with a reason."""
    from workers._shared_folder import opened

    told: str | None = None
    try:
        with opened(assignment.folder) as folder:
            saved = time.monotonic()

            def watch(happening: "Happening") -> None:
                nonlocal saved
                hear(happening)
                if time.monotonic() - saved > SAVE_EVERY:
                    folder.save()
                    saved = time.monotonic()

            try:
                return work(assignment, folder.path, watch)
            except (Exception, SystemExit) as error:
                told = _explained(error, folder.path)
    except Exception as error:  # of the folder itself
        told = told or _named(error)
    return failed(assignment.candidate, told)


def _explained(error: BaseException, folder: Path) -> str:
    """What went wrong; the traceback of what nobody foresaw is left in the folder."""
    if isinstance(error, ParetrackError):
        return str(error)
    (folder / TRACEBACK).write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    return f"{_named(error)} ({TRACEBACK} in the candidate's folder says where)"


def _named(error: BaseException) -> str:
    if isinstance(error, ParetrackError):
        return str(error)
    return f"{type(error).__name__}: {error}"


class Throttled:
    """Passes on the first and the last happening of each step, and a few a second between."""

    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self._step = ""
        self._passed = 0.0
        self._held: Happening | None = None

    def __call__(self, happening: "Happening") -> None:
        if happening.step != self._step:
            self.flush()
        elif time.monotonic() - self._passed < PROGRESS_EVERY:
            self._held = happening
            return
        self._step, self._passed, self._held = happening.step, time.monotonic(), None
        self._hear(happening)

    def flush(self) -> None:
        """What was held back last is told after all."""
        held, self._held = self._held, None
        if held is not None:
            self._hear(held)
