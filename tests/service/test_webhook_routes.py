"""Webhooks over HTTP: made, seen, changed, tried, replayed; by those whose they are."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from sqlalchemy import Engine

from service import deliveries, jobs, webhooks
from service.callers import Role
from service.callouts import allowed_from_words
from service.database import writing
from service.jobs import NewJob
from service.postman import Postman, Sender
from service.routes.webhooks import Kind
from service.signatures import verify
from tests.service.receiver import receiving
from tests.service.tokened import Tokened

HERE = "http://127.0.0.1:9/hook"


@pytest.fixture
def site(engine: Engine, tmp_path: Path) -> Iterator[Tokened]:
    found = Tokened(engine, tmp_path, allow=("127.0.0.1",))
    yield found
    found.close()


def made(site: Tokened, owner: str = "ann", **words: Any) -> dict[str, Any]:
    project = words.pop("project", None)
    body = {"url": HERE, **words}
    answer = site.ask("POST", "/webhooks", owner, project=project, json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def listed(site: Tokened, path: str = "/webhooks", owner: str = "ann", **more: Any) -> list[Any]:
    answer = site.ask("GET", path, owner, **more)
    assert answer.status_code == 200, answer.text
    found: list[Any] = answer.json()["items"]
    return found


def happen(site: Tokened, count: int = 1, owner: str = "ann") -> str:
    with writing(site.engine) as connection:
        asked = NewJob(name="night", spec={}, owner=owner, tracker="siamrpn")
        job = jobs.create(connection, asked, owner)
        more = [("state", {"to": "RUNNING"})] * (count - 1)
        jobs.add_events(connection, job.id, more)
    return job.id


def test_the_secret_is_shown_once(site: Tokened) -> None:
    answer = site.ask("POST", "/webhooks", json={"url": HERE})
    assert answer.status_code == 201
    hook = answer.json()
    assert hook["secret"].startswith("whsec_") and hook["kinds"] == ["state"]
    assert answer.headers["Cache-Control"] == "no-store"
    path = answer.headers["Location"].removeprefix("/api/v1")
    again = site.ask("GET", path)
    assert again.status_code == 200 and again.headers["ETag"] == '"1"'
    assert "secret" not in again.json()
    everything = again.text + json.dumps(listed(site))
    everything += site.ask("GET", "/audit", "root", Role.OPERATOR).text
    assert hook["secret"] not in everything


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "/url"),
    ({"url": "http://10.0.0.1:8000/"}, "/url"),
    ({"url": "http://169.254.169.254/latest/meta-data/"}, "/url"),
    ({"url": "ftp://example.com"}, "/url"),
    ({"url": "http://ann:pw@127.0.0.1/"}, "/url"),
    ({"url": HERE, "kinds": []}, "/kinds"),
    ({"url": HERE, "kinds": ["everything"]}, "/kinds/0"),
    ({"url": HERE, "secret": "short"}, "/secret"),
    ({"url": HERE, "secret": "with blanks in the middle of it"}, "/secret"),
    ({"url": HERE, "owner": "root"}, "/owner"),
]


def test_what_cannot_be_is_refused_with_a_pointer(site: Tokened) -> None:
    for body, pointer in WRONG:
        answer = site.ask("POST", "/webhooks", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), answer.text
        assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]
        assert "pw@" not in answer.text and "short" not in answer.text
    assert listed(site) == []


def test_the_kinds_of_the_document_are_those_that_are_sent() -> None:
    assert get_args(Kind) == deliveries.KINDS


def test_a_change_needs_the_version_that_was_read(site: Tokened) -> None:
    hook = made(site)
    path, change = f"/webhooks/{hook['id']}", {"kinds": ["front", "state"], "active": False}
    assert site.ask("PATCH", path, json=change).status_code == 428
    changed = site.ask("PATCH", path, json=change, headers={"If-Match": '"1"'})
    assert changed.status_code == 200 and changed.headers["ETag"] == '"2"'
    assert changed.json()["kinds"] == ["state", "front"] and not changed.json()["active"]
    late = site.ask("PATCH", path, json={"active": True}, headers={"If-Match": '"1"'})
    assert (late.status_code, late.json()["code"]) == (412, "changed_meanwhile")
    inside = site.ask("PATCH", path, json={"url": "http://10.0.0.1/"}, headers={"If-Match": "*"})
    assert inside.status_code == 422
    assert site.ask("GET", path).json() == changed.json()


def test_archived_it_is_out_of_the_list_and_stays_as_it_is(site: Tokened) -> None:
    hook = made(site)
    path = f"/webhooks/{hook['id']}"
    assert site.ask("DELETE", path).json()["archived_at"] is not None
    assert listed(site) == []
    assert [each["id"] for each in listed(site, params={"archived": True})] == [hook["id"]]
    back = site.ask("PATCH", path, json={"active": True}, headers={"If-Match": "*"})
    assert (back.status_code, back.json()["code"]) == (409, "conflict")
    assert site.ask("POST", f"{path}/ping").status_code == 409


def test_a_webhook_is_seen_by_its_owner_its_project_and_operators_only(site: Tokened) -> None:
    own, shared = made(site), made(site, project="drones")
    both = {own["id"], shared["id"]}
    assert {each["id"] for each in listed(site)} == both
    assert {each["id"] for each in listed(site, owner="root", role=Role.OPERATOR)} == both
    seen = listed(site, owner="bob", project="drones")
    assert [each["id"] for each in seen] == [shared["id"]]
    assert listed(site, owner="bob") == []
    for rest in ("", "/deliveries", "/deliveries/0"):
        assert site.ask("GET", f"/webhooks/{own['id']}{rest}", "bob").status_code == 404
    for verb in ("ping", "deliveries/0/replay"):
        assert site.ask("POST", f"/webhooks/{own['id']}/{verb}", "bob").status_code == 404
    assert site.ask("DELETE", f"/webhooks/{own['id']}", "bob").status_code == 404


def test_deliveries_are_listed_page_by_page_and_replayed(site: Tokened) -> None:
    hook = made(site)
    job_id = happen(site, 7)
    path = f"/webhooks/{hook['id']}/deliveries"
    seen: list[Any] = []
    cursor = None
    while True:
        query = {"limit": 3, **({} if cursor is None else {"cursor": cursor})}
        page = site.ask("GET", path, params=query).json()
        seen += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    numbers = sorted(int(each["event_id"].removeprefix(f"{job_id}:")) for each in seen)
    assert numbers == list(range(1, 8))
    assert len({each["id"] for each in seen}) == 7
    again = site.ask("POST", f"{path}/{seen[0]['id']}/replay")
    assert again.status_code == 202
    assert again.json()["event_id"] == seen[0]["event_id"]
    assert again.json()["body"] == seen[0]["body"]
    assert len(listed(site, path, params={"state": "PENDING"})) == 8
    assert listed(site, path, params={"state": ["DELIVERED", "GIVEN_UP"]}) == []


def test_a_delivery_belongs_to_its_webhook(site: Tokened) -> None:
    one, other = made(site), made(site, "bob")
    happen(site)
    (delivery,) = listed(site, f"/webhooks/{one['id']}/deliveries")
    path = f"/webhooks/{other['id']}/deliveries/{delivery['id']}"
    assert site.ask("GET", path, "bob").status_code == 404
    assert site.ask("POST", f"{path}/replay", "bob").status_code == 404
    mine = site.ask("GET", f"/webhooks/{one['id']}/deliveries/{delivery['id']}")
    assert mine.json() == delivery


def test_a_ping_arrives_and_is_in_the_log(site: Tokened) -> None:
    with receiving() as receiver:
        hook = made(site, url=receiver.url, secret="whsec_only_for_this_test")
        sent = site.ask("POST", f"/webhooks/{hook['id']}/ping")
        assert (sent.status_code, sent.json()["state"]) == (202, "PENDING")
        postman = Postman(site.engine, Sender(allowed_from_words(["127.0.0.1"])))
        postman.deliver()
        postman.close()
        postman.wait(60)
    verify("whsec_only_for_this_test", receiver.heard[0].headers, receiver.heard[0].body)
    (delivery,) = listed(site, f"/webhooks/{hook['id']}/deliveries")
    assert (delivery["state"], delivery["last_status"]) == ("DELIVERED", 204)


def test_too_many_webhooks_are_a_conflict(site: Tokened) -> None:
    for _ in range(webhooks.MOST):
        made(site)
    answer = site.ask("POST", "/webhooks", json={"url": HERE})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    page = site.ask("GET", "/webhooks", params={"limit": 15}).json()
    rest = site.ask("GET", "/webhooks", params={"limit": 15, "cursor": page["next"]}).json()
    assert len({each["id"] for each in page["items"] + rest["items"]}) == webhooks.MOST
    assert rest["next"] is None


CURSORS = ("x", "bnVsbA", "WyJ4IiwieSJd", "WyIyMDI2LTAxLTAxIiwieSJd",
           "WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzAwOjAwIiwiXHUwMDAwIl0")  # fmt: skip


def test_a_cursor_that_nobody_handed_out_is_refused(site: Tokened) -> None:
    for cursor in CURSORS:
        answer = site.ask("GET", "/webhooks", params={"cursor": cursor})
        assert answer.status_code == 422, cursor
        assert answer.json()["errors"][0]["parameter"] == "cursor"
