"""What is refused or added before any route is asked, here and by a real server."""

import json
import logging
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.callers import EMBEDDED
from service.edge import BODY_LIMIT, protect
from service.errors import MEDIA_TYPE, Problem
from service.json_text import check_json
from service.logs import what_about
from service.rates import Buckets
from service.routes import problems
from tests.service.asking import ask

JSON = {"Content-Type": "application/json"}
UPLOADS = 4 << 20


def small_app(hosts: tuple[str, ...] | None = ("paretrack.example",), **more: Any) -> FastAPI:
    """Echoes JSON, counts the bytes of uploads, and says which request it is in."""
    app = FastAPI()
    problems.install(app)
    protect(app, hosts=hosts, uploads={"/uploads": UPLOADS}, **more)

    @app.post("/echo")
    def echo(body: dict[str, Any]) -> dict[str, Any]:
        return body

    @app.post("/uploads/weights")
    async def upload(request: Request) -> int:
        return sum([len(chunk) async for chunk in request.stream()])

    @app.post("/uploads/refused")
    def refused() -> None:
        raise HTTPException(403)

    @app.post("/uploads/swallowed")
    async def swallowed(request: Request) -> str:
        try:
            await request.body()
        except Problem:
            return "went well"
        return "all of it"

    @app.get("/about")
    def about_what(request: Request) -> dict[str, Any]:
        request.state.caller = EMBEDDED
        return dict(what_about())

    @app.get("/page")
    def page() -> Response:
        own = {"Content-Security-Policy": "default-src 'self'", "Cache-Control": "max-age=60"}
        return Response("{}", media_type="application/json", headers=own)

    @app.get("/bug")
    def bug() -> None:
        raise RuntimeError("bug")

    @app.get("/things/{name}")
    def thing(name: str, q: str = "") -> str:
        return name + q

    return app


def serve() -> None:
    """In a process of its own: says its port, then serves."""
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)  # noqa: T201
    config = uvicorn.Config(small_app(), log_config=None, access_log=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[listening])


@pytest.fixture(scope="module")
def app() -> FastAPI:
    """As it stands on a loopback address, without tokens."""
    return small_app()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a uvicorn process with the same application."""
    start = "from tests.service.test_edge import serve; serve()"
    with subprocess.Popen([sys.executable, "-c", start], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def echoed(app: FastAPI, body: bytes) -> httpx.Response:
    return ask(app, "POST", "/echo", content=body, headers=JSON)


def refusal(body: bytes) -> Problem | None:
    try:
        check_json(body)
    except Problem as problem:
        return problem
    return None


# --- JSON --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code", "why"),
    [
        (b'{"a": ' * 65 + b"1" + b"}" * 65, "invalid", "more than 64 deep"),
        (b"[" * 100_000 + b"]" * 100_000, "invalid", "more than 64 deep"),
        (b"[" * 100_000, "invalid", "more than 64 deep"),
        (b'{"a": NaN}', "malformed", "NaN is no JSON"),
        (b'{"a": -Infinity}', "malformed", "-Infinity is no JSON"),
        (b'{"a": 1e999}', "invalid", "the number 1e999 is too large"),
        (b'{"a": -1E+0400}', "invalid", "too large"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "malformed", "'c' twice"),
        (b'{"a": "\xff"}', "malformed", "byte 7 is not UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "malformed", "not UTF-8"),
        (b'{"a": "x\\u0000"}', "invalid", "NUL character at byte 8"),
        (b'{"\\\\\\u0000": 1}', "invalid", "NUL character at byte 4"),
        (b'{"a": "\x00"}', "malformed", "Invalid control character"),
        (b'{"a": "\\ud800"}', "invalid", "half a surrogate pair at byte 7"),
        (b'{"a": "\\uDC00\\uD800"}', "invalid", "half a surrogate pair"),
        (b'{"a": "\\ud83d\\u0061"}', "invalid", "half a surrogate pair"),
        (b'{"a": 9223372036854775808}', "invalid", "more than 64 bits"),
        (b'{"a": -9223372036854775809}', "invalid", "more than 64 bits"),
        (b'{"a": ' + b"9" * 1_000_000 + b"}", "invalid", "(1000000 characters)"),
        (b'{"a": 1} x', "malformed", "Extra data at line 1 column 10"),
        ('{"a": 1}'.encode("utf-16"), "malformed", "not UTF-8"),
        ('{"a": 1}'.encode("utf-16-le"), "malformed", "Expecting property name"),
    ],
)
def test_json_that_could_not_be_kept_is_refused_and_told_why(
    app: FastAPI, body: bytes, code: str, why: str
) -> None:
    answer = echoed(app, body)
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.json()["code"] == code
    assert why in answer.json()["detail"]


@pytest.mark.parametrize(
    "value",
    [
        json.loads("[" * 62 + "]" * 62),
        {"brackets in a text": "[{" * 1000 + '"\\'},
        {"backslashes before": "\\u0000 \\\\u0000 \\ud800"},
        {"pair": "\U0001f600", "high": "\uffff", "other": "\u2028"},
        {"whole": [2**63 - 1, -(2**63)], "text": "9" * 400, "real": [1e308, 0.1 + 1e-17]},
        {"long fraction": 0.30000000000000004, "small": 1e-300},
    ],
)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_decent_json_arrives_as_it_was_sent(app: FastAPI, value: Any, ascii_only: bool) -> None:
    body = json.dumps({"value": value}, ensure_ascii=ascii_only).encode()
    answer = echoed(app, body)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"value": value}


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False,
        allow_infinity=False) | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
        lambda inner: st.lists(inner) | st.dictionaries(
            st.text(st.characters(codec="utf-8", exclude_characters="\0")), inner),
    ),
    st.booleans(),
)  # fmt: skip
def test_all_storable_json_passes(value: Any, ascii_only: bool) -> None:
    assert refusal(json.dumps(value, ensure_ascii=ascii_only).encode("utf-8")) is None


@settings(deadline=None)
@given(st.text('[]{}",:\\u0dD8c1eE+- \0aN\ud800', max_size=40), st.binary(max_size=30))
def test_whatever_passes_can_be_read_and_kept(said: str, raw: bytes) -> None:
    for body in (raw, said.encode(errors="replace"), json.dumps([said]).encode()):
        if refusal(body) is None:
            json.dumps(json.loads(body), allow_nan=False, ensure_ascii=False).encode("utf-8")
            assert b"\\u0000" not in json.dumps(json.loads(body)).encode().replace(b"\\\\", b"")


@pytest.mark.parametrize(
    "part", [b"[", b"[]", b'"', b'\\"', b'"\\"', b"\\", b"1,", b"1.", b"1e", b"{},", b"\\ud83d"]
)
def test_a_hostile_megabyte_is_answered(app: FastAPI, part: bytes) -> None:
    body = part * (BODY_LIMIT // len(part))
    assert echoed(app, body).json()["code"] in ("malformed", "invalid")


@pytest.mark.parametrize("path", ["/things/a%00b", "/things/a?q=%00", "/things/a?%00=1"])
def test_a_nul_in_the_path_or_the_query_is_refused(app: FastAPI, path: str) -> None:
    assert ask(app, "GET", path).status_code == 422
    assert ask(app, "GET", path.replace("%00", "%2500")).status_code == 200


def test_json_by_another_name_is_looked_at_too(app: FastAPI) -> None:
    for kind in ("application/merge-patch+json", "APPLICATION/JSON ; charset=x"):
        answer = ask(app, "POST", "/echo", content=b'{"a":NaN}', headers={"Content-Type": kind})
        assert "NaN" in answer.json()["detail"]


# --- length ------------------------------------------------------------------------------------


def chunks(count: int, size: int = 1 << 16) -> AsyncIterator[bytes]:
    async def each() -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"x" * size

    return each()


def test_a_body_may_have_just_so_many_bytes(app: FastAPI) -> None:
    padded = b'{"a":1}' + b" " * (BODY_LIMIT - 7)
    assert echoed(app, padded).status_code == 200
    answer = echoed(app, padded + b" ")
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert str(BODY_LIMIT) in answer.json()["detail"]


def test_uploads_may_have_more_and_json_may_not(app: FastAPI) -> None:
    assert ask(app, "POST", "/uploads/weights", content=chunks(64)).json() == UPLOADS
    assert ask(app, "POST", "/uploads/weights", content=chunks(65)).status_code == 413
    assert ask(app, "POST", "/uploads/weights", content=chunks(17), headers=JSON).status_code == 413


def test_an_application_that_swallows_the_refusal_does_not_answer(app: FastAPI) -> None:
    assert ask(app, "POST", "/uploads/swallowed", content=chunks(65)).status_code == 413
    assert ask(app, "POST", "/uploads/swallowed", content=chunks(1)).json() == "all of it"


def test_a_length_that_is_no_number_is_refused(app: FastAPI) -> None:
    for length, status in (("-1", 400), ("1e3", 400), ("9" * 5000, 413)):
        headers = {**JSON, "Content-Length": length}
        assert ask(app, "POST", "/echo", content=b"{}", headers=headers).status_code == status


class Line:
    """A connection whose every byte is ours."""

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_error: object) -> None:
        self.socket.close()

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)

    def head(self, path: str, *headers: str) -> None:
        self.socket.sendall("\r\n".join((f"POST {path} HTTP/1.1", *headers, "", "")).encode())

    def stream(self, limit: int) -> int:
        """Sends chunks until the server closes, at most ``limit`` bytes; how many it took."""
        sent, chunk = 0, b"10000\r\n" + b"x" * 65536 + b"\r\n"
        while sent < limit:
            try:
                self.socket.sendall(chunk)
            except OSError:
                break
            sent += 65536
        return sent

    def answer(self) -> bytes:
        """All until the server closes."""
        said = b""
        try:
            while part := self.socket.recv(65536):
                said += part
        except ConnectionResetError:
            pass
        return said


def test_ten_gigabytes_that_are_announced_are_refused_before_one_is_sent(port: int) -> None:
    with Line(port) as line:
        length, waits = "Content-Length: 10000000000", "Expect: 100-continue"
        line.head("/uploads/weights", "Host: localhost", length, waits)
        said = line.answer()
    assert said.startswith(b"HTTP/1.1 413 ")
    assert b'"code": "too_large"' in said
    assert b"100 Continue" not in said


def test_an_endless_stream_is_cut_off_soon_after_the_limit(port: int) -> None:
    with Line(port) as line:
        line.head("/uploads/weights", "Host: localhost", "Transfer-Encoding: chunked")
        assert line.stream(1 << 30) < 64 << 20  # what the buffers of both sides hold
    assert httpx.get(f"http://127.0.0.1:{port}/about").status_code == 200


def test_who_streams_hears_why_it_was_cut_off(port: int) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 65536

    answer = httpx.post(f"http://127.0.0.1:{port}/uploads/weights", content=endless())
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_a_stream_that_nobody_reads_is_not_taken_to_its_end(port: int) -> None:
    for path in ("/uploads/refused", "/nowhere"):
        with Line(port) as line:
            line.head(path, "Host: localhost", "Transfer-Encoding: chunked")
            assert line.stream(1 << 30) < 64 << 20


def test_a_short_body_keeps_the_connection(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(2):
            answer = client.post("/echo", json={"a": 1})
            assert answer.json() == {"a": 1}
            assert "connection" not in answer.headers


# --- other sites -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8000",
        "127.0.0.1:80",
        "[::1]:8000",
        "localhost.",
        "Paretrack.Example",
    ],
)
def test_our_own_names_are_answered_to(app: FastAPI, host: str) -> None:
    assert ask(app, "GET", "/about", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "localhost@evil.example", "127.0.0.1.nip.example",
     "192.168.1.7", "[::2]", "", "localhost:8000:x", "0.0.0.0"],
)  # fmt: skip
def test_a_name_that_is_not_ours_is_refused_whatever_is_asked(app: FastAPI, host: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        answer = ask(app, method, "/echo", headers={"Host": host})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_a_request_with_two_names_is_malformed(app: FastAPI) -> None:
    twice = [("Host", "localhost"), ("Host", "evil.example")]
    assert ask(app, "GET", "/about", headers=twice).status_code == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://localhost:8000", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "https://front.example", "Sec-Fetch-Site": "cross-site"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://localhost:3000"}, 403),
        ({"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Authorization": "Bearer x", "Origin": "https://evil.example"}, 403),
    ],
)
def test_pages_of_other_sites_change_nothing(headers: dict[str, str], status: int) -> None:
    app = small_app(origins=("https://front.example",))
    sent = {"Host": "localhost:8000", **headers}
    assert ask(app, "POST", "/echo", json={}, headers=sent).status_code == status
    assert ask(app, "GET", "/about", headers=sent).status_code == 200


def test_where_every_caller_has_a_token_any_name_will_do_and_cookies_will_not() -> None:
    app = small_app(hosts=None)
    far = {"Host": "paretrack.lab", "Origin": "https://front.example"}
    token = {**far, "Authorization": "Bearer x"}
    assert ask(app, "POST", "/echo", json={}, headers=token).status_code == 200
    assert ask(app, "POST", "/echo", json={}, headers=far).status_code == 403


# --- headers, ids and logs ---------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/about", "/nowhere", "/bug", "/things/%00"])
def test_every_answer_has_the_headers_that_browsers_need(app: FastAPI, path: str) -> None:
    headers = ask(app, "GET", path).headers
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Frame-Options"] == "DENY"
    assert "Strict-Transport-Security" not in headers
    assert headers["X-Request-Id"]


def test_what_the_application_says_itself_stays(app: FastAPI) -> None:
    headers = ask(app, "GET", "/page", headers={"Authorization": "Bearer x"}).headers
    assert headers["Content-Security-Policy"] == "default-src 'self'"
    assert headers["Cache-Control"] == "max-age=60"


def test_what_is_for_one_caller_is_not_stored_on_the_way(app: FastAPI) -> None:
    personal = ask(app, "GET", "/about", headers={"Authorization": "Bearer x"})
    assert personal.headers["Cache-Control"] == "no-store"
    assert "Cache-Control" not in ask(app, "GET", "/about").headers


def test_only_who_came_by_https_is_told_to_stay_there(app: FastAPI) -> None:
    answer = ask(app, "GET", "/about", base="https://localhost")
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_a_decent_request_id_is_kept_and_goes_everywhere(app: FastAPI) -> None:
    answer = ask(app, "GET", "/about", headers={"X-Request-Id": "night.1_a-b"})
    assert answer.headers["X-Request-Id"] == "night.1_a-b"
    assert answer.json() == {"request": "night.1_a-b"}
    failed = ask(app, "GET", "/bug", headers={"X-Request-Id": "night"})
    assert failed.status_code == 500
    assert failed.headers["X-Request-Id"] == failed.json()["request_id"] == "night"


@pytest.mark.parametrize("given_id", ["", "a b", "x" * 65, "a\tb", "<b>", "a;b", "é"])
def test_another_request_id_is_replaced(app: FastAPI, given_id: str) -> None:
    headers = {"X-Request-Id": given_id.encode("latin-1")}
    first, second = (ask(app, "GET", "/about", headers=headers) for _ in range(2))
    made = first.headers["X-Request-Id"]
    assert re.fullmatch("[0-9a-f]{16}", made)
    assert made != second.headers["X-Request-Id"]


def records(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "paretrack.access"]


def test_each_request_is_one_record_without_its_secrets(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    secret = {"Authorization": "Bearer hunter2"}
    ask(app, "GET", "/about?password=hunter2", headers=secret, client="192.0.2.9")
    ask(app, "GET", "/no%0Awhere%1b", headers=secret)
    ask(app, "GET", "/bug", headers=secret)
    ask(app, "GET", "/about", headers={"Host": "evil.example"})
    first, second, third, fourth = records(caplog)
    assert {k: vars(first)[k] for k in ("method", "path", "status", "owner", "client")} == {
        "method": "GET", "path": "/about", "status": 200, "owner": "me", "client": "192.0.2.9",
    }  # fmt: skip
    assert vars(first)["seconds"] >= 0
    assert (vars(second)["path"], vars(second)["status"]) == ("/no%0Awhere%1B", 404)
    assert (vars(third)["status"], vars(fourth)["status"]) == (500, 403)
    assert "hunter2" not in "".join(str(vars(record)) for record in records(caplog))


def test_limits_on_how_often_are_part_of_it() -> None:
    app = small_app(callers=Buckets(1, 5), strangers=Buckets(0.001, 1))
    assert ask(app, "GET", "/about").headers["RateLimit"].startswith('"requests";r=0')
    refused = ask(app, "GET", "/about")
    assert refused.status_code == 429
    assert refused.headers["X-Content-Type-Options"] == "nosniff"
    assert refused.headers["X-Request-Id"] == refused.json()["request_id"]
