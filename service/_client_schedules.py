"""Schedules of a service, as a client sees them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from itertools import islice
from typing import Any, Literal
from urllib.parse import quote

from service._client_errors import ClientError
from service._client_job import pages
from service._client_transport import Transport
from service._client_values import read

_SUGGESTED_FROM = 200  # of the newest schedules


@dataclass(frozen=True, kw_only=True)
class Clock:
    """When a schedule ticks: cron by the clock on the wall of a time zone."""

    cron: str
    timezone: str
    gap: str
    fold: str


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A schedule as it was when it was read."""

    id: str
    name: str
    owner: str
    project: str | None
    tracker: str
    calendar: Clock
    words: str  # the calendar, for people
    job: Mapping[str, Any]  # what each tick submits: spec, labels, priority
    overlap: str
    catch_up_seconds: int
    jitter_seconds: int
    continues: bool
    pause_after_failures: int | None
    paused: bool
    paused_why: str
    failures: int  # in a row
    next_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Coming:
    """A tick that is to come."""

    at: datetime
    local: datetime  # what the clock on the wall shows then
    begins_at: datetime  # with the schedule's jitter


@dataclass(frozen=True, kw_only=True)
class Tick:
    """What was decided for one instant; ``report``: how its night went, once it has ended."""

    at: datetime
    local: datetime
    decision: str  # started, skipped, buffered or missed
    note: str
    by_hand: bool
    decided_at: datetime
    job: Mapping[str, Any] | None  # id, name and state
    report: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class CalendarSeen:
    """A calendar in words, and its next ticks."""

    words: str
    ticks: tuple[Coming, ...]


class ScheduleHandle:
    """A schedule of a service: as it was when it was last read, and what can be done with it."""

    def __init__(self, transport: Transport, schedule: Schedule) -> None:
        self._transport, self.now = transport, schedule
        self._path = f"/schedules/{quote(schedule.id, safe='')}"

    def __repr__(self) -> str:
        return f"ScheduleHandle({self.id!r}, {self.now.words!r})"

    @property
    def id(self) -> str:
        return self.now.id

    def refresh(self) -> Schedule:
        """Read it again."""
        self.now = read(Schedule, self._transport.get(self._path))
        return self.now

    def next(self, count: int = 10) -> list[Coming]:
        """Its next ticks."""
        return [read(Coming, item) for item in self._transport.get(f"{self._path}/next", n=count)]

    def history(self, *, page: int = 50) -> Iterator[Tick]:
        """What became of its ticks, the latest first."""
        for item in pages(self._transport, f"{self._path}/ticks", {"limit": page}):
            yield read(Tick, item)

    def pause(self, why: str = "") -> Schedule:
        """No job begins by itself until it is resumed."""
        return self._asked("POST", f"{self._path}/pause", json={"why": why})

    def resume(self, why: str = "") -> Schedule:
        """Jobs begin again, from the next tick on."""
        return self._asked("POST", f"{self._path}/resume", json={"why": why})

    def archive(self) -> Schedule:
        """No more ticks, and out of the lists; its jobs and its history stay."""
        return self._asked("DELETE", self._path)

    def trigger(self, why: str = "") -> Tick:
        """A job now. Said once: if there is no answer, look at the history."""
        response = self._transport.ask("POST", f"{self._path}/trigger", json={"why": why})
        return read(Tick, self._transport.document(response))

    def edit(self, **changes: Any) -> Schedule:
        """Other terms, by the names of the API; refused if somebody changed it since it was read
        here. A calendar is given whole."""
        headers = {"If-Match": f'"{self.now.version}"'}
        response = self._transport.ask("PATCH", self._path, json=changes, headers=headers)
        self.now = read(Schedule, self._transport.document(response))
        return self.now

    def _asked(self, method: str, path: str, json: Any = None) -> Schedule:
        """Done twice it is as done once."""
        response = self._transport.ask(method, path, json=json, again=True)
        self.now = read(Schedule, self._transport.document(response))
        return self.now


class Schedules:
    """Those of a service: made, listed, found."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        name: str,
        spec: Mapping[str, Any],
        cron: str,
        timezone: str = "UTC",
        *,
        gap: Literal["shift", "skip"] = "shift",
        fold: Literal["first", "last", "both"] = "first",
        labels: Sequence[str] = (),
        priority: int = 0,
        **terms: Any,
    ) -> ScheduleHandle:
        """Search by a calendar; ``terms`` are those of the API: overlap, catch_up_seconds,
        jitter_seconds, continues, pause_after_failures."""
        body = {
            "name": name,
            "calendar": {"cron": cron, "timezone": timezone, "gap": gap, "fold": fold},
            "job": {"spec": dict(spec), "labels": list(labels), "priority": priority},
            **terms,
        }
        response = self._transport.ask("POST", "/schedules", json=body)
        return ScheduleHandle(self._transport, read(Schedule, self._transport.document(response)))

    def preview(self, cron: str, timezone: str = "UTC", count: int = 10) -> CalendarSeen:
        """What a calendar means; nothing is stored."""
        body = {"calendar": {"cron": cron, "timezone": timezone}, "count": count}
        response = self._transport.ask("POST", "/schedules/preview", json=body, again=True)
        return read(CalendarSeen, self._transport.document(response))

    def list(
        self, *, text: str | None = None, archived: bool = False, page: int = 50
    ) -> Iterator[ScheduleHandle]:
        """The newest first, page by page as they are needed."""
        words = {"text": text, "archived": archived or None, "limit": page}
        for item in pages(self._transport, "/schedules", words):
            yield ScheduleHandle(self._transport, read(Schedule, item))

    def find(self, name: str) -> ScheduleHandle:
        """The one with this id, or the only one of this name that is not archived."""
        try:
            found = self._transport.get(f"/schedules/{quote(name, safe='')}")
            return ScheduleHandle(self._transport, read(Schedule, found))
        except ClientError as error:
            if error.code not in ("not_found", "invalid"):
                raise
        named = [one for one in self.list(text=name[:200]) if one.now.name == name]
        if len(named) == 1:
            return named[0]
        if named:
            which = ", ".join(one.id for one in named)
            raise ClientError("ambiguous", f"{len(named)} schedules are named {name!r}: {which}")
        raise ClientError("not_found", self._unknown(name), 404)

    def _unknown(self, name: str) -> str:
        there = list(islice(self.list(), _SUGGESTED_FROM))
        words = list(dict.fromkeys([*(one.id for one in there), *(one.now.name for one in there)]))
        close = get_close_matches(name, words, n=3)
        like = f"did you mean {' or '.join(close)}? " if close else ""
        return (
            f"no schedule {name!r} at {self._transport.address.url} that you may see; {like}"
            "paretrack schedule list shows what there is"
        )
