"""Every event reaches who asked for it, once as a delivery, signed, and again until it arrives."""

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event, select, update

from service import audit, deliveries, jobs, webhooks
from service.callers import Caller, Role
from service.callouts import Allowed
from service.database import reading, writing
from service.deliveries import HOOKS
from service.errors import Problem
from service.postman import Sender
from service.signatures import verify
from tests.service.hooks import (
    ANN,
    HERE,
    SECRET,
    add_hook,
    add_job,
    deliver,
    happen,
    make_due,
    read_hook,
    rows,
)
from tests.service.receiver import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


# --- from events to deliveries -------------------------------------------------------------------


def test_each_event_of_a_kind_that_was_asked_for_is_one_delivery(engine: Engine) -> None:
    all_of_it = add_hook(engine, "http://127.0.0.1:9/", ANN, "state", "trial_finished", "front")
    only_state = add_hook(engine)
    job = add_job(engine)
    happen(engine, job, "trial_asked", "trial_finished", "front", "front", "edited")
    assert [row.event_id for row in rows(engine, only_state)] == [f"{job.id}:1"]
    found = rows(engine, all_of_it)
    assert [(row.event_id, row.kind) for row in found] == [
        (f"{job.id}:{number}", kind)
        for number, kind in ((1, "state"), (3, "trial_finished"), (4, "front"), (5, "front"))
    ]
    body = json.loads(found[1].body_json)
    assert body["id"] == f"{job.id}:3" and body["kind"] == "trial_finished"
    assert body["data"] == {"of": "trial_finished"} and body["number"] == 3
    assert body["job"] == {"id": job.id, "name": "night", "owner": "ann", "project": None}


@pytest.mark.parametrize(
    ("owner", "project", "job_owner", "job_project", "hears"),
    [
        ("ann", None, "ann", None, True),
        ("ann", None, "ann", "drones", True),
        ("ann", None, "bob", None, False),
        ("ann", None, "bob", "drones", False),
        ("ann", "drones", "bob", "drones", True),
        ("ann", "drones", "ann", "drones", True),
        ("ann", "drones", "ann", None, False),  # whom the project does not see
        ("ann", "drones", "ann", "cars", False),
    ],
)
def test_a_webhook_hears_only_of_jobs_that_all_who_see_it_may_see(
    engine: Engine,
    owner: str,
    project: str | None,
    job_owner: str,
    job_project: str | None,
    hears: bool,
) -> None:
    add_hook(engine, caller=Caller(owner=owner, role=Role.SUBMITTER, project=project))
    add_job(engine, job_owner, job_project)
    assert len(rows(engine)) == hears


def test_an_event_that_was_not_kept_is_no_delivery_either(engine: Engine) -> None:
    add_hook(engine)
    job = add_job(engine)
    with pytest.raises(ZeroDivisionError), writing(engine) as connection:
        jobs.change(connection, job.id, "pause", "ann")
        raise ZeroDivisionError
    assert len(rows(engine)) == 1


def test_an_inactive_or_archived_webhook_hears_nothing_and_what_waits_is_given_up(
    engine: Engine,
) -> None:
    off, gone = add_hook(engine), add_hook(engine)
    job = add_job(engine)
    with writing(engine) as connection:
        webhooks.edit(connection, ANN, off.id, version=1, active=False)
        webhooks.archive(connection, ANN, gone.id)
    happen(engine, job, "state")
    assert {row.state for row in rows(engine)} == {"GIVEN_UP"}
    assert len(rows(engine)) == 2
    assert deliveries.claim(engine) is None


def test_a_batch_without_events_of_any_webhooks_kind_asks_the_database_nothing(
    engine: Engine,
) -> None:
    job = add_job(engine)
    asked: list[str] = []

    def note(*said: Any) -> None:
        asked.append(said[2])

    event.listen(engine, "before_cursor_execute", note)
    happen(engine, job, "trial_asked", "trial_rung")
    quiet = [statement for statement in asked if "webhooks" in statement]
    happen(engine, job, "trial_finished")
    event.remove(engine, "before_cursor_execute", note)
    assert quiet == []
    assert len([statement for statement in asked if "webhooks" in statement]) == 1


# --- sending -------------------------------------------------------------------------------------


def test_a_delivery_arrives_signed_and_says_what_it_is(engine: Engine, receiver: Receiver) -> None:
    hook = add_hook(engine, receiver.url)
    add_job(engine)
    deliver(engine)
    (heard,), (row,) = receiver.heard, rows(engine, hook)
    verify(SECRET, heard.headers, heard.body)
    assert heard.body.decode() == row.body_json
    assert heard.headers["Paretrack-Event"] == "state"
    assert heard.headers["Paretrack-Delivery"] == row.id
    assert heard.headers["Content-Type"] == "application/json"
    assert (row.state, row.attempts, row.last_status) == ("DELIVERED", 1, 204)
    assert row.delivered_at is not None and row.next_at is None
    deliver(engine)
    assert len(receiver.heard) == 1


def test_what_fails_is_noted_and_tried_again_later_with_the_same_id(
    engine: Engine, receiver: Receiver
) -> None:
    receiver.status, receiver.answer = 503, b"token=abcdefgh is wrong"
    hook = add_hook(engine, receiver.url)
    add_job(engine)
    deliver(engine)
    (row,) = rows(engine)
    assert (row.state, row.attempts, row.last_status) == ("PENDING", 1, 503)
    assert row.last_error == "answered 503: token=*** is wrong"
    assert row.next_at > row.created_at + timedelta(seconds=20)
    assert read_hook(engine, hook).failures == 1
    deliver(engine)
    assert len(receiver.heard) == 1  # not yet
    receiver.status = 200
    make_due(engine)
    deliver(engine)
    assert rows(engine)[0].state == "DELIVERED"
    assert read_hook(engine, hook).failures == 0
    assert len({heard.headers["Paretrack-Delivery"] for heard in receiver.heard}) == 1


def test_a_redirect_is_not_followed(engine: Engine, receiver: Receiver) -> None:
    with receiving() as elsewhere:
        receiver.status, receiver.headers = 302, {"Location": elsewhere.url}
        add_hook(engine, receiver.url)
        add_job(engine)
        deliver(engine)
    assert elsewhere.heard == []
    assert rows(engine)[0].last_error == "answered 302: redirects are not followed"


def test_the_address_is_checked_at_every_attempt_and_looked_up_once(engine: Engine) -> None:
    """A name that means another address the second time is not followed there."""
    asked: list[str] = []

    def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    with receiving() as outside, receiving("127.0.0.2") as inside:
        outside.status = 500
        add_hook(engine, f"http://rebind.example:{outside.port}/")
        add_job(engine)
        deliver(engine, Sender(HERE, rebinding))
        assert (len(asked), len(outside.heard)) == (1, 1)
        with writing(engine) as connection:
            url = f"http://rebind.example:{inside.port}/"
            connection.execute(update(HOOKS).values(url=url))
        make_due(engine)
        deliver(engine, Sender(HERE, rebinding))
        assert (len(asked), len(inside.heard)) == (2, 0)
    assert "is not a public address" in rows(engine)[0].last_error


def test_nothing_goes_to_loopback_that_the_operator_has_not_allowed(
    engine: Engine, receiver: Receiver
) -> None:
    add_hook(engine, receiver.url)
    add_job(engine)
    deliver(engine, Sender(Allowed()))
    assert receiver.heard == []
    assert "PARETRACK_WEBHOOK_ALLOW" in rows(engine)[0].last_error


# --- webhooks ------------------------------------------------------------------------------------


def test_a_replay_is_another_delivery_of_the_same_event(engine: Engine, receiver: Receiver) -> None:
    hook = add_hook(engine, receiver.url)
    add_job(engine)
    deliver(engine)
    (row,) = rows(engine)
    with writing(engine) as connection:
        again = webhooks.replay(connection, ANN, hook.id, row.id)
    deliver(engine)
    assert again.id != row.id and again.event_id == row.event_id
    assert receiver.heard[0].body == receiver.heard[1].body
    assert [found.state for found in rows(engine)] == ["DELIVERED", "DELIVERED"]


def test_a_ping_arrives_whatever_the_kinds(engine: Engine, receiver: Receiver) -> None:
    hook = add_hook(engine, receiver.url, ANN, "regressed")
    with writing(engine) as connection:
        webhooks.ping(connection, ANN, hook.id)
    deliver(engine)
    assert receiver.heard[0].headers["Paretrack-Event"] == "ping"
    assert json.loads(receiver.heard[0].body)["data"] == {"webhook": hook.id}


def test_the_secret_is_made_if_none_is_given_and_is_in_nothing_that_is_shown(
    engine: Engine,
) -> None:
    with writing(engine) as connection:
        asked: dict[str, Any] = {"url": "https://ann:x@a.example/s3cret-path", "kinds": ["state"]}
        hook, secret = webhooks.create(connection, ANN, **asked)
    assert len(secret) > 40
    lines = repr(audit.read(engine, f"webhook {hook.id}"))
    assert secret not in repr(hook) + lines
    assert "s3cret-path" not in lines  # nor what may be one


def test_nobody_has_more_webhooks_than_an_event_can_bear(engine: Engine) -> None:
    for _ in range(webhooks.MOST):
        hook = add_hook(engine)
    with pytest.raises(Problem, match="archive one first"):
        add_hook(engine)
    with writing(engine) as connection:
        webhooks.archive(connection, ANN, hook.id)
    add_hook(engine)
    add_hook(engine, caller=Caller(owner="bob", role=Role.SUBMITTER))


def test_of_an_archived_webhook_no_secret_is_kept(engine: Engine) -> None:
    hook = add_hook(engine)
    with writing(engine) as connection:
        webhooks.archive(connection, ANN, hook.id)
        webhooks.archive(connection, ANN, hook.id)  # once more is no error
    with reading(engine) as connection:
        assert connection.execute(select(HOOKS.c.secret)).scalar() == ""
