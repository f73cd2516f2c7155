"""Shares of one pool: fair by weight, apart from each other, and safe among threads."""

import math
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from service.controller import Finished
from service.database import embedded_url, open_database
from tests.service.jobs import bench, brute_front, make_teacher
from tests.service.table_pool import TablePool
from tests.workers.small_work import answer, assignment, until_answered, until_begun, work
from workers.in_process import InProcessPool
from workers.pool import Assignment, Done, Lost, Pool, PoolBroken, Report
from workers.reopening import ReopeningPool
from workers.sharing import Shares, fair


@dataclass
class Hands:
    """A pool in virtual time: what runs ends when the test says so. Never given more than fits."""

    slots: int
    now: float = 0.0
    running: dict[str, Assignment] = field(default_factory=dict)
    unheard: list[Report] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    broken: bool = False
    closed: bool = False

    def submit(self, assignment: Assignment) -> None:
        self._check()
        assert len(self.held()) < self.slots, "more than fits"
        assert assignment.ticket not in self.running
        self.running[assignment.ticket] = assignment
        self.begun.append(assignment.ticket)

    def reports(self, timeout: float) -> list[Report]:
        self._check()
        found, self.unheard = self.unheard, []
        return found

    def cancel(self, ticket: str) -> None:
        self._check()
        if self.running.pop(ticket, None) is not None:
            self.unheard.append(Lost(ticket, "cancelled", cancelled=True))

    def close(self) -> None:
        self.closed = True

    def end(self, ticket: str) -> None:
        self.running.pop(ticket)
        self.unheard.append(Done(ticket, {"of": ticket}))

    def held(self) -> list[str]:
        """What takes a slot as far as anybody knows."""
        return [*self.running, *(report.ticket for report in self.unheard)]

    def of(self, job: str) -> list[str]:
        return [ticket for ticket in self.held() if ticket.split("/")[1] == job]

    def _check(self) -> None:
        if self.broken:
            raise PoolBroken("the hands are broken")


def shares_of(hands: Hands) -> Shares:
    return Shares(hands, clock=lambda: hands.now)


def give(pool: Pool, *tickets: str) -> None:
    for ticket in tickets:
        pool.submit(assignment(ticket, "nowhere"))


# --- who may have how much --------------------------------------------------------------------

WANTED = st.sampled_from([0.0, 1.0, 2.0, 5.0, math.inf])
WEIGHT = st.sampled_from([0.5, 1.0, 2.0, 3.0])


@given(
    st.sampled_from([0.0, 1.0, 4.0, 7.0]),
    st.lists(st.tuples(WANTED, WEIGHT), min_size=1, max_size=6),
)
def test_a_division_is_max_min_fair(capacity: float, jobs: list[tuple[float, float]]) -> None:
    wanted, weights = [w for w, _ in jobs], [w for _, w in jobs]
    given = fair(capacity, wanted, weights)
    assert sum(given) == pytest.approx(min(capacity, sum(wanted)))
    assert all(0 <= mine <= want for mine, want in zip(given, wanted, strict=True))
    for i, (mine, want) in enumerate(zip(given, wanted, strict=True)):
        if mine < want - 1e-9:  # then nobody has more for its weight
            assert all(
                mine / weights[i] >= other / weights[j] - 1e-9 for j, other in enumerate(given)
            )


@dataclass(frozen=True)
class Greedy:
    """A job that always wants more; each of its candidates takes so long."""

    weight: float
    most: int | None
    takes: float


def slot_time(jobs: list[Greedy], slots: int, until: float) -> list[float]:
    """The slots that each of them had on average."""
    hands = Hands(slots)
    shares = shares_of(hands)
    pools = [shares.of(str(n), weight=j.weight, most=j.most) for n, j in enumerate(jobs)]
    flying, asked, ends = [0] * len(jobs), 0, dict[str, float]()
    had = [0.0] * len(jobs)
    while True:
        for n, pool in enumerate(pools):
            while flying[n] < pool.slots:
                asked += 1
                give(pool, f"{asked}")
                flying[n] += 1
        for ticket in hands.running:
            ends.setdefault(ticket, hands.now + jobs[int(ticket.split("/")[1])].takes)
        first = min(hands.running, key=lambda ticket: (ends[ticket], ticket))
        passed = min(ends[first], until) - hands.now
        for n in range(len(jobs)):
            had[n] += passed * len(hands.of(str(n)))
        hands.now += passed
        if hands.now >= until:
            return [each / until for each in had]
        hands.end(first)
        for n, pool in enumerate(pools):
            flying[n] -= len(pool.reports(0.0))


TAKES = st.sampled_from([0.3, 1.0, 3.1])


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 6),
    st.lists(
        st.builds(Greedy, WEIGHT, st.sampled_from([None, 1, 2]), TAKES), min_size=1, max_size=5
    ),
)
def test_greedy_jobs_get_what_is_fair_however_long_their_candidates_take(
    slots: int, jobs: list[Greedy]
) -> None:
    most = [math.inf if job.most is None else job.most for job in jobs]
    expected = fair(slots, most, [job.weight for job in jobs])
    assert slot_time(jobs, slots, until=100.0) == pytest.approx(expected, abs=0.25)


def test_who_joins_gets_what_becomes_free_until_it_is_even_and_nobody_is_stopped() -> None:
    hands = Hands(4)
    shares = shares_of(hands)
    first, second = shares.of("first"), shares.of("second")
    assert first.slots == 4
    give(first, "a", "b", "c", "d")
    assert first.reports(0.0) == []

    assert second.slots == 2
    give(second, "a", "b")

    assert (len(hands.of("first")), len(hands.of("second")), first.slots) == (4, 0, 2)
    for left in ((3, 1), (2, 2)):
        hands.end(hands.of("first")[0])
        assert len(first.reports(0.0)) == 1
        assert (len(hands.of("first")), len(hands.of("second"))) == left
    assert (first.slots, second.slots) == (2, 2)


def test_what_one_job_leaves_goes_to_the_others_and_comes_back_when_it_wants_it() -> None:
    hands = Hands(4)
    shares = shares_of(hands)
    modest, greedy = shares.of("modest"), shares.of("greedy")
    assert modest.slots == 4
    give(modest, "a")
    assert modest.reports(0.0) == []  # it could have submitted more

    assert greedy.slots == 3
    give(greedy, "a", "b", "c")
    assert greedy.reports(0.0) == []
    assert (modest.slots, len(hands.of("greedy"))) == (2, 3)

    give(modest, "b")
    assert greedy.slots == 2
    hands.end(hands.of("greedy")[0])
    assert len(greedy.reports(0.0)) == 1
    assert (len(hands.of("modest")), len(hands.of("greedy"))) == (2, 2)


def test_a_job_that_says_nothing_any_more_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    hands = Hands(2)
    shares = shares_of(hands)
    silent, other = shares.of("silent"), shares.of("other")
    assert (silent.slots, other.slots) == (2, 2)
    give(silent, "a")
    give(other, "a", "b")
    hands.end(hands.of("silent")[0])
    other.reports(0.0)
    assert len(hands.of("other")) == 1, "the slot is kept for a job that is about to fill it"

    monkeypatch.setattr("workers.sharing.AWAY", 0.0)

    other.reports(0.0)
    assert len(hands.of("other")) == 2
    assert other.slots == 2


# --- apart from each other --------------------------------------------------------------------


class Sharing(RuleBasedStateMachine):
    """Jobs that come, ask, cancel and go, in any order."""

    @initialize(slots=st.integers(1, 4))
    def begin(self, slots: int) -> None:
        self.hands = Hands(slots)
        self.shares = shares_of(self.hands)
        self.pools: dict[str, Pool] = {}
        self.most: dict[str, float] = {}
        self.open: dict[str, set[str]] = {}
        self.answers: Counter[tuple[str, str]] = Counter()
        self.asked = 0

    @rule(name=st.sampled_from("abcd"), weight=WEIGHT, most=st.sampled_from([None, 1, 2, 3]))
    def join(self, name: str, weight: float, most: int | None) -> None:
        if name in self.pools:
            with pytest.raises(ValueError, match="has a share already"):
                self.shares.of(name)
            return
        self.pools[name] = self.shares.of(name, weight=weight, most=most)
        self.most[name] = math.inf if most is None else most
        self.open[name] = set()

    @precondition(lambda self: self.pools)
    @rule(data=st.data(), slots_too=st.booleans())
    def fill(self, data: st.DataObject, slots_too: bool) -> None:
        """As a search does, or whatever it may have."""
        name = data.draw(st.sampled_from(sorted(self.pools)))
        pool = self.pools[name]
        while slots_too and len(self.open[name]) < pool.slots:
            self._submit(name)
        if not slots_too:
            self._submit(name)

    def _submit(self, name: str) -> None:
        # Jobs have the same tickets, and a job may use one again.
        ticket = next(str(n) for n in range(99) if str(n) not in self.open[name])
        give(self.pools[name], ticket)
        self.open[name].add(ticket)
        with pytest.raises(ValueError, match="in flight already"):
            give(self.pools[name], ticket)

    @precondition(lambda self: self.hands.running)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self.hands.end(data.draw(st.sampled_from(sorted(self.hands.running))))

    @precondition(lambda self: self.pools)
    @rule(data=st.data())
    def hear(self, data: st.DataObject) -> None:
        self._hear(data.draw(st.sampled_from(sorted(self.pools))))

    def _hear(self, name: str) -> None:
        for report in self.pools[name].reports(0.0):
            assert isinstance(report, Done | Lost)
            self.open[name].remove(report.ticket)
            if isinstance(report, Done):
                assert report.measurement["of"].endswith(f"/{name}/{report.ticket}")

    @precondition(lambda self: self.pools)
    @rule(data=st.data(), ticket=st.integers(0, 3))
    def cancel(self, data: st.DataObject, ticket: int) -> None:
        self.pools[data.draw(st.sampled_from(sorted(self.pools)))].cancel(str(ticket))

    @precondition(lambda self: self.pools)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.pools)))
        pool = self.pools.pop(name)
        others = {t for t in self.hands.running if t.split("/")[1] != name}
        pool.close()
        assert self.hands.of(name) == []
        assert others <= set(self.hands.running), "somebody else was stopped"
        with pytest.raises(PoolBroken, match="closed"):
            pool.reports(0.0)
        del self.most[name], self.open[name]

    @rule(slots=st.integers(0, 4), passed=st.sampled_from([0.0, 1.0, 10.0]))
    def change(self, slots: int, passed: float) -> None:
        self.hands.slots, self.hands.now = slots, self.hands.now + passed

    @invariant()
    def nobody_has_too_much(self) -> None:
        for name, pool in self.pools.items():
            assert len(self.hands.of(name)) <= self.most[name]
            assert 0 <= pool.slots <= min(self.most[name], self.hands.slots)

    @invariant()
    def a_job_alone_waits_for_nothing_but_a_slot(self) -> None:
        if len(self.pools) != 1:
            return
        ((name, pool),) = self.pools.items()
        self._hear(name)
        slots, running = pool.slots, len(self.hands.of(name))
        if len(self.open[name]) > running:
            assert running >= slots or len(self.hands.held()) >= self.hands.slots

    def teardown(self) -> None:
        if not hasattr(self, "pools"):
            return
        self.hands.slots = 4
        for _ in range(200):
            for ticket in list(self.hands.running):
                self.hands.end(ticket)
            for name in self.pools:
                self._hear(name)
        assert not any(self.open.values()), f"never answered: {self.open}"


Sharing.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestSharing = Sharing.TestCase


def test_a_broken_pool_breaks_every_share_after_what_was_heard() -> None:
    hands = Hands(2)
    shares = shares_of(hands)
    first, second = shares.of("first"), shares.of("second")
    give(first, "a")
    give(second, "a")
    hands.end(hands.of("first")[0])
    assert second.reports(0.0) == []
    hands.broken = True

    assert [report.ticket for report in first.reports(0.0)] == ["a"]
    for pool in (first, second):
        with pytest.raises(PoolBroken, match="the hands are broken"):
            pool.reports(0.0)
        with pytest.raises(PoolBroken, match="the hands are broken"):
            give(pool, "b")
        pool.close()
    with pytest.raises(PoolBroken):
        shares.of("third")
    shares.close()
    assert hands.closed


def test_over_a_pool_that_opens_again_nobody_hears_of_it() -> None:
    opened: list[Hands] = []

    def open_hands() -> Hands:
        opened.append(Hands(2))
        return opened[-1]

    shares = Shares(ReopeningPool(open_hands))
    first, second = shares.of("first"), shares.of("second")
    give(first, "a")
    give(second, "a")
    opened[0].broken = True

    assert first.reports(0.0) == second.reports(0.0) == []
    for ticket in list(opened[1].running):
        opened[1].end(ticket)
    assert [r.ticket for pool in (first, second) for r in pool.reports(0.0)] == ["a", "a"]


@pytest.mark.parametrize("words", [{"weight": 0.0}, {"weight": math.inf}, {"most": 0}])
def test_a_share_of_nothing_is_refused(words: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="job 'night'"):
        shares_of(Hands(1)).of("night", **words)


# --- among threads ----------------------------------------------------------------------------


def own_work(given: Assignment, folder: Path, hear: Any) -> dict[str, Any]:
    """What the ticket says that the job gave it."""
    *_, ticket = given.ticket.split("/")
    return work(Assignment(ticket=ticket, candidate=given.candidate, folder=given.folder),
                folder, hear)  # fmt: skip


def in_threads(*calls: Callable[[], object]) -> list[threading.Thread]:
    threads = [threading.Thread(target=call, daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    return threads


def test_each_thread_hears_its_own_answers_and_all_of_them(tmp_path: Path) -> None:
    shares = Shares(InProcessPool(slots=2, work=own_work))
    heard: dict[str, list[str]] = {}

    def run(job: str) -> None:
        with closing(shares.of(job)) as pool:
            tickets = [f"measure {n}" for n in range(15)]
            for ticket in tickets:
                pool.submit(assignment(ticket, tmp_path / job / ticket))
            heard[job] = sorted(report.ticket for report in until_answered(pool, *tickets))

    with closing(shares):
        for thread in in_threads(*(lambda job=job: run(job) for job in "abc")):  # type: ignore[misc]
            thread.join(60)
    assert heard == {job: sorted(f"measure {n}" for n in range(15)) for job in "abc"}


def test_who_waits_for_long_work_does_not_hold_up_another_job(tmp_path: Path) -> None:
    shares = Shares(InProcessPool(slots=2, work=own_work))
    with closing(shares):
        slow, quick = shares.of("slow"), shares.of("quick")
        slow.submit(assignment("loop", tmp_path / "slow"))
        until_begun(tmp_path / "slow")
        ended: list[Report] = []
        (thread,) = in_threads(lambda: ended.extend(until_answered(slow, "loop")))
        for n in range(3):
            quick.submit(assignment(f"measure {n}", tmp_path / f"quick {n}"))
            assert isinstance(answer(quick, f"measure {n}"), Done)
        assert thread.is_alive() and not any(isinstance(r, Done | Lost) for r in ended)
        quick.close()
        assert thread.is_alive(), "closing one share leaves the others alone"
        slow.cancel("loop")
        thread.join(30)
        assert ended[-1] == Lost("loop", "cancelled", cancelled=True)


def test_two_searches_over_one_pool_end_as_each_would_alone(tmp_path: Path) -> None:
    here = bench(tmp_path, make_teacher(tmp_path / "first"))
    engine = open_database(embedded_url(tmp_path / "paretrack.db"))
    together: set[frozenset[str]] = set()
    pool = TablePool(3, instead=lambda given: together.add(jobs_of(pool, given)))
    shares = Shares(pool)
    found: dict[str, Finished] = {}

    def run(name: str, hands: Any, seed: int) -> None:
        words = {"early_stopping": "none", "seed": seed, "budget": {"trials": 8}}
        with closing(hands):
            found[name] = here.run(engine, hands, here.job(name, **words))

    for thread in in_threads(
        lambda: run("a", shares.of("a"), seed=1), lambda: run("b", shares.of("b"), seed=2)
    ):
        thread.join(60)
    run("a alone", TablePool(3), seed=1)
    run("b alone", TablePool(3), seed=2)
    engine.dispose()

    assert frozenset("ab") in together, "they did not run at the same time"
    for name in "ab":
        mine, alone = found[name], found[f"{name} alone"]
        assert set(mine.outcome.front) == brute_front(mine.trials, mine.plan)
        assert [t.params for t in mine.trials] == [t.params for t in alone.trials]
        assert [t.values for t in mine.trials] == [t.values for t in alone.trials]


def jobs_of(pool: TablePool, given: Assignment) -> frozenset[str]:
    """The jobs that the pool works for now."""
    tickets = [given.ticket, *(one.ticket for _, one in pool._working)]
    return frozenset(ticket.split("/")[1] for ticket in tickets)
