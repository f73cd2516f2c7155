"""When a schedule's ticks are: cron by the clock on the wall of a time zone, as instants in UTC.

A cron expression has five fields: minute, hour, day of the month, month, day of the week. Of the
two days, both must hold if one of them begins with a ``*``, and either if none does, as Debian's
cron has it. Beside numbers, names, lists, ranges and steps there are ``L`` (the last day of the
month), ``LW`` (its last working day), ``5L`` (its last Friday) and ``5#2`` (its second Friday).

Twice a year most clocks are moved, and by its clock a zone then has

- a gap, of times that do not exist. With "skip", a tick that was for one of them does not happen.
  With "shift" it happens when it would have, had the clock not been put forward: as long after
  the gap's first instant as was asked for. So 02:00 and 02:30 become 03:00 and 03:30 where the
  clock goes from 02:00 to 03:00; who meets there with a tick of its own is one tick with it. An
  hourly one keeps its distance of an hour.
- a fold, of times that come twice. "first" and "last" keep one of the two instants, "both" keeps
  both. This holds for every expression, not only for those that name an hour: an hourly one (or
  ``*/15``) happens in both of the hours with "both", and with "first" only in the first of them,
  so that the next hour is silent.

The rules of the zones are those of the package tzdata and never the system's: all processes with
the same requirements agree on every instant.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from itertools import islice, takewhile
from types import MappingProxyType
from typing import Literal, get_args
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from search_spaces import ParetrackError

Gap = Literal["shift", "skip"]
Fold = Literal["first", "last", "both"]

_YEARS = (1970, 9000)  # in which one may ask for ticks
_SILENCE = timedelta(days=50 * 366)  # what has no tick for so long never has one
# The days of a year's months and weeks repeat after 28 years: one from here on stands for all.
_FIRST_LOOK = datetime(2025, 1, 1, tzinfo=UTC)
_LONGEST_SHIFT = timedelta(hours=25)  # by which a clock was ever moved at once, and a little more
_LONGEST_CRON = 200


class CalendarError(ParetrackError):
    """A cron expression, a time zone or a policy that nobody can make sense of."""


@dataclass(frozen=True)
class Calendar:
    """A cron expression, and by whose clock it is read."""

    cron: str
    timezone: str
    gap: Gap = "shift"  # of a time that does not exist
    fold: Fold = "first"  # of a time that comes twice

    def __post_init__(self) -> None:
        _check_choice("gap", self.gap, get_args(Gap))
        _check_choice("fold", self.fold, get_args(Fold))
        _check_timezone(self.timezone)
        _check_cron(self.cron)
        if next(ticks(self, _FIRST_LOOK), None) is None:
            raise CalendarError(
                f"cron {self.cron!r} never happens in {self.timezone} (gap: {self.gap}): no date, "
                "or none with that time, fits all of its fields; for the last day of a month "
                "write L, as in '0 3 L * *'"
            )


def ticks(calendar: Calendar, after: datetime) -> Iterator[datetime]:
    """Every tick after an instant, in UTC and strictly rising, until the year 9900."""
    reached = _checked(after)
    for instant in _in_order(calendar, _local_times(calendar, reached)):
        if instant > reached:
            reached = instant
            yield instant


def next_ticks(calendar: Calendar, after: datetime, count: int) -> list[datetime]:
    """The first ``count`` ticks after an instant."""
    return list(islice(ticks(calendar, after), count))


def latest_ticks(
    calendar: Calendar, after: datetime, until: datetime, count: int
) -> list[datetime]:
    """The last ``count`` ticks after one instant and not after another, rising.

    However many lie between the two, few are looked at: ``2 * (count + 1)`` for every time that
    the stretch is halved until no more than ``count`` lie in it, at most 20 times for a year.
    """
    within = takewhile(lambda tick: tick <= until, ticks(calendar, after))
    found = list(islice(within, count + 1))
    if len(found) <= count:
        return found
    middle = after + (until - after) / 2
    late = latest_ticks(calendar, middle, until, count)
    if len(late) == count:
        return late
    return latest_ticks(calendar, after, middle, count - len(late)) + late


def previous(calendar: Calendar, before: datetime) -> datetime | None:
    """The last tick before an instant; None if there was none for 50 years, or since 1970."""
    until = _checked(before) - datetime.resolution
    far = max(until - _SILENCE, datetime(_YEARS[0], 1, 1, tzinfo=UTC))
    span = timedelta(hours=1)
    while True:
        start = max(until - span, far)
        found = latest_ticks(calendar, start, until, 1)
        if found or start == far:
            return found[0] if found else None
        span *= 4


def jittered(schedule_id: str, tick: datetime, seconds: int) -> datetime:
    """When a tick's job begins: up to ``seconds`` later, and for all who ask at the same moment."""
    key = f"{schedule_id} {tick.astimezone(UTC).isoformat()}"
    share = int.from_bytes(sha256(key.encode()).digest()[:8])
    # Whole milliseconds, since that is what every database keeps.
    return tick + timedelta(milliseconds=share * seconds * 1000 >> 64)


def on_the_wall(calendar: Calendar, instant: datetime) -> datetime:
    """What the clock of the calendar's zone shows at an instant."""
    return instant.astimezone(_zone(calendar.timezone))


def describe(calendar: Calendar) -> str:
    """The calendar in words: "At 02:30 every day, Europe/London"."""
    return f"{CronSim(calendar.cron, datetime(2025, 1, 1)).explain()}, {calendar.timezone}"


# --- from the clock on the wall to instants ---------------------------------------------------


def _local_times(calendar: Calendar, after: datetime) -> Iterator[datetime]:
    """What the clock shows at the ticks after an instant, rising; a few from before it as well."""
    zone = _zone(calendar.timezone)
    hours = int(_LONGEST_SHIFT.total_seconds()) // 3600
    near = (after + timedelta(hours=hour) for hour in range(-hours, hours + 1))
    slowest = min(
        instant.astimezone(zone).replace(tzinfo=None) - _naive(instant) for instant in near
    )
    for local in CronSim(calendar.cron, _naive(after) + slowest):
        if local.year >= 9900:
            return
        yield local


def _in_order(calendar: Calendar, times: Iterable[datetime]) -> Iterator[datetime]:
    """The instants of rising local times, never falling."""
    belated = deque[datetime]()
    heard = None
    for local in times:
        prompt, late = _instants(calendar, local)
        heard = local if prompt or late or heard is None else heard
        if local - heard > _SILENCE:
            break
        if prompt is not None:
            # What was shifted, or comes a second time, stands among the local times after it.
            while belated and belated[0] <= prompt:
                yield belated.popleft()
            yield prompt
        if late is not None:
            belated.append(late)
    yield from belated


def _instants(calendar: Calendar, local: datetime) -> tuple[datetime | None, datetime | None]:
    """When the clock shows a time: one instant that comes after those of all earlier times, and
    one that may come after those of later times."""
    there = local.replace(tzinfo=_zone(calendar.timezone))
    first, last = there.astimezone(UTC), there.replace(fold=1).astimezone(UTC)
    if first == last:
        return first, None
    if first > last:  # in a gap: of a time that does not exist, fold 0 goes by the clock before
        return None, first if calendar.gap == "shift" else None
    if calendar.fold == "both":
        return first, last
    return (first if calendar.fold == "first" else last), None


def _naive(instant: datetime) -> datetime:
    return instant.replace(tzinfo=None)


def _checked(instant: datetime) -> datetime:
    """In UTC."""
    if instant.tzinfo is None:
        raise CalendarError(
            f"{instant.isoformat()} says no time zone; expected an instant such as "
            "2026-03-29T01:00:00Z"
        )
    if not _YEARS[0] <= instant.year < _YEARS[1]:
        raise CalendarError(
            f"{instant.isoformat()} lies outside the years {_YEARS[0]} to {_YEARS[1]}, in which "
            "ticks are known; ask for a nearer one"
        )
    return instant.astimezone(UTC)


# --- what can be written ----------------------------------------------------------------------

# Name -> how many values there are, and what may stand there.
_FIELDS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "minute": (60, "0-59"),
        "hour": (24, "0-23"),
        "day of the month": (31, "1-31, L or LW"),
        "month": (12, "1-12 or JAN-DEC"),
        "day of the week": (7, "0-7 or SUN-SAT (0 and 7 are Sunday), 5L or 5#2"),
    }
)
_SHORTHANDS: Mapping[str, str] = MappingProxyType(
    {
        "@hourly": "0 * * * *",
        "@daily": "0 0 * * *",
        "@midnight": "0 0 * * *",
        "@weekly": "0 0 * * 0",
        "@monthly": "0 0 1 * *",
        "@yearly": "0 0 1 1 *",
        "@annually": "0 0 1 1 *",
    }
)
_EXAMPLE = "'30 2 * * *' (every night at half past two)"


def _check_choice(name: str, got: str, choices: tuple[str, ...]) -> None:
    if got not in choices:
        raise CalendarError(f"{name} is {got!r}; choose one of {', '.join(choices)}")


def _check_cron(cron: str) -> None:
    fields = cron.split()
    if len(cron) > _LONGEST_CRON or not cron.isascii():
        raise CalendarError(
            f"cron {cron[:40]!r}... has {len(cron)} characters; expected at most {_LONGEST_CRON}, "
            f"and only ASCII, as in {_EXAMPLE}"
        )
    if fields and fields[0].startswith("@"):
        instead = _SHORTHANDS.get(fields[0].lower())
        does = f"write {instead!r}" if instead else f"write five fields, as in {_EXAMPLE}"
        raise CalendarError(f"cron {cron!r} is a shorthand, which is not known here; {does}")
    if len(fields) != len(_FIELDS):
        seconds = "; seconds are not supported: leave their field out" if len(fields) == 6 else ""
        raise CalendarError(
            f"cron {cron!r} has {len(fields)} fields{seconds}; expected five ({', '.join(_FIELDS)})"
            f", as in {_EXAMPLE}"
        )
    for place, (name, text) in enumerate(zip(_FIELDS, fields, strict=True)):
        _check_field(cron, place, name, text)
    try:
        CronSim(cron, _naive(_FIRST_LOOK))
    except CronSimError as error:  # every field is well, together they are 30 February
        raise CalendarError(
            f"cron {cron!r} never happens: none of its months has such a day; for the last day of "
            "a month write L, as in '0 3 L * *'"
        ) from error


def _check_field(cron: str, place: int, name: str, text: str) -> None:
    values, expected = _FIELDS[name]
    alone = ["*"] * len(_FIELDS)
    alone[place] = text
    try:
        CronSim(" ".join(alone), _naive(_FIRST_LOOK))
    except CronSimError as error:
        raise CalendarError(
            f"cron {cron!r}: the {name} cannot be {text!r}; expected {expected}, lists as 1,3, "
            "ranges as 1-3 (from low to high), steps as */2, or *"
        ) from error
    for term in text.split(","):
        step = term.partition("/")[2]
        if step and int(step) > values:
            raise CalendarError(
                f"cron {cron!r}: the {name} {term!r} never comes to a second value, since a "
                f"field starts again after {values}; write the one value that is meant"
            )


def _check_timezone(name: str) -> None:
    known = _zone_names()
    if name in known:
        return
    by_key: dict[str, str] = {}
    for zone in sorted(known, key=lambda zone: ("/" not in zone, zone)):
        for key in (zone.casefold(), zone.rpartition("/")[2].casefold()):
            by_key.setdefault(key, zone)
    asked = name[:64].casefold().replace(" ", "_")
    close = dict.fromkeys(by_key[key] for key in get_close_matches(asked, by_key, n=3))
    like = f"did you mean {' or '.join(close)}? " if close else ""
    raise CalendarError(
        f"no time zone {name[:64]!r}; {like}expected a name from the IANA database, such as "
        "Europe/London, America/New_York or UTC"
    )


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    return frozenset((files("tzdata") / "zones").read_text(encoding="utf-8").split())


@lru_cache(maxsize=600)
def _zone(name: str) -> ZoneInfo:
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)
