"""What stands before the application: everything that is refused or added whatever is asked for.

Plain ASGI, so that streams stay streams. ``protect(app, ...)`` puts all of it in its order.
"""

import logging
import re
import secrets
import time
from collections.abc import Collection, Mapping
from functools import partial
from urllib.parse import quote, unquote

import anyio.to_thread
from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.compression import Compression
from service.errors import Problem
from service.json_text import check_json, storable_text
from service.logs import about
from service.rates import Buckets, RateLimits, address_of
from service.routes.problems import answer

BODY_LIMIT = 1 << 20  # bytes
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LARGE = 64 << 10  # bytes of JSON whose check would hold up other requests
_SAFE = ("GET", "HEAD", "OPTIONS")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# An answer before the whole body has come: else the server reads, and drops, all the rest.
_CLOSE = {"Connection": "close"}
_access = logging.getLogger("paretrack.access")


def protect(
    app: FastAPI,
    *,
    hosts: Collection[str] | None,
    origins: Collection[str] = (),
    uploads: Mapping[str, int] | None = None,
    callers: Buckets | None = None,
    strangers: Buckets | None = None,
) -> None:
    """``hosts``: the names this service answers to (None: any, where every caller has a token);
    ``origins``: other sites whose pages may call; ``uploads``: path prefix -> bytes of a body."""
    app.add_middleware(Compression)
    app.add_middleware(ReadableText)
    if callers is not None and strangers is not None:
        app.add_middleware(RateLimits, callers=callers, strangers=strangers)
    app.add_middleware(OwnPagesOnly, hosts=hosts, origins=origins)
    app.add_middleware(BodyLimit, limits=uploads or {})
    app.add_middleware(SecurityHeaders)
    app.add_middleware(AccessLog)
    app.add_middleware(RequestIds)


class RequestIds:
    """Every request has an id, the caller's own if it is a decent one; answers and logs say it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        asked = Headers(scope=scope).get("x-request-id", "")
        request_id = asked if _REQUEST_ID.fullmatch(asked) else secrets.token_hex(8)

        async def naming(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        with about(request=request_id):
            await self.app(scope, receive, naming)


class AccessLog:
    """One record for each request, when its answer has ended. No query: it may hold secrets."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.monotonic(), 0  # 0: the caller has gone before
        scope.setdefault("state", {})  # where the application leaves the caller

        async def noting(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, noting)
        except Exception:
            status = status or 500
            raise
        finally:
            _note(scope, status, time.monotonic() - began)


def _note(scope: Scope, status: int, seconds: float) -> None:
    caller = scope["state"].get("caller")
    facts = {
        "method": scope["method"],
        "path": quote(scope["path"].encode(errors="replace")[:500]),
        "status": status,
        "seconds": round(seconds, 4),
        "owner": getattr(caller, "owner", None),
        "token_id": getattr(caller, "token_id", None),
        "client": address_of(scope),
    }
    _access.info("%s %s %s", facts["method"], facts["path"], status, extra=facts)


class SecurityHeaders:
    """What browsers need to be told, unless the application has said something else."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        personal = "authorization" in asked or "cookie" in asked

        async def adding(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if personal and "json" in headers.get("content-type", ""):
                    headers.setdefault("Cache-Control", "no-store")
                if scope["scheme"] == "https":
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000")
            await send(message)

        await self.app(scope, receive, adding)


class OwnPagesOnly:
    """Keeps web pages of others from calling with the rights of the browser they are shown in.

    Without tokens whoever reaches the port may do everything, and a browser on the same machine
    reaches it: directly (cross-site requests), or by a name that suddenly means 127.0.0.1.
    """

    def __init__(
        self, app: ASGIApp, hosts: Collection[str] | None, origins: Collection[str] = ()
    ) -> None:
        self.app = app
        self._hosts = None if hosts is None else {*LOOPBACK, *(_host(host) for host in hosts)}
        self._origins = {origin.lower().rstrip("/") for origin in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is not None:
            await answer(refusal, scope)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        named = headers.getlist("host")
        if len(named) != 1:
            return Problem("malformed", f"expected one Host header, got {len(named)}")
        if self._hosts is not None and _host(named[0]) not in self._hosts:
            return Problem(
                "forbidden",
                f"this service does not answer to the name {named[0][:100]!r}: use "
                "http://localhost and its port, or have the operator allow that name",
            )
        # A page of another site cannot add this header without having been allowed to.
        has_token = self._hosts is None and "authorization" in headers
        if scope["method"] in _SAFE or has_token or self._own_page(headers, named[0]):
            return None
        return Problem("forbidden", "this comes from a page of another site, which may not do it")

    def _own_page(self, headers: Headers, named: str) -> bool:
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None and origin.lower() in self._origins:
            return True
        if site not in (None, "same-origin", "none"):
            return False
        return origin is None or origin.lower().partition("://")[2] == named.lower()


def _host(named: str) -> str:
    """Without the port: ``[::1]:8000`` is ``::1``."""
    bracketed = re.fullmatch(r"\[([0-9a-f:.]+)\](?::\d+)?", named.lower())
    return bracketed[1] if bracketed else re.sub(r":\d+$", "", named.lower()).rstrip(".")


class BodyLimit:
    """Refuses a body that is too long as soon as that is known, without reading the rest."""

    def __init__(
        self, app: ASGIApp, limit: int = BODY_LIMIT, limits: Mapping[str, int] | None = None
    ) -> None:
        self.app, self._limit = app, limit
        longest_first = sorted((limits or {}).items(), key=lambda item: -len(item[0]))
        self._limits = tuple(longest_first)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        limit = self._limit_of(scope["path"], headers)
        said = headers.get("content-length", "0")
        if not re.fullmatch("[0-9]+", said):
            problem = Problem("malformed", f"Content-Length is no number: {said[:40]!r}")
            await answer(problem, scope)(scope, receive, send)
            return
        if len(said) > 18 or int(said) > limit:
            await answer(_too_large(limit), scope)(scope, receive, send)
            return
        long = "transfer-encoding" in headers or int(said) > self._limit
        await _Counted(self.app, limit, long)(scope, receive, send)

    def _limit_of(self, path: str, headers: Headers) -> int:
        if is_json(headers):
            return self._limit
        return next((most for prefix, most in self._limits if path.startswith(prefix)), self._limit)


class _Counted:
    """One request whose body is counted as it comes."""

    def __init__(self, app: ASGIApp, limit: int, long: bool) -> None:
        self.app, self._limit, self._to_come = app, limit, long
        self._seen, self._started = 0, False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, partial(self._receive, receive), partial(self._send, send))
        except Problem:
            if self._started or self._seen <= self._limit:
                raise
        if self._seen > self._limit and not self._started:
            await answer(_too_large(self._limit), scope)(scope, receive, send)

    async def _receive(self, receive: Receive) -> Message:
        message = await receive()
        self._to_come = self._to_come and message.get("more_body", False)
        self._seen += len(message.get("body", b""))
        if self._seen > self._limit:
            raise _too_large(self._limit)
        return message

    async def _send(self, send: Send, message: Message) -> None:
        if self._seen > self._limit and not self._started:
            return  # whatever the application makes of it, the answer is ours
        if not self._started and self._to_come:
            MutableHeaders(scope=message).update(_CLOSE)
        self._started = True
        await send(message)


def _too_large(limit: int) -> Problem:
    return Problem("too_large", f"the body may have {limit} bytes here; send less", headers=_CLOSE)


class ReadableText:
    """Refuses text that could not be kept, in the path, in the query and in JSON."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        json_body = is_json(Headers(scope=scope))
        try:
            _check_names(scope)
            body = await _whole(receive) if json_body else b""
            if body:  # the application knows whether it needs one
                await _check(body)
        except Problem as problem:
            await answer(problem, scope)(scope, receive, send)
            return
        if body is not None:
            await self.app(scope, _again(body, receive) if json_body else receive, send)


def is_json(headers: Headers) -> bool:
    """Whether the body is JSON, or may be taken for it."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind.endswith(("/json", "+json"))


def _check_names(scope: Scope) -> None:
    query = unquote(scope.get("query_string", b"").decode("latin-1"), errors="replace")
    for what, text in (("path", scope["path"]), ("query", query)):
        if not storable_text(text):
            raise Problem("invalid", f"the {what} has a NUL character in it; leave it out")


async def _whole(receive: Receive) -> bytes | None:
    """The body, or None if the caller has gone."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def _check(body: bytes) -> None:
    if len(body) > _LARGE:
        await anyio.to_thread.run_sync(check_json, body)
    else:
        check_json(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """The same body once more, and then what else the server has to say."""
    told = False

    async def replay() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
