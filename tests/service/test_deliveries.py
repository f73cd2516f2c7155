"""Every delivery is tried by one controller at a time, again and again, and not for ever."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Engine, update

from service import audit, deliveries
from service.database import database_now, writing
from service.deliveries import DELIVERIES, Outcome
from tests.service.hooks import (
    ANN,
    DOWN,
    add_hook,
    add_job,
    at_work,
    claimed,
    happen,
    make_due,
    read_hook,
    rows,
)
from tests.service.receiver import Receiver, receiving, until


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def test_a_claimed_attempt_is_nobody_elses_until_its_time_is_over(engine: Engine) -> None:
    add_hook(engine)
    add_job(engine)
    first = claimed(engine)
    assert deliveries.claim(engine) is None
    make_due(engine)  # who claimed it has died
    second = claimed(engine)
    assert (first.number, second.number) == (1, 2)
    deliveries.settle(engine, first, Outcome(True, 200))  # had only been asleep
    assert rows(engine)[0].state == "PENDING"
    deliveries.settle(engine, second, Outcome(True, 200))
    assert rows(engine)[0].state == "DELIVERED"


def test_many_who_claim_at_once_never_get_the_same_attempt(engine: Engine) -> None:
    add_hook(engine)
    job = add_job(engine)
    happen(engine, job, *["state"] * 19)
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda _: deliveries.claim(engine), range(30)))
    ids = [attempt.delivery_id for attempt in found if attempt is not None]
    assert len(ids) == len(set(ids))
    while (attempt := deliveries.claim(engine)) is not None:  # past what others had locked
        ids.append(attempt.delivery_id)
    assert sorted(ids) == sorted(row.id for row in rows(engine))


def test_two_controllers_deliver_everything_once(engine: Engine, receiver: Receiver) -> None:
    add_hook(engine, receiver.url, ANN, "state", "front")
    job = add_job(engine)
    happen(engine, job, *["front"] * 29)
    with at_work(engine, 2) as postmen:
        for postman in postmen:
            postman.deliver()
        receiver.waits_for(30)
        until(lambda: {row.state for row in rows(engine)} == {"DELIVERED"})
    told = Counter(heard.headers["Paretrack-Delivery"] for heard in receiver.heard)
    assert len(told) == 30 and set(told.values()) == {1}


def test_a_webhook_that_hangs_does_not_keep_the_others(engine: Engine) -> None:
    with receiving(hold=threading.Event()) as hangs, receiving() as answers:
        add_hook(engine, hangs.url, ANN, "front", "state")
        job = add_job(engine)
        happen(engine, job, *["front"] * 19)
        add_hook(engine, answers.url)
        happen(engine, job, *["state"] * 5)
        with at_work(engine) as (postman,):
            postman.deliver()
            answers.waits_for(5)
            assert len(hangs.heard) == 2  # as many at once
            assert hangs.hold is not None
            hangs.hold.set()


def test_after_the_last_attempt_it_is_given_up(engine: Engine) -> None:
    add_hook(engine)
    add_job(engine)
    for _ in range(deliveries.ATTEMPTS):
        deliveries.settle(engine, claimed(engine), DOWN)
        make_due(engine)
    (row,) = rows(engine)
    assert (row.state, row.attempts, row.next_at) == ("GIVEN_UP", 12, None)
    assert row.last_error == "answered 500"


def test_an_attempt_in_which_everybody_dies_is_not_made_for_ever(engine: Engine) -> None:
    add_hook(engine)
    add_job(engine)
    for _ in range(deliveries.ATTEMPTS):
        claimed(engine)
        make_due(engine)
    assert deliveries.claim(engine) is None
    assert rows(engine)[0].state == "GIVEN_UP"


def test_all_attempts_take_about_three_days_and_each_pause_is_longer() -> None:
    gaps = [deliveries.pause(number) for number in range(1, deliveries.ATTEMPTS)]
    assert gaps[:7] == sorted(gaps[:7])
    assert 2.3 < sum(gaps) / 86_400 < 3.7
    assert len({deliveries.pause(3) for _ in range(20)}) > 1


def test_a_webhook_that_fails_for_days_is_set_inactive_with_a_line_in_the_audit(
    engine: Engine,
) -> None:
    hook, other = add_hook(engine), add_hook(engine)
    job = add_job(engine)
    happen(engine, job, "state", "state")
    while (attempt := deliveries.claim(engine)) is not None:
        arrived = attempt.webhook_id == other.id
        deliveries.settle(engine, attempt, Outcome(True, 200) if arrived else DOWN)
        make_due(engine)
    after = read_hook(engine, hook)
    assert (after.active, after.version) == (False, 2)
    assert after.failures >= deliveries.MOST_FAILURES
    assert {row.state for row in rows(engine, hook)} == {"GIVEN_UP"}
    assert read_hook(engine, other).active
    (line,) = [
        line
        for line in audit.read(engine, f"webhook {hook.id}")
        if line.action == "webhook inactive"
    ]
    assert "attempts have failed" in line.why


def test_one_event_that_cannot_be_delivered_does_not_yet_set_a_webhook_inactive(
    engine: Engine,
) -> None:
    hook = add_hook(engine)
    add_job(engine)
    while (attempt := deliveries.claim(engine)) is not None:
        deliveries.settle(engine, attempt, DOWN)
        make_due(engine)
    assert read_hook(engine, hook).active


def test_what_ended_long_ago_is_forgotten_and_what_waits_is_not(engine: Engine) -> None:
    add_hook(engine)
    job = add_job(engine)
    happen(engine, job, "state", "state")
    deliveries.settle(engine, claimed(engine), Outcome(True, 200))
    deliveries.settle(engine, claimed(engine), DOWN)
    assert deliveries.forget_old(engine) == 0
    with writing(engine) as connection:
        long_ago = database_now(connection) - timedelta(days=31)
        connection.execute(update(DELIVERIES).values(created_at=long_ago))
    assert deliveries.forget_old(engine) == 1
    assert [row.state for row in rows(engine)] == ["PENDING", "PENDING"]
