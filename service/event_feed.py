"""What happens to jobs, told as it happens to everybody who follows them.

One look at the database every half a second serves all followers of this process; it asks only
for jobs that somebody follows, and nothing is asked while nobody does. What happened last is kept
for each such job; who is further behind reads on by themselves, at their own pace. So nothing
grows with a reader who does not read, and none misses an event: they are numbered.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio
import anyio.to_thread
from sqlalchemy import Engine, select
from sqlalchemy.exc import TimeoutError as NoConnectionLeft

from service.database import DatabaseError, reading
from service.errors import Problem
from service.jobs import ENDED, JOBS, JobEvent, read_events

RECENT = 500  # events of a job that are kept, and that are read at once
_THREADS = 4  # that ask the database for followers
_AWAY = (DatabaseError, NoConnectionLeft)
_log = logging.getLogger("paretrack.events")


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds."""

    look: float = 0.5  # between two looks at the database
    heartbeat: float = 15.0  # after which a follower hears that nothing has happened
    recheck: float = 60.0  # after which it is looked whether they still may follow
    patience: float = 30.0  # that a reader may take to accept what was sent before


@dataclass(frozen=True)
class Ended:
    """The job has ended, and everything that happened to it was told."""

    state: str


News = Sequence[JobEvent] | Ended | None  # None: nothing happened for a heartbeat


@dataclass
class _Topic:
    """A job that somebody follows."""

    followers: int = 0
    last: int = -1  # the number of its last event; -1: nobody has looked yet
    state: str = ""
    recent: deque[JobEvent] = field(default_factory=lambda: deque(maxlen=RECENT))
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, state: str, last: int, events: Sequence[JobEvent]) -> None:
        if (state, last) == (self.state, self.last):
            return
        self.state, self.last = state, last
        self.recent.extend(events)
        self.wake()

    def wake(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def after(self, number: int) -> list[JobEvent] | None:
        """What happened after an event; None if that is longer ago than what is kept."""
        if self.recent and self.recent[0].number <= number + 1:
            return [event for event in self.recent if event.number > number]
        return [] if number >= self.last else None


class Feed:
    """Of one API process; used from its event loop only."""

    def __init__(self, engine: Engine, pace: Pace = Pace(), most: int = 1000) -> None:
        self.pace = pace
        self._engine, self._most = engine, most
        self._topics: dict[str, _Topic] = {}
        self._closing = False
        self._looking: asyncio.Task[None] | None = None
        self._new = asyncio.Event()  # somebody follows a job that nobody followed before
        self._threads = anyio.CapacityLimiter(_THREADS)

    @property
    def followers(self) -> int:
        return sum(topic.followers for topic in self._topics.values())

    def check_room(self) -> None:
        """Refuses one more follower where there are too many, or while the process ends."""
        if self._closing or self.followers >= self._most:
            raise Problem(
                "unavailable",
                "nobody else can follow events here now; ask again in a moment, or with ?once=true",
                headers={"Retry-After": "5"},
            )

    def close(self) -> None:
        """Everybody is sent away: the process ends. They come back with the last number."""
        self._closing = True
        for topic in self._topics.values():
            topic.wake()

    async def follow(self, job_id: str, after: int) -> AsyncGenerator[News]:
        """What happens to a job after an event, until it has ended; or until this is closed."""
        with self._followed(job_id) as topic:
            while not self._closing:
                changed = topic.changed
                events = topic.after(after) if topic.last >= 0 else []
                if events is None:
                    events = await self._read(job_id, after)
                if events:
                    after = events[-1].number
                    yield events
                elif topic.state in ENDED:
                    yield Ended(topic.state)
                    return
                else:
                    try:
                        async with asyncio.timeout(self.pace.heartbeat):
                            await changed.wait()
                    except TimeoutError:
                        yield None

    @contextmanager
    def _followed(self, job_id: str) -> Iterator[_Topic]:
        topic = self._topics.setdefault(job_id, _Topic())
        topic.followers += 1
        self._new.set()
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(), name="events")
        try:
            yield topic
        finally:
            topic.followers -= 1
            if not topic.followers:
                del self._topics[job_id]
            if not self._topics:
                self._looking.cancel()
                self._looking = None  # the next follower needs another

    async def _look(self) -> None:
        while True:
            self._new.clear()
            seen = {job_id: topic.last for job_id, topic in self._topics.items()}
            try:
                found = await anyio.to_thread.run_sync(self._news, seen, limiter=self._threads)
            except _AWAY as error:  # they stay: it comes back
                _log.warning("cannot look what happens: %s", error)
                found = {}
            for job_id, (state, last, events) in found.items():
                topic = self._topics.get(job_id)
                if topic is not None and topic.last == seen[job_id]:
                    topic.hear(state, last, events)
            try:
                async with asyncio.timeout(self.pace.look):
                    await self._new.wait()
            except TimeoutError:
                continue

    def _news(self, seen: Mapping[str, int]) -> dict[str, tuple[str, int, list[JobEvent]]]:
        """State, last event and the latest events of jobs, by what is known of them."""
        found = {}
        with reading(self._engine) as connection:
            query = select(JOBS.c.id, JOBS.c.state, JOBS.c.events).where(JOBS.c.id.in_(list(seen)))
            for job_id, state, last in connection.execute(query).all():
                behind = max(seen[job_id], last - RECENT)
                news = read_events(connection, job_id, behind, RECENT) if last > behind else []
                found[job_id] = (state, last, news)
        return found

    async def _read(self, job_id: str, after: int) -> list[JobEvent]:
        def read() -> list[JobEvent]:
            with reading(self._engine) as connection:
                return read_events(connection, job_id, after, RECENT)

        while True:
            try:
                return await anyio.to_thread.run_sync(read, limiter=self._threads)
            except _AWAY as error:
                _log.warning("cannot read what happened: %s", error)
                await asyncio.sleep(self.pace.look)
