"""A key is one job's, however often, however concurrently, and whoever dies."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from service import idempotency
from service.callers import EMBEDDED, Caller
from service.database import writing
from service.errors import Problem
from service.idempotency import FLYING_SECONDS, KEPT_HOURS, Taken, take

WORDS = {"spec": {"name": "a"}}


def taken(engine: Engine, key: str = "k", caller: Caller = EMBEDDED) -> Taken:
    found = take(engine, caller, key, WORDS)
    assert isinstance(found, Taken)
    return found


def make(engine: Engine, mine: Taken, job_id: str) -> None:
    with writing(engine) as connection:
        idempotency.made(connection, mine, job_id)


def refused(engine: Engine, words: dict[str, object] = WORDS) -> str:
    with pytest.raises(Problem) as problem:
        take(engine, EMBEDDED, "k", words)
    return problem.value.code


def age(engine: Engine, mine: Taken, **by: float) -> Taken:
    """As if it had been taken so long ago."""
    older = replace(mine, at=mine.at - timedelta(**by))
    with writing(engine) as connection:
        connection.execute(idempotency._KEYS.update().where(mine.row).values(created_at=older.at))
    return older


def test_said_again_it_is_the_same_job(engine: Engine) -> None:
    make(engine, taken(engine), "job-1")
    assert take(engine, EMBEDDED, "k", WORDS) == "job-1"
    assert refused(engine, {"spec": {"name": "b"}}) == "other_body"
    assert isinstance(taken(engine, caller=replace(EMBEDDED, owner="bob")), Taken), "his own keys"


def test_said_again_meanwhile_it_is_in_flight(engine: Engine) -> None:
    mine = taken(engine)
    age(engine, mine, seconds=1)
    assert refused(engine) == "in_flight"


def test_a_refused_request_may_be_mended_and_made_again(engine: Engine) -> None:
    idempotency.free(engine, taken(engine))
    assert isinstance(take(engine, EMBEDDED, "k", {"spec": {"name": "mended"}}), Taken)


def test_of_one_that_died_another_takes_the_key_and_a_slow_one_makes_no_job(
    engine: Engine,
) -> None:
    slow = age(engine, taken(engine), seconds=FLYING_SECONDS + 1)
    other = taken(engine)
    with pytest.raises(Problem, match="worked on"):
        make(engine, slow, "job-of-the-slow-one")
    idempotency.free(engine, slow)
    make(engine, other, "job-2")
    assert take(engine, EMBEDDED, "k", WORDS) == "job-2"


def test_a_key_is_kept_for_a_day(engine: Engine) -> None:
    make(engine, taken(engine), "job-3")
    for hours, kept in ((KEPT_HOURS - 1, True), (2, False)):
        with writing(engine) as connection:
            known = idempotency._KEYS
            (at,) = connection.execute(known.select().with_only_columns(known.c.created_at)).one()
            older = at - timedelta(hours=hours)
            connection.execute(known.update().values(created_at=older))
        found = take(engine, EMBEDDED, "k", WORDS)
        assert (found == "job-3") is kept
