"""How tonight's search begins where last night's has ended: decided when tonight's job is made."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, func, select

from service import jobs
from service._schedule_rows import Schedule
from service.job import Job, JobError, job_from_json
from service.jobs import JOBS, StoredJob

_LOOKED_AT = 30  # of the latest nights: some end well before they have found anything
# What both nights must have in common: for one's front to lie in the other's space, and for what
# one has measured to be true of the other.
_SAME_SPACE = ("teacher", "space")
_SAME_FIGURES = (
    "accuracy", "costs", "steps", "recipe", "pruning", "recovery", "refit", "data", "seed",
)  # fmt: skip


def tonight(
    connection: Connection, schedule: Schedule, asked: Mapping[str, Any]
) -> tuple[dict[str, Any], str]:
    """The document that was asked for, going on from last night; and from what, in words.

    What is on last night's front is tried first, on top of the budget: its latency is measured
    again, nothing of it is trained again. What is drawn is not what was drawn before.
    """
    spec = dict(asked)
    last = latest_night(connection, schedule.id) if schedule.terms.continues else None
    if last is None:
        return spec, ""
    try:
        now, before = job_from_json(spec), job_from_json({**last.spec, "name": last.id})
    except JobError as error:
        return spec, f"begins anew: {last.id} cannot be read any more ({error})"
    if not _agree(now, before, _SAME_SPACE):
        return spec, f"begins anew: {last.id} has searched another space"
    points = last.summary["front_size"]
    spec |= {
        "fronts": list(dict.fromkeys([last.id, *now.fronts])),
        "remeasure": True,
        "budget": _with_room(spec.get("budget"), now, points),
        "sampler_seed": (now.seed if now.sampler_seed is None else now.sampler_seed)
        + _count(connection, schedule.id),
    }
    if _agree(now, before, _SAME_FIGURES):
        spec["warm_start"] = list(dict.fromkeys([last.id, *now.warm_start]))
        spec["opening"] = 0  # last night has had it
    return spec, f"continues from {last.id}, whose front of {points} is tried first"


def latest_night(connection: Connection, schedule_id: str) -> StoredJob | None:
    """The schedule's last job that has ended well and has a front."""
    query = (
        select(JOBS)
        .where(JOBS.c.schedule_id == schedule_id, JOBS.c.state == "SUCCEEDED")
        .order_by(JOBS.c.created_at.desc(), JOBS.c.id)
        .limit(_LOOKED_AT)
    )
    found = jobs.stored(connection.execute(query).all(), connection)
    return next((job for job in found if job.summary.get("front_size")), None)


def _agree(now: Job, before: Job, names: tuple[str, ...]) -> bool:
    return all(getattr(now, name) == getattr(before, name) for name in names)


def _with_room(asked: Any, now: Job, points: int) -> Mapping[str, Any]:
    budget = dict(asked or {})
    budget["trials"] = now.budget.trials + points
    if now.budget.asked is not None:
        budget["asked"] = now.budget.asked + points
    return budget


def _count(connection: Connection, schedule_id: str) -> int:
    query = select(func.count()).select_from(JOBS).where(JOBS.c.schedule_id == schedule_id)
    return connection.execute(query).scalar_one()
