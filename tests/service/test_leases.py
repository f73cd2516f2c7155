"""Exactly one holder at a time, and nothing from a holder of the past."""

import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select, update

from service.database import LeaseRow, reading, writing
from service.leases import Lease, LeaseHeld, LeaseLost, acquire, fence, release, renew


def let_it_end(engine: Engine, name: str) -> None:
    """As if the time of the lease had passed."""
    with writing(engine) as connection:
        past = datetime.now(UTC) - timedelta(seconds=1)
        connection.execute(update(LeaseRow).where(LeaseRow.name == name).values(expires_at=past))


def may_write(engine: Engine, lease: Lease) -> bool:
    try:
        with writing(engine) as connection:
            fence(connection, lease)
    except LeaseLost:
        return False
    return True


def test_a_second_process_is_told_who_holds_the_lease_since_when_and_until_when(
    engine: Engine,
) -> None:
    lease = acquire(engine, "night", "host-a:12", 60)
    with pytest.raises(LeaseHeld) as caught:
        acquire(engine, "night", "host-b:7", 60)
    for said in (
        "'night'",
        "host-a:12",
        f"since {lease.acquired_at:%Y-%m-%d %H:%M:%S} UTC",
        f"until {lease.expires_at:%Y-%m-%d %H:%M:%S} UTC",
    ):
        assert said in str(caught.value)
    assert lease.expires_at - lease.acquired_at == timedelta(seconds=60)
    assert may_write(engine, lease)


def test_leases_on_different_names_do_not_meet(engine: Engine) -> None:
    assert acquire(engine, "one", "a", 60).token == acquire(engine, "two", "b", 60).token


def test_a_dead_holders_lease_is_taken_over_only_after_its_end(engine: Engine) -> None:
    short = acquire(engine, "night", "dead", 0.4)
    refused = 0
    while True:
        try:
            taken = acquire(engine, "night", "next", 60)
            break
        except LeaseHeld:
            refused += 1
    assert taken.acquired_at >= short.expires_at
    assert refused > 0
    assert taken.token > short.token


def test_the_old_holder_writes_nothing_after_a_takeover_and_hears_from_whom(engine: Engine) -> None:
    old = acquire(engine, "night", "old", 60)
    let_it_end(engine, "night")
    assert may_write(engine, old)  # late, but nobody else has begun
    acquire(engine, "night", "new", 60)
    with pytest.raises(LeaseLost, match=r"old has lost its lease on 'night'.*new took it over"):
        renew(engine, old, 60)
    assert not may_write(engine, old)


def test_a_renewed_lease_is_held_longer(engine: Engine) -> None:
    lease = acquire(engine, "night", "a", 60)
    let_it_end(engine, "night")
    renewed = renew(engine, lease, 600)
    assert renewed.expires_at > lease.expires_at
    assert renewed.token == lease.token
    with pytest.raises(LeaseHeld):
        acquire(engine, "night", "b", 60)


def test_a_lease_given_back_is_free_at_once_and_worth_nothing(engine: Engine) -> None:
    first = acquire(engine, "night", "a", 60)
    release(engine, first)
    assert not may_write(engine, first)
    second = acquire(engine, "night", "b", 60)
    release(engine, first)  # too late: it is another's now
    assert may_write(engine, second)


def test_a_lease_that_is_nowhere_in_the_database_is_lost(engine: Engine) -> None:
    now = datetime.now(UTC)
    lease = Lease(name="none", holder="a", token=1, acquired_at=now, expires_at=now)
    with pytest.raises(LeaseLost, match="no such lease"):
        renew(engine, lease, 60)


def test_of_many_who_come_at_once_exactly_one_gets_the_lease(engine: Engine) -> None:
    begin = threading.Barrier(8)
    got: list[str] = []

    def come(holder: str) -> None:
        begin.wait()
        try:
            got.append(acquire(engine, "night", holder, 60).holder)
        except LeaseHeld:
            return

    threads = [threading.Thread(target=come, args=(f"process {n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1


STEPS = st.lists(
    st.tuples(st.sampled_from(["acquire", "renew", "release", "end"]), st.integers(0, 2)),
    min_size=1,
    max_size=12,
)


@given(steps=STEPS)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whatever_happens_tokens_rise_and_at_most_one_holder_may_write(
    engine: Engine, steps: list[tuple[str, int]]
) -> None:
    name = f"job {datetime.now(UTC).timestamp()}"
    leases: dict[int, Lease] = {}
    tokens: list[int] = []
    for what, who in steps:
        with suppress(LeaseHeld, LeaseLost):
            if what == "acquire":
                leases[who] = acquire(engine, name, f"holder {who}", 60)
                tokens.append(leases[who].token)
            elif what == "end":
                let_it_end(engine, name)
            elif what == "renew" and who in leases:
                renew(engine, leases[who], 60)
            elif what == "release" and who in leases:
                release(engine, leases[who])
        assert sum(may_write(engine, lease) for lease in leases.values()) <= 1
    assert tokens == sorted(set(tokens))
    with reading(engine) as connection:
        stored = connection.execute(select(LeaseRow.token).where(LeaseRow.name == name)).scalar()
    assert stored is None or stored >= max(tokens, default=0)
