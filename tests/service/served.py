"""An application behind a real server on loopback, in a thread of its own."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from service.commands._serving import Server


@dataclass
class Served:
    """A server that runs."""

    server: Server
    thread: threading.Thread

    @property
    def url(self) -> str:
        port = self.server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def end(self) -> None:
        """Ask it to end as a signal does, and wait until it has."""
        self.server.should_exit = True
        self.thread.join(30)
        assert not self.thread.is_alive()


@contextmanager
def serving(app: FastAPI, port: int = 0) -> Iterator[Served]:
    """The application, as ``paretrack api`` serves it."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_config=None, access_log=False,
        timeout_graceful_shutdown=5,
    )  # fmt: skip
    server = Server(config, app.state.service.feed)
    thread = threading.Thread(target=server.run, name="server", daemon=True)
    thread.start()
    served = Served(server, thread)
    while not server.started:
        assert thread.is_alive(), "it did not start"
        time.sleep(0.005)
    try:
        yield served
    finally:
        if thread.is_alive():
            served.end()
