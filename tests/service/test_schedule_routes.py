"""Schedules over REST, by the Python client and by the command."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, update
from typer.testing import CliRunner

from service import schedules, tokens
from service._schedule_rows import SCHEDULES
from service.app import create_app
from service.callers import Role
from service.cli import app as command
from service.client import Client, ClientError
from service.database import writing
from service.settings import Settings
from tests.service.asking import ask
from tests.service.jobs import Bench, bench
from tests.service.scheduled import Here, spec_of
from tests.service.served import serving

PATH = "/api/v1/schedules"
NIGHTLY = {"cron": "30 2 * * *", "timezone": "Europe/London"}


@pytest.fixture
def app(database_url: str, tmp_path: Path, teacher: Path) -> Iterator[FastAPI]:
    """An embedded service; jobs are looked at in this process."""
    here = bench(tmp_path, teacher)
    settings = Settings(home=here.home, database_url=database_url)
    made = create_app(settings, needs_tokens=False)
    object.__setattr__(made.state.service, "beside", Here())
    yield made
    made.state.service.engine.dispose()


@pytest.fixture
def body(tmp_path: Path, app: FastAPI) -> dict[str, Any]:
    here = Bench(tmp_path / "home", tmp_path / "teacher")
    return {
        "name": "every night",
        "calendar": NIGHTLY,
        "job": {"spec": spec_of(here), "labels": ["nightly"], "priority": 3},
        "pause_after_failures": 2,
    }


def engine_of(app: FastAPI) -> Engine:
    found: Engine = app.state.service.engine
    return found


def make(app: FastAPI, body: dict[str, Any]) -> dict[str, Any]:
    answer = ask(app, "POST", PATH, json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def due(app: FastAPI, schedule_id: str) -> None:
    """As if its last decision had been two days ago."""
    with writing(engine_of(app)) as connection:
        then = schedules.read(connection, app.state.service.caller(None), schedule_id).created_at
        then -= timedelta(days=2)
        row = update(SCHEDULES).where(SCHEDULES.c.id == schedule_id)
        connection.execute(row.values(decided_until=then, next_at=then, catch_up_seconds=2592000))
    schedules.turn(engine_of(app))


def test_a_schedule_from_its_making_to_its_end(app: FastAPI, body: dict[str, Any]) -> None:
    answer = ask(app, "POST", PATH, json=body)
    assert answer.status_code == 201
    made = answer.json()
    assert answer.headers["Location"] == f"{PATH}/{made['id']}"
    assert made["words"] == "At 02:30 every day, Europe/London"
    assert (made["overlap"], made["catch_up_seconds"], made["continues"]) == ("skip", 3600, True)
    assert made["job"] == body["job"]
    assert made["calendar"] == {**NIGHTLY, "gap": "shift", "fold": "first"}
    path = made["links"]["self"]
    read = ask(app, "GET", path)
    assert (read.json(), read.headers["ETag"]) == (made, '"1"')
    listed = ask(app, "GET", PATH, params={"text": "EVERY"}).json()
    assert [one["id"] for one in listed["items"]] == [made["id"]]
    assert ask(app, "GET", PATH, params={"text": "morning"}).json()["items"] == []

    coming = ask(app, "GET", made["links"]["next"], params={"n": 3}).json()
    assert len(coming) == 3
    assert coming[0]["begins_at"] == coming[0]["at"] == made["next_at"]
    assert "T02:30:00" in coming[0]["local"]

    paused = ask(app, "POST", f"{path}/pause", json={"why": "holidays"}).json()
    assert (paused["paused"], paused["paused_why"]) == (True, "holidays")
    resumed = ask(app, "POST", f"{path}/resume").json()
    assert (resumed["paused"], resumed["version"]) == (False, 3)
    tick = ask(app, "POST", f"{path}/trigger", json={"why": "a new device"})
    assert tick.status_code == 201
    assert tick.json()["by_hand"] is True
    assert tick.json()["job"]["state"] == "QUEUED"
    again = ask(app, "POST", f"{path}/trigger")
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    jobs = ask(app, "GET", made["links"]["jobs"]).json()["items"]
    assert [job["id"] for job in jobs] == [tick.json()["job"]["id"]]
    assert jobs[0]["labels"] == ["nightly"]

    assert ask(app, "DELETE", path).json()["next_at"] is None
    assert ask(app, "GET", made["links"]["next"]).json() == []
    assert ask(app, "GET", PATH).json()["items"] == []
    assert ask(app, "POST", f"{path}/resume").status_code == 409
    archived = ask(app, "GET", PATH, params={"archived": True}).json()["items"]
    assert len(archived) == 1


def test_it_is_changed_by_whoever_has_read_it(app: FastAPI, body: dict[str, Any]) -> None:
    made = make(app, body)
    path, four = made["links"]["self"], {**NIGHTLY, "cron": "0 4 * * *"}
    without = ask(app, "PATCH", path, json={"calendar": four})
    assert without.json()["code"] == "precondition_required"
    edited = ask(
        app, "PATCH", path, json={"calendar": four, "overlap": "allow"}, headers={"If-Match": '"1"'}
    )
    assert edited.headers["ETag"] == '"2"'
    shown = edited.json()
    assert (shown["overlap"], shown["calendar"]["cron"]) == ("allow", "0 4 * * *")
    assert "T04:00:00" in ask(app, "GET", shown["links"]["next"]).json()[0]["local"]
    stale = ask(app, "PATCH", path, json={"name": "x"}, headers={"If-Match": '"1"'})
    assert (stale.status_code, stale.json()["code"]) == (412, "changed_meanwhile")
    never = ask(
        app, "PATCH", path, json={"pause_after_failures": None}, headers={"If-Match": "*"}
    ).json()
    assert (never["pause_after_failures"], never["version"]) == (None, 3)
    job = {**body["job"], "spec": {**body["job"]["spec"], "seed": 5}}
    other = ask(app, "PATCH", path, json={"job": job}, headers={"If-Match": "*"}).json()
    assert other["job"]["spec"]["seed"] == 5


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"calendar": {**NIGHTLY, "cron": "61 * * * *"}}, "/calendar/cron"),
        ({"calendar": {**NIGHTLY, "cron": "0 0 30 2 *"}}, "/calendar/cron"),
        ({"calendar": {**NIGHTLY, "timezone": "Europe/Lundon"}}, "/calendar/timezone"),
        ({"calendar": {**NIGHTLY, "gap": "leap"}}, "/calendar/gap"),
        ({"jitter_seconds": 3601}, "/jitter_seconds"),
        ({"catch_up_seconds": -1}, "/catch_up_seconds"),
        ({"overlap": "both"}, "/overlap"),
        ({"pause_after_failures": 0}, "/pause_after_failures"),
        ({"job": {"spec": {"name": "x", "teacher": "nobody"}}}, "/job/spec"),
        ({"job": {"spec": {"name": "x"}}}, "/job/spec"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(
    app: FastAPI, body: dict[str, Any], change: dict[str, Any], pointer: str
) -> None:
    answer = ask(app, "POST", PATH, json={**body, **change})
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"].startswith(pointer)
    assert ask(app, "GET", PATH).json()["items"] == []


def test_a_calendar_is_tried_out(app: FastAPI) -> None:
    asked = {"calendar": {"cron": "30 1 29 3 *", "timezone": "Europe/London"}, "count": 2}
    seen = ask(app, "POST", f"{PATH}/preview", json=asked).json()
    assert seen["words"].endswith("Europe/London")
    assert len(seen["ticks"]) == 2
    wrong = ask(app, "POST", f"{PATH}/preview", json={**asked, "count": 101})
    assert wrong.status_code == 422
    twisted = {"calendar": {"cron": "* * * *", "timezone": "UTC"}}
    said = ask(app, "POST", f"{PATH}/preview", json=twisted)
    assert said.json()["errors"][0]["pointer"] == "/calendar/cron"


def test_history_comes_page_by_page(app: FastAPI, body: dict[str, Any]) -> None:
    made = make(app, body)
    due(app, made["id"])
    path, seen, cursor = made["links"]["ticks"], list[dict[str, Any]](), None
    while True:
        page = ask(app, "GET", path, params={"limit": 1, **({"cursor": cursor} if cursor else {})})
        seen += page.json()["items"]
        cursor = page.json()["next"]
        if cursor is None:
            break
    assert [tick["decision"] for tick in seen] == ["started", "missed"]
    assert seen[0]["job"]["state"] == "QUEUED"
    assert seen[1]["job"] is None
    for wrong in ("x", "WyIxIl0", "bnVsbA"):
        assert ask(app, "GET", path, params={"cursor": wrong}).status_code == 422


def test_others_do_not_see_it(app: FastAPI, body: dict[str, Any]) -> None:
    made = make(app, body)
    settings = app.state.service.settings
    guarded = create_app(settings, needs_tokens=True, hosts=None, limited=False)
    engine = guarded.state.service.engine
    said = {}
    for owner, role in (("me", Role.VIEWER), ("eve", Role.SUBMITTER), ("root", Role.OPERATOR)):
        said[owner] = tokens.create(
            engine, name="t", owner=owner, role=role, project=None, expires_at=None, by="test"
        )[1]

    def status(owner: str, method: str, path: str) -> int:
        headers = {"Authorization": f"Bearer {said[owner]}"}
        return ask(guarded, method, path, headers=headers).status_code

    path = made["links"]["self"]
    nouns = ["", "/ticks", "/next"]
    assert [status("eve", "GET", path + noun) for noun in nouns] == [404] * 3
    assert [status("me", "GET", path + noun) for noun in nouns] == [200] * 3
    assert [status("root", "GET", path + noun) for noun in nouns] == [200] * 3
    verbs = [("POST", "/pause"), ("POST", "/resume"), ("POST", "/trigger"), ("DELETE", "")]
    assert [status("eve", method, path + verb) for method, verb in verbs] == [404] * 4
    assert [status("me", method, path + verb) for method, verb in verbs] == [403] * 4
    assert ask(guarded, "GET", path).status_code == 401
    engine.dispose()


def test_the_client_and_the_command(
    app: FastAPI, body: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*words: str) -> Any:
        found = CliRunner().invoke(command, ["schedule", *words], catch_exceptions=False)
        assert found.exit_code == 0, found.output
        return found

    with serving(app) as served:
        monkeypatch.setenv("PARETRACK_URL", served.url)
        monkeypatch.setenv("COLUMNS", "160")
        monkeypatch.delenv("PARETRACK_TOKEN", raising=False)
        file = tmp_path / "street.json"
        file.write_text(json.dumps(body["job"]["spec"]))
        words = ["--cron", "30 2 * * *", "--timezone", "Europe/London", "--name", "street"]
        made = run("create", str(file), *words, "--overlap", "buffer", "--json").stdout
        schedule_id = json.loads(made)["id"]
        assert "At 02:30 every day" in run("list").stdout
        assert json.loads(run("show", "street", "--json").stdout)["overlap"] == "buffer"
        assert "buffer" in run("show", schedule_id).stdout
        assert len(json.loads(run("next", "street", "-n", "4", "--json").stdout)) == 4
        assert "02:30" in run("preview", "--cron", "30 2 * * *").stdout
        assert "is paused: holidays" in run("pause", "street", "--why", "holidays").stdout
        assert "goes on" in run("resume", "street").stdout
        job = run("trigger", "street").stdout.strip()
        past = json.loads(run("history", "street", "--json").stdout)
        assert [tick["job"]["id"] for tick in past] == [job.splitlines()[0]]
        assert "started" in run("history", "street").stdout

        with Client(served.url) as client:
            found = client.schedules.find("street")
            assert found.edit(catch_up_seconds=60).catch_up_seconds == 60
            assert [tick.decision for tick in found.history()] == ["started"]
            with pytest.raises(ClientError, match="did you mean street"):
                client.schedules.find("streets")
            client.schedules.create("street", body["job"]["spec"], "0 1 * * *")
            with pytest.raises(ClientError, match="2 schedules are named"):
                client.schedules.find("street")
        assert "is archived" in run("archive", schedule_id).stdout


def test_openapi_has_examples_that_are_good(app: FastAPI, body: dict[str, Any]) -> None:
    document = app.openapi()
    schemas = document["components"]["schemas"]
    example = schemas["ScheduleCreate"]["examples"][0]
    calendar = {"calendar": example["calendar"]}
    assert ask(app, "POST", f"{PATH}/preview", json=calendar).status_code == 200
    assert make(app, {**example, "job": body["job"]})["overlap"] == "skip"
    change = schemas["ScheduleUpdate"]["examples"][0]
    path = ask(app, "GET", PATH).json()["items"][0]["links"]["self"]
    assert ask(app, "PATCH", path, json=change, headers={"If-Match": "*"}).status_code == 200
