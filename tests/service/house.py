"""A service with a job that has ended, and clients of it; fixtures for several files of tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine

from service import jobs
from service.app import create_app
from service.client import Client
from service.database import embedded_url, open_database, reading
from service.jobs import StoredJob
from service.settings import Settings
from tests.service.jobs import Bench, bench
from tests.service.line import Line, line_to
from tests.service.searched import searched, submitted
from tests.service.served import serving

FEW = {"budget": {"trials": 6}, "early_stopping": "none"}


class House:
    """A database with a job that has ended, and a server before it."""

    def __init__(self, engine: Engine, here: Bench, app: FastAPI, done: StoredJob, url: str):
        self.engine, self.here, self.app, self.done, self.url = engine, here, app, done, url

    def submitted(self, name: str) -> StoredJob:
        return submitted(self.engine, self.here, name=name, **FEW)


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, prepared_sqlite: Path, teacher: Path
) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    here = bench(folder, teacher)
    url = embedded_url(here.home / "paretrack.db")
    (here.home / "paretrack.db").write_bytes(prepared_sqlite.read_bytes())
    engine = open_database(url)
    words = {"limits": ["macs_frame<=950k"], "budget": {"trials": 10}, "early_stopping": "none"}
    done = searched(engine, here, name="done", **words)
    app = create_app(Settings(home=here.home, database_url=url), needs_tokens=False)
    with serving(app) as served:
        yield House(engine, here, app, done, served.url)
    engine.dispose()


@pytest.fixture
def client(house: House) -> Iterator[Client]:
    with Client(house.url) as client:
        yield client


@pytest.fixture
def line(house: House) -> Iterator[Line]:
    with line_to(house.url) as line:
        yield line


@pytest.fixture
def broken(line: Line) -> Iterator[Client]:
    """A client at the far end of the line, that does not wait long."""
    with Client(line.url, patience=5.0) as client:
        client._transport.sleep = lambda seconds: None
        yield client


def events_of(engine: Engine, job_id: str) -> list[tuple[int, str]]:
    with reading(engine) as connection:
        found = jobs.read_events(connection, job_id, 0, 10_000)
    return [(event.number, event.kind) for event in found]


def state_of(engine: Engine, job_id: str) -> str:
    with reading(engine) as connection:
        return jobs.known(connection, job_id).state
