"""Which ticks are due, and what becomes of each: over all states, and with a controller away."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise, product, takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import service.calendar
from service.calendar import Calendar, jittered, ticks
from service.ticks import MOST_LISTED, Decision, DueTick, Overlap, decide, due

NIGHTLY = Calendar("0 0 * * *", "Europe/London")
MINUTELY = Calendar("* * * * *", "Europe/London")
MIDNIGHT = datetime(2026, 1, 15, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
CALENDARS = st.sampled_from(
    [
        NIGHTLY,
        MINUTELY,
        Calendar("*/7 * * * *", "America/New_York", "skip", "both"),
        Calendar("30 1,2 * * *", "Europe/London", "shift", "both"),
        Calendar("0 3 * * 1-5", "Asia/Kolkata"),
    ]
)
INSTANTS = st.datetimes(datetime(2025, 10, 1), datetime(2026, 4, 30), timezones=st.just(UTC))
IN_TIME = DueTick(at=MIDNIGHT, late=timedelta(0), in_time=True)


def between(calendar: Calendar, after: datetime, until: datetime) -> list[datetime]:
    return list(takewhile(lambda tick: tick <= until, ticks(calendar, after)))


# --- which are due ----------------------------------------------------------------------------


def test_nothing_is_due_before_a_tick_and_the_tick_is_at_its_instant() -> None:
    before = MIDNIGHT - datetime.resolution
    assert due(NIGHTLY, MIDNIGHT - 24 * HOUR, before, 3600) == []
    (tick,) = due(NIGHTLY, MIDNIGHT - 24 * HOUR, MIDNIGHT, 3600)
    assert (tick.at, tick.late, tick.in_time, tick.note) == (MIDNIGHT, timedelta(0), True, "")
    assert due(NIGHTLY, MIDNIGHT, MIDNIGHT, 3600) == []


@pytest.mark.parametrize("hours", [1, 3, 6])
def test_a_controller_that_was_down_over_midnight_catches_up_inside_its_window(hours: int) -> None:
    back = MIDNIGHT + 3 * HOUR
    (tick,) = due(NIGHTLY, MIDNIGHT - 24 * HOUR, back, hours * 3600)
    assert tick.in_time == (hours >= 3)
    decision = decide(tick)
    if hours >= 3:
        assert decision == Decision(decision="started", note="3 h late, within the catch-up window")
    else:
        assert decision == Decision(
            decision="missed", note="3 h late, and the catch-up window is 1 h"
        )


def test_the_window_ends_with_its_last_instant_and_is_never_under_a_minute() -> None:
    for seconds, window in ((3600, HOUR), (0, MINUTE), (59, MINUTE)):
        for late, in_time in ((window, True), (window + datetime.resolution, False)):
            (tick,) = due(NIGHTLY, MIDNIGHT - HOUR, MIDNIGHT + late, seconds)
            assert (tick.in_time, tick.note == "") == (in_time, in_time)


def test_of_several_nights_in_the_window_only_the_latest_is_started() -> None:
    found = due(NIGHTLY, MIDNIGHT - HOUR, MIDNIGHT + 73 * HOUR, 50 * 3600)
    assert [tick.in_time for tick in found] == [False, False, False, True]
    assert found[0].note == "3 d 1 h late, and the catch-up window is 2 d 2 h"
    assert found[1].note == found[2].note
    assert (
        found[2].note == "not started, since the later one of 2026-01-18 00:00 UTC is due as well"
    )


@settings(deadline=None)
@given(CALENDARS, INSTANTS, st.integers(0, 20_000), st.integers(0, 86_400), st.integers(0, 900))
def test_every_tick_is_decided_once_and_at_most_one_is_started(
    calendar: Calendar, decided_until: datetime, minutes: int, catch_up: int, jitter: int
) -> None:
    now = decided_until + minutes * MINUTE
    found = due(calendar, decided_until, now, catch_up, schedule_id="s", jitter_seconds=jitter)
    instants = [tick.at for tick in found]
    assert all(decided_until < at <= now for at in instants)
    assert sum(tick.in_time for tick in found) <= 1
    assert len(found) <= MOST_LISTED
    begun = list(
        takewhile(lambda tick: jittered("s", tick, jitter) <= now, ticks(calendar, decided_until))
    )
    assert instants == begun[-MOST_LISTED:]
    if len(begun) > MOST_LISTED:
        assert f"so were all since {begun[0]:%Y-%m-%d %H:%M} UTC" in found[0].note
    window = max(timedelta(seconds=catch_up), MINUTE)
    inside = [at for at in begun if now - jittered("s", at, jitter) <= window]
    assert [tick.at for tick in found if tick.in_time] == inside[-1:]
    for tick in found:
        assert (decide(tick).decision == "started") == tick.in_time
        assert tick.in_time or tick.note


@settings(deadline=None)
@given(CALENDARS, INSTANTS, st.lists(st.integers(0, 1800), min_size=1, max_size=6))
def test_whenever_controllers_look_a_tick_is_decided_once(
    calendar: Calendar, start: datetime, minutes: list[int]
) -> None:
    decided_until, now, seen = start, start, []
    for pause in minutes:
        now += pause * MINUTE / 20
        found = due(calendar, decided_until, now, 3600, schedule_id="x", jitter_seconds=120)
        seen += [tick.at for tick in found]
        decided_until = seen[-1] if seen else start
    expected = between(calendar, start, now)
    assert seen == expected[: len(seen)]
    assert all(jittered("x", tick, 120) > now for tick in expected[len(seen) :][:1])


def test_a_tick_with_jitter_is_due_when_its_job_begins_and_in_time_from_there() -> None:
    begins = jittered("search", MIDNIGHT, 7200)
    assert begins - MIDNIGHT > 2 * MINUTE  # or nothing would be tested
    words = {"schedule_id": "search", "jitter_seconds": 7200}
    before = begins - timedelta(milliseconds=1)
    assert due(NIGHTLY, MIDNIGHT - HOUR, before, 60, **words) == []  # type: ignore[arg-type]
    (tick,) = due(NIGHTLY, MIDNIGHT - HOUR, begins, 60, **words)  # type: ignore[arg-type]
    assert (tick.at, tick.late, tick.in_time) == (MIDNIGHT, timedelta(0), True)


def test_after_a_year_away_a_minutely_schedule_costs_little_and_says_what_it_leaves_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    computed = 0
    real = service.calendar._instants

    def counted(calendar: Calendar, local: datetime) -> tuple[datetime | None, datetime | None]:
        nonlocal computed
        computed += 1
        return real(calendar, local)

    monkeypatch.setattr(service.calendar, "_instants", counted)
    now = MIDNIGHT + timedelta(seconds=30)
    long_ago = now - timedelta(days=365)
    found = due(MINUTELY, long_ago, now, 6 * 3600)
    assert computed < 5000
    assert [tick.at for tick in found] == [MIDNIGHT - k * MINUTE for k in reversed(range(100))]
    assert [tick.in_time for tick in found] == [False] * 99 + [True]
    assert found[0].note.endswith("so were all since 2025-01-15 00:01 UTC, too many to be listed")
    computed = 0
    jittery = due(MINUTELY, long_ago, now, 0, schedule_id="s", jitter_seconds=3600)
    assert computed < 5000 + 60
    assert all(early.at + MINUTE == late.at for early, late in pairwise(jittery))


# --- what becomes of one ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overlap", "unfinished", "buffered", "decision", "cancel"),
    [
        *((overlap, False, False, "started", False) for overlap in ("skip", "buffer", "cancel")),
        ("allow", False, False, "started", False),
        ("skip", True, False, "skipped", False),
        ("skip", True, True, "skipped", False),
        ("skip", False, True, "skipped", False),
        ("buffer", True, False, "buffered", False),
        ("buffer", True, True, "skipped", False),
        ("buffer", False, True, "skipped", False),
        ("cancel", True, False, "started", True),
        ("cancel", True, True, "started", True),
        ("cancel", False, True, "started", True),
        ("allow", True, False, "started", False),
        ("allow", True, True, "started", False),
        ("allow", False, True, "started", False),
    ],
)
def test_a_job_that_has_not_ended_meets_the_overlap_policy(
    overlap: Overlap, unfinished: bool, buffered: bool, decision: str, cancel: bool
) -> None:
    found = decide(IN_TIME, overlap=overlap, unfinished=unfinished, buffered=buffered)
    assert (found.decision, found.cancel_other) == (decision, cancel)
    assert found.note


def test_what_is_paused_or_missed_starts_nothing_and_cancels_nothing() -> None:
    missed = DueTick(at=MIDNIGHT, late=2 * HOUR, in_time=False, note="2 h late")
    overlaps: list[Overlap] = ["skip", "buffer", "cancel", "allow"]
    for overlap, unfinished, buffered in product(overlaps, [False, True], [False, True]):
        state = {"unfinished": unfinished, "buffered": buffered}
        assert decide(IN_TIME, overlap=overlap, paused=True, **state) == Decision(
            decision="skipped", note="the schedule is paused"
        )
        for paused in (False, True):
            assert decide(missed, overlap=overlap, paused=paused, **state) == Decision(
                decision="missed", note="2 h late"
            )


def test_the_default_is_to_skip() -> None:
    assert decide(IN_TIME).note == "on time"
    assert decide(IN_TIME, unfinished=True) == Decision(
        decision="skipped", note="the job before has not ended"
    )
