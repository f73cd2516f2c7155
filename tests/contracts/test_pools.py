"""What every pool promises, whoever its workers are."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.workers.small_work import (
    STEPS,
    TINY,
    answer,
    assignment,
    until_answered,
    until_begun,
    work,
)
from tests.workers.test_evaluation import write_folder
from workers.candidate import Candidate, Data
from workers.checkpoints import save_tracker
from workers.in_process import InProcessPool
from workers.on_ray import LocalRay, RayPool
from workers.pool import (
    Assignment,
    Done,
    Hear,
    Lost,
    Pool,
    PoolBroken,
    Progress,
    Work,
    evaluate_assignment,
)
from workers.pruning.widths import narrowed
from workers.sharing import Shares
from workers.training import Recipe, fresh_network

Open = Callable[[Work], Pool]


@pytest.fixture(scope="module", params=["in_process", "on_ray", "sharing"])
def open_pool(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Open]:
    if request.param == "in_process":
        yield lambda work: InProcessPool(slots=2, work=work)
        return
    if request.param == "sharing":
        with ExitStack() as opened:
            yield lambda work: opened.enter_context(closing(shares(work))).of("job")
        return
    home = tmp_path_factory.mktemp("home")
    # One starts a Ray, the others join it: starting takes seconds.
    with closing(RayPool(home, local=LocalRay(cpus=2, object_store_mb=100))) as host:
        yield lambda work: RayPool(home, address=host.address, work=work)


def shares(work: Work) -> Shares:
    """Over a pool whose work sees the tickets that the job has given."""

    def own(given: Assignment, folder: Path, hear: Hear) -> dict[str, Any]:
        *_, ticket = given.ticket.split("/")
        return work(replace(given, ticket=ticket), folder, hear)

    return Shares(InProcessPool(slots=2, work=own))


@pytest.fixture(scope="module")
def pool(open_pool: Open) -> Iterator[Pool]:
    with closing(open_pool(work)) as pool:
        yield pool


def test_what_was_submitted_is_done(pool: Pool, tmp_path: Path) -> None:
    pool.submit(assignment("measure", tmp_path / "new" / "folder"))
    found = answer(pool, "measure")
    assert isinstance(found, Done), found
    assert (found.measurement["state"], found.measurement["ticket"]) == ("COMPLETE", "measure")
    assert pool.reports(timeout=0.05) == []


def test_progress_is_heard_before_the_answer_and_not_at_every_step(
    pool: Pool, tmp_path: Path
) -> None:
    pool.submit(assignment("tell", tmp_path))
    *told, last = until_answered(pool, "tell")
    assert isinstance(last, Done)
    happenings = [report.happening for report in told if isinstance(report, Progress)]
    done = [happening.done for happening in happenings]
    assert done == sorted(done) and (done[0], done[-1]) == (1, STEPS)
    assert len(done) < STEPS / 2
    assert {(happening.step, happening.total) for happening in happenings} == {("recovery", STEPS)}


def test_a_bug_in_the_work_is_a_measurement_with_its_reason_and_leaves_its_traceback(
    pool: Pool, tmp_path: Path
) -> None:
    pool.submit(assignment("fail", tmp_path))
    found = answer(pool, "fail")
    assert isinstance(found, Done), found
    assert found.measurement["state"] == "FAILED"
    assert "ArithmeticError: one and one is three" in found.measurement["reason"]
    assert found.measurement["candidate"]["architecture"]["family"] == "siamrpn"
    assert "small_work.py" in (tmp_path / "error.txt").read_text()


def test_what_a_user_got_wrong_comes_back_in_its_own_words(pool: Pool, tmp_path: Path) -> None:
    pool.submit(assignment("misuse", tmp_path))
    found = answer(pool, "misuse")
    assert isinstance(found, Done), found
    assert found.measurement["reason"] == "the teacher is asleep; wake it"
    assert not (tmp_path / "error.txt").exists()


def test_a_folder_that_no_worker_can_open_fails_with_a_reason(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("taken")
    pool.submit(assignment("measure a", tmp_path / "file"))
    pool.submit(assignment("measure b", "nowhere://bucket/folder"))
    found = {
        report.ticket: report.measurement
        for report in until_answered(pool, "measure a", "measure b")
        if isinstance(report, Done)
    }
    assert "file" in found["measure a"]["reason"]
    assert "'nowhere://bucket/folder' cannot be opened" in found["measure b"]["reason"]


def test_a_busy_assignment_is_cancelled_and_its_slot_works_on(pool: Pool, tmp_path: Path) -> None:
    for name in "ab":
        pool.submit(assignment(f"loop {name}", tmp_path / name))
        until_begun(tmp_path / name)
    pool.submit(assignment("measure c", tmp_path / "c"))
    pool.cancel("loop a")
    heard = until_answered(pool, "loop a", "measure c")
    assert [type(r) for r in heard if r.ticket == "measure c"] == [Done]
    lost = [report for report in heard if isinstance(report, Lost)]
    assert [(report.ticket, report.cancelled) for report in lost] == [("loop a", True)]
    pool.cancel("loop b")
    assert answer(pool, "loop b") == Lost("loop b", "cancelled", cancelled=True)


def test_an_assignment_that_waits_is_cancelled_before_it_begins(pool: Pool, tmp_path: Path) -> None:
    busy = [f"loop {n}" for n in range(pool.slots + 1)]  # a pool may hold one more than can run
    for ticket in busy:
        pool.submit(assignment(ticket, tmp_path / ticket))
    pool.submit(assignment("measure", tmp_path / "never"))
    pool.cancel("measure")
    found = answer(pool, "measure")
    assert isinstance(found, Lost) and found.cancelled
    for ticket in busy:
        pool.cancel(ticket)
    until_answered(pool, *busy)
    assert not (tmp_path / "never").exists()


def test_cancelling_what_is_answered_or_was_never_submitted_is_no_matter(
    pool: Pool, tmp_path: Path
) -> None:
    pool.submit(assignment("measure", tmp_path))
    answer(pool, "measure")
    pool.cancel("measure")
    pool.cancel("whatever")
    assert pool.reports(timeout=0.2) == []


def test_many_assignments_are_answered_once_each(pool: Pool, tmp_path: Path) -> None:
    tickets = [f"{'fail' if n % 7 == 3 else 'measure'} {n}" for n in range(40)]
    for ticket in tickets:
        pool.submit(assignment(ticket, tmp_path / ticket))
    states = {
        report.ticket: report.measurement["state"]
        for report in until_answered(pool, *tickets)
        if isinstance(report, Done)
    }
    assert states == {t: "FAILED" if t.startswith("fail") else "COMPLETE" for t in tickets}
    assert pool.reports(timeout=0.05) == []


def test_a_ticket_is_not_in_flight_twice_but_may_come_again(pool: Pool, tmp_path: Path) -> None:
    pool.submit(assignment("loop", tmp_path))
    with pytest.raises(ValueError, match="'loop' is in flight already"):
        pool.submit(assignment("loop", tmp_path))
    pool.cancel("loop")
    answer(pool, "loop")
    pool.submit(assignment("loop", tmp_path))
    pool.cancel("loop")
    assert isinstance(answer(pool, "loop"), Lost)


def test_a_pool_with_work_in_hand_closes_and_says_so_afterwards(
    open_pool: Open, tmp_path: Path
) -> None:
    pool = open_pool(work)
    for name in "abc":
        pool.submit(assignment(f"loop {name}", tmp_path / name))
    until_begun(tmp_path / "a")
    pool.close()
    with pytest.raises(PoolBroken, match="closed"):
        pool.submit(assignment("measure", tmp_path / "d"))
    with pytest.raises(PoolBroken, match="closed"):
        pool.reports(timeout=1)
    pool.close()


def test_a_candidate_is_judged_rung_by_rung_in_its_folder(open_pool: Open, tmp_path: Path) -> None:
    write_folder(tmp_path / "data", 2, 6)
    save_tracker(tmp_path / "teacher", TINY, fresh_network(TINY, seed=0))
    candidate = Candidate(
        teacher=tmp_path / "teacher",
        architecture=narrowed(TINY, keep=0.5),
        recipe=Recipe(steps=4, batch=2),
        refit=0,
        data=Data(dataset="folder", root=tmp_path / "data", train="all", judged_on="all"),
        probes=(),
    )
    first = Assignment(
        ticket="first", candidate=candidate, folder=str(tmp_path / "judged"), until=2
    )
    nowhere = replace(candidate, data=replace(candidate.data, root=tmp_path / "nowhere"))
    with closing(open_pool(evaluate_assignment)) as pool:
        pool.submit(first)
        heard = until_answered(pool, "first")
        at_rung = heard[-1]
        pool.submit(replace(first, ticket="second", until=None))
        complete = answer(pool, "second")
        pool.submit(Assignment(ticket="third", candidate=nowhere, folder=str(tmp_path / "third")))
        failed = answer(pool, "third")

    assert isinstance(at_rung, Done) and isinstance(complete, Done) and isinstance(failed, Done)
    assert (at_rung.measurement["state"], at_rung.measurement["steps"]) == ("AT_RUNG", 2)
    assert complete.measurement["state"] == "COMPLETE", complete.measurement["reason"]
    assert complete.measurement["steps"] == 4
    assert complete.measurement["tracker"] == str(tmp_path / "judged")
    gates = [gate["name"] for gate in complete.measurement["gates"]]
    assert gates.count("inherited accuracy") == 1, "the second call began anew"
    moments = [r.happening.moment for r in heard if isinstance(r, Progress) if r.happening.moment]
    assert moments and moments[-1].step == 2
    assert failed.measurement["state"] == "FAILED"
    assert str(tmp_path / "nowhere") in failed.measurement["reason"]
