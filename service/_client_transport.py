"""Requests to a service: sent again where that cannot do harm, for a while, and then an error.

The token goes to the address that was given and nowhere else: answers that send on are refused.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

import httpx

from service._client_errors import (
    NO_ANSWER,
    Address,
    ClientError,
    foreign,
    is_unsent,
    is_untrusted,
    no_answer,
    of_response,
)

PREFIX = "/api/v1"
PATIENCE = 30.0  # seconds in which a request is sent again and again
UNKNOWN = 1.5  # the same for a service that has never answered: its address may be wrong
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds between two attempts
LATER = (429, 502, 503, 504)  # what may be different next time
CONNECT, READ = 5.0, 120.0  # seconds; a job is looked at for up to 90 before it is queued


class Transport:
    """One service, as one caller sees it."""

    def __init__(
        self,
        address: Address,
        token: str | None,
        *,
        patience: float = PATIENCE,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        check_address(address)
        self.address, self.patience, self.sleep = address, patience, sleep
        self.has_token, self._known = token is not None, False
        self._http = httpx.Client(
            base_url=address.url.rstrip("/") + PREFIX,
            headers=_headers(token),
            timeout=httpx.Timeout(READ, connect=CONNECT),
            follow_redirects=False,
            trust_env=not _is_loopback(address.url),  # no proxy leads to this machine
        )

    def __repr__(self) -> str:
        return f"Transport({self.address.url!r}, {'with a' if self.has_token else 'no'} token)"

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **params: Any) -> Any:
        """The JSON of an answer."""
        return self.document(self.ask("GET", path, params=params))

    def document(self, response: httpx.Response) -> Any:
        """The JSON that an answer is."""
        try:
            return response.json()
        except ValueError as error:  # a page of something else that listens there
            raise foreign(response, self.address) from error

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        again: bool | None = None,
        patience: float | None = None,
        read: float = READ,
    ) -> httpx.Response:
        """An answer that is none of the problems. ``again``: whether it may be sent again although
        it may have been done; those that only read may."""
        may = method == "GET" if again is None else again
        try:
            request = self._http.build_request(
                method,
                path,
                params=_said(params),
                json=json,
                headers=dict(headers or {}),
                timeout=httpx.Timeout(read, connect=CONNECT),
            )
        except (TypeError, ValueError) as error:  # a date in a YAML document, a NaN
            raise ClientError("invalid", f"what is sent must be JSON: {error}") from error

        def once() -> httpx.Response:
            response = self._http.send(request)
            if not response.is_success:
                raise self._problem(response)
            return response

        return self.persist(once, may, patience)

    def put(
        self,
        path: str,
        content: Callable[[], Iterator[bytes]],
        params: Mapping[str, Any],
        headers: Mapping[str, str],
    ) -> httpx.Response:
        """The answer to a body that is sent as it comes; ``content`` begins it anew for every
        attempt, and sent twice it is as sent once."""

        def once() -> httpx.Response:
            response = self._http.put(
                path, params=_said(params), content=content(), headers=dict(headers)
            )
            if not response.is_success:
                raise self._problem(response)
            return response

        return self.persist(once, True)

    @contextmanager
    def stream(
        self,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        read: float = READ,
        allowed: tuple[int, ...] = (),
    ) -> Iterator[httpx.Response]:
        """An answer whose body is read bit by bit; one attempt. ``allowed``: statuses that are no
        problem to whoever asks."""
        timeout = httpx.Timeout(READ, connect=CONNECT, read=read)
        try:
            with self._http.stream(
                "GET", path, params=_said(params), headers=dict(headers or {}), timeout=timeout
            ) as response:
                if not response.is_success and response.status_code not in allowed:
                    response.read()
                    raise self._problem(response)
                self._known = True
                yield response
        except httpx.TransportError as error:
            raise no_answer(error, self.address) from error

    def _problem(self, response: httpx.Response) -> ClientError:
        found = of_response(response, self.address, self.has_token)
        found.after = _retry_after(response)
        return found

    # --- again --------------------------------------------------------------------------------

    def persist(
        self, once: Callable[[], httpx.Response], may_repeat: bool, patience: float | None = None
    ) -> httpx.Response:
        """``once`` until it works, for as long as it makes sense and nothing is done twice."""
        limit = self.patience if patience is None else patience
        began, attempt = time.monotonic(), 0
        while True:
            try:
                response = once()
            except ClientError as problem:
                error, until = problem, limit
                harmless = problem.status == 429 or (may_repeat and is_passing(problem))
            except httpx.TransportError as lost:
                error, until = no_answer(lost, self.address), limit
                error.__cause__ = lost
                harmless = (may_repeat or is_unsent(lost)) and not is_untrusted(lost)
                if is_unsent(lost):
                    until = min(limit, self.patience if self._known else UNKNOWN)
            else:
                self._known = True
                return response
            self._known = self._known or error.status is not None or error.unsure
            wait = max(pause(attempt), error.after or 0.0)
            if not harmless or time.monotonic() - began + wait > until:
                raise error
            self.sleep(wait)
            attempt += 1


def is_passing(error: ClientError) -> bool:
    """Whether it may be otherwise when it is asked again."""
    return error.code in (NO_ANSWER, "in_flight") or error.status in LATER


def pause(attempt: int) -> float:
    """Seconds: longer every time, and not the same for all."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempt, 10)) * random.uniform(0.5, 1.0)


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds that the service asks for; a date there is no service of ours."""
    said = response.headers.get("retry-after", "")
    return float(said) if said.isascii() and said.isdigit() and len(said) < 7 else None


def _said(params: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (params or {}).items() if value not in (None, [], ())}


def _headers(token: str | None) -> dict[str, str]:
    headers = {"Accept": "application/json", "User-Agent": "paretrack"}
    if token is None:
        return headers
    if not (token.isascii() and token.isprintable() and token.split() == [token]):
        raise ClientError("invalid", "the token has characters that no token has; copy it anew")
    return {**headers, "Authorization": f"Bearer {token}"}


def check_address(address: Address) -> None:
    """Whether this can be the address of a service; passwords in it would end up in messages."""
    wanted = f"{address.said_by}: expected an address such as http://127.0.0.1:8000"
    try:
        url = httpx.URL(address.url)
    except (httpx.InvalidURL, ValueError) as error:
        raise ClientError("invalid", f"{wanted}, got {address.url[:100]!r}") from error
    if url.userinfo:
        raise ClientError("invalid", f"{wanted}, without a user in it; a token is sent instead")
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
        raise ClientError("invalid", f"{wanted}, got {address.url[:100]!r}")


def _is_loopback(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
