"""One pool for several jobs of a process: each has a pool of its own to look at, and a fair share.

A share is weighted max-min fair among the jobs that want work: nobody gets more than they ask for,
what they leave goes to the others, by weight. Where shares are fractions of slots, the jobs take
turns: what is left after rounding down is for those that are owed most, in slots times seconds.
Nothing that runs is ended for the sake of another job.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from workers.pool import Assignment, Lost, Pool, PoolBroken, Progress, Report

LISTEN = 0.05  # seconds at a time, so that what others submit meanwhile does not wait for longer
PATIENCE = 10.0  # seconds that the close of a share waits for what it has cancelled
AWAY = 2.0  # seconds without a word from a job, and nothing is kept for it any more


def fair(capacity: float, wanted: Sequence[float], weights: Sequence[float]) -> list[float]:
    """How much each gets of ``capacity``, weighted max-min fair: at most what it wants."""
    given = [0.0] * len(wanted)
    # Those that are content with the least for their weight come first.
    order = sorted(range(len(wanted)), key=lambda i: wanted[i] / weights[i])
    left = sum(weights)
    for i in order[:-1]:
        given[i] = min(wanted[i], capacity * weights[i] / left)
        capacity -= given[i]
        left -= weights[i]
    for i in order[-1:]:
        given[i] = min(wanted[i], capacity)
    return given


@dataclass(eq=False)
class _Account:
    """What one job has asked for, has, and has had."""

    job: str
    label: str  # before its tickets in the real pool; never used again
    weight: float
    most: float
    queue: deque[Assignment] = field(default_factory=deque)
    running: set[str] = field(default_factory=set)  # own tickets that the real pool has
    heard: list[Report] = field(default_factory=list)
    wants_more: bool = False  # than it has open
    offered: int | None = None  # the slots that it knows of; None: it has not asked
    owed: float = 0.0  # slots times seconds: its share until now, less what it had
    waits: bool = False  # for reports, now
    last_word: float = -math.inf  # when it was here last, or was told something
    closed: bool = False

    @property
    def open(self) -> int:
        return len(self.queue) + len(self.running)

    @property
    def believed_open(self) -> int:
        """As the job sees it, which has not heard everything yet."""
        return self.open + sum(not isinstance(report, Progress) for report in self.heard)

    @property
    def eager(self) -> bool:
        """Whether it would take another slot at once."""
        return self.wants_more and (self.waits or time.monotonic() - self.last_word < AWAY)

    @property
    def wanted(self) -> float:
        return self.most if self.eager else min(self.most, self.open)


class Shares:
    """Divides a pool among jobs, which run in threads of this process.

    The pool itself is called by one thread at a time, so it need not be safe for threads: whoever
    waits for reports listens for all. Whoever gives a pool gives it away: ``close`` closes it.
    """

    def __init__(self, pool: Pool, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool, self._clock = pool, clock
        self._changed = threading.Condition()
        self._listening = False  # a thread is in the pool: nobody else may call it
        self._accounts: list[_Account] = []
        self._runs: dict[str, tuple[_Account, str]] = {}  # by ticket of the real pool
        self._unwanted: list[str] = []  # to be cancelled in the real pool
        self._count = 0
        self._counted_at = clock()
        self._slots = pool.slots
        self._broken: PoolBroken | None = None

    def of(self, job: str, *, weight: float = 1.0, most: int | None = None) -> Pool:
        """The pool of a job, until it is closed. ``weight``: twice as much gets twice the share;
        ``most``: what it never has more of in the real pool, however many slots are free."""
        if not 0 < weight < math.inf:
            raise ValueError(f"the weight of job {job!r} is a number over 0, got {weight}")
        if most is not None and most < 1:
            raise ValueError(f"job {job!r} must be allowed at least 1 slot, got {most}")
        with self._changed:
            self._check()
            if any(account.job == job for account in self._accounts):
                raise ValueError(f"job {job!r} has a share already; close that one first")
            self._count_time()
            self._count += 1
            limit = math.inf if most is None else most
            account = _Account(job, f"{self._count}/{job}/", float(weight), limit)
            self._accounts.append(account)
            self._changed.notify_all()
            return _Share(self, account)

    def close(self) -> None:
        """Close the real pool: every share is closed then, and says so."""
        with self._changed:
            self._broken = self._broken or PoolBroken("this pool is closed; open another one")
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._listening)
        self._pool.close()

    # --- what the shares ask for; each takes the lock -------------------------------------------

    def slots(self, account: _Account) -> int:
        with self._changed:
            self._check(account)
            self._count_time()
            account.last_word = time.monotonic()
            self._work()
            account.offered = self._entitled(account)
            return account.offered

    def submit(self, account: _Account, assignment: Assignment) -> None:
        with self._changed:
            self._check(account)
            ticket = assignment.ticket
            if ticket in account.running or any(a.ticket == ticket for a in account.queue):
                raise ValueError(f"ticket {ticket!r} is in flight already")
            self._count_time()
            account.queue.append(assignment)
            account.wants_more = True  # until it waits though it might submit another one
            account.last_word = time.monotonic()
            self._work()
            self._check()

    def cancel(self, account: _Account, ticket: str) -> None:
        with self._changed:
            self._check(account)
            if ticket in account.running:
                self._unwanted.append(account.label + ticket)
            self._count_time()
            for assignment in [a for a in account.queue if a.ticket == ticket]:
                account.queue.remove(assignment)
                reason = "cancelled before it began"
                account.heard.append(Lost(ticket, reason, cancelled=True))
                self._changed.notify_all()
            self._work()
            self._check()

    def reports(self, account: _Account, timeout: float) -> list[Report]:
        deadline = time.monotonic() + timeout
        with self._changed:
            self._count_time()
            full = account.offered is not None and account.believed_open >= account.offered
            account.wants_more = full
            account.waits = True
            self._work()  # another may have more now
            try:
                self._wait(account, deadline)
            finally:
                account.waits, account.last_word = False, time.monotonic()
            found, account.heard = account.heard, []
            return found

    def _wait(self, account: _Account, deadline: float) -> None:
        """Until there is something to be said to this job; it listens, unless another does."""
        listened = False
        while not account.heard:  # before the pool broke, too
            self._check(account)
            if self._has_grown(account):
                return
            left = max(0.0, deadline - time.monotonic())
            if left == 0 and (listened or self._listening):
                return
            if self._listening:
                self._changed.wait(left)
            else:
                self._listen(min(left, LISTEN))
                listened = True

    def leave(self, account: _Account) -> None:
        """Cancel what the job has, and wait a while for it to end."""
        with self._changed:
            if account.closed:
                return
            account.closed = True
            self._count_time()
            self._accounts.remove(account)
            account.queue.clear()
            account.heard.clear()
            self._unwanted += [account.label + ticket for ticket in account.running]
            self._changed.notify_all()
            deadline = time.monotonic() + PATIENCE
            self._work()
            while account.running and self._broken is None and time.monotonic() < deadline:
                if self._listening:
                    self._changed.wait(LISTEN)
                else:
                    self._listen(LISTEN)

    # --- the real pool; the lock is held --------------------------------------------------------

    def _check(self, account: _Account | None = None) -> None:
        if self._broken is not None:
            raise PoolBroken(str(self._broken)) from self._broken
        if account is not None and account.closed:
            raise PoolBroken(f"the share of job {account.job!r} is closed; ask for another one")

    def _listen(self, timeout: float) -> None:
        """Hear what happened in the pool, without the lock, and pass it on."""
        self._listening = True
        self._changed.release()
        found: list[Report] = []
        try:
            found = self._pool.reports(timeout)
        except PoolBroken as error:
            self._broken = self._broken or error  # one reference: no lock is needed
        finally:
            self._changed.acquire()
            self._listening = False
            self._changed.notify_all()
        self._count_time()
        for report in found:
            self._pass_on(report)
        self._work()

    def _pass_on(self, report: Report) -> None:
        if report.ticket not in self._runs:
            return  # given to the pool by somebody else, before it was shared
        account, ticket = self._runs[report.ticket]
        if not isinstance(report, Progress):
            del self._runs[report.ticket]
            account.running.remove(ticket)
        if not account.closed:
            account.last_word = time.monotonic()
            account.heard.append(replace(report, ticket=ticket))

    def _work(self) -> None:
        """Cancel what is to be cancelled, begin what can begin; after it, if a thread listens."""
        if self._listening or self._broken is not None:
            return
        try:
            while self._unwanted:
                ticket = self._unwanted.pop()
                if ticket in self._runs:
                    self._pool.cancel(ticket)
            self._slots = self._pool.slots
            while len(self._runs) < self._slots and (account := self._next()) is not None:
                self._begin(account)
        except PoolBroken as error:
            self._broken = error
            self._changed.notify_all()

    def _begin(self, account: _Account) -> None:
        assignment = account.queue[0]
        ticket = account.label + assignment.ticket
        self._pool.submit(replace(assignment, ticket=ticket))
        account.queue.popleft()
        account.running.add(assignment.ticket)
        self._runs[ticket] = account, assignment.ticket

    # --- who is next ----------------------------------------------------------------------------

    def _next(self) -> _Account | None:
        """Who has less than it is entitled to and is owed most; the slot is kept for it if it has
        yet to say what for. Where there is no such job, any that waits."""
        theirs = self._rounded(self._shares())
        short = [
            a
            for a in self._accounts
            if (a.eager and len(a.running) < theirs[a])
            or (a.queue and not a.eager and len(a.running) < self._entitled(a))
        ]
        waiting = [a for a in self._accounts if a.queue and len(a.running) < a.most]
        first = max(short or waiting, key=lambda a: a.owed, default=None)
        return first if first is not None and first.queue else None

    def _entitled(self, account: _Account) -> int:
        """The slots that a job may fill: its share, should it want all, of what others leave."""
        return self._rounded(self._shares(eager=account))[account]

    def _rounded(self, shares: dict[_Account, float]) -> dict[_Account, int]:
        """Down; what is left of the slots goes to those that are owed most."""
        whole = {a: math.floor(share + 1e-9) for a, share in shares.items()}
        left = round(sum(shares.values())) - sum(whole.values())
        turns = [a for a in shares if shares[a] - whole[a] > 1e-9]
        for account in sorted(turns, key=lambda a: a.owed, reverse=True)[:left]:
            whole[account] += 1
        return whole

    def _shares(self, eager: _Account | None = None) -> dict[_Account, float]:
        accounts = self._accounts
        wanted = [a.most if a is eager else a.wanted for a in accounts]
        shares = fair(self._slots, wanted, [a.weight for a in accounts])
        return dict(zip(accounts, shares, strict=True))

    def _has_grown(self, account: _Account) -> bool:
        """Whether a job that wants more may have more than it knows; it is told so once."""
        entitled = self._entitled(account)
        if not account.wants_more or entitled <= max(account.offered or 0, account.open):
            return False
        account.offered = entitled
        return True

    def _count_time(self) -> None:
        """Before anything changes: until now it was as it is."""
        now = self._clock()
        passed, self._counted_at = now - self._counted_at, now
        for account, share in self._shares().items():
            account.owed += passed * (share - len(account.running))


class _Share:
    """The pool that one job sees."""

    def __init__(self, shares: Shares, account: _Account) -> None:
        self._shares, self._account = shares, account

    @property
    def slots(self) -> int:
        return self._shares.slots(self._account)

    def submit(self, assignment: Assignment) -> None:
        self._shares.submit(self._account, assignment)

    def reports(self, timeout: float) -> list[Report]:
        return self._shares.reports(self._account, timeout)

    def cancel(self, ticket: str) -> None:
        self._shares.cancel(self._account, ticket)

    def close(self) -> None:
        self._shares.leave(self._account)
