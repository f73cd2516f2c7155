"""Jobs of the service whose trials a real search has made, with the pool that answers at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from sqlalchemy import Engine

from service import jobs, queue
from service.app import create_app
from service.callers import EMBEDDED
from service.database import open_database, reading, writing
from service.events import Event
from service.jobs import NewJob, StoredJob
from service.recorded import RecordedJob, read_job
from service.settings import Settings
from service.trial_reading import Order, TrialLine, Which, page
from tests.benchmarks.big_job import make_big_job
from tests.service.jobs import Bench
from tests.service.running import finish
from tests.service.table_pool import TablePool
from workers.documents import plain

API = "/api/v1"


def submitted(
    engine: Engine, here: Bench, *, owner: str = EMBEDDED.owner, name: str = "night", **words: Any
) -> StoredJob:
    """A job that waits."""
    spec = plain(here.job(name=name, **words))
    with writing(engine) as connection:
        queue.ensure_owner(connection, owner)
        asked = NewJob(name=name, spec=spec, owner=owner, tracker="siamrpn")
        return jobs.create(connection, asked, owner)


def searched(
    engine: Engine,
    here: Bench,
    *,
    also: Callable[[Event], None] = lambda event: None,
    pool: TablePool | None = None,
    **words: Any,
) -> StoredJob:
    """A job that has ended, told by its journal as a controller does; ``also`` hears as well."""
    job = submitted(engine, here, **words)
    claimed = queue.claim(engine, "test", 600)
    assert claimed is not None and claimed.job.id == job.id
    finish(engine, here, claimed, also, pool)
    return read(engine, job)


def read(engine: Engine, job: StoredJob) -> StoredJob:
    """The job as it is now."""
    with reading(engine) as connection:
        return jobs.known(connection, job.id)


@dataclass(frozen=True)
class Night:
    """What some searches have left in a database."""

    engine: Engine
    settings: Settings
    stopped: StoredJob  # with early stopping, and a limit that some trials break
    whole: StoredJob  # whose trials were all judged to the end
    cheaper: StoredJob  # the same over other costs, three objectives
    big: StoredJob  # with many trials, that nobody searched for

    @cached_property
    def lines(self) -> list[TrialLine]:
        """All trials of the big one."""
        with reading(self.engine) as connection:
            return page(connection, self.big.id, Which(), Order(), None, 10_000)

    @property
    def jobs(self) -> tuple[StoredJob, ...]:
        return self.stopped, self.whole, self.cheaper

    def recorded(self, job: StoredJob) -> RecordedJob:
        return read_job(self.engine, job.id)


@contextmanager
def made(settings: Settings, **words: Any) -> Iterator[FastAPI]:
    """The API; what it has opened is closed, though nobody serves it."""
    app = create_app(settings, **{"needs_tokens": False, "limited": False, **words})
    try:
        yield app
    finally:
        app.state.service.beside.close()
        app.state.service.engine.dispose()


def nights_work(url: str, here: Bench) -> Night:
    engine = open_database(url)
    limits, trials = ["macs_frame<=950k"], {"trials": 10}
    three = ["macs_frame", "parameters"]
    return Night(
        engine,
        Settings(home=Path(here.home), database_url=url),
        stopped=searched(engine, here, name="stopped", limits=limits, budget=trials),
        whole=searched(
            engine, here, name="whole", limits=limits, budget=trials, early_stopping="none"
        ),
        cheaper=searched(
            engine, here, name="cheaper", costs=three, budget=trials, early_stopping="none"
        ),
        big=make_big_job(engine, 500, with_study=True),
    )
