"""How quickly a job of 50,000 trials is read over HTTP, from a real API process. Printed only.

One client, one request after the other; what a request costs the process itself (CPU) does not
depend on what else the machine does. ``first`` is the first request of its kind in a new process.

With OPTUNA_DASHBOARD=/path/to/optuna-dashboard in the environment (of another environment: it is
no dependency) its first load of the same study is measured beside it.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from service.database import embedded_url, open_database
from service.jobs import StoredJob
from tests.benchmarks.big_job import make_big_job
from tests.ports import free_port
from tests.postgres import running_postgres

TRIALS = 50_000
REQUESTS = 300  # of each kind
_TICK = os.sysconf("SC_CLK_TCK")


class Api:
    """The process, as it is seen from outside."""

    def __init__(self, process: "subprocess.Popen[bytes]", base: str) -> None:
        self._process, self.base = process, base

    def runs(self) -> bool:
        return self._process.poll() is None

    def cpu(self) -> float:
        """Seconds so far."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii")
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / _TICK

    def mebibytes(self) -> float:
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(resident.split()[1]) / 1024


@contextmanager
def running_api(url: str, home: Path) -> Iterator[Api]:
    port = free_port()
    began = time.perf_counter()
    with (home / "api.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "api", "--no-tokens", "--port", str(port)],
            env={**os.environ, "PARETRACK_HOME": str(home), "PARETRACK_DATABASE_URL": url},
            stderr=log,
        )
    api = Api(process, f"http://127.0.0.1:{port}/api/v1")
    try:
        wait(api, "/jobs")
        seconds = time.perf_counter() - began
        print(f"answers after {seconds:.1f} s, {api.mebibytes():.0f} MiB")  # noqa: T201
        yield api
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def wait(api: Api, path: str) -> None:
    """Until it answers."""
    while True:
        try:
            httpx.get(f"{api.base}{path}", timeout=30)
            return
        except httpx.TransportError:
            if not api.runs():
                raise
            time.sleep(0.02)


def requests(job: StoredJob) -> dict[str, Callable[[random.Random], str]]:
    """Kind -> a request of it."""
    base = f"/jobs/{job.id}"
    other = "x=one_step_iou&y=step_ms.onnx_runtime"
    return {
        "job": lambda _: base,
        "list, by number": lambda _: f"{base}/trials?limit=50",
        "list, page by page": lambda _: f"{base}/trials?limit=50&sort=-average_overlap",
        "list, front by cost": lambda _: f"{base}/trials?on_front=true&sort=macs_frame",
        "list, by state": lambda _: f"{base}/trials?state=FAILED&sort=-number",
        "trial": lambda chance: f"{base}/trials/{chance.randrange(TRIALS)}",
        "front": lambda _: f"{base}/front",
        "front, other two": lambda _: f"{base}/front?{other}",
        "front, other three": lambda _: f"{base}/front?{other}&z=peak_memory",
        "hypervolume": lambda _: f"{base}/hypervolume",
        "importances": lambda _: f"{base}/importances",
        "events": lambda chance: (
            f"{base}/events?once=true&after={chance.randrange(TRIALS)}&limit=50"
        ),
    }


def measure(
    api: Api, client: httpx.Client, kind: str, path: Callable[[random.Random], str]
) -> None:
    chance, spent, cursor, size = random.Random(0), [], "", 0
    before = 0.0
    for number in range(REQUESTS + 1):
        asked = f"{api.base}{path(chance)}"
        if cursor and "page by page" in kind:
            asked += f"&cursor={cursor}"
        if number == 1:
            before = api.cpu()
        start = time.perf_counter()
        answer = client.get(asked)
        spent.append(1000 * (time.perf_counter() - start))
        assert answer.status_code == 200, answer.text
        size = len(answer.content)
        cursor = answer.json().get("next") or "" if "page by page" in kind else ""
    cpu = 1000 * (api.cpu() - before) / REQUESTS
    first, *rest = spent
    rest.sort()
    p50, p99 = rest[len(rest) // 2], rest[int(len(rest) * 0.99)]
    print(  # noqa: T201
        f"{kind:22} p50 {p50:7.1f}  p99 {p99:7.1f}  first {first:7.1f} ms   CPU {cpu:5.1f} ms   "
        f"{size / 1024:6.1f} KiB   load {os.getloadavg()[0]:.1f}"
    )


def measure_table(api: Api, client: httpx.Client, job: StoredJob) -> None:
    start, before, first, size = time.perf_counter(), api.cpu(), 0.0, 0
    headers = {"Accept": "text/csv"}
    with client.stream("GET", f"{api.base}/jobs/{job.id}/trials", headers=headers) as answer:
        for chunk in answer.iter_bytes():
            first = first or time.perf_counter() - start
            size += len(chunk)
    seconds = time.perf_counter() - start
    print(  # noqa: T201
        f"CSV of all: {size / 1e6:.1f} MB in {seconds:.1f} s, the first line after {first:.2f} s, "
        f"CPU {api.cpu() - before:.1f} s"
    )


@pytest.mark.benchmark
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_reads_of_a_large_job(kind: str, tmp_path: Path) -> None:
    if kind == "sqlite":
        reads(embedded_url(tmp_path / "paretrack.db"), kind, tmp_path)
        return
    with running_postgres(fsync=True) as server:
        reads(server.new_database(), kind, tmp_path)


def reads(url: str, kind: str, home: Path) -> None:
    engine = open_database(url)
    start = time.perf_counter()
    job = make_big_job(engine, TRIALS, with_study=True)
    seconds = time.perf_counter() - start
    print(f"\n{kind}: {TRIALS} trials, written in {seconds:.0f} s")  # noqa: T201
    engine.dispose()
    with running_api(url, home) as api, httpx.Client(timeout=60) as client:
        for each, path in requests(job).items():
            measure(api, client, each, path)
        print(f"{api.mebibytes():.0f} MiB resident after all that")  # noqa: T201
        measure_table(api, client, job)
        print(f"{api.mebibytes():.0f} MiB resident at the end")  # noqa: T201
    if program := os.environ.get("OPTUNA_DASHBOARD"):
        measure_dashboard(program, url)


def measure_dashboard(program: str, url: str) -> None:
    """What its page of a study asks for first, from a process that has just begun."""
    port = free_port()
    process = subprocess.Popen(
        [program, url.replace("postgresql://", "postgresql+psycopg://"), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    api = Api(process, f"http://127.0.0.1:{port}/api")
    try:
        wait(api, "/meta")
        for load in ("first", "second"):
            start, before = time.perf_counter(), api.cpu()
            answer = httpx.get(f"{api.base}/studies/1?after=0", timeout=300)
            seconds = time.perf_counter() - start
            assert answer.status_code == 200, answer.text
            print(  # noqa: T201
                f"optuna-dashboard, {load} load of the study: {seconds:.1f} s, CPU "
                f"{api.cpu() - before:.1f} s, {len(answer.content) / 1e6:.0f} MB, "
                f"{api.mebibytes():.0f} MiB resident"
            )
    finally:
        process.terminate()
        process.wait(30)
