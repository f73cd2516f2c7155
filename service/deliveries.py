"""From an event to the webhooks that asked for it.

``tell_webhooks`` runs in the transaction that writes the events: a delivery is there if and only
if its event is, whoever dies, and is written once. A chore that walks over the events would need
a position in each job, and would see transactions in another order than they were committed. The
price: one select, and only for batches with an event that a webhook can ask for. What can fail or
take long, the sending, is done by controllers beside the jobs.

An attempt is claimed before it is made: its number is counted and ``next_at`` goes into the
future, so that nobody else takes it meanwhile. Who dies in it has spent it, and the next one is
made when ``next_at`` has come. A receiver may hear of an event twice, never not at all while it
answers; ``id`` in the body stays the same. They come in no certain order: ``number`` in the body
says which was first.
"""

import json
import random
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import (
    Connection,
    Engine,
    Table,
    and_,
    bindparam,
    delete,
    insert,
    or_,
    select,
    update,
)

from service import audit
from service.database import database_now, reading, writing
from service.logs import redacted
from service.tables import DeliveryRow, JobRow, WebhookRow

# What may be asked for, of the kinds of events that there are.
KINDS = ("state", "front", "trial_finished", "night", "regressed", "schedule_paused")
PING = "ping"
ATTEMPTS = 12
FIRST_PAUSE, GROWTH, LONGEST_PAUSE = 30.0, 3.0, 16 * 3600.0  # 12 attempts take three days
JITTER = 0.2  # of a pause
CLAIM_SECONDS = 120  # longer than an attempt with its look-up can take
MOST_FAILURES = 24  # attempts of a webhook in a row, and it is set inactive with the next given up
KEPT_DAYS = 30  # of what has ended
ERROR_CHARACTERS = 300

HOOKS = cast(Table, WebhookRow.__table__)
DELIVERIES = cast(Table, DeliveryRow.__table__)
_JOBS = cast(Table, JobRow.__table__)

Numbered = Sequence[tuple[int, str, Mapping[str, Any]]]  # number, kind, what it says

# Whoever sees a webhook may see the jobs that it tells of: one of a project tells of the project.
_CONCERNS = or_(
    and_(HOOKS.c.project.is_(None), HOOKS.c.owner == _JOBS.c.owner),
    HOOKS.c.project == _JOBS.c.project,
)
_WHO_HEARS = (
    select(HOOKS.c.id, HOOKS.c.kinds_json, _JOBS.c.name, _JOBS.c.owner, _JOBS.c.project)
    .join_from(HOOKS, _JOBS, _CONCERNS)
    .where(HOOKS.c.active, HOOKS.c.archived_at.is_(None), _JOBS.c.id == bindparam("job"))
)


# --- what is to be sent ------------------------------------------------------------------------


def tell_webhooks(connection: Connection, job_id: str, at: datetime, happened: Numbered) -> None:
    """A delivery for each of these events to each webhook that wants it, in this transaction."""
    asked_for = [each for each in happened if each[1] in KINDS]
    if not asked_for:
        return
    rows = []
    for hook in connection.execute(_WHO_HEARS, {"job": job_id}):
        wanted = json.loads(hook.kinds_json)
        job = {"id": job_id, "name": hook.name, "owner": hook.owner, "project": hook.project}
        for number, kind, data in asked_for:
            if kind in wanted:
                said = {"number": number, "job": job, "data": data}
                rows.append(_row(hook.id, f"{job_id}:{number}", kind, at, said))
    if rows:
        connection.execute(insert(DELIVERIES), rows)


def ping(connection: Connection, webhook_id: str) -> str:
    """A delivery that says nothing has happened; its id."""
    event_id, now = f"ping:{secrets.token_hex(8)}", database_now(connection)
    row = _row(webhook_id, event_id, PING, now, {"data": {"webhook": webhook_id}})
    connection.execute(insert(DELIVERIES), row)
    return str(row["id"])


def send_again(connection: Connection, delivery_id: str) -> str:
    """A new delivery of the same event with the same body; its id."""
    old = connection.execute(select(DELIVERIES).where(DELIVERIES.c.id == delivery_id)).one()
    now = database_now(connection)
    row = _pending(old.webhook_id, old.event_id, old.kind, now, old.body_json)
    connection.execute(insert(DELIVERIES), row)
    return str(row["id"])


def give_up_pending(connection: Connection, webhook_id: str, why: str) -> None:
    """Nothing more is sent of what waits for this webhook."""
    waiting = and_(DELIVERIES.c.webhook_id == webhook_id, DELIVERIES.c.state == "PENDING")
    connection.execute(update(DELIVERIES).where(waiting).values(**_GIVEN_UP, last_error=why))


_GIVEN_UP: Mapping[str, Any] = {"state": "GIVEN_UP", "next_at": None}


def _row(
    webhook_id: str, event_id: str, kind: str, at: datetime, said: Mapping[str, Any]
) -> dict[str, Any]:
    body = {"id": event_id, "kind": kind, "at": at.isoformat(), **said}
    return _pending(webhook_id, event_id, kind, at, json.dumps(body))


def _pending(webhook_id: str, event_id: str, kind: str, now: datetime, body: str) -> dict[str, Any]:
    # By time, so that rows of one batch lie side by side: at random they cost the journal more.
    place = f"{int(now.timestamp() * 1000):012x}"
    return {
        "id": place + secrets.token_hex(8), "webhook_id": webhook_id, "event_id": event_id,
        "kind": kind, "body_json": body, "state": "PENDING", "attempts": 0, "next_at": now,
        "last_status": None, "last_error": "", "created_at": now, "delivered_at": None,
    }  # fmt: skip


# --- attempts ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One delivery that this process, and no other, may try now."""

    delivery_id: str
    webhook_id: str
    number: int  # 1, 2 ...; who claims it later has a higher one
    kind: str
    body: bytes
    url: str
    secret: str


@dataclass(frozen=True)
class Outcome:
    """How an attempt went. ``status``: of the answer, if there was one."""

    arrived: bool
    status: int | None = None
    error: str = ""


def anything_due(engine: Engine) -> bool:
    """Whether a claim is worth its lock; anybody may ask as often as they like."""
    with reading(engine) as connection:
        due = _due(database_now(connection))
        return connection.execute(select(DELIVERIES.c.id).where(due).limit(1)).first() is not None


def claim(engine: Engine, busy: Collection[str] = ()) -> Attempt | None:
    """The delivery that waits longest, but for those to webhooks that are ``busy``."""
    with writing(engine) as connection:
        now = database_now(connection)
        query = (
            select(DELIVERIES, HOOKS.c.url, HOOKS.c.secret, HOOKS.c.active, HOOKS.c.archived_at)
            .join_from(DELIVERIES, HOOKS)
            .where(_due(now), DELIVERIES.c.webhook_id.not_in(busy))
            .order_by(DELIVERIES.c.next_at)
            .limit(1)
            .with_for_update(of=DELIVERIES, skip_locked=True)
        )
        while (row := connection.execute(query).first()) is not None:
            this = update(DELIVERIES).where(DELIVERIES.c.id == row.id)
            refusal = _refusal(row)
            if refusal:
                connection.execute(this.values(**_GIVEN_UP, last_error=refusal))
                continue
            until = now + timedelta(seconds=CLAIM_SECONDS)
            connection.execute(this.values(attempts=row.attempts + 1, next_at=until))
            return Attempt(
                delivery_id=row.id,
                webhook_id=row.webhook_id,
                number=row.attempts + 1,
                kind=row.kind,
                body=row.body_json.encode(),
                url=row.url,
                secret=row.secret,
            )
    return None


def _due(now: datetime) -> Any:
    return and_(DELIVERIES.c.state == "PENDING", DELIVERIES.c.next_at <= now)


def _refusal(row: Any) -> str:
    """Why a delivery that is due must not be tried."""
    if row.archived_at is not None or not row.active:
        return "the webhook is not active any more"
    if row.attempts >= ATTEMPTS:
        return "nobody knows how the last attempt went: who made it was ended"
    return ""


def settle(engine: Engine, attempt: Attempt, outcome: Outcome) -> None:
    """Note how it went, unless somebody else has claimed it meanwhile."""
    with writing(engine) as connection:
        # Before the delivery, as whoever edits it does; and not against who adds deliveries.
        hook = connection.execute(
            select(HOOKS).where(HOOKS.c.id == attempt.webhook_id).with_for_update(key_share=True)
        ).one()
        now = database_now(connection)
        mine = and_(
            DELIVERIES.c.id == attempt.delivery_id,
            DELIVERIES.c.attempts == attempt.number,
            DELIVERIES.c.state == "PENDING",
        )
        values = _settled(attempt, outcome, now)
        if not connection.execute(update(DELIVERIES).where(mine).values(**values)).rowcount:
            return
        failures = 0 if outcome.arrived else hook.failures + 1
        this = update(HOOKS).where(HOOKS.c.id == hook.id)
        connection.execute(this.values(failures=failures))
        if values["state"] == "GIVEN_UP" and failures >= MOST_FAILURES and hook.active:
            why = f"the last {failures} attempts have failed, over days"
            connection.execute(this.values(active=False, version=HOOKS.c.version + 1))
            give_up_pending(connection, hook.id, f"set inactive: {why}")
            audit.record(connection, "webhooks", "webhook inactive", f"webhook {hook.id}", why)


def _settled(attempt: Attempt, outcome: Outcome, now: datetime) -> dict[str, Any]:
    said = {
        "last_status": outcome.status,
        "last_error": redacted(outcome.error)[:ERROR_CHARACTERS],
    }
    if outcome.arrived:
        return {**said, "state": "DELIVERED", "next_at": None, "delivered_at": now}
    if attempt.number >= ATTEMPTS:
        return {**said, **_GIVEN_UP}
    again = now + timedelta(seconds=pause(attempt.number))
    return {**said, "state": "PENDING", "next_at": again}


def pause(attempts: int) -> float:
    """Seconds until the next attempt, after so many: longer every time, and not alike for all."""
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * GROWTH ** (attempts - 1))
    return longest * random.uniform(1 - JITTER, 1 + JITTER)


def forget_old(engine: Engine) -> int:
    """Delete what ended long ago; how many."""
    with writing(engine) as connection:
        before = database_now(connection) - timedelta(days=KEPT_DAYS)
        old = and_(DELIVERIES.c.state != "PENDING", DELIVERIES.c.created_at < before)
        return connection.execute(delete(DELIVERIES).where(old)).rowcount
