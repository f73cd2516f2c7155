"""What docker-compose.yml says: valid, safe, and its commands work as processes of this machine."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.postgres import running_postgres
from tests.service.jobs import SPACE, make_teacher

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SERVICES = ("database", "api", "controller", "ray-head", "ray-worker")


def compose() -> dict[str, Any]:
    with (ROOT / "docker-compose.yml").open(encoding="utf-8") as file:
        found: dict[str, Any] = yaml.safe_load(file)
    return found


def test_every_part_is_there_and_only_the_api_is_published_on_loopback() -> None:
    services = compose()["services"]
    assert sorted(services) == sorted(SERVICES)
    assert [name for name in services if "ports" in services[name]] == ["api"]
    assert all(port.startswith("127.0.0.1:") for port in services["api"]["ports"])


def test_nobody_has_a_password_by_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert text.count("${PARETRACK_DB_PASSWORD:?") == 2
    assert "PASSWORD:-" not in text
    for service in compose()["services"].values():
        for name, value in service["environment"].items():
            if "PASSWORD" in name or "TOKEN" in name.replace("TOKEN_PATH", ""):
                assert str(value).startswith("${") or name == "RAY_AUTH_MODE", name


def test_what_is_started_exists_and_nobody_is_root() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "\nUSER paretrack\n" in dockerfile
    for name in ("controller", "ray-head", "ray-worker"):
        (script, *_options) = compose()["services"][name]["command"]
        assert os.access(ROOT / "deploy" / script, os.X_OK)
        assert f"deploy/{script}" in dockerfile
    assert "include-dashboard=false" in (ROOT / "deploy" / "ray-head.sh").read_text()


def test_each_depends_on_what_says_that_it_is_healthy() -> None:
    services = compose()["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}, name
            assert "healthcheck" in services[other], other


@pytest.mark.slow
def test_its_commands_run_a_job_on_a_cluster_of_two_nodes(tmp_path: Path) -> None:
    """PostgreSQL, API, controller with its node, head, one worker; as the file has them."""
    home = tmp_path / "home"
    home.mkdir()
    token_file = tmp_path / "ray_token"
    token_file.write_text(secrets.token_hex(32))
    token_file.chmod(0o600)
    teacher = make_teacher(home / "teacher")
    head, api = free_port(), free_port()
    with running_postgres(fsync=False) as server, ExitStack() as stack:
        env = {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "PARETRACK_HOME": str(home),
            "PARETRACK_DATABASE_URL": server.new_database(),
            "PARETRACK_RAY_ADDRESS": f"127.0.0.1:{head}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token_file),
            "RAY_PORT": str(head),
            "RAY_raylet_start_wait_time_s": "120",  # the machine may be busy
            # Ray's sockets lie below it, and their names may not be long.
            "RAY_TMPDIR": stack.enter_context(short_folder()),
        }
        small = ["--object-store-memory=100000000"]
        started = Started(stack, env, tmp_path)
        started.run("head", [ROOT / "deploy" / "ray-head.sh", *small])
        wait_for(lambda: healthy(env, head), "Ray's head", started)
        started.run("worker", [ROOT / "deploy" / "ray-worker.sh", "--num-cpus=1", *small])
        # One after the other: two that begin on one machine at once get into each other's way.
        wait_for(lambda: "block forever" in started.tail("worker"), "Ray's worker", started)
        command = [ROOT / "deploy" / "controller.sh", "--jobs", "2", "--drain", "5"]
        started.run("controller", command)
        command = [BIN / "paretrack", "api", "--host", "0.0.0.0", "--port", str(api)]
        started.run("api", command)
        base = f"http://127.0.0.1:{api}/api/v1"
        wait_for(lambda: ready(base), "API and controller", started)

        assert httpx.get(f"{base}/jobs").status_code == 401
        token = make_token(env)
        spec = {
            "name": "deployed", "teacher": str(teacher), "space": SPACE, "steps": 0, "rungs": [],
            "data": {"dataset": "synthetic", "judged_count": 1},
            "accuracy": "one_step_iou", "budget": {"trials": 2}, "opening": 0,
        }  # fmt: skip
        with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}) as client:
            answer = client.post("/jobs", json={"spec": spec}, timeout=90)
            assert answer.status_code == 202, answer.text
            job_id = answer.json()["id"]

            def over() -> bool:
                state = client.get(f"/jobs/{job_id}", timeout=30).json()["state"]
                assert state not in ("FAILED", "HELD"), client.get(f"/jobs/{job_id}").text
                return bool(state == "SUCCEEDED")

            wait_for(over, "the job", started)
        started.end("controller", 0)
        started.end("api", 0)


class Started:
    """Processes, each ended by its pid when the test is over."""

    def __init__(self, stack: ExitStack, env: dict[str, str], folder: Path) -> None:
        self._stack, self._env, self._folder = stack, env, folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def run(self, name: str, command: list[Any]) -> None:
        with (self._folder / f"{name}.log").open("wb") as log:
            words = [str(word) for word in command]
            process = subprocess.Popen(words, env=self._env, stdout=log, stderr=log)
        self._running[name] = process
        self._stack.callback(self._stop, process)

    def end(self, name: str, code: int) -> None:
        self._running[name].terminate()
        assert self._running[name].wait(90) == code, self.tails()

    def check(self) -> None:
        for name, process in self._running.items():
            assert process.poll() is None, f"{name} has ended: {self.tails()}"

    def tail(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text()[-2000:]

    def tails(self) -> str:
        logs = sorted(self._folder.glob("*.log"))
        return "\n".join(f"--- {log.name}\n{log.read_text()[-2000:]}" for log in logs)

    @staticmethod
    def _stop(process: "subprocess.Popen[bytes]") -> None:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def short_folder() -> Iterator[str]:
    import shutil
    import tempfile

    folder = tempfile.mkdtemp(prefix="pt-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(what: Any, name: str, started: Started, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        started.check()
        if what():
            return
        time.sleep(0.5)
    raise AssertionError(f"{name} took longer than {seconds} s: {started.tails()}")


def healthy(env: dict[str, str], port: int) -> bool:
    command = [BIN / "ray", "health-check", "--address", f"127.0.0.1:{port}"]
    return subprocess.run(command, env=env, capture_output=True, check=False).returncode == 0


def ready(base: str) -> bool:
    try:
        return bool(httpx.get(f"{base}/health/ready", timeout=5).json()["status"] == "ready")
    except httpx.TransportError:
        return False


def make_token(env: dict[str, str]) -> str:
    command = [BIN / "paretrack", "token", "create", "test", "--role", "operator", "--json"]
    said = subprocess.run(command, env=env, capture_output=True, check=True).stdout
    return str(json.loads(said)["token"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
