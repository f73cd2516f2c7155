"""Schedules with nights behind them, made by writing rows: nothing is searched."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, update

from service import jobs, queue
from service._schedule_rows import (
    SCHEDULES,
    TICKS,
    Schedule,
    Terms,
    Tick,
    new_id,
    put_new,
    put_tick,
)
from service.calendar import Calendar, latest_ticks
from service.callers import EMBEDDED
from service.database import writing
from service.drift import Drift, in_words
from service.jobs import JOBS, NewJob
from service.night_reports import Report
from service.nights import Comparison, FrontPoint, Night

SPEC: Mapping[str, Any] = {
    "name": "made",
    "teacher": "siamrpn-synthetic",
    "accuracy": "average_overlap",
    "costs": ["macs_frame"],
    "data": {"dataset": "synthetic"},
}
START = "started"


def make_schedule(
    engine: Engine,
    name: str,
    *,
    cron: str = "30 2 * * *",
    zone: str = "Pacific/Auckland",
    paused_why: str | None = None,
    failures: int = 0,
    labels: Sequence[str] = (),
) -> Schedule:
    """One that has not run yet."""
    now = datetime.now(UTC)
    terms = Terms(
        name=name,
        calendar=Calendar(cron, zone),
        spec=SPEC,
        labels=tuple(labels),
        pause_after_failures=5,
    )
    made = Schedule(
        id=new_id(name), owner=EMBEDDED.owner, project=None,
        terms=terms, tracker="siamrpn", paused=paused_why is not None, paused_why=paused_why or "",
        failures=failures, decided_until=now, next_at=None, version=1, created_at=now,
        updated_at=now, archived_at=None,
    )  # fmt: skip
    with writing(engine) as connection:
        queue.ensure_owner(connection, EMBEDDED.owner)
        return put_new(connection, made)


def make_nights(
    engine: Engine,
    schedule: Schedule,
    shares: Sequence[float | str],
    *,
    state: str = "SUCCEEDED",
    job_name: str | None = None,
) -> list[Tick]:
    """Its past, the first night first: a hypervolume, or what was decided ("skipped", "missed"),
    or how its job ended ("FAILED", "CANCELLED"). A fall by more than a hundredth regresses."""
    now = datetime.now(UTC)
    long_ago = now - timedelta(days=3 * len(shares) + 40)
    instants = latest_ticks(schedule.terms.calendar, long_ago, now, len(shares))
    chance, found = random.Random(1), []
    before: tuple[str, float] | None = None
    best: tuple[str, float] | None = None
    with writing(engine) as connection:
        for number, (at, share) in enumerate(zip(instants, shares, strict=True)):
            decision = share if share in ("skipped", "missed", "buffered") else START
            job_id, report, note = None, None, _NOTES.get(str(share), "on time")
            if decision == START:
                ended = str(share) if isinstance(share, str) else state
                new = NewJob(
                    name=f"{job_name or schedule.terms.name} {number + 1}"[:200],
                    spec=dict(SPEC), owner=EMBEDDED.owner, tracker="siamrpn",
                )  # fmt: skip
                job = jobs.create(connection, new, EMBEDDED.owner)
                job_id = job.id
                values = {"state": ended, "created_at": at, "queued_at": at, "started_at": at}
                values |= {"ended_at": at + timedelta(hours=2), "schedule_id": schedule.id}
                values["reason"] = "its teacher's folder is gone" if ended == "FAILED" else ""
                connection.execute(update(JOBS).where(JOBS.c.id == job_id).values(**values))
                if isinstance(share, float):
                    report = asdict(_report(job_id, share, before, best, chance))
                    before = (job_id, share)
                    best = before if best is None or share > best[1] else best
                elif ended in ("FAILED", "CANCELLED"):
                    report = asdict(Report(state=ended, words=str(values["reason"])))
            tick = Tick(
                schedule_id=schedule.id, at=at, decision=decision, note=note, job_id=job_id,
                by_hand=False, decided_at=at, report=report,
            )  # fmt: skip
            put_tick(connection, tick)
            if report is not None:
                here = (TICKS.c.schedule_id == schedule.id) & (TICKS.c.at == at)
                said = {"comparison_json": json.dumps(report)}
                connection.execute(update(TICKS).where(here).values(**said))
            found.append(tick)
        if found:
            begun = SCHEDULES.c.id == schedule.id
            connection.execute(update(SCHEDULES).where(begun).values(decided_until=now))
    return found


_NOTES = {
    "skipped": "the job before it has not ended",
    "missed": "7 h late, and the window is 1 h: no controller was there",
    "buffered": "waits until the job before it has ended",
}


def _report(
    job: str,
    share: float,
    before: tuple[str, float] | None,
    best: tuple[str, float] | None,
    chance: random.Random,
) -> Report:
    last = None if before is None else Night(job=before[0], points=6, hypervolume=before[1])
    top = None if best is None else Night(job=best[0], points=6, hypervolume=best[1])
    change = None if before is None else share / before[1] - 1
    worse = change is not None and change < -0.01
    figures = {"average_overlap": 0.61, "macs_frame": 3.1e8}
    words = f"hypervolume {share:.4f}"
    if before is not None and best is not None and change is not None:
        words += f", last night {before[1]:.4f} ({change:+.1%})"
        words += f", the best night {best[1]:.4f} ({share / best[1] - 1:+.1%})"
        words += "; 1 point gained (trial 12); no point lost"
        words = (
            f"regressed by more than 1% of last night's hypervolume; {words}" if worse else words
        )
    drift: tuple[Drift, ...] = ()
    if before is not None:
        metric, moved = "step_ms.onnx_runtime", chance.uniform(-0.02, 0.03)
        drift = tuple(
            Drift(
                metric=metric, trial=trial, last_trial=trial, last=4.0, tonight=4 * (1 + moved),
                change=moved,
            )
            for trial in (None, 3)
        )  # fmt: skip
        words += f"; {in_words(drift)}"
    return Report(
        state="SUCCEEDED",
        words=words,
        drift=drift,
        comparison=Comparison(
            tonight=Night(job=job, points=6, hypervolume=share), last=last, best=top,
            reference={"average_overlap": 0.0, "macs_frame": 1e9},
            gained=(FrontPoint(trial=12, figures=figures),) if before else (), lost=(),
            short_by=None, change=change,
            change_from_best=None if best is None else share / best[1] - 1,
            tolerance=0.01, regressed=worse, words=words,
        ),
    )  # fmt: skip


def rising(count: int, *, falls: Sequence[int] = (), seed: int = 0) -> list[float | str]:
    """Hypervolumes that rise slowly; in the nights of ``falls`` they regress."""
    chance, share = random.Random(seed), 0.42
    found: list[float | str] = []
    for number in range(count):
        share += chance.uniform(-0.0005, 0.004)
        found.append(share * 0.93 if number in falls else share)
    return found
