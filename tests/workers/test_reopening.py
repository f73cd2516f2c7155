"""A pool whose hands break, and the one that goes on with its work."""

from pathlib import Path
from typing import Any, cast

import pytest

from workers.candidate import Candidate
from workers.pool import Assignment, Done, Lost, PoolBroken, Progress, Report
from workers.reopening import ReopeningPool


class Hands:
    """Answers one assignment at a time; breaks before its answer number ``breaks_at``."""

    def __init__(self, breaks_at: int | None, begun: list[str]) -> None:
        self._left, self._begun = breaks_at, begun
        self._waiting: list[str] = []
        self.closed = False

    @property
    def slots(self) -> int:
        self._check()
        return 2

    def submit(self, assignment: Assignment) -> None:
        self._check()
        self._begun.append(assignment.ticket)
        self._waiting.append(assignment.ticket)

    def reports(self, timeout: float) -> list[Report]:
        self._check()
        if self._left is not None:
            self._left -= 1
        return [Done(self._waiting.pop(0), {"state": "COMPLETE"})] if self._waiting else []

    def cancel(self, ticket: str) -> None:
        self._check()
        self._waiting.remove(ticket)

    def close(self) -> None:
        self.closed = True

    def _check(self) -> None:
        if self._left == 0:
            raise PoolBroken("the hands are dead")


class Workshop:
    """Opens hands that break after so many answers, one after the other."""

    def __init__(self, *breaks_at: int | None) -> None:
        self._next = list(breaks_at)
        self.opened: list[Hands] = []
        self.begun: list[str] = []

    def __call__(self) -> Hands:
        self.opened.append(Hands(self._next.pop(0), self.begun))
        return self.opened[-1]


def assignment(ticket: str) -> Assignment:
    nobody = cast(Candidate, None)  # no hands look at it
    return Assignment(ticket=ticket, candidate=nobody, folder=str(Path("nowhere")))


def answers(pool: ReopeningPool, count: int) -> list[str]:
    found: list[str] = []
    while len(found) < count:
        found += [r.ticket for r in pool.reports(0.1) if not isinstance(r, Progress)]
    return found


def test_open_work_goes_to_the_next_hands_and_is_answered_once() -> None:
    said: list[str] = []
    workshop = Workshop(2, 1, None)
    pool = ReopeningPool(workshop, hear=said.append)
    for ticket in "abcd":
        pool.submit(assignment(ticket))

    assert answers(pool, 4) == ["a", "b", "c", "d"]
    assert workshop.begun == ["a", "b", "c", "d", "c", "d", "d"]
    assert [hands.closed for hands in workshop.opened] == [True, True, False]
    assert len(said) == 2 and "the hands are dead" in said[0] and "2 open" in said[0]
    pool.close()
    assert workshop.opened[-1].closed


def test_what_is_submitted_to_dead_hands_is_begun_by_the_next() -> None:
    workshop = Workshop(0, None)
    pool = ReopeningPool(workshop)
    pool.submit(assignment("a"))
    assert answers(pool, 1) == ["a"]
    assert workshop.begun == ["a"]


def test_slots_survive_dead_hands() -> None:
    assert ReopeningPool(Workshop(0, None)).slots == 2


def test_what_is_cancelled_while_the_hands_die_is_not_begun_again() -> None:
    workshop = Workshop(1, None)
    pool = ReopeningPool(workshop)
    for ticket in "abc":
        pool.submit(assignment(ticket))
    assert answers(pool, 1) == ["a"]
    pool.cancel("b")
    lost = [r for r in pool.reports(0.1) if isinstance(r, Lost)]
    assert [(report.ticket, report.cancelled) for report in lost] == [("b", True)]
    assert workshop.begun == ["a", "b", "c", "c"]
    assert pool.reports(0.1) == []


def test_hands_that_break_again_and_again_are_given_up() -> None:
    workshop = Workshop(0, 0, 0, 0, 0)
    pool = ReopeningPool(workshop, times=3)
    with pytest.raises(PoolBroken, match="the hands are dead"):
        pool.reports(0.1)
    assert len(workshop.opened) == 4


def test_an_answer_forgives_earlier_breaks() -> None:
    workshop = Workshop(1, 1, 1, 1, None)
    pool = ReopeningPool(workshop, times=1)
    for ticket in "abcde":
        pool.submit(assignment(ticket))
    assert answers(pool, 5) == list("abcde")


def test_a_lost_ticket_is_not_begun_again() -> None:
    class Losing(Hands):
        def reports(self, timeout: float) -> list[Report]:
            self._check()
            self._left = 0
            return [Lost(self._waiting.pop(0), "its node is gone")]

    begun: list[str] = []
    made: list[Any] = [Losing(None, begun), Hands(None, begun)]
    pool = ReopeningPool(lambda: cast(Hands, made.pop(0)))
    pool.submit(assignment("a"))
    assert [type(report) for report in pool.reports(0.1)] == [Lost]
    assert pool.reports(0.1) == [] and begun == ["a"]
