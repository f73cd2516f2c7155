"""Databases for tests: one each, of both kinds."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine

from service.database import embedded_url, open_database
from service.settings import Settings
from service.trials import Record
from tests.postgres import Server, running_postgres
from tests.service.jobs import Bench, bench, make_teacher
from tests.service.night import open_record
from tests.service.searched import Night, made, nights_work


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server for the whole run of tests."""
    with running_postgres(fsync=False) as server:
        yield server


@pytest.fixture(scope="session")
def prepared_postgres(postgres: Server) -> str:
    """A database with all tables, to be copied."""
    url = postgres.new_database()
    open_database(url).dispose()
    return url.rpartition("/")[2]


@pytest.fixture(scope="session")
def prepared_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with all tables, to be copied."""
    file = tmp_path_factory.mktemp("prepared") / "paretrack.db"
    open_database(embedded_url(file)).dispose()
    return file


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database of this test alone, with its tables made."""
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgres")
        return server.new_database(request.getfixturevalue("prepared_postgres"))
    file = tmp_path / "paretrack.db"
    shutil.copy(request.getfixturevalue("prepared_sqlite"), file)
    return embedded_url(file)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """The open database of this test."""
    engine = open_database(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def optuna_storage(database_url: str) -> Iterator[optuna.storages.RDBStorage]:
    """The same database as anybody opens it who has only Optuna."""
    storage = optuna.storages.RDBStorage(database_url)
    yield storage
    storage.remove_session()
    storage.engine.dispose()


@pytest.fixture
def record(engine: Engine) -> Record:
    """A job that has just begun."""
    return open_record(engine)


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny tracker to start searches from; nobody writes in its folder."""
    return make_teacher(tmp_path_factory.mktemp("service") / "teacher")


@pytest.fixture
def here(tmp_path: Path, teacher: Path) -> Bench:
    """Where jobs of one test run."""
    return bench(tmp_path, teacher)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def night(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, teacher: Path
) -> Iterator[Night]:
    """A database with jobs that have ended; nobody changes them."""
    folder = tmp_path_factory.mktemp("night")
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgres")
        url = server.new_database(request.getfixturevalue("prepared_postgres"))
    else:
        file = folder / "paretrack.db"
        shutil.copy(request.getfixturevalue("prepared_sqlite"), file)
        url = embedded_url(file)
    found = nights_work(url, bench(folder, teacher))
    yield found
    found.engine.dispose()


@pytest.fixture
def app(night: Night) -> Iterator[FastAPI]:
    """The API over it, unless a file of tests has one of its own."""
    with made(night.settings) as app:
        yield app


@pytest.fixture
def fresh(here: Bench, database_url: str) -> Iterator[FastAPI]:
    """Over a database of this test alone."""
    with made(Settings(home=here.home, database_url=database_url)) as app:
        yield app
