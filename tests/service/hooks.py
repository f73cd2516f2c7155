"""Webhooks for tests, jobs that they hear of, and the chore of controllers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, select, update

from service import deliveries, jobs, webhooks
from service.callers import Caller, Role
from service.callouts import allowed_from_words
from service.database import database_now, reading, writing
from service.deliveries import DELIVERIES, Attempt, Outcome
from service.jobs import NewJob, StoredJob
from service.postman import Postman, Sender
from service.webhooks import Webhook

ANN = Caller(owner="ann", role=Role.SUBMITTER)
SECRET = "whsec_only_for_this_test"
HERE = allowed_from_words(["127.0.0.1"])
DOWN = Outcome(False, 500, "answered 500")


def add_hook(
    engine: Engine, url: str = "http://127.0.0.1:9/", caller: Caller = ANN, *kinds: str
) -> Webhook:
    with writing(engine) as connection:
        asked = {"url": url, "kinds": kinds or ("state",), "secret": SECRET}
        return webhooks.create(connection, caller, **asked)[0]  # type: ignore[arg-type]


def add_job(engine: Engine, owner: str = "ann", project: str | None = None) -> StoredJob:
    asked = NewJob(name="night", spec={}, owner=owner, project=project, tracker="siamrpn")
    with writing(engine) as connection:
        return jobs.create(connection, asked, owner)


def happen(engine: Engine, job: StoredJob, *kinds: str) -> None:
    with writing(engine) as connection:
        jobs.add_events(connection, job.id, [(kind, {"of": kind}) for kind in kinds])


def rows(engine: Engine, hook: Webhook | None = None) -> Sequence[Any]:
    query = select(DELIVERIES).order_by(DELIVERIES.c.event_id, DELIVERIES.c.created_at)
    if hook is not None:
        query = query.where(DELIVERIES.c.webhook_id == hook.id)
    with reading(engine) as connection:
        return connection.execute(query).all()


def read_hook(engine: Engine, hook: Webhook) -> Webhook:
    with reading(engine) as connection:
        found: Webhook = webhooks.found(connection, ANN, hook.id)
        return found


def make_due(engine: Engine) -> None:
    """As if the time had come for whatever waits."""
    with writing(engine) as connection:
        now = database_now(connection) - timedelta(seconds=1)
        waiting = DELIVERIES.c.state == "PENDING"
        connection.execute(update(DELIVERIES).where(waiting).values(next_at=now))


def claimed(engine: Engine) -> Attempt:
    attempt = deliveries.claim(engine)
    assert attempt is not None
    return attempt


@contextmanager
def at_work(engine: Engine, count: int = 1, send: Any = None) -> Iterator[list[Postman]]:
    """The chore of so many controllers."""
    postmen = [Postman(engine, send or Sender(HERE)) for _ in range(count)]
    try:
        yield postmen
    finally:
        for postman in postmen:
            postman.close()


def deliver(engine: Engine, send: Any = None) -> None:
    """One turn of one controller, to its end."""
    with at_work(engine, send=send) as (postman,):
        postman.deliver()
        postman.wait(60)
