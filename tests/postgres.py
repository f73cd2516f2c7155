"""A PostgreSQL server of our own: on loopback, in a temporary folder, for as long as a test runs.

Needs the server's programs (Debian: ``apt-get install postgresql``), and no running server.
"""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.ports import free_port

MISSING = "no PostgreSQL server programs (initdb, postgres) here: apt-get install postgresql"
_TRIES = 5  # another process may take the port that was free a moment ago


def programs() -> Path | None:
    """Where initdb and postgres are: in PATH, or where Debian keeps them, the newest first."""
    in_path = shutil.which("initdb")
    folders = [Path(in_path).resolve().parent] if in_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((f for f in folders if (f / "initdb").exists() and (f / "postgres").exists()), None)


@contextmanager
def running_postgres(*, fsync: bool) -> Iterator["Server"]:
    """A new server; without ``fsync`` it is quick, and safe against all but a loss of power.

    Where its programs are missing, the test that asks for it is skipped.
    """
    bin_folder = programs()
    if bin_folder is None:
        pytest.skip(MISSING)
    folder = Path(tempfile.mkdtemp(prefix="paretrack-postgres-"))
    try:
        server = Server(bin_folder, folder, fsync)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


class Server:
    """One cluster and its process, which may be ended and started again."""

    def __init__(self, programs: Path, folder: Path, fsync: bool) -> None:
        self._programs, self._folder, self._fsync = programs, folder, fsync
        self._password = secrets.token_hex(8)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self._made = 0
        # The server refuses to run as root; the packages bring a user for it.
        self._as: dict[str, Any] = {}
        if os.getuid() == 0:
            self._as = {"user": "postgres", "group": "postgres", "extra_groups": []}
            shutil.chown(folder, "postgres", "postgres")
        self._initdb()

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://paretrack:{self._password}@127.0.0.1:{self.port}/{database}"

    def new_database(self, template: str = "template1") -> str:
        """The URL of a new database, empty or a copy."""
        self._made += 1
        name = f"test_{self._made}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def start(self) -> None:
        for _ in range(_TRIES):
            self.port = self.port or free_port()
            self._process = self._spawn()
            if self._answers():
                return
            self.port = 0
        raise RuntimeError((self._folder / "log").read_text())

    def start_again(self) -> None:
        """At the same port, as soon as nothing is left of the one before."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            self._process = self._spawn()
            if self._answers():
                return
            time.sleep(0.1)  # a killed server's own processes still hold its memory
        raise RuntimeError((self._folder / "log").read_text())

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: at once but in order; SIGQUIT: as if it had crashed; SIGKILL: it has."""
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(timeout=60)

    def _initdb(self) -> None:
        password = self._folder / "password"
        password.write_text(self._password)
        if self._as:
            shutil.chown(password, "postgres", "postgres")
        command = [self._programs / "initdb", "-D", self._folder / "data", "--no-sync"]
        command += ["-U", "paretrack", "--auth=scram-sha-256", f"--pwfile={password}"]
        command += ["-E", "UTF8", "--locale=C"]
        subprocess.run(command, check=True, cwd=self._folder, stdout=subprocess.DEVNULL, **self._as)

    def _spawn(self) -> subprocess.Popen[bytes]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "on" if self._fsync else "off",
        }
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data")]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                command, cwd=self._folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                **self._as,
            )  # fmt: skip

    def _answers(self) -> bool:
        assert self._process is not None
        while self._process.poll() is None:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
                return True
            except psycopg.OperationalError:
                time.sleep(0.05)
        return False
