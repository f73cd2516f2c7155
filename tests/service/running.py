"""A job that somebody has submitted, brought to its end as a controller does."""

from collections.abc import Callable

from sqlalchemy import Engine

from service import queue
from service.events import Event
from service.job import job_from_json
from service.jobs import StoredJob
from service.journal import Journal
from service.queue import Claimed
from tests.service.jobs import Bench
from tests.service.table_pool import TablePool


def run(
    engine: Engine,
    here: Bench,
    job: StoredJob,
    also: Callable[[Event], None] = lambda event: None,
) -> None:
    """Claim jobs until it is this one's turn, and search."""
    claimed = queue.claim(engine, "test", 600)
    while claimed is not None and claimed.job.id != job.id:
        queue.end(engine, claimed, "done", "not looked at")
        claimed = queue.claim(engine, "test", 600)
    assert claimed is not None
    finish(engine, here, claimed, also)


def finish(
    engine: Engine,
    here: Bench,
    claimed: Claimed,
    also: Callable[[Event], None] = lambda event: None,
    pool: TablePool | None = None,
) -> None:
    """Search for a claimed job to its end, told by its journal as a controller does."""
    job = claimed.job
    journal = Journal(engine, claimed.lease, job.id)

    def hear(event: Event) -> None:
        journal.hear(event)
        journal.turn()
        also(event)

    finished = here.run(
        engine,
        pool or TablePool(3),
        job_from_json({**job.spec, "name": job.id}),
        watch=hear,
        lease=claimed.lease,
        lease_seconds=600,
    )
    journal.tell()
    queue.end(engine, claimed, "done", finished.outcome.reason)
