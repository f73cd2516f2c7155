"""What only Ray can do to a pool: workers, nodes and control stores die."""

import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from search_spaces import ParetrackError
from tests.workers.conftest import PrivateRay
from tests.workers.small_work import (
    STEPS,
    answer,
    assignment,
    until_answered,
    until_begun,
    until_gone,
    work,
)
from workers.on_ray import LocalRay, Needs, RayPool
from workers.on_ray._process import end_session, session_processes, token_file
from workers.pool import Done, Lost, Pool, PoolBroken, Progress

SMALL = LocalRay(cpus=2, object_store_mb=100)


@pytest.fixture(scope="module")
def pool(private_ray: PrivateRay) -> Iterator[Pool]:
    with closing(joined(private_ray, retries=1)) as pool:
        yield pool


def joined(ray: PrivateRay, **said: object) -> RayPool:
    return RayPool(ray.home, address=ray.address, work=work, **said)  # type: ignore[arg-type]


def test_a_killed_workers_assignment_goes_on_where_it_was_and_is_answered_once(
    pool: Pool, tmp_path: Path
) -> None:
    pool.submit(assignment("train", tmp_path))
    pid = until_begun(tmp_path)
    time.sleep(random.random())  # at any moment
    os.kill(pid, signal.SIGKILL)
    heard = until_answered(pool, "train")
    found = heard[-1]
    assert isinstance(found, Done), found
    assert found.measurement["begun"] == 2
    steps = {(tmp_path / f"step-{n}").read_text() for n in range(STEPS)}
    assert len(steps) <= 2, "a step that was done was done again"
    done = [report.happening.done for report in heard if isinstance(report, Progress)]
    assert done == sorted(set(done)) and done[-1] == STEPS
    assert pool.reports(timeout=0.1) == []


def test_an_assignment_that_kills_every_worker_is_lost(pool: Pool, tmp_path: Path) -> None:
    pool.submit(assignment("die 9 times", tmp_path / "all"))
    pool.submit(assignment("die 1 time", tmp_path / "one"))
    heard = until_answered(pool, "die 9 times", "die 1 time")
    answers = {report.ticket: report for report in heard}
    lost, done = answers["die 9 times"], answers["die 1 time"]
    assert isinstance(lost, Lost) and not lost.cancelled
    assert "its worker died 2 times" in lost.reason
    assert isinstance(done, Done) and done.measurement["begun"] == 2


@pytest.mark.parametrize("silent", ["spin", "sleep"])
def test_work_that_never_says_a_word_is_cancelled(pool: Pool, tmp_path: Path, silent: str) -> None:
    pool.submit(assignment(silent, tmp_path))
    pid = until_begun(tmp_path)
    pool.cancel(silent)
    assert answer(pool, silent) == Lost(silent, "cancelled", cancelled=True)
    until_gone(pid)
    assert len((tmp_path / "begun.txt").read_text().split()) == 1


def test_a_folder_behind_a_url_is_found_by_the_next_worker(pool: Pool, tmp_path: Path) -> None:
    url = f"file://{tmp_path}/far"
    for begun in (1, 2):
        pool.submit(assignment("measure", url))
        found = answer(pool, "measure")
        assert isinstance(found, Done) and found.measurement["begun"] == begun
    pool.submit(assignment("fail", url))
    answer(pool, "fail")
    assert sorted(path.name for path in (tmp_path / "far").iterdir()) == ["begun.txt", "error.txt"]


def test_the_teacher_travels_to_a_node_that_does_not_see_it(
    private_ray: PrivateRay, tmp_path: Path
) -> None:
    teacher = tmp_path / "teacher"
    teacher.mkdir()
    (teacher / "architecture.json").write_text("{}")
    (teacher / "weights.safetensors").write_bytes(b"the first")
    with closing(joined(private_ray, needs=Needs(cpus=2))) as pool:
        for name in "ab":
            pool.submit(assignment(f"loop {name}", tmp_path / name))
        pool.submit(assignment("teacher", tmp_path / "c", teacher))
        pool.cancel("loop b")
        answer(pool, "loop b")  # what was said before has therefore been heard
        (teacher / "weights.safetensors").write_bytes(b"another one")
        pool.cancel("loop a")
        until_answered(pool, "loop a", "teacher")
    assert (tmp_path / "c" / "seen.bin").read_bytes() == b"the first"
    cached = list((private_ray.home / "cache" / "teachers").iterdir())
    assert [path.name.startswith(".") for path in cached] == [False]


def test_slots_follow_what_a_candidate_needs(private_ray: PrivateRay, tmp_path: Path) -> None:
    with closing(joined(private_ray, needs=Needs(cpus=1, resources={"phone": 1}))) as pool:
        assert pool.slots == 0
        pool.submit(assignment("measure", tmp_path))
        assert pool.reports(timeout=1) == []
        pool.cancel("measure")
        found = answer(pool, "measure")
        assert isinstance(found, Lost) and found.cancelled


def test_a_job_has_no_more_in_flight_than_it_may(private_ray: PrivateRay, tmp_path: Path) -> None:
    with closing(joined(private_ray, needs=Needs(cpus=0.5), max_in_flight=1)) as pool:
        assert pool.slots == 1
        pool.submit(assignment("loop", tmp_path / "a"))
        pool.submit(assignment("measure", tmp_path / "b"))
        until_begun(tmp_path / "a")
        assert all(isinstance(report, Progress) for report in pool.reports(timeout=0.5))
        assert not (tmp_path / "b").exists()
        pool.cancel("loop")
        until_answered(pool, "loop", "measure")


def test_a_closed_pool_leaves_no_work_behind_in_a_cluster_that_lives_on(
    private_ray: PrivateRay, tmp_path: Path
) -> None:
    pool = joined(private_ray)
    pool.submit(assignment("sleep", tmp_path))
    worker = until_begun(tmp_path)
    driver = pool._driver.pid
    pool.close()
    until_gone(worker, driver)
    with closing(joined(private_ray)) as another:
        assert another.slots == 2


def opened(tmp_path: Path, silence: float = 20.0) -> tuple[RayPool, int]:
    """A pool with a Ray of its own that has work in hand, and the worker's process."""
    pool = RayPool(tmp_path / "home", local=SMALL, work=work, silence=silence)
    pool.submit(assignment("sleep", tmp_path / "a"))
    return pool, until_begun(tmp_path / "a")


def process_of(pool: RayPool, name: str) -> int:
    [found] = [
        pid
        for pid in session_processes(pool._driver.pid)
        if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].endswith(name.encode())
    ]
    return found


@pytest.mark.parametrize("killed", ["raylet", "gcs_server", "driver"])
def test_a_dead_ray_is_noticed_and_leaves_no_process(tmp_path: Path, killed: str) -> None:
    pool, worker = opened(tmp_path, silence=4.0)
    everybody = [worker, pool._driver.pid, *session_processes(pool._driver.pid)]
    os.kill(pool._driver.pid if killed == "driver" else process_of(pool, killed), signal.SIGKILL)

    began = time.monotonic()
    with pytest.raises(PoolBroken, match="submit it again"):
        while time.monotonic() - began < 60:
            assert all(isinstance(report, Progress) for report in pool.reports(timeout=5))
    with pytest.raises(PoolBroken):
        pool.submit(assignment("measure", tmp_path / "b"))
    with pytest.raises(PoolBroken):
        _ = pool.slots
    pool.close()
    until_gone(*everybody)
    shutil.rmtree(pool._folder)  # what Ray wrote about it


def test_a_controller_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    script = """
        import sys, time
        from pathlib import Path
        from tests.workers.test_on_ray import opened
        if __name__ == "__main__":
            pool, worker = opened(Path(sys.argv[1]))
            print(worker, pool._driver.pid, flush=True)
            time.sleep(60)
    """
    controller = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert controller.stdout is not None
    with controller.stdout as told:
        worker, driver = map(int, told.readline().split())
    everybody = session_processes(driver)
    assert {worker, driver} < set(everybody) and len(everybody) > 5
    controller.kill()
    controller.wait()
    until_gone(*everybody)


@pytest.mark.slow
def test_work_of_a_node_that_fell_silent_is_done_by_another(tmp_path: Path) -> None:
    one = LocalRay(cpus=1, object_store_mb=100)
    with closing(RayPool(tmp_path / "home", local=one, work=work, silence=4.0)) as pool:
        node, everybody = second_node(pool, tmp_path / "home")
        try:
            tickets = ["train a", "train b"]
            for ticket in tickets:
                pool.submit(assignment(ticket, tmp_path / ticket))
                until_begun(tmp_path / ticket)
            for pid in session_processes(node.pid):  # as if it was switched off: no line is closed
                os.kill(pid, signal.SIGSTOP)
            answers = [r for r in until_answered(pool, *tickets) if isinstance(r, Done)]
            assert sorted(done.measurement["begun"] for done in answers) == [1, 2]
            assert pool.slots == 1
            for pid in everybody:
                os.kill(pid, signal.SIGCONT)
            assert pool.reports(timeout=2) == []
        finally:
            node.kill()
            node.wait()
            end_session(node.pid)


def second_node(pool: RayPool, home: Path) -> tuple["subprocess.Popen[bytes]", list[int]]:
    """Joined, with all of its processes."""
    began = "--num-cpus=1", "--object-store-memory=100000000"
    node = subprocess.Popen(
        [
            Path(sys.executable).parent / "ray",
            "start",
            "--block",
            f"--address={pool.address}",
            *began,
        ],
        env={**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token_file(home))},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while pool.slots < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert pool.slots == 2
    return node, session_processes(node.pid)


def test_a_candidate_that_no_machine_holds_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(PoolBroken, match=r"cpus=3.*more than it offers"):
        RayPool(tmp_path, local=SMALL, needs=Needs(cpus=3))


def test_a_cluster_that_is_not_there_is_no_pool(tmp_path: Path) -> None:
    with pytest.raises(PoolBroken, match=r"127\.0\.0\.1:1: .*nobody listens there"):
        RayPool(tmp_path, address="127.0.0.1:1")


def test_what_cannot_be_asked_of_ray_is_said_before_it_starts(tmp_path: Path) -> None:
    with pytest.raises(ParetrackError, match="HOST:PORT"):
        RayPool(tmp_path, address="ray://somewhere:10001")
    with pytest.raises(ParetrackError, match="some of a CPU"):
        RayPool(tmp_path, needs=Needs(cpus=0))
    with pytest.raises(ParetrackError, match="at least 1"):
        RayPool(tmp_path, max_in_flight=0)
    with pytest.raises(ParetrackError, match="importable name"):
        RayPool(tmp_path, work=lambda assignment, folder, hear: {})
    assert list(tmp_path.iterdir()) == []


def test_the_token_is_for_its_owner_alone_and_stays(tmp_path: Path) -> None:
    path = token_file(tmp_path / "home")
    told = path.read_text()
    assert len(told) == 64 and path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    assert token_file(tmp_path / "home").read_text() == told
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["ray_token"]
