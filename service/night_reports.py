"""How a schedule's nights went: told once, when the job of a tick has ended.

A night that has ended well is compared with the one before and with the best, and the drift of
latencies since then is said. Of the others, those that failed are counted: after so many in a row
as the schedule allows, it is paused.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, and_, or_, select, update

from search_spaces import ParetrackError
from service import audit, jobs
from service._schedule_rows import SCHEDULES, TICKS, Schedule, Tick, known, put, tick_of
from service.database import DatabaseError, database_now, reading, writing
from service.drift import Drift, drifts, in_words
from service.jobs import ENDED, JOBS, StoredJob
from service.nights import Comparison, compare
from service.recorded import RecordedJob, read_job

FAILED = ("FAILED", "HELD")
_LOOKED_AT = 30  # nights before, for one that has a front
_HELD = json.dumps({"state": "HELD"})[:-1]  # how the report of a held job begins

_log = logging.getLogger("paretrack.schedules")


@dataclass(frozen=True, kw_only=True)
class Report:
    """How a night went; ``dataclasses.asdict`` makes JSON of it. The state comes first in it."""

    state: str  # of the job: one of ENDED, or HELD, after which another may come
    words: str
    comparison: Comparison | None = None
    drift: tuple[Drift, ...] = ()


def tell(engine: Engine) -> int:
    """Report on every night that has ended and was not reported on; how many there were.

    Any number of controllers may do this at the same time: a night is told of once.
    """
    told = 0
    for tick in _untold(engine):
        try:
            told += _told(engine, tick)
        except DatabaseError:
            raise
        except Exception as error:  # one that cannot be read must not keep the others
            said = {"schedule": tick.schedule_id, "job": tick.job_id}
            _log.error("cannot report on a night", extra=said, exc_info=error)
    return told


def _untold(engine: Engine) -> list[Tick]:
    ended, report = JOBS.c.state.in_(ENDED), TICKS.c.comparison_json
    query = (
        select(TICKS)
        .join_from(TICKS, JOBS, TICKS.c.job_id == JOBS.c.id)
        .where(
            or_(
                and_(report.is_(None), or_(ended, JOBS.c.state == "HELD")),
                and_(report.startswith(_HELD, autoescape=True), ended),
            )
        )
        .order_by(TICKS.c.at)
    )
    with reading(engine) as connection:
        return [tick_of(row) for row in connection.execute(query)]


def _told(engine: Engine, tick: Tick) -> bool:
    """Whether this process has told it."""
    assert tick.job_id is not None
    with reading(engine) as connection:
        job = jobs.known(connection, tick.job_id)
        before = _night_before(connection, tick)
    report = _report(engine, job, before)
    with writing(engine) as connection:
        schedule = known(connection, tick.schedule_id, lock=True)
        here = (TICKS.c.schedule_id == tick.schedule_id) & (TICKS.c.at == tick.at)
        now = tick_of(connection.execute(select(TICKS).where(here)).one())
        if (
            now.report != tick.report
            or jobs.known(connection, job.id, lock=True).state != job.state
        ):
            return False
        text = json.dumps(asdict(report))
        connection.execute(update(TICKS).where(here).values(comparison_json=text))
        if report.comparison is not None:
            jobs.add_events(connection, job.id, list(_events(schedule, tick, report)))
        if tick.report is None or report.state == "SUCCEEDED":
            _count(connection, schedule, job)
        return True


def _events(
    schedule: Schedule, tick: Tick, report: Report
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    found = report.comparison
    assert found is not None
    said = {
        "schedule_id": schedule.id,
        "schedule": schedule.terms.name,
        "tick": tick.at.isoformat(),
        "words": report.words,
        "hypervolume": found.tonight.hypervolume,
        "last": None if found.last is None else asdict(found.last),
        "best": None if found.best is None else asdict(found.best),
        "change": found.change,
        "gained": [point.trial for point in found.gained],
        "lost": [point.trial for point in found.lost],
        "regressed": found.regressed,
    }
    yield "night", said
    if found.regressed:
        yield "regressed", said


# --- what is said ------------------------------------------------------------------------------


def _night_before(connection: Connection, tick: Tick) -> Tick | None:
    """The last that has ended well and has a front."""
    query = (
        select(TICKS, JOBS.c.summary_json)
        .join_from(TICKS, JOBS, TICKS.c.job_id == JOBS.c.id)
        .where(TICKS.c.schedule_id == tick.schedule_id, TICKS.c.at < tick.at)
        .where(JOBS.c.state == "SUCCEEDED")
        .order_by(TICKS.c.at.desc())
        .limit(_LOOKED_AT)
    )
    rows = connection.execute(query).all()
    return next((tick_of(r) for r in rows if json.loads(r.summary_json).get("front_size")), None)


def _report(engine: Engine, job: StoredJob, before: Tick | None) -> Report:
    if job.state != "SUCCEEDED":
        return Report(state=job.state, words=job.reason)
    try:
        tonight = read_job(engine, job.id)
        last = best = None
        if before is not None and before.job_id is not None:
            last = read_job(engine, before.job_id)
            name = _best_until(before)
            best = last if name == before.job_id else read_job(engine, name)
    except DatabaseError:
        raise
    except ParetrackError as error:  # it was ended before its first candidate
        return Report(state=job.state, words=f"nothing to compare: {error}")
    comparison, refused = _compared(tonight, last, best)
    drift = drifts(tonight, last) if last is not None else ()
    words = "; ".join(w for w in (comparison.words, refused, in_words(drift)) if w)
    return Report(state=job.state, words=words, comparison=comparison, drift=drift)


def _best_until(before: Tick) -> str:
    """The better of the night before and the best until then: they were compared from one
    reference when that night was told."""
    assert before.job_id is not None
    told = (before.report or {}).get("comparison") or {}
    best, then = told.get("best"), told.get("tonight")
    if not best or not then or then["hypervolume"] >= best["hypervolume"]:
        return before.job_id
    return str(best["job"])


def _compared(
    tonight: RecordedJob, last: RecordedJob | None, best: RecordedJob | None
) -> tuple[Comparison, str]:
    """With those that were measured for tonight's metrics; and why not with the others."""
    refused = ""
    for then, top in ((last, best), (last, last)):
        try:
            return compare(tonight, then, top), refused
        except DatabaseError:
            raise
        except ParetrackError as error:
            refused = f"not compared with earlier nights: {error}"
    return compare(tonight, None, None), refused


# --- failures in a row -------------------------------------------------------------------------


def _count(connection: Connection, schedule: Schedule, job: StoredJob) -> None:
    """A night that ended well makes good all that failed; one that was cancelled says nothing."""
    if job.state not in (*FAILED, "SUCCEEDED"):
        return
    failures = schedule.failures + 1 if job.state in FAILED else 0
    most = schedule.terms.pause_after_failures
    if most is None or failures < most or schedule.paused:
        row = update(SCHEDULES).where(SCHEDULES.c.id == schedule.id)
        connection.execute(row.values(failures=failures))
        return
    why = f"{failures} jobs in a row have failed; the last one said: {job.reason}"
    now: datetime = database_now(connection)
    put(connection, schedule, now, failures=failures, paused=True, paused_why=why)
    audit.record(connection, schedule.who, "schedule pause", schedule.who, why)
    told = {"schedule_id": schedule.id, "failures": failures, "why": why}
    jobs.add_events(connection, job.id, [("schedule_paused", told)])
