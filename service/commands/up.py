"""paretrack up: everything on this machine: the API, a controller, workers, an SQLite file."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from search_spaces import ParetrackError
from service.commands.api import AllowHost, Host, PlainLogs, Port
from service.commands.controller import AtOnce, Drain, Parallel, PoolName
from service.logs import set_up_logs
from service.settings import read_settings

AGAIN = 2.0  # seconds before a controller that ended is begun again
_log = logging.getLogger("paretrack")


def up(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    allow_host: AllowHost = None,
    jobs: AtOnce = 1,
    pool: PoolName = "ray",
    parallel: Parallel = 1,
    drain: Drain = 20.0,
    plain_logs: PlainLogs = False,
) -> None:
    """Serve until Ctrl-C. On loopback it has one user, who needs no token; elsewhere all need one.

    Everything it keeps is under PARETRACK_HOME. Example: `paretrack up --port 8080`
    """
    from service.commands._serving import is_loopback, run, server, somebody_has_a_token

    set_up_logs(as_json=not plain_logs)
    settings = read_settings(os.environ)
    if not is_loopback(host) and not somebody_has_a_token(settings):
        raise ParetrackError(
            f"on {host} others can reach it, and nobody has a token yet; make one first: "
            "paretrack token create NAME --role operator; or leave --host out"
        )
    api = server(settings, host, port, not is_loopback(host), allow_host or [])
    command = ["--jobs", str(jobs), "--pool", pool, "--parallel", str(parallel)]
    command += ["--drain", str(drain), *(["--plain-logs"] if plain_logs else [])]
    with _controller(command, drain):
        typer.echo(f"paretrack: http://{host}:{port}/ (Ctrl-C ends it)", err=True)
        run(api)


@contextmanager
def _controller(options: list[str], drain: float) -> Iterator[None]:
    """A controller beside the API, begun again whenever it ends by itself."""
    ending = threading.Event()
    running: list[subprocess.Popen[bytes]] = []

    def keep() -> None:
        while not ending.is_set():
            # Its own group: Ctrl-C reaches this process alone, which ends it in order.
            process = subprocess.Popen(
                [sys.executable, "-m", "service.cli", "controller", *options],
                start_new_session=True,
            )
            running[:] = [process]
            code = process.wait()
            if not ending.is_set():
                _log.error("the controller ended with %s; it is begun again", code)
                ending.wait(AGAIN)

    thread = threading.Thread(target=keep, name="controller")
    thread.start()
    try:
        yield
    finally:
        ending.set()
        _end(running, drain)
        thread.join()


def _end(running: list["subprocess.Popen[bytes]"], drain: float) -> None:
    """In order first; not for ever."""
    deadline = time.monotonic() + drain + 30
    for process in running:
        process.terminate()
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _log.error("the controller does not end; it is killed")
            process.kill()
