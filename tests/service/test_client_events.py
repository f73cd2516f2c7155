"""A job followed over lines that break: every event once."""

import threading
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service._client_events import Frame, frames
from service.app import create_app
from service.client import Client, ClientError, Event, JobHandle
from service.jobs import StoredJob
from service.settings import Settings
from tests.service.house import House, broken, client, events_of, house, line
from tests.service.line import Cut, Line, line_to
from tests.service.served import serving

__all__ = ["broken", "client", "house", "line"]  # fixtures


def run_in_a_thread(house: House, job: StoredJob) -> threading.Thread:
    """Somebody's controller takes the job up, and brings it to its end."""
    from tests.service.running import run

    thread = threading.Thread(target=run, args=(house.engine, house.here, job))
    thread.start()
    return thread


def test_every_event_comes_once_over_a_line_that_keeps_breaking(
    house: House, line: Line, broken: Client
) -> None:
    job = broken.job(house.done.id)
    line.always = Cut(2500)
    found = [(event.number, event.kind) for event in job.events()]
    assert found == events_of(house.engine, job.id)
    assert line.asked("GET") > 4
    some = [event.number for event in job.events(after=5)]
    assert some == [number for number, _ in found[5:]]


def test_who_waits_hears_everything_and_then_how_it_ended(house: House, client: Client) -> None:
    asked = house.submitted("waited for")
    job = client.job(asked.id)
    heard: list[Event] = []
    thread = run_in_a_thread(house, asked)
    ended = job.wait(timeout=60, on_event=heard.append)
    thread.join()
    assert (ended.state, job.state) == ("SUCCEEDED", "SUCCEEDED")
    assert [(e.number, e.kind) for e in heard] == events_of(house.engine, job.id)[1:]
    assert job.wait().state == "SUCCEEDED"


def test_a_service_that_is_brought_up_anew_is_waited_for(house: House, tmp_path: Path) -> None:
    asked = house.submitted("over a restart")
    settings = Settings(home=house.here.home, database_url=str(house.engine.url))
    heard: list[Event] = []
    waiting: list[str] = []

    def wait(job: JobHandle) -> None:
        waiting.append(job.wait(timeout=60, on_event=heard.append).state)

    with serving(create_app(settings, needs_tokens=False)) as first, line_to(first.url) as line:
        client = Client(line.url)
        job = client.job(asked.id)
        thread = threading.Thread(target=wait, args=(job,))
        thread.start()
        _wait_for(lambda: line.asked("GET") >= 3, "nobody follows")
        first.end()
        run_in_a_thread(house, asked).join()
        with serving(create_app(settings, needs_tokens=False)) as second:
            line.backend = second.url
            thread.join(60)
        client.close()
    assert waiting == ["SUCCEEDED"]
    assert [(e.number, e.kind) for e in heard] == events_of(house.engine, job.id)[1:]


def _wait_for(true: object, what: str) -> None:
    import time

    for _ in range(500):
        if true():  # type: ignore[operator]
            return
        time.sleep(0.02)
    raise AssertionError(what)


def test_who_waits_too_long_is_told(house: House, client: Client) -> None:
    job = client.job(house.submitted("never").id)
    with pytest.raises(ClientError) as refused:
        job.wait(timeout=0.3)
    assert refused.value.code == "waited"


PIECES = ["id: 7\r\n", "event: front\n", 'data: {"a": "\u2028 é"}\r', "\r\n", ": alive\n\n", "\n"]
STREAM = "".join(PIECES * 3 + ["data: never whole"]).encode()


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_a_stream_is_the_same_however_it_is_cut(cuts: list[int]) -> None:
    ends = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[a:b] for a, b in pairwise(ends)]
    found = list(frames(chunks))
    assert found == [Frame("front", '{"a": "\u2028 é"}'), Frame("", "")] * 3
