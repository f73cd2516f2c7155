"""paretrack demo: the whole service once: started, given a search, followed to its front."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from search_spaces._errors import ParetrackError
from service.commands._options import Json
from service.settings import Settings, read_settings
from service.terminal import Terminal

BEGIN_SECONDS = 120.0  # that the service may take until it answers
END_SECONDS = 90.0


def demo(
    teacher: Annotated[str, typer.Option("--teacher")] = "siamrpn-synthetic",
    trials: Annotated[int, typer.Option("--trials", min=1, help="Candidates to try.")] = 16,
    steps: Annotated[int, typer.Option("--steps", min=0, help="Of a recovery.")] = 60,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="[8000, or one that is free]")
    ] = None,
    as_json: Json = False,
) -> None:
    """Start the service, submit a search over REST, follow it live, show its front.

    The first run makes the synthetic benchmark (a minute or two). At a terminal the service then
    stays until Ctrl-C, else it ends. Example: `paretrack demo --trials 8`
    """
    from service.client import Client
    from service.commands.watch import watched

    terminal = Terminal(as_json)
    settings = read_settings(os.environ)
    chosen = port or _free_port()
    url = f"http://127.0.0.1:{chosen}"
    with _service(settings, chosen, terminal) as process, Client(url) as client:
        _wait(process, url, settings, terminal)
        job = client.submit(_spec(teacher, trials, steps), labels=["demo"])
        terminal.say(f"submitted: {job.id}; the same by hand: paretrack submit SPEC.yaml --watch")
        code = watched(job, terminal)
        terminal.say(f"its page: {url}/jobs/{job.id}; all that the API offers: {url}/openapi.json")
        if sys.stdin.isatty() and sys.stdout.isatty() and code == 0:
            _stay(url, terminal)
    raise typer.Exit(code)


def _spec(teacher: str, trials: int, steps: int) -> dict[str, Any]:
    """A search that is over in a few minutes on two cores."""
    return {
        "name": "demo",
        "teacher": teacher,
        "probes": ["onnx_runtime"],
        "steps": steps,
        "budget": {"trials": trials},
    }


@contextmanager
def _service(
    settings: Settings, port: int, terminal: Terminal
) -> "Iterator[subprocess.Popen[bytes]]":
    """``paretrack up`` as a process of its own, ended in order."""
    log = _log(settings)
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "service.cli", "up", "--port", str(port)]
    command += ["--pool", "in_process", "--plain-logs", "--drain", "5"]
    terminal.say(f"starting: paretrack up --port {port} (it logs to {log})")
    with log.open("wb") as file:
        # A group of its own: Ctrl-C is for this process, which then ends that one.
        process = subprocess.Popen(command, stderr=file, stdout=file, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        terminal.say("the service has ended; its jobs are kept: paretrack up shows them again")


def _log(settings: Settings) -> Path:
    return settings.home / "logs" / "demo.log"


def _free_port() -> int:
    """8000, unless somebody listens there."""
    for asked in (8000, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", asked))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ParetrackError("no port of 127.0.0.1 is free; give one with --port")


def _wait(
    process: "subprocess.Popen[bytes]", url: str, settings: Settings, terminal: Terminal
) -> None:
    """Until API and controller are there."""
    began = time.monotonic()
    with terminal.bar("the service begins") as bar:
        while (gone := time.monotonic() - began) < BEGIN_SECONDS and process.poll() is None:
            found = _ready(url)
            bar.show(gone, BEGIN_SECONDS, note=str(found.get("status", "")))
            if found.get("status") == "ready":
                bar.show(1, 1, note="ready")
                return
            time.sleep(0.3)
    raise ParetrackError(
        f"the service does not answer at {url}; its log {_log(settings)} ends so: {_end(settings)}"
    )


def _end(settings: Settings) -> str:
    return " ".join(_log(settings).read_text(encoding="utf-8", errors="replace").split())[-300:]


def _ready(url: str) -> Mapping[str, Any]:
    import httpx

    try:
        found: dict[str, Any] = httpx.get(f"{url}/api/v1/health/ready", timeout=5).json()
    except (httpx.TransportError, ValueError):
        return {}
    return found


def _stay(url: str, terminal: Terminal) -> None:
    terminal.say(f"the service stays at {url} until Ctrl-C")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        terminal.say("")
