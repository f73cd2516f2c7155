"""Many clients, several APIs and controllers, and all of them are killed: every job ends once."""

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, func, select

from service.database import embedded_url, open_database, reading, writing
from service.jobs import EVENTS, JOBS, change
from service.recorded import read_job
from tests.kills.conftest import Kills
from tests.ports import free_port
from tests.postgres import Server
from tests.service.jobs import bench

TRIALS = 5
PAUSE = 6.0  # seconds between two kills, about: a process needs some to begin
GIVE_UP = 3600.0


@dataclass
class Processes:
    """The service as processes, each begun again when it is killed."""

    home: Path
    url: str
    chance: random.Random
    ports: list[int] = field(default_factory=list)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    killed: Counter[str] = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)

    def start(self, apis: int, controllers: int) -> None:
        self.ports = [free_port() for _ in range(apis)]
        for port in self.ports:
            self._begin(f"api {port}")
        for number in range(controllers):
            self._begin(f"controller {number}")

    def _begin(self, name: str) -> None:
        kind, which = name.split()
        command = [sys.executable, "-m", "tests.kills.noop_controller", str(self.home), self.url]
        if kind == "api":
            command = [sys.executable, "-m", "service.cli", "api", "--no-tokens", "--port", which]
        env = {**os.environ, "PARETRACK_HOME": str(self.home), "OMP_NUM_THREADS": "1"}
        env["PARETRACK_DATABASE_URL"] = self.url
        with (self.home / f"{kind}-{which}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(command, stdout=log, stderr=log, env=env)

    def kill_now_and_then(self) -> None:
        while not self.over.wait(self.chance.uniform(0.5, 1.5) * PAUSE):
            name = self.chance.choice(sorted(self.running))
            self.running[name].send_signal(signal.SIGKILL)
            self.running[name].wait()
            self.killed[name.split()[0]] += 1
            self._begin(name)

    def end(self) -> None:
        self.over.set()
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Client(threading.Thread):
    """Submits jobs one after the other, each until somebody has answered for it."""

    def __init__(self, ports: list[int], spec: dict[str, Any], keys: list[str]) -> None:
        super().__init__()
        self._ports, self._spec, self._keys = itertools.cycle(ports), spec, keys
        self.answered: dict[str, set[str]] = {}
        self.odd: list[str] = []

    def run(self) -> None:
        for key in self._keys:
            body = {"spec": {**self._spec, "name": key}, "labels": [key]}
            deadline = time.monotonic() + GIVE_UP
            while time.monotonic() < deadline:
                try:
                    answer = httpx.post(
                        f"http://127.0.0.1:{next(self._ports)}/api/v1/jobs",
                        json=body,
                        headers={"Idempotency-Key": key},
                        timeout=60,
                    )
                except httpx.TransportError:
                    time.sleep(0.2)
                    continue
                if answer.status_code in (200, 202):
                    self.answered.setdefault(key, set()).add(answer.json()["id"])
                    break
                if answer.status_code not in (409, 503):
                    self.odd.append(f"{answer.status_code} {answer.text[:300]}")
                    break
                time.sleep(1.0)


def crowd(
    home: Path, teacher: Path, url: str, *, jobs: int, clients: int, apis: int, controllers: int
) -> tuple[Processes, list[Client], list[str]]:
    """All of it, until every job has an answer."""
    spec = asdict(bench(home, teacher).job(budget={"trials": TRIALS}, opening=0))
    keys = [f"job {number}" for number in range(jobs)]
    chance = random.Random(os.environ.get("KILLS_SEED", "1"))
    twice = chance.sample(keys, jobs // 10)  # said again, by another client, at the same time
    share = [keys[n::clients] + twice[(n + 1) % clients :: clients] for n in range(clients)]
    processes = Processes(home, url, chance)
    processes.start(apis, controllers)
    crowd = [Client(processes.ports, spec, mine) for mine in share]
    for client in crowd:
        client.start()
    return processes, crowd, keys


def wait_for(what: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + GIVE_UP
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.5)
    return False


def states(engine: Engine) -> Counter[str]:
    with reading(engine) as connection:
        counted = select(JOBS.c.state, func.count()).group_by(JOBS.c.state)
        return Counter({row[0]: row[1] for row in connection.execute(counted)})


def resumed(engine: Engine) -> int:
    """As an operator does who has looked at a held job: five controllers in a row have died with
    it, before anything came of it, and this time it was not the job's fault."""
    with reading(engine) as connection:
        held = connection.execute(select(JOBS.c.id).where(JOBS.c.state == "HELD")).scalars().all()
    for job_id in held:
        with writing(engine) as connection:
            change(connection, job_id, "resume", "operator", "it was not the job's fault")
    return len(held)


def check(engine: Engine, keys: list[str], clients: list[Client]) -> None:
    assert [odd for client in clients for odd in client.odd] == []
    answered: dict[str, set[str]] = {}
    for client in clients:
        for key, ids in client.answered.items():
            answered.setdefault(key, set()).update(ids)
    assert sorted(answered) == sorted(keys)
    assert all(len(ids) == 1 for ids in answered.values()), "one job for a key"
    with reading(engine) as connection:
        stored = [row.id for row in connection.execute(select(JOBS.c.id))]
        ends = select(EVENTS.c.job_id).where(
            EVENTS.c.kind == "state", EVENTS.c.data_json.contains('"to": "SUCCEEDED"')
        )
        ended = Counter(row.job_id for row in connection.execute(ends))
    assert sorted(stored) == sorted(next(iter(ids)) for ids in answered.values()), "none lost"
    assert set(ended.values()) == {1}, "each ends once"
    assert len(ended) == len(keys)
    for job_id in stored:
        recorded = read_job(engine, job_id)
        assert [trial.number for trial in recorded.trials] == list(range(TRIALS))
        assert all(trial.state != "RUNNING" for trial in recorded.trials)
        assert len({trial.digest for trial in recorded.trials}) == TRIALS


@pytest.mark.long
@pytest.mark.parametrize("database", ["postgresql", "sqlite"])
def test_every_job_ends_once_whoever_is_killed(
    tmp_path: Path, teacher: Path, server: Server, kills: Kills, database: str
) -> None:
    on_server = database == "postgresql"
    home = tmp_path / "home"
    home.mkdir()
    url = server.new_database() if on_server else embedded_url(home / "p.db")
    engine = open_database(url)
    processes, clients, keys = crowd(
        home,
        teacher,
        url,
        jobs=200 if kills.thorough else 10,
        clients=20 if kills.thorough else 3,
        apis=(4 if kills.thorough else 2) if on_server else 1,
        controllers=2 if on_server else 1,
    )
    held = 0
    killer = threading.Thread(target=processes.kill_now_and_then)
    began = time.monotonic()
    killer.start()
    try:

        def all_ended() -> bool:
            nonlocal held
            held += resumed(engine)
            return states(engine)["SUCCEEDED"] == len(keys)

        ended = wait_for(all_ended)
        processes.over.set()
        killer.join()
        assert ended, (states(engine), _tails(home))
        for client in clients:
            client.join()
    finally:
        processes.end()
    check(engine, keys, clients)
    engine.dispose()
    seconds = time.monotonic() - began
    kills.tell("crowd", (database, dict(processes.killed), len(keys), held, seconds))
    print(f"{database}: {len(keys)} jobs, {dict(processes.killed)}, {held} held, {seconds:.0f} s")  # noqa: T201
    assert sum(processes.killed.values()) > 0


def _tails(home: Path) -> str:
    logs = sorted(home.glob("*.log"))
    return "\n".join(f"{log.name}: {log.read_text()[-1500:]}" for log in logs)
