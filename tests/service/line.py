"""A line to a server that breaks where a test says: a small proxy, one plan for each connection."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True)
class Cut:
    """The request arrives; of the answer so many bytes come back, and the line is dead."""

    after: int = 0


@dataclass(frozen=True)
class Deaf:
    """The line is dead before the request has arrived."""


@dataclass(frozen=True)
class Says:
    """Something between says this instead."""

    answer: bytes = BUSY


Plan = Cut | Deaf | Says | None  # None: all goes well


@dataclass
class Line:
    """What comes is passed on to ``backend``, which may be replaced."""

    backend: str
    plans: list[Plan] = field(default_factory=list)  # of the next connections
    always: Plan = None  # of those after
    requests: list[bytes] = field(default_factory=list)  # the first lines that have come
    heads: list[bytes] = field(default_factory=list)
    url: str = ""

    def asked(self, method: str) -> int:
        return sum(line.startswith(method.encode()) for line in self.requests)

    def serve(self, connection: socket.socket) -> None:
        plan = self.plans.pop(0) if self.plans else self.always
        with connection:
            request = _request(connection)
            self.requests.append(request.partition(b"\r\n")[0])
            self.heads.append(request)
            if isinstance(plan, Says):
                connection.sendall(plan.answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            elif not isinstance(plan, Deaf) and request:
                self._pass_on(connection, request, plan)

    def _pass_on(self, connection: socket.socket, request: bytes, plan: Cut | None) -> None:
        parts = urlsplit(self.backend)
        assert parts.hostname is not None and parts.port is not None
        left = None if plan is None else plan.after
        try:
            behind = socket.create_connection((parts.hostname, parts.port))
        except OSError:  # it is being brought up anew
            return
        with behind:
            # One request a connection, so that a plan is that of a request.
            behind.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
            while answer := behind.recv(1 << 16):
                if left is not None:
                    answer, left = answer[:left], left - len(answer)
                connection.sendall(answer)
                if left is not None and left <= 0:
                    return


def _request(connection: socket.socket) -> bytes:
    """Head and body, without the words about the connection."""
    got = b""
    while b"\r\n\r\n" not in got:
        more = connection.recv(1 << 16)
        if not more:
            return b""
        got += more
    head, _, body = got.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    size = sum(int(x.split(b":")[1]) for x in lines if x.lower().startswith(b"content-length:"))
    while len(body) < size:
        body += connection.recv(1 << 16)
    kept = [line for line in lines if not line.lower().startswith(b"connection:")]
    return b"\r\n".join(kept) + b"\r\n\r\n" + body


@contextmanager
def line_to(backend: str, *plans: Plan, always: Plan = None) -> Iterator[Line]:
    """A line that listens."""
    server = socket.create_server(("127.0.0.1", 0))
    line = Line(backend, list(plans), always, url=f"http://127.0.0.1:{server.getsockname()[1]}")
    threads: list[threading.Thread] = []

    def one(connection: socket.socket) -> None:
        with suppress(OSError):  # whoever called has gone
            line.serve(connection)

    def accept() -> None:
        with suppress(OSError):  # it has been closed
            while True:
                connection, _ = server.accept()
                threads.append(threading.Thread(target=one, args=(connection,), daemon=True))
                threads[-1].start()

    listening = threading.Thread(target=accept, daemon=True)
    listening.start()
    try:
        yield line
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        listening.join(5)
        for thread in threads:
            thread.join(5)
