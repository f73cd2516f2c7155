"""How often one may call: token buckets, one for each bearer token and each client address.

The buckets are in the memory of one API process: with N processes behind one address a caller may
call N times as often. That is enough to keep one caller from using up a process, which is all
that is promised. A client's address is the one that uvicorn says; behind a proxy it must be told
to trust the proxy's headers (``--forwarded-allow-ips``), else all callers share one bucket.
"""

import hashlib
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Problem
from service.routes.problems import answer


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """Whether something may be done now, and how much more."""

    allowed: bool
    left: int  # further ones that may be done at once
    seconds: float  # until the next one may be done; 0 if it may be now


class Buckets:
    """For every key ``burst`` at once, and ``rate`` a second in the long run.

    Only the ``most`` keys used last are remembered; one that is forgotten begins anew.
    """

    def __init__(
        self,
        rate: float,
        burst: int,
        clock: Callable[[], float] = time.monotonic,
        most: int = 20_000,
    ) -> None:
        if rate <= 0 or burst < 1 or most < 1:
            raise ValueError(f"no buckets with rate {rate}, burst {burst} and most {most}")
        self.rate, self.burst = rate, burst
        self._clock, self._most = clock, most
        self._filled: OrderedDict[str, tuple[float, float]] = OrderedDict()  # how much, and when
        self._lock = threading.Lock()

    def take(self, key: str) -> Allowance:
        """One of it, if there is one."""
        with self._lock:
            now = self._clock()
            filled = self._now(key, now)
            allowed = filled >= 1
            filled -= allowed
            self._filled[key] = (filled, now)
            self._filled.move_to_end(key)
            if len(self._filled) > self._most:
                self._filled.popitem(last=False)
            return self._allowance(allowed, filled)

    def look(self, key: str) -> Allowance:
        """Whether there is one, without taking it."""
        with self._lock:
            filled = self._now(key, self._clock())
            return self._allowance(filled >= 1, filled)

    def __len__(self) -> int:
        return len(self._filled)

    def _now(self, key: str, now: float) -> float:
        filled, at = self._filled.get(key, (float(self.burst), now))
        return min(float(self.burst), filled + (now - at) * self.rate)

    def _allowance(self, allowed: bool, filled: float) -> Allowance:
        wait = max(0.0, 1 - filled) / self.rate
        return Allowance(allowed=allowed, left=math.floor(filled), seconds=wait)


class RateLimits:
    """Answers 429 to whoever calls too often, and says on other answers how much is left.

    A request with an Authorization header counts for that header; one without counts for its
    address, and so does each one that was answered with 401. An address that failed too often is
    not asked for a token any more, but who has shown a good one (``request.state.caller`` was
    set) is not shut out by others at the same address.
    """

    def __init__(
        self,
        app: ASGIApp,
        callers: Buckets,
        strangers: Buckets,
        free: Sequence[str] = ("/api/v1/health/", "/static/"),
    ) -> None:
        self.app, self._free = app, tuple(free)
        self._callers, self._strangers = callers, strangers
        self._proven: OrderedDict[str, None] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(self._free):
            await self.app(scope, receive, send)
            return
        address, shown = address_of(scope), Headers(scope=scope).get("authorization")
        key = None if shown is None else hashlib.sha256(shown.encode("latin-1")).hexdigest()
        buckets, allowance = self._asked(address, key)
        if not allowance.allowed:
            await answer(_too_many(buckets, allowance), scope)(scope, receive, send)
            return

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] == 401 and key is not None:
                    self._strangers.take(address)
                    self._proven.pop(key, None)
                elif key is not None and scope.get("state", {}).get("caller") is not None:
                    self._prove(key)
                MutableHeaders(scope=message).update(_headers(buckets, allowance))
            await send(message)

        await self.app(scope, receive, noting)

    def _asked(self, address: str, key: str | None) -> tuple[Buckets, Allowance]:
        if key is None:
            return self._strangers, self._strangers.take(address)
        if key not in self._proven:
            allowance = self._strangers.look(address)
            if not allowance.allowed:
                return self._strangers, allowance
        return self._callers, self._callers.take(key)

    def _prove(self, key: str) -> None:
        self._proven[key] = None
        self._proven.move_to_end(key)
        if len(self._proven) > 10_000:
            self._proven.popitem(last=False)


def address_of(scope: Scope) -> str:
    """Who is at the other end; of IPv6 the network, since one client has all of its addresses."""
    host = scope["client"][0] if scope.get("client") else "unknown"
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"


def _too_many(buckets: Buckets, allowance: Allowance) -> Problem:
    wait = max(1, math.ceil(allowance.seconds))
    headers = {"Retry-After": str(wait), **_headers(buckets, allowance)}
    return Problem(
        "too_many_requests",
        f"more than {buckets.burst} requests at once or {buckets.rate:g} a second; "
        f"wait {wait} s and ask again",
        headers=headers,
    )


def _headers(buckets: Buckets, allowance: Allowance) -> dict[str, str]:
    """As in the IETF's draft "RateLimit header fields for HTTP"."""
    window = math.ceil(buckets.burst / buckets.rate)
    return {
        "RateLimit-Policy": f'"requests";q={buckets.burst};w={window}',
        "RateLimit": f'"requests";r={allowance.left};t={math.ceil(allowance.seconds)}',
    }
