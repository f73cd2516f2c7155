"""Long answers come shorter to who can read that; what promises its very bytes comes as it is."""

import asyncio
import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from service import dashboard
from service.compression import SMALLEST, Compression, accepts_gzip
from service.settings import Settings
from tests.service.asking import ask
from tests.service.jobs import Bench
from tests.service.kept import Kept, kept
from tests.service.searched import API, Night, made, submitted

GZIP, NOT = {"Accept-Encoding": "gzip"}, {"Accept-Encoding": "identity"}


def get(app: FastAPI, path: str, headers: dict[str, str], status: int = 200) -> httpx.Response:
    answer = ask(app, "GET", path, headers=headers)
    assert answer.status_code == status, answer.text[:2000]
    return answer


def sizes(answer: httpx.Response) -> tuple[int, int]:
    """Of the body as it was sent, and as it is read."""
    return answer.num_bytes_downloaded, len(answer.content)


# --- the service ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/{}/points",
        "/jobs/{}/trials?limit=100",
        "/jobs/{}/trials",
        "/jobs",
        "/objectives",
        "/../../openapi.json",
        "/../../",
    ],
)
def test_a_long_read_comes_shorter_and_says_the_same(night: Night, app: FastAPI, path: str) -> None:
    as_csv = {"Accept": "text/csv"} if path.endswith("/trials") else {}
    address = (API + path.format(night.big.id)).replace(f"{API}/../..", "")
    plain, coded = get(app, address, {**NOT, **as_csv}), get(app, address, {**GZIP, **as_csv})
    assert coded.content == plain.content and len(plain.content) > SMALLEST
    assert coded.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert coded.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    sent, read = sizes(coded)
    assert 1.5 * sent < read, "a third is usual"
    if not as_csv:  # which is not known at once
        assert int(coded.headers["content-length"]) == sent
    assert int(plain.headers.get("content-length", read)) == read
    assert coded.headers.get("etag") == plain.headers.get("etag")
    for name in ("content-type", "x-content-type-options", "x-request-id"):
        assert name in coded.headers


def test_an_etag_holds_in_every_coding_and_nothing_new_is_a_304(night: Night, app: FastAPI) -> None:
    address = f"{API}/jobs/{night.big.id}/points"
    tag = get(app, address, GZIP).headers["etag"]
    assert tag == get(app, address, NOT).headers["etag"] and tag.startswith('W/"')
    for headers in (GZIP, NOT):
        for said in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
            again = get(app, address, {**headers, "If-None-Match": said}, 304)
            assert again.content == b"" and again.headers["etag"] == tag
            assert again.headers["vary"] == "Accept-Encoding"
            assert "content-encoding" not in again.headers
        get(app, address, {**headers, "If-None-Match": 'W/"0"'})


def test_a_version_that_can_be_changed_keeps_its_strong_etag(
    fresh: FastAPI, engine: Any, here: Bench
) -> None:
    job = submitted(engine, here, name="x" * 100, first=[{"layer3": 4}] * 300)
    address = f"{API}/jobs/{job.id}"
    answer = get(fresh, address, GZIP)
    assert len(answer.content) > 2 * SMALLEST and "content-encoding" not in answer.headers
    tag = answer.headers["etag"]
    assert tag == f'"{job.version}"'
    get(fresh, address, {**GZIP, "If-None-Match": tag}, 304)
    headers = {**GZIP, "If-Match": tag}
    assert ask(fresh, "PATCH", address, json={"priority": 3}, headers=headers).status_code == 200


@pytest.fixture
def trial(prepared_sqlite: Path, here: Bench) -> Iterator[Kept]:
    found = kept(prepared_sqlite, here)
    yield found
    found.engine.dispose()


def test_a_file_and_a_part_of_it_are_sent_byte_for_byte(trial: Kept) -> None:
    with made(trial.settings) as app:
        for name in ("report.json", "model.safetensors"):
            path = f"{trial.path}/artefacts/{name}"
            whole = get(app, path, GZIP)
            assert "content-encoding" not in whole.headers and "vary" not in whole.headers
            assert whole.headers["content-length"] == str(len(whole.content))
            assert not whole.headers["etag"].startswith("W/")
            some = get(app, path, {**GZIP, "Range": "bytes=10-2009"}, 206)
            assert some.content == whole.content[10:2010]
            assert "content-encoding" not in some.headers
            tag = {**GZIP, "Range": "bytes=0-", "If-Range": whole.headers["etag"]}
            assert get(app, path, tag, 206).content == whole.content


@pytest.mark.parametrize("name", ["style.css", "pages/job.js", "icon.svg"])
def test_what_pages_load_is_coded_once_and_kept(fresh: FastAPI, name: str) -> None:
    path = f"/static/{dashboard.digest()}/{name}"
    plain, coded = get(fresh, path, NOT), get(fresh, path, GZIP)
    asset = dashboard.assets()[name]
    assert plain.content == coded.content == asset.content == gzip.decompress(asset.gzipped)
    assert coded.headers["content-encoding"] == "gzip"
    assert coded.headers["content-length"] == str(len(asset.gzipped))
    for answer in (plain, coded):
        assert answer.headers["vary"] == "Accept-Encoding"
        assert "immutable" in answer.headers["cache-control"]


def test_an_answer_that_fits_a_packet_is_not_coded(fresh: FastAPI) -> None:
    answer = get(fresh, f"{API}/health/live", GZIP)
    assert "content-encoding" not in answer.headers and answer.headers["vary"] == "Accept-Encoding"


def test_a_secret_is_never_in_a_coded_answer(here: Bench, database_url: str) -> None:
    settings = Settings(home=here.home, database_url=database_url)
    with made(settings) as app:
        body = {"name": "n" * 190, "owner": "o" * 190, "role": "viewer"}
        answer = ask(app, "POST", f"{API}/tokens", json=body, headers=GZIP)
        assert answer.status_code == 201, answer.text
        assert "content-encoding" not in answer.headers


# --- by itself ------------------------------------------------------------------------------------

JSON = [(b"content-type", b"application/json; charset=utf-8")]
LONG = json.dumps(list(range(5000))).encode()


def sent(
    headers: Sequence[tuple[bytes, bytes]],
    bodies: Sequence[bytes],
    *,
    status: int = 200,
    method: str = "GET",
    accepts: bytes = b"gzip, br",
) -> list[Message]:
    """What comes out where an application says this."""

    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        for i, body in enumerate(bodies):
            more = i + 1 < len(bodies)
            before = len(heard)
            await send({"type": "http.response.body", "body": body, "more_body": more})
            assert len(heard) > before, "nothing is held back"

    heard: list[Message] = []

    async def send(message: Message) -> None:
        heard.append({**message, **({"headers": list(message["headers"])} if "headers" in message
                                    else {})})  # fmt: skip

    async def receive() -> Message:
        raise AssertionError("nobody asked for the body")

    scope = {"type": "http", "method": method, "headers": [(b"accept-encoding", accepts)]}
    asyncio.run(Compression(application)(scope, receive, send))
    return heard


@pytest.mark.parametrize(
    ("headers", "more"),
    [
        ([(b"content-type", b"text/event-stream")], {}),
        ([(b"content-type", b"application/octet-stream")], {}),
        ([(b"content-type", b"image/jpeg")], {}),
        ([*JSON, (b"etag", b'"3"')], {}),
        ([*JSON, (b"accept-ranges", b"bytes")], {}),
        ([*JSON, (b"content-encoding", b"br")], {}),
        ([*JSON, (b"content-range", b"bytes 0-9/10")], {"status": 206}),
        (JSON, {"status": 404}),
        (JSON, {"method": "POST"}),
        (JSON, {"method": "HEAD"}),
        (JSON, {"accepts": b"gzip;q=0"}),
        (JSON, {"accepts": b"br"}),
    ],
)
def test_what_is_none_of_that_passes_as_it_is(
    headers: list[tuple[bytes, bytes]], more: dict[str, Any]
) -> None:
    first, *rest = sent(headers, [LONG, LONG, b""], **more)
    assert [m["body"] for m in rest] == [LONG, LONG, b""]
    left = [each for each in first["headers"] if each[0] != b"vary"]
    assert left == headers


def test_an_event_comes_at_once() -> None:
    events = [b"data: 1\n\n", b": heartbeat\n\n", b"data: 2\n\n"]
    _, *rest = sent([(b"content-type", b"text/event-stream; charset=utf-8")], events)
    assert [m["body"] for m in rest] == events


def test_what_is_said_to_vary_already_stays() -> None:
    first, *_ = sent([*JSON, (b"vary", b"Origin")], [LONG])
    assert (b"vary", b"Origin, Accept-Encoding") in first["headers"]


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=6))
def test_pieces_add_up_to_what_was_said(pieces: list[bytes]) -> None:
    first, *rest = sent([*JSON, (b"content-length", b"7")], pieces)
    body = b"".join(m["body"] for m in rest)
    headers = dict(first["headers"])
    if b"content-encoding" in headers:
        assert gzip.decompress(body) == b"".join(pieces)
        assert headers.get(b"content-length") in (None, str(len(body)).encode())
    else:
        assert body == b"".join(pieces) and len(pieces) == 1 and len(body) < SMALLEST


@pytest.mark.parametrize(
    ("said", "allowed"),
    [
        ("gzip", True),
        ("GZip;q=0.5, br", True),
        ("deflate, gzip;q=1.0, *;q=0.5", True),
        ("*", True),
        ("x-gzip", True),
        ("gzip;q=0", False),
        ("gzip; q=0.0, *", False),
        ("*;q=0", False),
        ("br, zstd", False),
        ("identity", False),
        ("", False),
        ("gzip;q=much", False),
        ("gzipped", False),
    ],
)
def test_only_who_says_so_gets_gzip(said: str, allowed: bool) -> None:
    assert accepts_gzip([said]) is allowed


def test_several_headers_are_as_one() -> None:
    assert accepts_gzip(["br", "gzip;q=0.3"]) and not accepts_gzip([])
