"""What becomes of a schedule's ticks: which need a decision now, and the decision for one of them.

Nothing here reads a clock or a database: whoever asks says what time it is and how things stand,
so that any number of controllers come to the same decision, and the first to write it has made it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile
from typing import Literal, assert_never

from service.calendar import Calendar, jittered, latest_ticks, ticks

Overlap = Literal["skip", "buffer", "cancel", "allow"]
Verdict = Literal["started", "skipped", "buffered", "missed"]

MOST_LISTED = 100  # of the ticks that were due while nobody looked
LEAST_CATCH_UP = timedelta(minutes=1)  # a controller does not look more often than it must


@dataclass(frozen=True, kw_only=True)
class DueTick:
    """A tick whose moment has come. ``note`` says, for people, why it is not in time."""

    at: datetime
    late: timedelta  # since its job was to begin: the tick, and its jitter
    in_time: bool
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What becomes of a tick. ``cancel_other``: of the job before it, running or waiting."""

    decision: Verdict
    note: str  # why, for people
    cancel_other: bool = False


def due(
    calendar: Calendar,
    decided_until: datetime,
    now: datetime,
    catch_up_seconds: int,
    *,
    schedule_id: str = "",
    jitter_seconds: int = 0,
) -> list[DueTick]:
    """The ticks that need a decision now, rising; at most one is in time, all others are missed.

    In time is the latest that is not later than the catch-up window (or a minute, if that is
    longer). With jitter, a tick is due when its job is to begin, and never before an earlier one.

    However long nobody looked, at most MOST_LISTED ticks come back: the latest. The first of them
    says since when others were missed that are not listed. To find them, fewer than 5,000 ticks
    are computed for a year of one every minute, and one more for every minute of jitter.
    """

    def begins(tick: datetime) -> datetime:
        return jittered(schedule_id, tick, jitter_seconds)

    def begun_after(instant: datetime) -> Iterator[datetime]:
        return takewhile(lambda tick: begins(tick) <= now, ticks(calendar, instant))

    listed = list(islice(begun_after(decided_until), MOST_LISTED + 1))
    unlisted_since = None
    if len(listed) > MOST_LISTED:
        unlisted_since = listed[0]
        surely = now - timedelta(seconds=jitter_seconds)
        latest = latest_ticks(calendar, decided_until, surely, MOST_LISTED)
        latest += begun_after(latest[-1] if latest else decided_until)
        listed = latest[-MOST_LISTED:]
    window = max(timedelta(seconds=catch_up_seconds), LEAST_CATCH_UP)
    return _judged([(tick, now - begins(tick)) for tick in listed], window, unlisted_since)


def decide(
    tick: DueTick,
    *,
    overlap: Overlap = "skip",
    paused: bool = False,
    unfinished: bool = False,
    buffered: bool = False,
) -> Decision:
    """What becomes of a tick, given how the schedule stands: whether a job of it is unfinished,
    and whether one is buffered, to start when that ends."""
    if not tick.in_time:
        return Decision(decision="missed", note=tick.note)
    if paused:
        return Decision(decision="skipped", note="the schedule is paused")
    before = "the job before has not ended" if unfinished else "a job before still waits"
    if not (unfinished or buffered):
        return Decision(decision="started", note=_punctuality(tick))
    match overlap:
        case "skip":
            return Decision(decision="skipped", note=before)
        case "buffer" if buffered:
            return Decision(decision="skipped", note="one already waits for the job before to end")
        case "buffer":
            return Decision(decision="buffered", note=f"{before}: starts when it does")
        case "cancel":
            note = f"{_punctuality(tick)}; {before} and is cancelled"
            return Decision(decision="started", note=note, cancel_other=True)
        case "allow":
            note = f"{_punctuality(tick)}; {before}: both go on"
            return Decision(decision="started", note=note)
        case _:
            assert_never(overlap)


def _judged(
    listed: Sequence[tuple[datetime, timedelta]],
    window: timedelta,
    unlisted_since: datetime | None,
) -> list[DueTick]:
    chosen = max((tick for tick, late in listed if late <= window), default=None)
    found = []
    for place, (tick, late) in enumerate(listed):
        note = ""
        if late > window:
            note = f"{_words(late)} late, and the catch-up window is {_words(window)}"
        elif tick != chosen:
            note = f"not started, since the later one of {chosen:%Y-%m-%d %H:%M} UTC is due as well"
        if place == 0 and unlisted_since is not None:
            others = f"so were all since {unlisted_since:%Y-%m-%d %H:%M} UTC, too many to be listed"
            note = f"{note}; {others}" if note else others
        found.append(DueTick(at=tick, late=late, in_time=tick == chosen, note=note))
    return found


def _punctuality(tick: DueTick) -> str:
    if tick.late <= LEAST_CATCH_UP:
        return "on time"
    return f"{_words(tick.late)} late, within the catch-up window"


def _words(span: timedelta) -> str:
    """ "9 h 20 min": the two largest units that say something."""
    left = int(span.total_seconds())
    parts = []
    for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if left >= seconds:
            parts.append(f"{left // seconds} {unit}")
        left %= seconds
    return " ".join(parts[:2]) or "0 s"
