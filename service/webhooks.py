"""Where owners want to be told what happens to their jobs: webhooks, and what was sent to them.

A webhook without a project is its owner's alone and hears of all the owner's jobs. One with a
project belongs to everybody of the project, and hears of the project's jobs. The secret that signs
is shown when the webhook is made, and never again.
"""

import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, Row, func, insert, select, update

from service import audit, deliveries
from service.callers import Caller
from service.callouts import Allowed, NotAllowed, NotReached, checked_addresses, target_of
from service.database import database_now
from service.deliveries import DELIVERIES, HOOKS, KINDS
from service.errors import Fault, Problem, not_found

MOST = 20  # of an owner: each is looked at with every event
_SECRET = re.compile(r"[!-~]{16,200}")


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """What may be shown of a webhook."""

    id: str
    owner: str
    project: str | None
    url: str
    kinds: tuple[str, ...]
    active: bool
    failures: int  # attempts in a row
    version: int
    created_at: datetime
    archived_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One event on its way, and how the attempts went."""

    id: str
    webhook_id: str
    event_id: str
    kind: str
    body: Any = field(repr=False)
    state: str
    attempts: int
    next_at: datetime | None
    last_status: int | None
    last_error: str
    created_at: datetime
    delivered_at: datetime | None


# --- where to ----------------------------------------------------------------------------------


def check_url(url: str, allowed: Allowed) -> None:
    """Refuse a URL to which nothing would be sent; asks the name service."""
    try:
        checked_addresses(target_of(url), allowed)
    except (NotAllowed, NotReached) as error:
        detail = f"nothing can be sent to this URL: {error}"
        raise Problem("invalid", detail, [Fault(detail, pointer="/url")]) from error


def _check(kinds: Sequence[str] | None, secret: str | None) -> None:
    unknown = [kind for kind in kinds or () if kind not in KINDS]
    if unknown or (kinds is not None and not kinds):
        detail = f"kinds: expected some of {', '.join(KINDS)}; got {', '.join(unknown) or 'none'}"
        raise Problem("invalid", detail, [Fault(detail, pointer="/kinds")])
    if secret is not None and not _SECRET.fullmatch(secret):
        detail = "secret: expected 16 to 200 printable ASCII characters without blanks, or none"
        raise Problem("invalid", detail, [Fault(detail, pointer="/secret")])


# --- webhooks ----------------------------------------------------------------------------------


def create(
    connection: Connection,
    caller: Caller,
    *,
    url: str,
    kinds: Sequence[str],
    secret: str | None = None,
) -> tuple[Webhook, str]:
    """A webhook of the caller's, and its secret; the URL has been checked."""
    _check(kinds, secret)
    _check_room(connection, caller.owner)
    made = secret or f"whsec_{secrets.token_urlsafe(32)}"
    row = {
        "id": secrets.token_hex(8), "owner": caller.owner, "project": caller.project, "url": url,
        "secret": made, "kinds_json": _kinds_json(kinds), "active": True, "failures": 0,
        "version": 1, "created_at": database_now(connection), "archived_at": None,
    }  # fmt: skip
    connection.execute(insert(HOOKS), row)
    said: dict[str, Any] = {"host": _host(url), "kinds": sorted(set(kinds))}
    audit.record(connection, caller.who, "webhook create", f"webhook {row['id']}", **said)
    return found(connection, caller, str(row["id"])), made


def _check_room(connection: Connection, owner: str) -> None:
    those = (HOOKS.c.owner == owner) & HOOKS.c.archived_at.is_(None)
    query = select(func.count()).select_from(HOOKS).where(those)
    if connection.execute(query).scalar_one() >= MOST:
        detail = f"{owner} has {MOST} webhooks, and nobody may have more: archive one first"
        raise Problem("conflict", detail)


def found(
    connection: Connection, caller: Caller, webhook_id: str, *, lock: bool = False
) -> Webhook:
    """A webhook that this caller may see; with ``lock`` nobody else changes it meanwhile."""
    query = select(HOOKS).where(HOOKS.c.id == webhook_id)
    if lock:  # but events may be written for it
        query = query.with_for_update(key_share=True)
    row = connection.execute(query).one_or_none()
    if row is None or not caller.may_see(row.owner, row.project):
        raise not_found("webhook", webhook_id)
    return webhook(row)


def webhook(row: Row[Any]) -> Webhook:
    """A row of the table as a value, without the secret."""
    known = {name: value for name, value in row._mapping.items() if name != "secret"}
    kinds = json.loads(known.pop("kinds_json"))
    return Webhook(**known, kinds=tuple(kinds))


def edit(
    connection: Connection,
    caller: Caller,
    webhook_id: str,
    *,
    version: int | None,
    url: str | None = None,
    kinds: Sequence[str] | None = None,
    active: bool | None = None,
    secret: str | None = None,
) -> Webhook:
    """What is None stays; the URL has been checked. An inactive one hears nothing, and what waits
    for it is given up."""
    _check(kinds, secret)
    before = found(connection, caller, webhook_id, lock=True)
    _check_unchanged(before, version)
    new = {"url": url, "secret": secret, "active": active}
    changed: dict[str, Any]
    changed = {name: value for name, value in new.items() if value is not None}
    if kinds is not None:
        changed["kinds_json"] = _kinds_json(kinds)
    if not changed:
        return before
    if url not in (None, before.url) or (active and not before.active):
        changed["failures"] = 0
    values = {**changed, "version": before.version + 1}
    connection.execute(update(HOOKS).where(HOOKS.c.id == webhook_id).values(**values))
    if active is False:
        deliveries.give_up_pending(connection, webhook_id, "the webhook was set inactive")
    said: dict[str, Any] = {"changed": sorted(set(changed) - {"failures"})}
    if url is not None:
        said["host"] = _host(url)
    audit.record(connection, caller.who, "webhook edit", f"webhook {webhook_id}", **said)
    return found(connection, caller, webhook_id)


def _check_unchanged(before: Webhook, version: int | None) -> None:
    if before.archived_at is not None:
        raise Problem("conflict", f"webhook {before.id} is archived, and stays as it is")
    if version is not None and version != before.version:
        raise Problem(
            "changed_meanwhile",
            f"webhook {before.id} is at version {before.version}, you have read {version}: read "
            "it again",
            [Fault(f"expected {before.version}", parameter="If-Match")],
        )


def archive(connection: Connection, caller: Caller, webhook_id: str) -> Webhook:
    """Nothing is sent to it any more; what was sent stays to be seen."""
    before = found(connection, caller, webhook_id, lock=True)
    if before.archived_at is not None:
        return before
    # Of the secret nothing is left: nobody needs it any more.
    values = {
        "archived_at": database_now(connection),
        "active": False,
        "secret": "",
        "version": before.version + 1,
    }
    connection.execute(update(HOOKS).where(HOOKS.c.id == webhook_id).values(**values))
    deliveries.give_up_pending(connection, webhook_id, "the webhook was archived")
    audit.record(connection, caller.who, "webhook archive", f"webhook {webhook_id}")
    return found(connection, caller, webhook_id)


def _kinds_json(kinds: Sequence[str]) -> str:
    return json.dumps([kind for kind in KINDS if kind in kinds])


def _host(url: str) -> str:
    """Of a URL nothing else is told on: it may be a secret by itself."""
    return urlsplit(url).hostname or ""


# --- deliveries --------------------------------------------------------------------------------


def ping(connection: Connection, caller: Caller, webhook_id: str) -> Delivery:
    """Send something, to see whether it arrives."""
    _hears(found(connection, caller, webhook_id))
    delivery_id = deliveries.ping(connection, webhook_id)
    return _delivery(connection, webhook_id, delivery_id)


def replay(connection: Connection, caller: Caller, webhook_id: str, delivery_id: str) -> Delivery:
    """The same event as another delivery, with the same id of the event."""
    hook = found(connection, caller, webhook_id)
    _delivery(connection, webhook_id, delivery_id)
    _hears(hook)
    again = deliveries.send_again(connection, delivery_id)
    said = {"delivery": delivery_id, "again": again}
    audit.record(connection, caller.who, "webhook replay", f"webhook {webhook_id}", **said)
    return _delivery(connection, webhook_id, again)


def found_delivery(
    connection: Connection, caller: Caller, webhook_id: str, delivery_id: str
) -> Delivery:
    """A delivery to a webhook that this caller may see."""
    found(connection, caller, webhook_id)
    return _delivery(connection, webhook_id, delivery_id)


def delivery(row: Row[Any]) -> Delivery:
    """A row of the table as a value."""
    known = dict(row._mapping)
    body = json.loads(known.pop("body_json"))
    return Delivery(**known, body=body)


def _delivery(connection: Connection, webhook_id: str, delivery_id: str) -> Delivery:
    this = (DELIVERIES.c.id == delivery_id) & (DELIVERIES.c.webhook_id == webhook_id)
    row = connection.execute(select(DELIVERIES).where(this)).one_or_none()
    if row is None:
        raise not_found("delivery", delivery_id)
    return delivery(row)


def _hears(hook: Webhook) -> None:
    if not hook.active:
        detail = f"webhook {hook.id} is not active, so nothing is sent to it: set it active first"
        raise Problem("conflict", detail)
