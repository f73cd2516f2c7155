"""Events as they happen, over a real server: replay, resumption, heartbeats, ends."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, event

from service import jobs, tokens
from service.callers import Role
from service.database import reading, writing
from service.event_feed import RECENT, Feed, Pace
from service.jobs import StoredJob
from service.settings import Settings
from tests.service.asking import ask
from tests.service.jobs import Bench
from tests.service.searched import API, Night, made, submitted
from tests.service.served import Served, serving

QUICK = Pace(look=0.05, heartbeat=0.2, recheck=0.3, patience=1.0)


@dataclass(frozen=True)
class Told:
    """One server-sent event."""

    id: str | None
    kind: str
    data: Any


def told(response: httpx.Response) -> Iterator[Told]:
    """As a browser reads the stream; comments come as kind ''."""
    fields: dict[str, str] = {}
    for line in response.iter_lines():
        if line.startswith(":"):
            yield Told(None, "", line)
        elif line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield Told(fields.get("id"), fields["event"], json.loads(fields["data"]))
            fields = {}


@contextmanager
def following(base: str, job: StoredJob, **more: Any) -> Iterator[Iterator[Told]]:
    path = f"{base}{API}/jobs/{job.id}/events"
    with httpx.stream("GET", path, timeout=60, **more) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield told(response)


def quick(app: FastAPI, pace: Pace = QUICK) -> FastAPI:
    app.state.service = replace(app.state.service, pace=pace)
    return app


@pytest.fixture
def app(here: Bench, database_url: str) -> Iterator[FastAPI]:
    with made(Settings(home=here.home, database_url=database_url)) as app:
        yield quick(app)


@pytest.fixture
def served(app: FastAPI) -> Iterator[Served]:
    with serving(app) as found:
        yield found


@pytest.fixture
def job(engine: Engine, here: Bench) -> StoredJob:
    return submitted(engine, here)


def happen(engine: Engine, job: StoredJob, *kinds: str) -> None:
    with writing(engine) as connection:
        jobs.add_events(connection, job.id, [(kind, {"of": kind}) for kind in kinds])


def end(engine: Engine, job: StoredJob) -> None:
    with writing(engine) as connection:
        jobs.change(connection, job.id, "cancel", "test")


def feed_of(app: FastAPI) -> Feed:
    feed: Feed = app.state.service.feed
    return feed


def nobody_follows(app: FastAPI) -> None:
    deadline = time.monotonic() + 60
    while feed_of(app).followers:
        assert time.monotonic() < deadline, "somebody still follows"
        time.sleep(0.01)


# --- what is told ---------------------------------------------------------------------------------


def test_an_ended_job_is_told_from_its_beginning_to_its_end(night: Night) -> None:
    with (
        made(night.settings) as app,
        serving(quick(app)) as served,
        following(served.url, night.stopped) as stream,
    ):
        seen = list(stream)
    with reading(night.engine) as connection:
        events = jobs.read_events(connection, night.stopped.id, 0, 10_000)
    assert [(e.id, e.kind) for e in seen[:-1]] == [(str(e.number), e.kind) for e in events]
    assert [e.data["data"] for e in seen[:-1]] == [e.data for e in events]
    assert seen[-1] == Told(None, "end", {"state": "SUCCEEDED"})


def test_what_happens_is_told_while_it_happens(
    served: Served, engine: Engine, job: StoredJob
) -> None:
    with following(served.url, job) as stream:
        assert next(stream).kind == "state"
        happen(engine, job, "one", "two")
        seen = list(islice((e for e in stream if e.kind), 2))
        assert [(e.id, e.kind) for e in seen] == [("2", "one"), ("3", "two")]
        end(engine, job)
        last = [e for e in stream if e.kind]
    assert [(e.id, e.kind) for e in last] == [("4", "state"), (None, "end")]
    assert last[-1].data == {"state": "CANCELLED"}


def test_who_comes_back_is_told_what_came_since_and_nothing_twice(
    served: Served, engine: Engine, job: StoredJob
) -> None:
    happen(engine, job, *(f"kind_{i}" for i in range(20)))
    with following(served.url, job) as stream:
        last = [next(stream) for _ in range(5)][-1]
    assert last.id == "5"
    end(engine, job)
    with following(served.url, job, headers={"Last-Event-ID": "5"}, params={"after": 1}) as stream:
        assert [e.id for e in stream] == [*map(str, range(6, 23)), None]
    with following(served.url, job, params={"after": 21}) as stream:
        assert [e.id for e in stream] == ["22", None]
    with following(served.url, job, params={"after": 1000}) as stream:
        assert [e.kind for e in stream] == ["end"], "of a number that is yet to come"


def test_a_long_past_is_read_page_by_page(served: Served, engine: Engine, job: StoredJob) -> None:
    happen(engine, job, *("tick" for _ in range(3 * RECENT)))
    end(engine, job)
    with following(served.url, job) as stream:
        seen = [e.id for e in stream]
    assert seen == [*map(str, range(1, 3 * RECENT + 3)), None]


def test_silence_is_broken_so_that_a_broken_line_shows(served: Served, job: StoredJob) -> None:
    with following(served.url, job) as stream:
        assert [next(stream).kind for _ in range(4)] == ["state", "", "", ""]


def test_many_who_follow_cost_one_look(
    app: FastAPI, served: Served, engine: Engine, job: StoredJob
) -> None:
    looks = 0

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal looks
        looks += "jobs.events" in statement and "IN (" in statement

    event.listen(app.state.service.engine, "before_cursor_execute", count)
    seen: list[list[str]] = []

    def follow() -> None:
        with following(served.url, job) as stream:
            seen.append([e.kind for e in stream if e.kind])

    threads = [threading.Thread(target=follow) for _ in range(20)]
    for thread in threads:
        thread.start()
    while feed_of(app).followers < 20:
        time.sleep(0.01)
    began, before = time.monotonic(), looks
    time.sleep(0.5)
    in_all = (time.monotonic() - began) / QUICK.look
    assert 0 < looks - before <= in_all + 2, "as many as for one"
    happen(engine, job, "one")
    end(engine, job)
    for thread in threads:
        thread.join(10)
    assert seen == [["state", "one", "state", "end"]] * 20
    nobody_follows(app)
    before = looks
    time.sleep(3 * QUICK.look)
    assert looks == before, "nobody follows, nothing is asked"


# --- as a page ------------------------------------------------------------------------------------


def test_a_page_of_events_instead_of_a_stream(night: Night) -> None:
    path = f"{API}/jobs/{night.stopped.id}/events"
    seen, after = [], 0
    with made(night.settings) as app:
        while True:
            page = ask(
                app, "GET", path, params={"once": "true", "after": after, "limit": 20}
            ).json()
            seen += page["items"]
            after = page["next"]
            if page["ended"]:
                break
        assert [e["number"] for e in seen] == list(range(1, night.stopped.events + 1))
        assert page["last"] == after == night.stopped.events
        answer = ask(app, "GET", path, headers={"Accept": "application/json"})
        assert answer.json()["items"] == seen[:500]
        beyond = ask(app, "GET", path, params={"once": "true", "after": 10**6}).json()
        assert (beyond["items"], beyond["next"], beyond["ended"]) == ([], page["last"], True)


@pytest.mark.parametrize("number", ["-1", "x", "9" * 15, "1.5", "²"])
def test_a_number_that_no_event_has_is_refused(night: Night, number: str) -> None:
    headers = {"Last-Event-ID": number.encode()}
    with made(night.settings) as app:
        answer = ask(app, "GET", f"{API}/jobs/{night.whole.id}/events", headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == "Last-Event-ID"


# --- how it ends ----------------------------------------------------------------------------------


def test_a_server_ends_although_many_follow(app: FastAPI, job: StoredJob) -> None:
    patient = quick(app, Pace(look=0.5, heartbeat=15.0))
    with serving(patient) as served, httpx.Client(timeout=60) as client:
        url = f"{served.url}{API}/jobs/{job.id}/events"
        asked = [client.build_request("GET", url) for _ in range(8)]
        streams = [client.send(one, stream=True) for one in asked]
        while feed_of(patient).followers < 8:
            time.sleep(0.01)
        served.end()
        for stream in streams:
            # Cut off by uvicorn, after its 5 seconds, they would have no proper end: an error.
            assert "event: state" in "".join(stream.iter_text())
            stream.close()
    assert feed_of(patient).followers == 0


def test_who_goes_leaves_nothing_behind(app: FastAPI, served: Served, job: StoredJob) -> None:
    for _ in range(3):
        with following(served.url, job) as stream:
            assert next(stream).kind == "state"
        nobody_follows(app)
    assert feed_of(app)._topics == {} and feed_of(app)._looking is None


def test_a_revoked_token_ends_the_stream(
    here: Bench, engine: Engine, database_url: str, job: StoredJob
) -> None:
    settings = Settings(home=here.home, database_url=database_url)
    token, text = tokens.create(engine, name="t", owner=job.owner, role=Role.VIEWER, by="test")
    headers = {"Authorization": f"Bearer {text}"}
    with made(settings, needs_tokens=True, hosts=None) as app, serving(quick(app)) as served:
        app.state.service.tokens._seconds = 0.0  # asked anew each time
        with following(served.url, job, headers=headers) as stream:
            kinds = [next(stream).kind for _ in range(5)]
            assert kinds == ["state", "", "", "", ""], "checked, and let go on"
            tokens.revoke(engine, token.id, by="test")
            assert all(e.kind == "" for e in stream)
        refused = httpx.get(f"{served.url}{API}/jobs/{job.id}/events", headers=headers)
    assert refused.status_code == 401


def test_a_reader_who_does_not_read_is_cut_off(
    app: FastAPI, served: Served, engine: Engine, job: StoredJob
) -> None:
    with writing(engine) as connection:
        long = [("long", {"text": "x" * 20_000})] * 1000
        jobs.add_events(connection, job.id, long)
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        path = f"{API}/jobs/{job.id}/events"
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        while not feed_of(app).followers:
            time.sleep(0.01)
        nobody_follows(app)


def test_too_many_followers_are_asked_to_come_again(job: StoredJob, app: FastAPI) -> None:
    service = app.state.service
    service.__dict__["feed"] = Feed(service.engine, QUICK, most=0)
    answer = ask(app, "GET", f"{API}/jobs/{job.id}/events")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "5"
    once = ask(app, "GET", f"{API}/jobs/{job.id}/events?once=true")
    assert once.status_code == 200


def test_followers_stay_while_the_database_is_away(
    app: FastAPI, served: Served, engine: Engine, job: StoredJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    from service import event_feed
    from service.database import DatabaseError

    with following(served.url, job) as stream:
        assert next(stream).kind == "state"
        with monkeypatch.context() as away:

            def refuse(*_: Any) -> Any:
                raise DatabaseError("away")

            away.setattr(event_feed, "reading", refuse)
            assert [next(stream).kind for _ in range(2)] == ["", ""]
        end(engine, job)
        assert [e.kind for e in stream if e.kind] == ["state", "end"]
