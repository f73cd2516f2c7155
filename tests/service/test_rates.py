"""Callers who ask too often wait, and nobody else does."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request
from hypothesis import given, settings
from hypothesis import strategies as st

from service.callers import Caller, Role
from service.errors import MEDIA_TYPE, Problem
from service.rates import Buckets, RateLimits, address_of
from service.routes import problems
from tests.service.asking import Clock, ask

ANN = {"Authorization": "Bearer ann"}


def limited(clock: Clock, callers: int = 3, strangers: int = 2) -> FastAPI:
    """Knows one token, 'ann'; a bucket gets one back each second."""
    app = FastAPI()
    problems.install(app)
    app.add_middleware(
        RateLimits,
        callers=Buckets(1, callers, clock),
        strangers=Buckets(1, strangers, clock),
        free=("/health/",),
    )

    @app.get("/jobs")
    def jobs(request: Request) -> list[str]:
        if request.headers.get("authorization") != "Bearer ann":
            raise Problem("unauthenticated", "who?")
        request.state.caller = Caller(owner="ann", role=Role.VIEWER, token_id="a")
        return []

    @app.get("/open")
    @app.get("/health/live")
    def anybody() -> str:
        return "yes"

    return app


@pytest.fixture
def clock() -> Iterator[Clock]:
    yield Clock()


def statuses(app: FastAPI, times: int, path: str = "/jobs", **more: object) -> list[int]:
    return [ask(app, "GET", path, **more).status_code for _ in range(times)]  # type: ignore[arg-type]


def test_a_bucket_gives_its_burst_and_then_its_rate(clock: Clock) -> None:
    buckets = Buckets(rate=2, burst=3, clock=clock)
    given_out = [buckets.take("ann") for _ in range(4)]
    assert [one.allowed for one in given_out] == [True, True, True, False]
    assert [one.left for one in given_out] == [2, 1, 0, 0]
    assert given_out[-1].seconds == 0.5
    clock.now += 0.49
    assert not buckets.take("ann").allowed
    clock.now += 0.01
    assert buckets.look("ann").allowed
    assert buckets.take("ann").allowed
    assert not buckets.take("ann").allowed
    assert buckets.take("bob").allowed


@settings(deadline=None)
@given(
    rate=st.integers(1, 50),
    burst=st.integers(1, 20),
    waits=st.lists(st.integers(0, 64).map(lambda n: n / 32), max_size=60),
)
def test_nobody_gets_more_than_the_burst_and_the_rate_allow(
    rate: int, burst: int, waits: list[float]
) -> None:
    clock = Clock()
    buckets = Buckets(rate, burst, clock)
    allowed = refused = 0
    for wait in waits:
        clock.now += wait
        answer = buckets.take("ann")
        allowed += answer.allowed
        refused += not answer.allowed
        assert allowed <= burst + rate * (clock.now - 1000) + 1e-6
        if not answer.allowed:  # what is said of the wait is true, and no more than needed
            clock.now += answer.seconds + 1e-9
            assert buckets.look("ann").allowed
    assert allowed + refused == len(waits)


def test_memory_is_bounded_and_the_one_who_was_away_longest_is_forgotten(clock: Clock) -> None:
    buckets = Buckets(rate=1, burst=1, clock=clock, most=100)
    for number in range(1000):
        buckets.take(f"caller {number}")
    assert len(buckets) == 100
    assert not buckets.take("caller 999").allowed
    assert buckets.take("caller 0").allowed


def test_buckets_that_never_give_are_refused() -> None:
    for wrong in ({"rate": 0, "burst": 1}, {"rate": 1, "burst": 0}):
        with pytest.raises(ValueError, match="no buckets"):
            Buckets(**wrong)


def test_a_caller_is_told_how_much_is_left_and_then_how_long_to_wait(clock: Clock) -> None:
    app = limited(clock)
    first = ask(app, "GET", "/jobs", headers=ANN)
    assert first.headers["RateLimit"] == '"requests";r=2;t=0'
    assert first.headers["RateLimit-Policy"] == '"requests";q=3;w=3'
    assert statuses(app, 2, headers=ANN) == [200, 200]
    refused = ask(app, "GET", "/jobs", headers=ANN)
    assert (refused.status_code, refused.headers["content-type"]) == (429, MEDIA_TYPE)
    assert refused.headers["Retry-After"] == "1"
    assert refused.headers["RateLimit"] == '"requests";r=0;t=1'
    assert refused.json()["code"] == "too_many_requests"
    clock.now += int(refused.headers["Retry-After"])
    assert statuses(app, 2, headers=ANN) == [200, 429]


def test_a_caller_counts_by_token_wherever_it_comes_from(clock: Clock) -> None:
    app = limited(clock)
    assert statuses(app, 2, headers=ANN, client="192.0.2.1") == [200, 200]
    assert statuses(app, 2, headers=ANN, client="192.0.2.2") == [200, 429]


def test_strangers_count_by_address(clock: Clock) -> None:
    app = limited(clock)
    assert statuses(app, 3, "/open") == [200, 200, 429]
    assert statuses(app, 1, "/open", client="192.0.2.2") == [200]
    assert statuses(app, 1, "/jobs") == [429]


def test_one_who_guesses_tokens_is_stopped_whatever_they_guess(clock: Clock) -> None:
    app = limited(clock)
    guesses = [
        ask(app, "GET", "/jobs", headers={"Authorization": f"Bearer {number}"}).status_code
        for number in range(5)
    ]
    assert guesses == [401, 401, 429, 429, 429]


def test_who_asks_for_something_open_between_two_guesses_gets_no_more_of_them(
    clock: Clock,
) -> None:
    app = limited(clock)
    for number in range(2):
        guess = {"Authorization": f"Bearer {number}"}
        assert statuses(app, 1, "/open", headers=guess) == [200]
        assert statuses(app, 1, headers=guess) == [401]
    assert statuses(app, 1, "/open", headers={"Authorization": "Bearer 2"}) == [429]


def test_a_good_token_is_not_shut_out_by_guesses_from_the_same_address(clock: Clock) -> None:
    app = limited(clock, callers=10)
    assert statuses(app, 1, headers=ANN) == [200]
    assert statuses(app, 3, headers={"Authorization": "Bearer wrong"}) == [401, 401, 429]
    assert statuses(app, 2, headers=ANN) == [200, 200]


def test_health_is_never_refused(clock: Clock) -> None:
    assert set(statuses(limited(clock), 10, "/health/live")) == {200}


def test_all_addresses_of_one_network_are_one_client() -> None:
    def of(host: str) -> str:
        return address_of({"type": "http", "client": (host, 1)})

    assert of("2001:db8:1:2::1") == of("2001:db8:1:2:ffff::2") == "2001:db8:1:2::/64"
    assert of("2001:db8:1:3::1") != of("2001:db8:1:2::1")
    assert of("::ffff:192.0.2.1") == of("192.0.2.1") == "192.0.2.1"
    assert of("/run/paretrack.sock") == "/run/paretrack.sock"
    assert address_of({"type": "http", "client": None}) == "unknown"
