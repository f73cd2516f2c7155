"""Devices on which trials were timed, as far as a caller sees the searches that did it.

What is said of a device is put together from rows of jobs, and never from more than those jobs that
the caller may see: counts, versions and times of others do not show.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from service._device_figures import ProbeTold, middle, together, told_from_text
from service._timings import JOB_DEVICES, TIMINGS
from service.callers import Caller, visible
from service.errors import not_found
from service.jobs import JOBS

JOBS_SHOWN = 5  # of a device in a list
ALL_JOBS_SHOWN = 200  # of one that is looked at


@dataclass(frozen=True, kw_only=True)
class Again:
    """How candidates that were timed again have changed since the time before, as shares."""

    timings: int
    median: float
    lowest: float
    highest: float


@dataclass(frozen=True, kw_only=True)
class ProbeThere:
    """What one probe has found on a device, and how repeatable that is."""

    probe: str
    names: tuple[str, ...]
    timings: int
    interval: float | None
    spread: float | None
    again: Again | None


@dataclass(frozen=True, kw_only=True)
class JobThere:
    """A search that has timed candidates on a device."""

    id: str
    name: str
    state: str
    trials: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, kw_only=True)
class Device:
    """Where trials were timed."""

    id: str
    name: str
    machine: str
    cores: str
    threads: tuple[int, ...]
    versions: Mapping[str, Sequence[str]]
    probes: tuple[ProbeThere, ...]
    trials: int
    first_at: datetime
    last_at: datetime
    job_count: int
    jobs: tuple[JobThere, ...]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What one probe has found of one trial."""

    job: str
    job_name: str
    number: int
    at: datetime
    probe: str
    threads: int
    median_ms: float
    p10_ms: float
    p90_ms: float
    spread: float | None
    before_job: str | None
    before_number: int | None
    change: float | None


def list_devices(
    connection: Connection, caller: Caller, job: str | None = None, jobs: int = JOBS_SHOWN
) -> list[Device]:
    """All that the caller's searches have used, or that one has, the last used first."""
    query = _seen(caller)
    rows = connection.execute(query if job is None else query.where(JOBS.c.id == job)).all()
    by_device: dict[str, list[Row[Any]]] = {}
    for row in rows:  # the newest first
        by_device.setdefault(row.device_id, []).append(row)
    return [_device(of_it, jobs) for of_it in by_device.values()]


def read_device(connection: Connection, caller: Caller, device_id: str) -> Device:
    """One of them; to who sees none of its searches it is not there."""
    query = _seen(caller).where(JOB_DEVICES.c.device_id == device_id)
    rows = connection.execute(query).all()
    if not rows:
        raise not_found("device", device_id)
    return _device(rows, ALL_JOBS_SHOWN)


def newest_timings(
    connection: Connection, caller: Caller, device_id: str, trials: int
) -> list[Timing]:
    """Of the trials that were timed there last, the newest first."""
    # Whoever is among the newest so many is in one of the so many jobs that were there last.
    query = _seen(caller).where(JOB_DEVICES.c.device_id == device_id).limit(trials)
    names = {row.job_id: row.job_name for row in connection.execute(query)}
    found: list[Row[Any]] = []
    for job_id in names:
        here = (TIMINGS.c.job_id == job_id) & (TIMINGS.c.device_id == device_id)
        newest = select(TIMINGS).where(here).order_by(TIMINGS.c.at.desc()).limit(_PROBES * trials)
        found.extend(connection.execute(newest))
    found.sort(key=lambda row: (row.at, row.job_id, row.number, row.probe), reverse=True)
    chosen = list(dict.fromkeys((row.job_id, row.number) for row in found))[:trials]
    return [_timing(row, names[row.job_id]) for row in found if (row.job_id, row.number) in chosen]


_PROBES = 8  # that a trial may have been timed by; of more, the oldest trials lack some


def _seen(caller: Caller) -> Any:
    return (
        select(JOB_DEVICES, JOBS.c.name.label("job_name"), JOBS.c.state)
        .join_from(JOB_DEVICES, JOBS, JOB_DEVICES.c.job_id == JOBS.c.id)
        .where(visible(caller, JOBS.c))
        .order_by(JOB_DEVICES.c.last_at.desc(), JOB_DEVICES.c.device_id, JOBS.c.id)
    )


def _device(rows: Sequence[Row[Any]], jobs: int) -> Device:
    """From the rows of its jobs, the newest first."""
    told = together(told_from_text(row.told_json) for row in reversed(rows))
    first = rows[0]
    return Device(
        id=first.device_id,
        name=first.name,
        machine=first.machine,
        cores=first.cores,
        threads=tuple(sorted(told.threads)),
        versions={name: versions[::-1] for name, versions in sorted(told.versions.items())},
        probes=tuple(_probe(name, told.probes[name]) for name in sorted(told.probes)),
        trials=sum(row.trials for row in rows),
        first_at=min(row.first_at for row in rows),
        last_at=first.last_at,
        job_count=len(rows),
        jobs=tuple(
            JobThere(
                id=row.job_id,
                name=row.job_name,
                state=row.state,
                trials=row.trials,
                first_at=row.first_at,
                last_at=row.last_at,
            )
            for row in rows[:jobs]
        ),
    )


def _probe(name: str, told: ProbeTold) -> ProbeThere:
    change = told.change
    again = None
    if change:
        again = Again(
            timings=change.total(),
            median=middle(change) or 0.0,
            lowest=min(change),
            highest=max(change),
        )
    return ProbeThere(
        probe=name,
        names=tuple(told.names),
        timings=told.measured,
        interval=middle(told.interval),
        spread=middle(told.spread),
        again=again,
    )


def _timing(row: Row[Any], job_name: str) -> Timing:
    words = dict(row._mapping)
    kept = {name: words[name] for name in Timing.__dataclass_fields__ if name in words}
    return Timing(**kept, job=row.job_id, job_name=job_name)
