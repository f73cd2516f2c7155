"""Schedules for tests: their documents are looked at in this process, their clock is simulated."""

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, select, update

from service import jobs, night_reports, schedules
from service.beside import Beside
from service.calendar import Calendar
from service.callers import Caller, Role
from service.checking import look_at
from service.database import reading, writing
from service.jobs import JOBS, StoredJob
from service.schedules import Schedule, Terms, Tick
from tests.service.jobs import Bench

ADA = Caller(owner="ada", role=Role.OPERATOR)
NIGHTLY = Calendar(cron="30 2 * * *", timezone="Europe/London")
START = datetime(2026, 1, 10, 12, 0, tzinfo=UTC)  # London's clock shows UTC
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NIGHT = START.replace(hour=2, minute=30) + DAY  # the first tick of NIGHTLY


class Here(Beside):
    """Looks at a job as the process beside the API does, without one."""

    def ask(self, kind: str, **words: Any) -> Any:
        assert kind == "look"
        return json.loads(json.dumps(look_at(**json.loads(json.dumps(words)))))


def spec_of(here: Bench, **words: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(asdict(here.job(**words))))
    return found


def make(engine: Engine, here: Bench, *, at: datetime = START, **terms: Any) -> Schedule:
    spec = terms.pop("spec", None) or spec_of(here)
    known = {"name": "every night", "calendar": NIGHTLY, "spec": spec, **terms}
    return schedules.create(engine, here.settings, Here(), ADA, Terms(**known), now=at)


def edit(
    engine: Engine,
    here: Bench,
    made: Schedule,
    at: datetime,
    version: int | None = None,
    **terms: Any,
) -> Schedule:
    return schedules.edit(
        engine, here.settings, Here(), ADA, made.id, terms, version or made.version, now=at
    )


def now(engine: Engine, made: Schedule) -> Schedule:
    with reading(engine) as connection:
        return schedules.read(connection, ADA, made.id)


def ticks(engine: Engine, made: Schedule) -> list[Tick]:
    """In their order."""
    with reading(engine) as connection:
        return [one.tick for one in schedules.history(connection, made.id, 500)][::-1]


def decisions(engine: Engine, made: Schedule) -> list[str]:
    return [tick.decision for tick in ticks(engine, made)]


def jobs_of(engine: Engine, made: Schedule) -> list[StoredJob]:
    """In the order of their making."""
    query = select(JOBS).where(JOBS.c.schedule_id == made.id).order_by(JOBS.c.created_at, JOBS.c.id)
    with reading(engine) as connection:
        return jobs.stored(connection.execute(query).all(), connection)


def job_of(engine: Engine, tick: Tick) -> StoredJob:
    assert tick.job_id is not None
    with reading(engine) as connection:
        return jobs.known(connection, tick.job_id)


def move(engine: Engine, job_id: str | None, *verbs: str) -> StoredJob:
    """What its controller would do to a job."""
    assert job_id is not None
    with writing(engine) as connection:
        for verb in verbs:
            more = {"started_at": START} if verb == "begin" else {}
            jobs.change(connection, job_id, verb, "a controller", f"asked to {verb}", **more)
        return jobs.known(connection, job_id)


def with_front(engine: Engine, job_id: str | None, points: int) -> None:
    """As if its journal had told of a front."""
    with writing(engine) as connection:
        told = json.dumps({"front_size": points})
        connection.execute(update(JOBS).where(JOBS.c.id == job_id).values(summary_json=told))


def end(engine: Engine, *verbs: str) -> None:
    """Of the job that was begun last."""
    with reading(engine) as connection:
        query = select(JOBS.c.id).where(JOBS.c.state == "QUEUED").order_by(JOBS.c.created_at.desc())
        job_id = connection.execute(query).scalars().first()
    move(engine, job_id, *verbs)
    night_reports.tell(engine)
