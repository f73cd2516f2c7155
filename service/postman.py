"""Sends what is to be delivered to webhooks: a chore of every controller, in threads of its own."""

import logging
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import version

from sqlalchemy import Engine

from service import callouts, deliveries
from service.callouts import Allowed, Answer, NotAllowed, NotReached, Resolve
from service.database import DatabaseError
from service.deliveries import Attempt, Outcome
from service.signatures import DELIVERY, EVENT, signed

THREADS = 8
AT_ONCE = 2  # of one webhook: one that hangs must not keep the others
TIDIED_EVERY = 3600.0  # seconds
_log = logging.getLogger("paretrack.webhooks")

Send = Callable[[Attempt], Outcome]


class Sender:
    """Makes an attempt: signs, looks where it goes, posts."""

    def __init__(self, allowed: Allowed, resolve: Resolve = callouts.resolve) -> None:
        self._allowed, self._resolve = allowed, resolve

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return callouts.tls_context()

    def __call__(self, attempt: Attempt) -> Outcome:
        try:
            target = callouts.target_of(attempt.url)
            addresses = callouts.checked_addresses(target, self._allowed, self._resolve)
            answer = callouts.post(target, addresses, _headers(attempt), attempt.body, self._tls)
        except (NotAllowed, NotReached) as error:
            return Outcome(False, None, str(error))
        return _outcome(answer)


def _headers(attempt: Attempt) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "User-Agent": f"Paretrack/{version('paretrack')}",
        "Accept-Encoding": "identity",
        EVENT: attempt.kind,
        DELIVERY: attempt.delivery_id,
        **signed(attempt.secret, int(time.time()), attempt.body),
    }


def _outcome(answer: Answer) -> Outcome:
    if 200 <= answer.status < 300:
        return Outcome(True, answer.status)
    why = "redirects are not followed" if 300 <= answer.status < 400 else answer.excerpt
    said = f"answered {answer.status}" + (f": {why}" if why else "")
    return Outcome(False, answer.status, said)


class Postman:
    """The chore: begins threads while something is due, and does not wait for them."""

    def __init__(self, engine: Engine, send: Send, threads: int = THREADS) -> None:
        self._engine, self._send, self._most = engine, send, threads
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._under_way: Counter[str] = Counter()  # by webhook
        self._ending = threading.Event()
        self._tidied_at = -TIDIED_EVERY

    def deliver(self) -> None:
        """To be called now and then."""
        if self._ending.is_set():
            return
        if time.monotonic() - self._tidied_at >= TIDIED_EVERY:
            self._tidied_at = time.monotonic()
            deliveries.forget_old(self._engine)
        if not deliveries.anything_due(self._engine):
            return
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        while len(self._threads) < self._most:
            # Not waited for at the end of the process: what is under way is made again.
            thread = threading.Thread(target=self._work, name="webhooks", daemon=True)
            self._threads.append(thread)
            thread.start()

    def wait(self, seconds: float = callouts.TOTAL_SECONDS) -> None:
        """Until nothing is under way any more."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        """Begin nothing new; what is under way has its time."""
        self._ending.set()
        self.wait()

    def _work(self) -> None:
        """One after the other, until nothing is due. Nothing is raised: a thread runs this."""
        try:
            while not self._ending.is_set() and self._one():
                pass
        except DatabaseError as error:  # what was claimed is due again before long
            _log.warning("%s", error)
        except Exception as error:  # nobody else would tell
            _log.error("a bug in sending", exc_info=error)

    def _one(self) -> bool:
        with self._lock:  # else several would choose the same webhook
            full = [hook for hook, count in self._under_way.items() if count >= AT_ONCE]
            attempt = deliveries.claim(self._engine, full)
            if attempt is None:
                return False
            self._under_way[attempt.webhook_id] += 1
        with self._counted(attempt):
            outcome = self._send(attempt)
            deliveries.settle(self._engine, attempt, outcome)
        told = {"webhook": attempt.webhook_id, "delivery": attempt.delivery_id}
        said = "delivered" if outcome.arrived else f"not delivered: {outcome.error}"
        _log.info("%s", said, extra={**told, "attempt": attempt.number, "status": outcome.status})
        return True

    @contextmanager
    def _counted(self, attempt: Attempt) -> Iterator[None]:
        try:
            yield
        finally:
            with self._lock:
                self._under_way[attempt.webhook_id] -= 1
