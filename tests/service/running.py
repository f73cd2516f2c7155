"""A job that somebody has submitted, brought to its end as a controller does."""

from collections.abc import Callable

from sqlalchemy import Engine

from service import queue
from service.events import Event
from service.job import job_from_json
from service.jobs import StoredJob
from service.journal import Journal
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
    journal = Journal(engine, claimed.lease, job.id)

    def hear(event: Event) -> None:
        journal.hear(event)
        journal.turn()
        also(event)

    finished = here.run(
        engine,
        TablePool(3),
        job_from_json({**job.spec, "name": job.id}),
        watch=hear,
        lease=claimed.lease,
        lease_seconds=600,
    )
    journal.tell()
    queue.end(engine, claimed, "done", finished.outcome.reason)
