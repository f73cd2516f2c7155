"""The database may go away while a job runs: who waits for it, for how long, and who is told.

What is asked again must see by itself what an earlier attempt did whose answer was lost.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from service.database import DatabaseGone

OUTAGE_SECONDS = 60.0  # a server that restarts, or hands over to its stand-by, needs less
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0  # seconds between two attempts

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Patience:
    """So many seconds a database may be away; ``say`` hears when it is gone and when it is back."""

    seconds: float = OUTAGE_SECONDS
    say: Callable[[str], None] = logging.getLogger("paretrack").warning

    def outlast(self, ask: Callable[[], T]) -> T:
        """What ``ask`` finds, asked again and again while the database is away."""
        try:
            return ask()
        except DatabaseGone as error:
            return self._again(ask, error)

    def _again(self, ask: Callable[[], T], error: DatabaseGone) -> T:
        began, pause = time.monotonic(), FIRST_PAUSE
        self.say(f"{error}; waiting for it for {self.seconds:g} s at most")
        while (away := time.monotonic() - began) < self.seconds:
            time.sleep(min(pause, self.seconds - away))
            pause = min(2 * pause, LONGEST_PAUSE)
            try:
                found = ask()
            except DatabaseGone as again:
                error = again
            else:
                self.say(f"the database is back after {time.monotonic() - began:.1f} s")
                return found
        raise DatabaseGone(
            f"{error}; it was away for {self.seconds:g} s. Everything that was acknowledged is in "
            "it: once it answers, the same command goes on where it was"
        ) from error
