"""What the world is told of a running job: rows of its trials, events, a summary; in batches.

The record is the truth, and this is made from it: whatever a batch that was never written would
have said is found and said when the job is taken up again. Only the holder of the job's lease
writes here, with its token, as in the record.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from service import _optuna_tables as optuna_tables
from service import jobs
from service._studies import find_study, read_attrs
from service._trial_summaries import put_rows, summary, untold
from service.database import writing
from service.events import Event
from service.leases import Lease, fence
from service.outages import Patience

EVERY = 0.5  # seconds between two batches
TOLD_AT_ONCE = 200  # trials in one batch
_GOT_ON = ("trial_finished", "recipe_rung")  # after these, earlier attempts count no more

T = TypeVar("T")
Told = tuple[str, Mapping[str, Any]]  # the kind of an event, and what it says


class Journal:
    """Hears what a search does, and tells it."""

    def __init__(
        self,
        engine: Engine,
        lease: Lease,
        job_id: str,
        *,
        patience: Patience = Patience(),  # noqa: B008 - frozen
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._lease, self._job, self._patience = engine, lease, job_id, patience
        self._clock, self._told_at = clock, clock()
        self._changed: set[int] = set()
        self._events: list[Told] = []
        self._now: dict[int, dict[str, Any]] = {}  # what those that run are going through
        self._shown: dict[str, Any] = {}  # in the summary of a job that has no study
        self._spent: Mapping[str, float] = {}  # of the budget, by the last that was heard
        self._news = False  # since the last batch

    def hear(self, event: Event) -> None:
        """What the search says; progress is told with the next batch, and only the latest."""
        self._news = True
        self._spent = event.spent or self._spent
        if event.kind == "taken_up":
            return
        if event.kind == "progress":
            self._now[event.number] = _progress(event)
            return
        self._now.pop(-1, None)
        self._changed.add(event.number)
        told = {"number": event.number, "state": event.state, "note": event.note}
        self._events.append((f"trial_{event.kind}", told))
        if event.kind != "asked":
            self._now.pop(event.number, None)

    def happened(
        self, kind: str = "", data: Mapping[str, Any] = MappingProxyType({}), **shown: Any
    ) -> None:
        """Something of a job that has no study; its summary shows the rest from now on."""
        if kind:
            self._events.append((kind, data))
        self._shown |= shown
        self._news = True

    def prepares(self, done: int, total: int, what: str) -> None:
        """What is done before the first candidate; the last of it stays until that is asked for."""
        self._now[-1] = {"step": what, "done": done, "total": total}
        self._news = True

    def turn(self) -> None:
        """To be called often: tells what is due."""
        if self._news and self._clock() - self._told_at >= EVERY:
            self.tell()

    def take_up(self) -> None:
        """What the record has and was never told: an earlier holder ended before."""

        def missing(connection: Connection) -> Sequence[int]:
            study = find_study(connection, self._job)
            return () if study is None else untold(connection, self._job, study)

        def spent(connection: Connection) -> Mapping[str, float]:
            said: Mapping[str, float] = jobs.known(connection, self._job).summary.get("spent", {})
            return said

        found = self._written(missing)
        self._spent = self._written(spent)  # until the search has counted it from the record
        self._changed |= set(found)
        if found:  # rows never change without an event: readers keep what they read by its number
            self._events.append(("taken_up", {"trials": len(found)}))
        self.tell()

    def tell(self) -> None:
        """All there is to tell, now."""
        numbers = sorted(self._changed)
        while len(numbers) > TOLD_AT_ONCE:
            some, numbers = numbers[:TOLD_AT_ONCE], numbers[TOLD_AT_ONCE:]
            self._batch(some, [])
        self._batch(numbers, self._events)
        self._changed, self._events, self._news = set(), [], False
        self._told_at = self._clock()

    def _batch(self, numbers: Sequence[int], events: Sequence[Told]) -> None:
        now = [
            {"number": None if number < 0 else number, **said}
            for number, said in sorted(self._now.items())
        ]

        def write(connection: Connection) -> None:
            about = self._about(connection)
            moved: list[int] = []
            shown = dict(self._shown)
            if about is not None:
                study, attrs = about
                moved = put_rows(connection, self._job, study, attrs, numbers)
                shown = summary(connection, self._job, attrs) | {"spent": self._spent}
            told = [*events, *(("front", {"number": number}) for number in moved)]
            if told:
                jobs.add_events(connection, self._job, told)
            got_on = any(kind in _GOT_ON for kind, _ in events)
            jobs.summarise(connection, self._job, {**shown, "now": now}, got_on=got_on)

        self._written(write)

    def _about(self, connection: Connection) -> tuple[int, Mapping[str, Any]] | None:
        """The study and what it says of itself; None before its ends have been measured."""
        study = find_study(connection, self._job)
        if study is None:
            return None
        attrs = read_attrs(connection, optuna_tables.STUDY_USER_ATTRS, study)
        return (study, attrs) if "reference" in attrs else None

    def _written(self, event: Callable[[Connection], T]) -> T:
        def once() -> T:
            with writing(self._engine) as connection:
                fence(connection, self._lease)
                return event(connection)

        return self._patience.outlast(once)


def _progress(event: Event) -> dict[str, Any]:
    happening = event.happening
    if happening is None:
        return {}
    return {k: v for k, v in vars(happening).items() if isinstance(v, str | int | float)}
