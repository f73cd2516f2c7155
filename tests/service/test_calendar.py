"""Ticks against a walk through the minutes: at every gap and fold of fifty years, in many zones."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from itertools import islice, pairwise, product, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.calendar import (
    Calendar,
    CalendarError,
    describe,
    jittered,
    latest_ticks,
    next_ticks,
    previous,
    ticks,
)

ZONES = [
    "Europe/London",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "America/Sao_Paulo",
]
ODD_ZONES = ["Pacific/Apia", "Antarctica/Troll"]  # a day left out; two hours at once
POLICIES = list(product(["shift", "skip"], ["first", "last", "both"]))
CRONS = [
    "* * * * *",
    "*/15 * * * *",
    "0 * * * *",
    "30 * * * *",
    "30 1 * * *",
    "15,45 0-3 * * *",
    "0 0 * * *",
    "*/20 2 * * 0",
    "10 */2 1-15 * *",
    "30 0,2 1-7 * 0",
]
BEGIN, END = datetime(2000, 1, 1, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@cache
def rules(name: str) -> ZoneInfo:
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file)


def shown(instant: datetime, zone: str) -> datetime:
    """By the clock on the wall."""
    return instant.astimezone(rules(zone)).replace(tzinfo=None)


def offset(instant: datetime, zone: str) -> timedelta:
    return shown(instant, zone) - instant.replace(tzinfo=None)


@cache
def transitions(zone: str) -> list[datetime]:
    """The first instants at which the clock has been moved."""
    found, step = [], timedelta(hours=6)
    start = BEGIN
    while start < END:
        low, high = start, start + step
        if offset(low, zone) != offset(high, zone):
            while high - low > MINUTE:
                middle = low + (high - low) // 2 // MINUTE * MINUTE
                if offset(middle, zone) == offset(low, zone):
                    low = middle
                else:
                    high = middle
            found.append(high)
        start += step
    return found


def spread(field: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for term in field.split(","):
        span, _, step = term.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        found.update(range(int(first), int(last or first) + 1, int(step or 1)))
    return found


@cache
def fields(cron: str) -> list[set[int]]:
    bounds = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)]
    return [spread(f, *ends) for f, ends in zip(cron.split(), bounds, strict=True)]


def matches(cron: str, local: datetime) -> bool:
    minutes, hours, days, months, weekdays = fields(cron)
    if local.minute not in minutes or local.hour not in hours or local.month not in months:
        return False
    in_month, in_week = local.day in days, local.isoweekday() % 7 in weekdays
    stars = any(cron.split()[place].startswith("*") for place in (2, 4))
    return (in_month and in_week) if stars else (in_month or in_week)


@dataclass(frozen=True)
class Walk:
    """The minutes around a transition, and what the clock shows at each."""

    minutes: list[datetime]
    clock: list[datetime]

    def expected(self, cron: str, gap: str, fold: str) -> list[datetime]:
        """The ticks, by asking every minute."""
        times: dict[datetime, list[datetime]] = {}
        for instant, local in zip(self.minutes, self.clock, strict=True):
            if matches(cron, local):
                times.setdefault(local, []).append(instant)
        kept = {"first": slice(1), "last": slice(-1, None), "both": slice(None)}[fold]
        found = {instant for instants in times.values() for instant in instants[kept]}
        if gap == "shift":
            found.update(self._shifted(cron))
        return sorted(found)

    def _shifted(self, cron: str) -> Iterator[datetime]:
        for place, (local, following) in enumerate(pairwise(self.clock)):
            missing = local + MINUTE
            while missing < following:
                if matches(cron, missing):
                    yield self.minutes[place] + (missing - local)
                missing += MINUTE


def walk_around(transition: datetime, zone: str) -> Walk:
    moved = abs(offset(transition, zone) - offset(transition - MINUTE, zone))
    count = (timedelta(hours=3) + moved) // MINUTE
    minutes = [transition + MINUTE * k for k in range(-count, count + 1)]
    return Walk(minutes, [shown(minute, zone) for minute in minutes])


def between(calendar: Calendar, after: datetime, until: datetime) -> list[datetime]:
    return list(takewhile(lambda tick: tick <= until, ticks(calendar, after)))


# --- gaps and folds ---------------------------------------------------------------------------


def test_the_zones_have_the_gaps_and_folds_that_the_tests_are_about() -> None:
    counts = {zone: len(transitions(zone)) for zone in ZONES}
    assert counts == {
        "Europe/London": 100,
        "America/New_York": 100,
        "Australia/Lord_Howe": 100,
        "Asia/Kolkata": 0,
        "America/Sao_Paulo": 39,
    }
    half = transitions("Australia/Lord_Howe")[-1]
    assert abs(
        offset(half, "Australia/Lord_Howe") - offset(half - MINUTE, "Australia/Lord_Howe")
    ) == (timedelta(minutes=30))
    midnights = [
        shown(one - MINUTE, "America/Sao_Paulo") for one in transitions("America/Sao_Paulo")
    ]
    assert {(local + MINUTE).hour for local in midnights} == {0}


@pytest.mark.parametrize("zone", [*ZONES, *ODD_ZONES])
def test_every_policy_does_what_it_says_at_every_gap_and_fold(zone: str) -> None:
    calendars = {
        (cron, *policies): Calendar(cron, zone, *policies)  # type: ignore[arg-type]
        for cron, policies in product(CRONS, POLICIES)
    }
    moved = transitions(zone) or [datetime(2024, 3, 31, 1, tzinfo=UTC)]
    for transition in moved:
        walk = walk_around(transition, zone)
        falls = offset(transition, zone) < offset(transition - MINUTE, zone)
        # Both policies in every combination for the last ones; for all, the one they are about.
        told = [("skip", "first"), ("shift", "last"), ("shift", "both")][: 3 if falls else 2]
        for cron, (gap, fold) in product(CRONS, POLICIES if transition in moved[-4:] else told):
            found = between(calendars[cron, gap, fold], walk.minutes[0] - MINUTE, walk.minutes[-1])
            assert found == walk.expected(cron, gap, fold), (cron, gap, fold, transition)


@pytest.mark.parametrize(
    ("zone", "time"),
    [
        ("Europe/London", "30 1"),
        ("America/New_York", "30 1"),
        ("America/New_York", "0 2"),
        ("Australia/Lord_Howe", "45 1"),
        ("Australia/Lord_Howe", "15 2"),
        ("Asia/Kolkata", "30 2"),
        ("America/Sao_Paulo", "0 0"),
        ("America/Sao_Paulo", "30 23"),
    ],
)
def test_fifty_years_of_nights_have_every_date_once_but_where_the_clock_is_moved(
    zone: str, time: str
) -> None:
    minute, hour = map(int, time.split())
    policies = [("shift", "both"), ("skip", "first"), ("shift", "last")]
    for gap, fold in policies if transitions(zone) else policies[:1]:
        calendar = Calendar(f"{time} * * *", zone, gap, fold)  # type: ignore[arg-type]
        found = between(calendar, BEGIN, END)
        assert all(early < late for early, late in pairwise(found))
        expected = []
        for day in range(date(1999, 12, 31).toordinal(), date(2050, 1, 1).toordinal() + 1):
            local = datetime.fromordinal(day).replace(hour=hour, minute=minute)
            expected += of_a_date(local, zone, gap, fold)
        assert found == [instant for instant in expected if BEGIN < instant <= END]


def of_a_date(local: datetime, zone: str, gap: str, fold: str) -> list[datetime]:
    """By trying the offsets of the day before and the day after."""
    near = local.replace(tzinfo=UTC)
    before, after = (offset(near + timedelta(days=d), zone) for d in (-1, 1))
    there = sorted({near - o for o in (before, after) if shown(near - o, zone) == local})
    if not there:
        return [near - before] if gap == "shift" else []
    return {"first": there[:1], "last": there[-1:], "both": there}[fold]


def test_an_hourly_tick_across_a_fold_and_a_gap() -> None:
    def times(month: int, day: int, gap: str, fold: str) -> list[str]:
        calendar = Calendar("30 * * * *", "Europe/London", gap, fold)  # type: ignore[arg-type]
        midnight = datetime(2026, month, day, tzinfo=UTC)
        return [f"{tick:%H:%M}" for tick in between(calendar, midnight, midnight + 180 * MINUTE)]

    # 25 October: 02:00 summer time (01:00 UTC) becomes 01:00.
    assert times(10, 25, "skip", "both") == ["00:30", "01:30", "02:30"]
    assert times(10, 25, "skip", "first") == ["00:30", "02:30"]
    assert times(10, 25, "skip", "last") == ["01:30", "02:30"]
    # 29 March: 01:00 (UTC, too) becomes 02:00. The 01:30 that is shifted meets 02:30.
    assert times(3, 29, "shift", "first") == ["00:30", "01:30", "02:30"]
    assert times(3, 29, "skip", "first") == ["00:30", "01:30", "02:30"]


def test_a_tick_of_a_midnight_that_does_not_exist_comes_an_hour_later_on_the_same_day() -> None:
    nightly = Calendar("10 0 * * *", "America/Sao_Paulo", "shift")
    (tick,) = next_ticks(nightly, datetime(2018, 11, 3, 12, tzinfo=UTC), 1)
    assert shown(tick, "America/Sao_Paulo") == datetime(2018, 11, 4, 1, 10)
    without = Calendar("10 0 * * *", "America/Sao_Paulo", "skip")
    (tick,) = next_ticks(without, datetime(2018, 11, 3, 12, tzinfo=UTC), 1)
    assert shown(tick, "America/Sao_Paulo") == datetime(2018, 11, 5, 0, 10)


# --- wherever one looks from ------------------------------------------------------------------

CALENDARS = st.builds(
    Calendar,
    st.sampled_from([*CRONS, "5,35 */3 * * 1-5", "0 3 L * *", "45 1 * * 7#2", "30 2 29 2 *"]),
    st.sampled_from([*ZONES, *ODD_ZONES]),
    st.sampled_from(["shift", "skip"]),
    st.sampled_from(["first", "last", "both"]),
)


@st.composite
def places(draw: st.DrawFn) -> tuple[Calendar, datetime]:
    """A calendar, and an instant: mostly close to where its clock is moved."""
    calendar = draw(CALENDARS)
    moved = transitions(calendar.timezone)
    anywhere = st.datetimes(datetime(2000, 1, 2), datetime(2049, 1, 1), timezones=st.just(UTC))
    close = st.timedeltas(timedelta(hours=-4), timedelta(hours=4))
    if not moved or draw(st.integers(0, 4)) == 0:
        return calendar, draw(anywhere)
    on_the_minute = draw(st.booleans())
    apart = draw(close)
    return calendar, draw(st.sampled_from(moved)) + (
        apart // MINUTE * MINUTE if on_the_minute else apart
    )


@settings(deadline=None)
@given(places(), st.timedeltas(timedelta(0), timedelta(days=2)))
def test_no_tick_is_lost_or_doubled_wherever_one_starts_to_look(
    place: tuple[Calendar, datetime], back: timedelta
) -> None:
    calendar, after = place
    found = next_ticks(calendar, after, 20)
    assert len(found) == 20
    assert after < found[0]
    assert all(early < late for early, late in pairwise(found))
    assert all(tick.tzinfo is UTC for tick in found)
    assert [t for t in between(calendar, after - back, found[-1]) if t > after] == found


@settings(deadline=None)
@given(places())
def test_the_previous_tick_is_the_one_whose_next_it_is(place: tuple[Calendar, datetime]) -> None:
    calendar, after = place
    found = next_ticks(calendar, after, 4)
    for early, late in pairwise(found):
        assert previous(calendar, late) == early
        assert previous(calendar, early + (late - early) / 2) == early
        assert previous(calendar, early + datetime.resolution) == early
    before = previous(calendar, after)
    assert before is not None
    assert before < after
    assert next_ticks(calendar, before, 1)[0] >= after


def test_a_time_on_the_day_that_samoa_left_out_is_a_day_later_wherever_one_looks_from() -> None:
    calendar = Calendar("0 23 30 12 *", "Pacific/Apia")
    (moved,) = [one for one in transitions("Pacific/Apia") if one.year == 2011 and one.month == 12]
    tick = moved + timedelta(hours=23)
    assert shown(tick, "Pacific/Apia") == datetime(2011, 12, 31, 23)
    for hours in range(-48, 23):
        assert next_ticks(calendar, moved + timedelta(hours=hours), 1) == [tick]
    assert previous(calendar, tick + timedelta(hours=300)) == tick


@pytest.mark.parametrize("zone", [zone for zone in ZONES if zone != "Asia/Kolkata"])
@pytest.mark.parametrize(("gap", "fold"), [("shift", "both"), ("skip", "first"), ("shift", "last")])
def test_from_every_minute_around_a_gap_and_a_fold_the_neighbours_are_right(
    zone: str, gap: str, fold: str
) -> None:
    for cron, transition in product(["*/15 * * * *", "30 * * * *"], transitions(zone)[-2:]):
        calendar = Calendar(cron, zone, gap, fold)  # type: ignore[arg-type]
        walk = walk_around(transition, zone)
        expected = walk.expected(cron, gap, fold)
        for minute in walk.minutes[100:-100]:
            assert next_ticks(calendar, minute, 1)[0] == min(t for t in expected if t > minute)
            assert previous(calendar, minute) == max(t for t in expected if t < minute)


@settings(deadline=None)
@given(places(), st.timedeltas(timedelta(0), timedelta(days=3)), st.integers(1, 30))
def test_the_latest_ticks_of_a_stretch_are_its_last(
    place: tuple[Calendar, datetime], span: timedelta, count: int
) -> None:
    calendar, after = place
    all_of_them = between(calendar, after, after + span)
    assert latest_ticks(calendar, after, after + span, count) == all_of_them[-count:]


def test_there_is_nothing_before_1970() -> None:
    nightly = Calendar("0 3 * * *", "UTC")
    assert previous(nightly, datetime(1970, 1, 1, 3, tzinfo=UTC)) is None
    assert previous(nightly, datetime(1970, 1, 1, tzinfo=UTC)) is None
    assert previous(nightly, datetime(1970, 1, 1, 4, tzinfo=UTC)) == datetime(
        1970, 1, 1, 3, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("instant", "said"),
    [
        (datetime(2026, 1, 1), "no time zone"),
        (datetime(1, 1, 1, tzinfo=UTC), "1970 to 9000"),
        (datetime(9999, 12, 31, 23, 59, tzinfo=UTC), "1970 to 9000"),
    ],
)
def test_an_instant_that_cannot_be_asked_for_is_refused(instant: datetime, said: str) -> None:
    nightly = Calendar("0 3 * * *", "Europe/London")
    for ask in (lambda: next_ticks(nightly, instant, 1), lambda: previous(nightly, instant)):
        with pytest.raises(CalendarError, match=said):
            ask()


def test_ticks_end_before_the_calendar_does() -> None:
    yearly = Calendar("0 3 1 1 *", "Europe/London")
    *_, last = ticks(yearly, datetime(8999, 6, 1, tzinfo=UTC))
    assert last.year == 9899


# --- jitter -----------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.text(max_size=20), st.datetimes(timezones=st.just(UTC), max_value=datetime(9000, 1, 1)))
def test_jitter_stays_within_its_seconds_and_is_the_same_for_one_tick(
    schedule: str, tick: datetime
) -> None:
    for seconds in (0, 1, 600, 86400):
        begins = jittered(schedule, tick, seconds)
        assert tick <= begins <= tick + timedelta(seconds=seconds)
        assert begins == jittered(schedule, tick.astimezone(rules("Asia/Kolkata")), seconds)
    assert jittered(schedule, tick, 0) == tick


def test_jitter_spreads_schedules_and_nights_over_its_seconds() -> None:
    tick = datetime(2026, 1, 1, 3, tzinfo=UTC)
    schedules = [(jittered(f"s{k}", tick, 600) - tick).total_seconds() for k in range(1000)]
    nights = [tick + timedelta(days=k) for k in range(1000)]
    for seconds in (schedules, [(jittered("s", t, 600) - t).total_seconds() for t in nights]):
        tenths = [sum(k * 60 <= one < k * 60 + 60 for one in seconds) for k in range(10)]
        assert min(tenths) > 60, tenths


def test_another_process_without_zone_files_comes_to_the_same_instants() -> None:
    told = (
        "import json, sys; from datetime import *; from service.calendar import *; "
        "after = datetime(2026, 3, 27, tzinfo=UTC); "
        "found = next_ticks(Calendar('30 1 * * *', 'Europe/London', 'shift', 'both'), after, 300); "
        "json.dump([jittered('nightly', t, 900).isoformat() for t in found], sys.stdout)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONTZPATH": "", "TZ": "Asia/Tokyo"}
    ran = subprocess.run(
        [sys.executable, "-c", told], env=environment, capture_output=True, text=True, check=True
    )
    here = Calendar("30 1 * * *", "Europe/London", "shift", "both")
    found = next_ticks(here, datetime(2026, 3, 27, tzinfo=UTC), 300)
    assert json.loads(ran.stdout) == [jittered("nightly", t, 900).isoformat() for t in found]


# --- what can be written ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("61 3 * * *", ["the minute cannot be '61'", "0-59"]),
        ("0 24 * * *", ["the hour cannot be '24'", "0-23"]),
        ("0 3 32 * *", ["the day of the month", "1-31"]),
        ("0 3 * JANUARY *", ["the month cannot be 'JANUARY'", "JAN-DEC"]),
        ("0 22 * * FRI-MON", ["the day of the week", "from low to high"]),
        ("*/0 * * * *", ["the minute cannot be '*/0'"]),
        ("*/90 * * * *", ["never comes to a second value", "60"]),
        ("0 30 2 * * *", ["6 fields", "seconds are not supported", "'30 2 * * *'"]),
        ("30 2 * *", ["4 fields", "expected five", "day of the week"]),
        ("", ["0 fields", "'30 2 * * *'"]),
        ("@daily", ["write '0 0 * * *'"]),
        ("@reboot", ["not known", "'30 2 * * *'"]),
        ("0 0 30 2 *", ["never happens", "write L"]),
        ("0 0 31 4,6 *", ["never happens"]),
        ("0 0 */31 * MON#2", ["never happens", "UTC"]),
        ("0 ٣ * * *", ["only ASCII"]),
        ("9" * 5000 + " 0 * * *", ["at most 200"]),
    ],
)
def test_a_cron_expression_that_cannot_be_is_refused_with_what_can(
    cron: str, said: list[str]
) -> None:
    with pytest.raises(CalendarError) as caught:
        Calendar(cron, "UTC")
    assert all(words in str(caught.value) for words in said), str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("zone", "close"),
    [
        ("europe/london", "Europe/London"),
        ("Europe/Lodon", "Europe/London"),
        ("London", "Europe/London"),
        ("new york", "America/New_York"),
        ("Asia/Calcuta", "Asia/Calcutta"),
        ("utc", "UTC"),
    ],
)
def test_a_misspelt_zone_is_refused_with_the_one_that_was_meant(zone: str, close: str) -> None:
    with pytest.raises(CalendarError, match=f"no time zone '{zone}'; did you mean .*{close}"):
        Calendar("0 3 * * *", zone)


@pytest.mark.parametrize("zone", ["", "+02:00", "../../etc/passwd", "Europe", "\0", "x" * 10_000])
def test_what_is_no_zone_at_all_is_refused_with_an_example(zone: str) -> None:
    with pytest.raises(CalendarError, match="such as Europe/London, America/New_York or UTC"):
        Calendar("0 3 * * *", zone)


@pytest.mark.parametrize(("gap", "fold"), [("jump", "first"), ("shift", "all")])
def test_a_policy_that_there_is_not_is_refused_with_those_there_are(gap: str, fold: str) -> None:
    with pytest.raises(CalendarError, match=r"choose one of (shift, skip|first, last, both)"):
        Calendar("0 3 * * *", "UTC", gap, fold)  # type: ignore[arg-type]


def test_a_time_that_only_ever_falls_in_a_gap_never_happens_unless_it_is_shifted() -> None:
    # The last Sunday of March, whenever it is the 31st: London's clock goes from 01:00 to 02:00.
    cron = "30 1 31 3 */7"
    with pytest.raises(CalendarError, match=r"never happens in Europe/London \(gap: skip\)"):
        Calendar(cron, "Europe/London", "skip")
    (tick,) = next_ticks(Calendar(cron, "Europe/London"), datetime(2026, 1, 1, tzinfo=UTC), 1)
    assert shown(tick, "Europe/London") == datetime(2030, 3, 31, 2, 30)
    assert Calendar(cron, "Europe/Paris", "skip")


def test_the_rarest_cron_is_taken() -> None:
    leap_sunday = Calendar("0 0 29 2 */7", "UTC")
    found = next_ticks(leap_sunday, datetime(2025, 1, 1, tzinfo=UTC), 3)
    assert [tick.year for tick in found] == [2032, 2060, 2088]
    over_2100 = next_ticks(leap_sunday, datetime(2089, 1, 1, tzinfo=UTC), 1)
    assert over_2100 == [datetime(2128, 2, 29, tzinfo=UTC)]
    assert previous(leap_sunday, over_2100[0]) == found[-1]


FIELD = st.text("0123456789*/-,LW#", max_size=6) | st.sampled_from(["*", "MON", "jan", "LW", "1L"])


@settings(deadline=None)
@given(st.one_of(st.lists(FIELD, min_size=5, max_size=5).map(" ".join), st.text(max_size=30)))
@example("0 0 L/2 * *")
@example("0 0 LW,L * 5L,1#5")
def test_whatever_is_written_as_cron_is_refused_or_has_ticks_and_words(cron: str) -> None:
    try:
        calendar = Calendar(cron, "America/New_York")
    except CalendarError:
        return
    early, late = islice(ticks(calendar, BEGIN), 2)
    assert previous(calendar, late) == early
    assert describe(calendar).endswith(", America/New_York")


def test_a_calendar_is_told_in_words() -> None:
    assert describe(Calendar("30 2 * * *", "Europe/London")) == "At 02:30 every day, Europe/London"
    assert describe(Calendar("0 3 * * MON-FRI", "UTC")) == "At 03:00 on Monday through Friday, UTC"
