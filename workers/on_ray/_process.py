"""The driver process as its controller sees it: a child in a session of its own, and a line to it.

Ray ends the process that drives it when its control store is gone, and waits for ever when its node
is. Both may happen to this child; the controller is told, and the whole session can be killed.
"""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

HOME = "PARETRACK_HOME"
# Not with -m: what Ray is given to pickle must not come from a module called __main__.
_MAIN = "from {} import main; main()"
_LOGGED = 6  # last lines of the log that are shown


class DriverProcess:
    """``main`` of a module in a child. ``take`` hears every message, and None when the process is
    gone; from another thread."""

    def __init__(
        self,
        module: str,
        environment: Mapping[str, str],
        log: Path,
        take: Callable[[Any], None],
    ) -> None:
        self._line, its_end = Pipe()
        self._log = log
        with log.open("wb") as output, its_end:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _MAIN.format(module), str(its_end.fileno())],
                env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(its_end.fileno(),),
                start_new_session=True,
            )
        self.pid = self._process.pid
        self._outbox: SimpleQueue[Any] = SimpleQueue()
        self._threads = [
            threading.Thread(target=_write, args=(self._line, self._outbox), daemon=True),
            threading.Thread(target=_read, args=(self._line, take), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def send(self, message: object) -> None:
        """Returns at once, even where nobody reads."""
        self._outbox.put(message)

    def wait(self, seconds: float) -> None:
        """For its end, but no longer."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def kill(self) -> None:
        """End what is left of the session."""
        self._process.kill()
        self._process.wait()
        end_session(self.pid)

    def close(self) -> None:
        """The same, and the line; ``take`` hears nothing more."""
        self.kill()
        self._outbox.put(None)
        for thread in self._threads:
            thread.join(5)
        self._line.close()

    def last_words(self) -> str:
        """The end of its log."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines[-_LOGGED:] if line.strip())


def line_of_child() -> Connection:
    """In the child: its end of the line, which no process of its own inherits."""
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    return Connection(descriptor)


def _write(line: Connection, outbox: "SimpleQueue[Any]") -> None:
    while (message := outbox.get()) is not None:
        try:
            line.send(message)
        except OSError:  # it is gone, and the reader says so
            return


def _read(line: Connection, take: Callable[[Any], None]) -> None:
    while True:
        try:
            message = line.recv()
        except (EOFError, OSError):
            take(None)
            return
        take(message)


def end_session(session: int, patience: float = 5.0) -> None:
    """Kill every other process of a session that we began: some of Ray's outlive it for minutes."""
    deadline = time.monotonic() + patience
    while (pids := session_processes(session)) and time.monotonic() < deadline:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def session_processes(session: int) -> list[int]:
    """Who lives in a session beside the one who asks. Linux only; elsewhere nobody is found."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            state, _, _, its_session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(its_session) == session and state != "Z" and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    return found


def environment(home: Path, folder: Path | None, silence: float) -> dict[str, str]:
    """The driver's. ``folder``: of a Ray of its own. Whoever runs a cluster with a token of its own
    says so in Ray's variables."""
    home = home.absolute()
    found = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", HOME: str(home)}
    found.setdefault("RAY_AUTH_MODE", "token")
    if "RAY_AUTH_TOKEN" not in found and "RAY_AUTH_TOKEN_PATH" not in found:
        found["RAY_AUTH_TOKEN_PATH"] = str(token_file(home))
    if folder is not None:
        found |= {"RAY_TMPDIR": str(folder), **_health_checks(silence)}
    return found


def _health_checks(silence: float) -> dict[str, str]:
    """Left alone, Ray takes a minute to give up a node process that hangs."""
    pause = str(max(3000, round(silence * 1000 / 6)))  # three times a pause and a check
    return {
        "RAY_health_check_period_ms": pause,
        "RAY_health_check_timeout_ms": pause,
        "RAY_health_check_failure_threshold": "3",
    }


def short_folder() -> str:
    """Ray has sockets below it, and the path of a socket has 107 characters at most."""
    found = tempfile.gettempdir()
    return found if len(found) <= 16 else "/tmp"


def token_file(home: Path) -> Path:
    """The secret that every node of a Ray cluster must know; made where it is absent."""
    path = home / "ray_token"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        mine = home / f".ray_token.{secrets.token_hex(4)}.tmp"
        mine.touch(mode=0o600)
        mine.write_text(secrets.token_hex(32))
        with suppress(FileExistsError):  # another controller was quicker
            path.hardlink_to(mine)
        mine.unlink()
    path.chmod(0o600)
    return path
