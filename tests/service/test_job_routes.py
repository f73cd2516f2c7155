"""Jobs over HTTP: asked for once, listed, changed by who has read them, ended, put away."""

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, update

from service import jobs
from service.callers import Role
from service.database import database_now, embedded_url, writing
from service.jobs import ENDED, JOBS, STATES, TRANSITIONS, VERBS, NewJob, StoredJob
from service.recorded import read_job
from service.settings import Settings
from tests.service.asking import ask
from tests.service.jobs import Bench
from tests.service.scheduled import Here, make, spec_of
from tests.service.searched import API, made, searched
from tests.service.tokened import Tokened
from workers.metrics import METRICS

SHIPPED = {"name": "street", "teacher": "siamrpn-synthetic"}


class Held(Here):
    """One that is let go on by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go_on = threading.Event(), threading.Event()

    def ask(self, kind: str, **words: Any) -> Any:
        self.asked.set()
        assert self.go_on.wait(60)
        return super().ask(kind, **words)


def looks(app: FastAPI, beside: Here) -> None:
    """Jobs are looked at in this process."""
    object.__setattr__(app.state.service, "beside", beside)


@pytest.fixture
def app(prepared_sqlite: Path, here: Bench) -> Iterator[FastAPI]:
    file = here.home / "paretrack.db"
    shutil.copy(prepared_sqlite, file)
    with made(Settings(home=here.home, database_url=embedded_url(file))) as app:
        looks(app, Here())
        yield app


@pytest.fixture
def either(database_url: str, here: Bench) -> Iterator[FastAPI]:
    """For what the kind of database could make a difference to."""
    with made(Settings(home=here.home, database_url=database_url)) as app:
        yield app


@pytest.fixture
def site(app: FastAPI, here: Bench) -> Iterator[Tokened]:
    found = Tokened(app.state.service.engine, here.home)
    looks(found.app, Here())
    yield found
    found.close()


@pytest.fixture
def spec(here: Bench) -> dict[str, Any]:
    return spec_of(here, name="street")


def say(app: FastAPI, method: str, path: str, status: int = 200, **more: Any) -> httpx.Response:
    answer = ask(app, method, path if path.startswith(API) else f"{API}{path}", **more)
    assert answer.status_code == status, answer.text[:2000]
    return answer


def keyed(app: FastAPI, key: str, body: Any) -> httpx.Response:
    return ask(app, "POST", f"{API}/jobs", json=body, headers={"Idempotency-Key": key})


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def put(engine: Engine, name: str = "night", **words: Any) -> StoredJob:
    """A job that nobody has looked at."""
    asked = NewJob(**{"name": name, "spec": {}, "owner": "me", "tracker": "siamrpn", **words})
    with writing(engine) as connection:
        return jobs.create(connection, asked, asked.owner)


def as_if(engine: Engine, job: StoredJob, **columns: Any) -> None:
    with writing(engine) as connection:
        connection.execute(update(JOBS).where(JOBS.c.id == job.id).values(**columns))


def names(app: FastAPI, **query: Any) -> set[str]:
    return {job["name"] for job in say(app, "GET", "/jobs", params=query).json()["items"]}


# --- asking for one -------------------------------------------------------------------------------


def test_what_is_asked_for_waits_where_the_answer_says(app: FastAPI, spec: dict[str, Any]) -> None:
    body = {"spec": spec, "labels": ["b", "a", "b"], "priority": 7}
    answer = say(app, "POST", "/jobs", 202, json=body)
    job = answer.json()
    assert answer.headers["Location"] == job["links"]["self"] == f"{API}/jobs/{job['id']}"
    read = say(app, "GET", job["links"]["self"])
    assert read.json() == job
    assert read.headers["ETag"] == answer.headers["ETag"] == f'"{job["version"]}"'
    assert (job["state"], job["owner"], job["tracker"]) == ("QUEUED", "me", "siamrpn")
    assert (job["labels"], job["priority"], job["name"]) == (["a", "b"], 7, "street")
    assert job["spec"] == spec
    for noun in ("trials", "front", "events"):
        assert job["links"][noun].startswith(job["links"]["self"])
    other = say(app, "POST", "/jobs", 202, json={"spec": job["spec"]}).json()
    assert other["id"] != job["id"] and other["spec"] == job["spec"]


def test_said_again_with_its_key_it_is_the_same_job_as_it_is_now(
    app: FastAPI, spec: dict[str, Any]
) -> None:
    first = keyed(app, "night-1", {"spec": spec, "labels": ["a", "b"]})
    assert first.status_code == 202
    job = first.json()
    say(app, "POST", f"/jobs/{job['id']}/pause")
    again = keyed(app, "night-1", {"labels": ["b", "a"], "spec": spec, "priority": 0})
    assert (again.status_code, again.json()["id"]) == (200, job["id"])
    assert again.json()["state"] == "PAUSED"
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["ETag"] != first.headers["ETag"]
    for other in ({"labels": ["a"]}, {"labels": ["a", "b"], "priority": 1}):
        refused = keyed(app, "night-1", {"spec": spec, **other})
        assert code(refused) == (422, "other_body")
        assert refused.json()["errors"][0]["parameter"] == "Idempotency-Key"
    assert keyed(app, "night-2", {"spec": spec}).status_code == 202
    assert len(say(app, "GET", "/jobs").json()["items"]) == 2


def test_said_twice_at_once_it_is_made_once(app: FastAPI, spec: dict[str, Any]) -> None:
    held = Held()
    looks(app, held)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(keyed, app, "night-1", {"spec": spec})
        assert held.asked.wait(60)
        meanwhile = keyed(app, "night-1", {"spec": spec})
        held.go_on.set()
        done = slow.result(60)
    assert code(meanwhile) == (409, "in_flight")
    assert int(meanwhile.headers["Retry-After"]) > 0
    assert done.status_code == 202
    assert keyed(app, "night-1", {"spec": spec}).json()["id"] == done.json()["id"]


def test_a_refused_one_is_mended_and_sent_again_with_its_key(
    app: FastAPI, spec: dict[str, Any]
) -> None:
    wrong = keyed(app, "night-1", {"spec": {**spec, "sampler": "dice"}})
    assert code(wrong) == (422, "invalid") and "dice" in wrong.json()["detail"]
    assert keyed(app, "night-1", {"spec": spec}).status_code == 202


def test_what_is_wrong_is_pointed_to_and_nothing_is_queued(
    app: FastAPI, spec: dict[str, Any]
) -> None:
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"spec": {"sampler": "dice"}}, "/spec/sampler", "no sampler named 'dice'"),
        ({"spec": {"teacher": "nobody"}}, "/spec/teacher", "nobody"),
        ({"spec": {"limits": ["beauty<=8"]}}, "/spec/limits/0", "no metric 'beauty'"),
        ({"spec": {"warm_start": ["no-such-job"]}}, "/spec/warm_start/0", "no-such-job"),
        ({"spec": {"budgets": {}}}, "/spec/budgets", "budgets"),
        ({"priority": 101}, "/priority", "(got 101)"),
        ({"priority": "7"}, "/priority", "(got '7')"),
        ({"labels": [""]}, "/labels/0", "at least 1 character"),
        ({"labels": [str(n) for n in range(21)]}, "/labels", "at most 20 items"),
        ({"colour": "red"}, "/colour", "not permitted"),
    ]
    for wrong, pointer, said in cases:
        body = {**wrong, "spec": {**spec, **wrong.get("spec", {})}}
        refused = say(app, "POST", "/jobs", 422, json=body).json()
        (fault,) = refused["errors"]
        assert (refused["code"], fault["pointer"]) == ("invalid", pointer), refused
        assert said in fault["detail"]
    assert names(app) == set()


def test_a_limit_that_no_candidate_can_hold_is_refused_and_says_what_could_be(
    app: FastAPI, spec: dict[str, Any]
) -> None:
    body = {"spec": {**spec, "limits": ["parameters<=10M", "macs_frame<=10"]}}
    for path in ("/jobs", "/jobs/preview"):
        refused = say(app, "POST", path, 422, json=body).json()
        assert refused["code"] == "unreachable_limit"
        assert "macs_frame<=10" in refused["detail"]
        assert "the smallest candidate has" in refused["detail"]
        assert refused["errors"][0]["pointer"] == "/spec/limits/1"
    assert names(app) == set()


def test_a_preview_says_what_a_job_would_meet_and_queues_nothing(
    app: FastAPI, spec: dict[str, Any]
) -> None:
    limits = ["macs_frame<=1M", "step_ms.eager<=8"]
    found = say(app, "POST", "/jobs/preview", json={"spec": {**spec, "limits": limits}}).json()
    assert found["family"] == "siamrpn" and found["size"] == 112
    assert (found["trials"], found["asked"], found["first"]) == (12, 120, 0)
    costs = {cost["metric"]: cost for cost in found["costs"]}
    assert 0 < costs["macs_frame"]["smallest"] < costs["macs_frame"]["teacher"]
    assert {one["limit"]: one["satisfiable"] for one in found["limits"]} == {
        "macs_frame<=1000000": True, "step_ms.eager<=8": None,
    }  # fmt: skip
    assert (found["teacher"], found["seconds"]) == ({}, None), "nothing was measured yet"
    assert names(app) == set()


def test_a_preview_knows_what_earlier_jobs_have_measured(app: FastAPI, here: Bench) -> None:
    engine = app.state.service.engine
    done = searched(engine, here, budget={"trials": 3}, early_stopping="none")
    found = say(app, "POST", "/jobs/preview", json={"spec": dict(done.spec)}).json()
    known = read_job(engine, done.id).teacher
    assert found["teacher"].items() >= {n: f for n, f in known.items() if n in METRICS}.items()
    assert found["seconds"] > 0


# --- looking for them -----------------------------------------------------------------------------


def test_a_list_shows_those_that_were_asked_for(either: FastAPI, here: Bench) -> None:
    app, engine = either, either.state.service.engine
    nightly = make(engine, here).id
    put(engine, "street 50%", labels=["a", "b"], schedule_id=nightly)
    put(engine, "Street", labels=["a"], owner="bea", tracker="ostrack")
    running = put(engine, "harbour", labels=["b", "A"])
    as_if(engine, running, state="RUNNING")
    away = put(engine, "away_1", labels=["a"])
    with writing(engine) as connection:
        now = database_now(connection)
    as_if(engine, away, archived_at=now, state="CANCELLED", ended_at=now)
    every = {"street 50%", "Street", "harbour"}
    cases: list[tuple[dict[str, Any], set[str]]] = [
        ({}, every),
        ({"archived": True}, every | {"away_1"}),
        ({"state": "QUEUED"}, {"street 50%", "Street"}),
        ({"state": ["RUNNING", "CANCELLED"]}, {"harbour"}),
        ({"state": ["RUNNING", "CANCELLED"], "archived": True}, {"harbour", "away_1"}),
        ({"tracker": "ostrack"}, {"Street"}),
        ({"tracker": "ost"}, set()),
        ({"label": "a"}, {"street 50%", "Street"}),
        ({"label": ["a", "b"]}, {"street 50%"}),
        ({"label": "A"}, {"harbour"}),
        ({"text": "STREET"}, {"street 50%", "Street"}),
        ({"text": "0%"}, {"street 50%"}),
        ({"text": "_"}, set()),
        ({"text": "_", "archived": True}, {"away_1"}),
        ({"text": running.id[-6:]}, {"harbour"}),
        ({"owner": "bea"}, {"Street"}),
        ({"owner": "bea", "label": "b"}, set()),
        ({"schedule": nightly}, {"street 50%"}),
        ({"schedule": "every"}, set()),
    ]
    for query, expected in cases:
        assert names(app, **query) == expected, query


def test_pages_have_every_job_once_the_newest_first_whatever_comes_between(
    either: FastAPI,
) -> None:
    app, engine = either, either.state.service.engine
    asked = [put(engine, f"job {n}") for n in range(9)]
    for job in asked[2:5]:  # made at once: then the id decides
        as_if(engine, job, created_at=asked[2].created_at)
    order = [job["id"] for job in say(app, "GET", "/jobs").json()["items"]]
    assert set(order) == {job.id for job in asked}
    assert order[:4] == [job.id for job in reversed(asked[5:])]
    assert order[4:7] == sorted((job.id for job in asked[2:5]), reverse=True)
    found: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = say(app, "GET", "/jobs", params=query).json()
        assert len(page["items"]) <= 2
        found += [job["id"] for job in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
        put(engine, "newer")
    assert found == order
    assert page["items"], "no page is empty"
    for wrong in ({"limit": 0}, {"limit": 501}, {"state": "DONE"}, {"cursor": "MQ"}):
        refused = say(app, "GET", "/jobs", 422, params=wrong).json()
        assert refused["errors"][0]["parameter"].startswith(next(iter(wrong)))


# --- changing them --------------------------------------------------------------------------------


def test_a_job_is_sent_again_only_when_it_has_changed(app: FastAPI) -> None:
    job = put(app.state.service.engine)
    tag = say(app, "GET", f"/jobs/{job.id}").headers["ETag"]
    for known in (tag, f"W/{tag}", f'"99", {tag}', "*"):
        same = say(app, "GET", f"/jobs/{job.id}", 304, headers={"If-None-Match": known})
        assert (same.content, same.headers["ETag"]) == (b"", tag)
    say(app, "POST", f"/jobs/{job.id}/pause")
    changed = say(app, "GET", f"/jobs/{job.id}", headers={"If-None-Match": tag})
    assert changed.json()["state"] == "PAUSED" and changed.headers["ETag"] != tag


def test_words_are_changed_by_who_says_what_they_have_read(either: FastAPI) -> None:
    app = either
    job = put(app.state.service.engine, labels=["old"], priority=1)
    path = f"/jobs/{job.id}"

    def edit(status: int, tag: str | None, **words: Any) -> httpx.Response:
        headers = {} if tag is None else {"If-Match": tag}
        return say(app, "PATCH", path, status, json=words, headers=headers)

    unread = edit(428, None, priority=5).json()
    assert unread["code"] == "precondition_required" and "ETag" in unread["detail"]
    tag = say(app, "GET", path).headers["ETag"]
    answer = edit(200, tag, labels=["new", "kept", "new"])
    assert answer.json()["labels"] == ["kept", "new"]
    assert (answer.json()["name"], answer.json()["priority"]) == ("night", 1), "as they were"
    assert say(app, "GET", path).headers["ETag"] == answer.headers["ETag"] != tag
    late = edit(412, tag, priority=9).json()
    assert late["code"] == "changed_meanwhile" and "read it again" in late["detail"]
    assert late["errors"][0]["parameter"] == "If-Match"
    assert edit(412, '"yesterday"', priority=9).json()["code"] == "changed_meanwhile"
    assert edit(200, "*", name="street").json()["name"] == "street"
    newest = edit(200, f"W/{say(app, 'GET', path).headers['ETag']}", labels=[], priority=-3)
    assert (newest.json()["labels"], newest.json()["priority"]) == ([], -3)
    same = edit(200, newest.headers["ETag"], priority=-3)
    assert same.headers["ETag"] == newest.headers["ETag"], "nothing has changed"
    wrong: list[dict[str, Any]]
    wrong = [{"name": ""}, {"priority": -101}, {"state": "RUNNING"}, {"spec": {}}]
    for words in wrong:
        edit(422, "*", **words)


def test_a_verb_is_done_or_the_refusal_says_which_could_be(app: FastAPI) -> None:
    engine = app.state.service.engine
    job = put(engine)
    for state in STATES:
        can = {verb for verb in VERBS if state in TRANSITIONS[verb]}
        for verb in VERBS:
            as_if(engine, job, state=state, started_at=job.created_at)
            path = f"/jobs/{job.id}/{verb}"
            if verb in can:
                done = say(app, "POST", path, json={"why": "the device is needed"}).json()
                assert done["state"] == TRANSITIONS[verb][state]
                assert done["reason"] == "the device is needed"
                continue
            refused = say(app, "POST", path, 409).json()
            assert refused["code"] == "conflict" and state in refused["detail"]
            _, _, told = refused["detail"].partition("what it can be asked: ")
            assert set(filter(None, told.split(", "))) == can
            assert told or "it stays as it is" in refused["detail"]
            assert say(app, "GET", f"/jobs/{job.id}").json()["state"] == state


def test_who_says_no_reason_is_the_reason(app: FastAPI) -> None:
    job = put(app.state.service.engine)
    paused = say(app, "POST", f"/jobs/{job.id}/pause").json()
    assert paused["reason"] == "pause asked by me"
    assert paused["events"] == job.events + 1 and paused["version"] > job.version
    over = say(app, "POST", f"/jobs/{job.id}/cancel", json={}).json()
    assert (over["state"], over["ended_at"] is not None) == ("CANCELLED", True), "never begun"
    say(app, "POST", f"/jobs/{job.id}/resume", 422, json={"why": "x" * 501})


def test_what_has_ended_is_put_away_and_can_still_be_found(app: FastAPI) -> None:
    engine = app.state.service.engine
    for state in STATES:
        job = put(engine, state)
        as_if(engine, job, state=state, started_at=job.created_at)
        path = f"/jobs/{job.id}"
        if state not in ENDED:
            refused = say(app, "DELETE", path, 409).json()
            assert refused["code"] == "conflict"
            assert "stop or cancel it first" in refused["detail"]
            continue
        away = say(app, "DELETE", path).json()
        assert away["archived_at"] is not None and away["state"] == state
        assert say(app, "DELETE", path).json() == away, "once is enough"
        assert say(app, "GET", path).json() == away
        for verb in VERBS:
            assert code(say(app, "POST", f"{path}/{verb}", 409)) == (409, "conflict")
    assert names(app) == set(STATES) - set(ENDED)
    assert names(app, archived=True) == set(STATES)


# --- those of others ------------------------------------------------------------------------------


def test_filters_find_nothing_that_is_somebody_elses(site: Tokened) -> None:
    put(site.engine, "anns", owner="ann", labels=["x"])
    beas = put(site.engine, "beas", owner="bea", labels=["x"])
    put(site.engine, "ours", owner="bea", project="drones", labels=["x"])

    def seen(project: str | None = None, role: Role = Role.VIEWER, **query: Any) -> set[str]:
        answer = site.ask("GET", "/jobs", role=role, project=project, params=query)
        assert answer.json()["next"] is None, "nor that there are more"
        return {job["name"] for job in answer.json()["items"]}

    assert seen(label="x", limit=1) == {"anns"}
    assert seen(owner="bea") == seen(text=beas.id) == set()
    assert seen("drones", label="x", limit=2) == {"anns", "ours"}
    assert seen("drones", owner="bea") == {"ours"}
    assert seen(role=Role.OPERATOR, label="x") == {"anns", "beas", "ours"}


def test_keys_are_each_owners_own_and_jobs_are_whose_token_it_was(site: Tokened) -> None:
    said: dict[str, Any] = {"json": {"spec": SHIPPED}, "headers": {"Idempotency-Key": "night"}}
    anns, beas = (site.ask("POST", "/jobs", owner, **said) for owner in ("ann", "bea"))
    assert (anns.status_code, beas.status_code) == (202, 202)
    assert anns.json()["id"] != beas.json()["id"]
    assert (anns.json()["owner"], anns.json()["project"]) == ("ann", None)
    ours = site.ask("POST", "/jobs", "ann", project="drones", json={"spec": SHIPPED})
    assert (ours.json()["owner"], ours.json()["project"]) == ("ann", "drones")


def test_folders_of_the_machine_and_jobs_of_others_are_not_a_submitters_to_name(
    site: Tokened, here: Bench
) -> None:
    beas = put(site.engine, "beas", owner="bea")
    for wrong, pointer, said in (
        ({"teacher": str(here.teacher)}, "/spec/teacher", "only an operator may name a folder"),
        ({"data": {"root": "/etc"}}, "/spec/data/root", "only an operator may name a folder"),
        ({"warm_start": [beas.id]}, "/spec/warm_start/0", "that you may see"),
    ):
        refused = site.ask("POST", "/jobs", json={"spec": {**SHIPPED, **wrong}})
        assert code(refused) == (422, "invalid")
        (fault,) = refused.json()["errors"]
        assert fault["pointer"] == pointer and said in fault["detail"]
