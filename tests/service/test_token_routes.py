"""Tokens, owners and the audit over HTTP."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from service import jobs, queue
from service.app import create_app
from service.callers import Role
from service.database import writing
from service.jobs import NewJob
from service.settings import Settings
from tests.service.asking import ask
from tests.service.tokened import API, Tokened

ROOT = {"owner": "root", "role": Role.OPERATOR}


@pytest.fixture
def site(engine: Engine, tmp_path: Path) -> Iterator[Tokened]:
    found = Tokened(engine, tmp_path)
    yield found
    found.close()


def made(site: Tokened, **words: Any) -> dict[str, Any]:
    body = {"name": "laptop", "owner": "ann", **words}
    answer = site.ask("POST", "/tokens", **ROOT, json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def with_token(site: Tokened, token: str, path: str = "/tokens/me") -> Any:
    return ask(site.app, "GET", API + path, headers={"Authorization": f"Bearer {token}"})


# --- tokens --------------------------------------------------------------------------------------


def test_a_token_that_an_operator_made_says_who_calls(site: Tokened) -> None:
    until = datetime.now(UTC) + timedelta(days=9)
    new = made(site, role="viewer", project="drones", expires_at=until.isoformat())
    me = with_token(site, new["token"])
    assert me.status_code == 200
    assert datetime.fromisoformat(me.json().pop("expires_at")) == until
    assert {**me.json(), "expires_at": None} == {
        "owner": "ann",
        "role": "viewer",
        "project": "drones",
        "token_id": new["id"],
        "token_name": "laptop",
        "expires_at": None,
    }


def test_the_text_of_a_token_is_shown_once(site: Tokened) -> None:
    answer = site.ask("POST", "/tokens", **ROOT, json={"name": "laptop", "owner": "ann"})
    new = answer.json()
    assert answer.headers["Cache-Control"] == "no-store"
    path = answer.headers["Location"].removeprefix(API)
    secret = new["token"].rpartition("_")[2]
    seen = site.ask("GET", path, **ROOT).text + site.ask("GET", "/tokens", **ROOT).text
    seen += site.ask("GET", "/audit", **ROOT).text
    assert new["id"] in seen and secret not in seen and "sha256" not in seen


def test_only_operators_make_tokens(site: Tokened) -> None:
    body = {"name": "laptop", "owner": "ann", "role": "operator"}
    for role in (Role.VIEWER, Role.SUBMITTER):
        answer = site.ask("POST", "/tokens", role=role, json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


WRONG: list[dict[str, Any]] = [
    {"expires_at": "2020-01-01T00:00:00Z"},
    {"expires_at": "2099-01-01T00:00:00"},
    {"expires_at": "9999-12-31T23:59:59-12:00"},
    {"expires_at": "0001-01-01T00:00:00+14:00"},
    {"role": "root"},
    {"owner": ""},
    {"owner": "a\nb"},
    {"name": "x" * 201},
    {"secret": "mine"},
]


def test_a_token_that_cannot_be_is_refused(site: Tokened) -> None:
    for words in WRONG:
        body = {"name": "laptop", "owner": "ann", **words}
        answer = site.ask("POST", "/tokens", **ROOT, json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), words


def test_everybody_lists_and_revokes_their_own_and_nobody_elses(site: Tokened) -> None:
    mine, other = made(site, role="viewer"), made(site, owner="bob")
    seen = with_token(site, mine["token"], "/tokens?owner=bob").json()["items"]
    assert {each["owner"] for each in seen} == {"ann"}
    assert mine["id"] in {each["id"] for each in seen}
    path = f"/tokens/{other['id']}"
    assert site.ask("GET", path, role=Role.VIEWER).status_code == 404
    assert site.ask("DELETE", path, role=Role.VIEWER).status_code == 404
    gone = site.ask("DELETE", f"/tokens/{mine['id']}?why=lost", role=Role.VIEWER)
    assert gone.status_code == 200 and gone.json()["revoked_at"] is not None
    assert with_token(site, other["token"]).status_code == 200


def test_a_revoked_token_is_refused_at_once(site: Tokened) -> None:
    new = made(site)
    assert with_token(site, new["token"]).status_code == 200
    assert site.ask("DELETE", f"/tokens/{new['id']}", **ROOT).status_code == 200
    refused = with_token(site, new["token"])
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")


def test_operators_list_all_tokens_page_by_page_or_those_of_one(site: Tokened) -> None:
    made_ids = {made(site, owner=owner)["id"] for owner in ("ann", "bob", "bob", "cy", "cy")}
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = site.ask("GET", "/tokens", **ROOT, params=query).json()
        seen += [each["id"] for each in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert len(seen) == len(set(seen)) == 6  # and the operator's own
    assert made_ids < set(seen)
    of_bob = site.ask("GET", "/tokens", **ROOT, params={"owner": "bob"}).json()["items"]
    assert [each["owner"] for each in of_bob] == ["bob", "bob"]


def test_without_tokens_the_one_user_is_an_operator(engine: Engine, tmp_path: Path) -> None:
    url = engine.url.render_as_string(hide_password=False)
    app = create_app(Settings(home=tmp_path, database_url=url), needs_tokens=False)
    me = ask(app, "GET", f"{API}/tokens/me").json()
    app.state.service.engine.dispose()
    assert (me["owner"], me["role"], me["token_id"]) == ("me", "operator", None)


# --- owners --------------------------------------------------------------------------------------


def queued(engine: Engine, owner: str, count: int = 1) -> None:
    with writing(engine) as connection:
        queue.ensure_owner(connection, owner)
        for _ in range(count):
            asked = NewJob(name="night", spec={}, owner=owner, tracker="siamrpn")
            jobs.create(connection, asked, owner)


def test_owners_are_listed_with_what_waits_and_runs(site: Tokened) -> None:
    queued(site.engine, "ann", 3)
    queued(site.engine, "bob")
    claimed = queue.claim(site.engine, "test", 600)
    assert claimed is not None
    page = site.ask("GET", "/owners", **ROOT, params={"limit": 1}).json()
    rest = site.ask("GET", "/owners", **ROOT, params={"cursor": page["next"]}).json()
    found = {each["name"]: each for each in page["items"] + rest["items"]}
    assert list(found) == ["ann", "bob"]
    total = {name: (each["waiting"], each["running"]) for name, each in found.items()}
    wanted = {"ann": (3, 0), "bob": (1, 0)}
    wanted[claimed.job.owner] = (wanted[claimed.job.owner][0] - 1, 1)
    assert total == wanted


def test_an_owner_with_no_room_gets_no_job_until_they_have_some(site: Tokened) -> None:
    queued(site.engine, "ann/b")
    none = site.ask("PATCH", "/owners/ann%2Fb", **ROOT, json={"most_running": 0, "why": "quota"})
    assert (none.status_code, none.json()["most_running"]) == (200, 0)
    assert queue.claim(site.engine, "test", 600) is None
    weight = site.ask("PATCH", "/owners/ann%2Fb", **ROOT, json={"weight": 2.5}).json()
    assert (weight["most_running"], weight["weight"]) == (0, 2.5)
    free = site.ask("PATCH", "/owners/ann%2Fb", **ROOT, json={"most_running": None}).json()
    assert (free["most_running"], free["weight"]) == (None, 2.5)
    assert queue.claim(site.engine, "test", 600) is not None
    lines = site.ask("GET", "/audit", **ROOT, params={"subject": "owner ann/b"}).json()["items"]
    assert [line["detail"] for line in reversed(lines)] == [
        {"most_running": 0},
        {"weight": 2.5},
        {"most_running": None},
    ]
    assert lines[-1]["why"] == "quota" and lines[-1]["who"].startswith("root")


def test_a_share_can_be_set_before_the_first_job(site: Tokened) -> None:
    site.ask("PATCH", "/owners/cy", **ROOT, json={"most_running": 2})
    queued(site.engine, "cy")
    (owner,) = site.ask("GET", "/owners", **ROOT).json()["items"]
    assert (owner["name"], owner["most_running"], owner["waiting"]) == ("cy", 2, 1)


def test_a_share_that_cannot_be_is_refused(site: Tokened) -> None:
    wrong: list[dict[str, Any]]
    wrong = [{"most_running": each} for each in (-1, 2**40, False, "2", 1.5)]
    wrong += [{"weight": each} for each in (0, None, True, "1")]
    for body in wrong:
        assert site.ask("PATCH", "/owners/ann", **ROOT, json=body).status_code == 422, body
    assert site.ask("GET", "/owners", **ROOT).json()["items"] == []


# --- the audit -----------------------------------------------------------------------------------


def test_the_audit_is_read_from_its_end_page_by_page(site: Tokened) -> None:
    queued(site.engine, "ann", 5)
    seen: list[Any] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = site.ask("GET", "/audit", **ROOT, params=query).json()
        seen += page["items"]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert [line["id"] for line in seen] == sorted({line["id"] for line in seen}, reverse=True)
    assert [line["action"] for line in seen].count("job submit") == 5
    one = seen[-1]
    found = site.ask("GET", "/audit", **ROOT, params={"subject": one["subject"]}).json()["items"]
    assert found == [one]


def test_a_cursor_that_nobody_handed_out_is_refused(site: Tokened) -> None:
    for path in ("/audit", "/owners", "/tokens"):
        for cursor in ("WzFlMzBd", "Wy0xXQ", "WyJcdTAwMDAiXQ", "WyJcdWQ4MDAiXQ", "e30"):
            answer = site.ask("GET", path, **ROOT, params={"cursor": cursor})
            assert answer.status_code == 422, (path, cursor)
