"""Teachers that somebody has: listed, archived, named by jobs."""

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine

from service import audit, teacher_uploads, teachers
from service.beside import Errands
from service.callers import Caller, Role
from service.content_digest import expected
from service.database import reading, writing
from service.errors import Problem
from service.job import JobError, job_from_json
from service.settings import Settings
from service.teacher_uploads import Described
from tests.service.asking import ask
from tests.service.jobs import TINY, Bench, make_teacher
from tests.service.kept import Kept, headers_of, kept, left, put
from tests.service.searched import API, made, submitted
from tests.service.table_pool import TablePool
from tests.service.test_daemon import in_state, running, until
from workers.checkpoints import load_tracker


@pytest.fixture
def place(prepared_sqlite: Path, here: Bench) -> Iterator[Kept]:
    found = kept(prepared_sqlite, here, owner="ada")
    yield found
    found.engine.dispose()


@pytest.fixture
def app(place: Kept) -> Iterator[FastAPI]:
    with made(place.settings, needs_tokens=True) as app:
        yield app


@pytest.fixture
def ada(place: Kept) -> dict[str, str]:
    return headers_of(place.engine, "ada")


@pytest.fixture
def not_read(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are kept as they are: for tests of what is before and behind their reading."""

    def ask(subject: str, kind: str, *, into: str, **words: Any) -> str:
        make_teacher(Path(into))
        return "siamrpn"

    monkeypatch.setattr(app.state.service.errands, "ask", ask)


# --- what there is --------------------------------------------------------------------------------


@pytest.mark.usefixtures("not_read")
def test_trackers_are_listed_for_whom_they_are(
    place: Kept, app: FastAPI, ada: dict[str, str]
) -> None:
    eve = headers_of(place.engine, "eve")
    for name in ("b", "a", "c"):
        put(app, name, name.encode(), 201, headers=ada)
    first = ask(app, "GET", f"{API}/trackers?limit=2", headers=ada).json()
    names = [one["name"] for one in first["items"]]
    assert names == ["ostrack-synthetic", "siamrpn-synthetic", "a", "b"]
    more = {"limit": 2, "cursor": first["next"]}
    second = ask(app, "GET", f"{API}/trackers", headers=ada, params=more).json()
    assert ([one["name"] for one in second["items"]], second["next"]) == (["c"], None)
    of_eve = ask(app, "GET", f"{API}/trackers", headers=eve).json()
    assert [one["kind"] for one in of_eve["items"]] == ["shipped", "shipped"]
    assert ask(app, "GET", f"{API}/trackers/a", headers=eve).status_code == 404
    assert ask(app, "DELETE", f"{API}/trackers/a", headers=eve).status_code == 404
    families = {one["name"]: one for one in of_eve["families"]}
    assert "ostrack-256" in families["ostrack"]["presets"]
    assert families["siamrpn"]["about"].startswith("SiamRPN++")
    gone = ask(app, "DELETE", f"{API}/trackers/a", headers=ada).json()
    assert gone["archived_at"] is not None
    found = ask(app, "GET", f"{API}/trackers?limit=1", headers=ada).json()
    assert found["items"][-1]["name"] == "b"
    found = ask(app, "GET", f"{API}/trackers?limit=1&archived=true", headers=ada).json()
    assert found["items"][-1]["name"] == "a"
    assert ask(app, "DELETE", f"{API}/trackers/ostrack-synthetic", headers=ada).status_code == 409


def test_a_shipped_teacher_says_how_good_it_is(app: FastAPI, ada: dict[str, str]) -> None:
    shown = ask(app, "GET", f"{API}/trackers/siamrpn-synthetic", headers=ada).json()
    assert 0.5 < shown["accuracy"]["average_overlap"] < 1
    assert shown["weights_bytes"] > 1_000_000
    assert "synthetic" in shown["note"]


# --- what a job names -----------------------------------------------------------------------------


@pytest.mark.usefixtures("not_read")
def test_a_job_may_name_what_its_owner_may_see(
    place: Kept, app: FastAPI, ada: dict[str, str], here: Bench
) -> None:
    put(app, "uploaded", b"1", 201, headers=ada)
    put(app, "archived", b"1", 201, headers=ada)
    ask(app, "DELETE", f"{API}/trackers/archived", headers=ada)
    owner, eve = Caller(owner="ada", role=Role.SUBMITTER), Caller(owner="eve", role=Role.SUBMITTER)

    def resolved(name: str, caller: Caller | None) -> Path | None:
        with reading(place.engine) as connection:
            return teachers.folder(connection, place.settings, name, caller)

    mine, trial = resolved("uploaded", owner), f"{place.job.id}/3"
    assert mine is not None and load_tracker(mine)[0] == TINY
    assert mine.parent == teachers.folder_in(place.settings)
    assert resolved("uploaded", eve) is None
    assert resolved(trial, owner) == place.folder
    assert resolved(trial, eve) is None
    assert resolved("siamrpn-synthetic", eve) is None  # nothing to resolve: it ships
    for name, said in (
        ("archived", "is archived"),
        (f"{place.job.id}/4", "STOPPED"),
        (f"{place.job.id}/5", "not on this machine"),
        (f"{place.job.id}/999", "there is no trial 999"),
    ):
        with pytest.raises(JobError, match=f"^teacher: .*{said}"):
            resolved(name, owner)
    assert resolved("archived", None) is not None  # a job that waits goes on
    assert resolved("../../etc", owner) is None
    assert resolved(f"{place.job.id}/../3", owner) is None


@pytest.mark.usefixtures("not_read")
def test_a_submitter_starts_from_their_upload_and_from_a_trial(
    place: Kept, app: FastAPI, ada: dict[str, str]
) -> None:
    """All the way: looked at beside the API, queued, and found again by a controller."""
    put(app, "mine", b"1", 201, headers=ada)
    for teacher in ("mine", f"{place.job.id}/3"):
        spec = {"name": "next", "teacher": teacher, "limits": ["parameters<=1G"]}
        answer = ask(app, "POST", f"{API}/jobs", headers=ada, json={"spec": spec})
        assert answer.status_code == 202, answer.text
        job = answer.json()
        assert (job["tracker"], job["spec"]["teacher"]) == ("siamrpn", teacher)
        stored = job_from_json(job["spec"])
        with reading(place.engine) as connection:
            found = teachers.resolved(connection, place.settings, stored)
        assert load_tracker(Path(found.teacher))[0] == TINY
    eve = headers_of(place.engine, "eve")
    for teacher in ("mine", f"{place.job.id}/3", str(place.folder), "../teachers"):
        spec = {"name": "next", "teacher": teacher}
        answer = ask(app, "POST", f"{API}/jobs", headers=eve, json={"spec": spec})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
        assert answer.json()["errors"][0]["pointer"] == "/spec/teacher"
        assert "none of those on offer" in answer.json()["detail"]


@pytest.mark.usefixtures("not_read")
def test_a_controller_finds_the_folder_of_the_name(
    place: Kept, app: FastAPI, ada: dict[str, str], here: Bench
) -> None:
    put(app, "mine", b"1", 201, headers=ada)
    ask(app, "DELETE", f"{API}/trackers/mine", headers=ada)  # a job that waits goes on
    cancel = f"{API}/jobs/{place.job.id}/cancel"
    assert ask(app, "POST", cancel, headers=ada).status_code == 200
    job = submitted(place.engine, here, owner="ada", name="from-upload", teacher="mine")
    with running(place.engine, here, TablePool(2)):
        done = until(place.engine, job, in_state("SUCCEEDED", "FAILED"))
    assert (done.state, done.spec["teacher"]) == ("SUCCEEDED", "mine"), done.reason
    shown = ask(app, "GET", f"{API}/jobs/{job.id}/trials/0", headers=ada)
    assert str(place.settings.home) not in shown.text


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("not_read")
def test_a_name_is_given_once(place: Kept, app: FastAPI, ada: dict[str, str]) -> None:
    eve = headers_of(place.engine, "eve")
    put(app, "taken", b"1", 201, headers=ada)
    assert "is taken" in put(app, "taken", b"1", 409, headers=eve)["detail"]
    assert "is taken" in put(app, "ostrack-synthetic", b"1", 409, headers=ada)["detail"]
    viewer = headers_of(place.engine, "ada", Role.VIEWER)
    assert put(app, "mine", b"1", 403, headers=viewer)["code"] == "forbidden"
    assert len(left(place)) == 1


@pytest.mark.usefixtures("not_read")
def test_nobody_has_more_than_so_many(
    app: FastAPI, ada: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teachers, "MOST", 2)
    put(app, "one", b"1", 201, headers=ada)
    put(app, "two", b"1", 201, headers=ada)
    assert "archive some" in put(app, "three", b"1", 409, headers=ada)["detail"]
    put(app, "two", b"1", 200, headers=ada)
    ask(app, "DELETE", f"{API}/trackers/one", headers=ada)
    put(app, "three", b"1", 201, headers=ada)


def test_of_many_uploads_at_once_one_gets_the_name(
    engine: Engine, tmp_path: Path, teacher: Path
) -> None:
    settings = Settings(home=tmp_path / "home", database_url=None)
    ada, ready = Caller(owner="ada", role=Role.SUBMITTER), threading.Barrier(4)

    class Copies(Errands):
        def ask(self, subject: str, kind: str, **words: Any) -> str:
            shutil.copytree(teacher, words["into"])
            ready.wait(60)  # all have found the name free by now
            return "siamrpn"

    def upload(number: int) -> object:
        incoming = teacher_uploads.begin(engine, settings, ada, "one", 0)
        try:
            incoming.write(str(number).encode())
            file = incoming.whole(None, expected(None))
            words = (ada, "one", file, incoming, Described())
            return teacher_uploads.keep(engine, settings, Copies(), *words)[1]
        except Problem as problem:
            return problem.code
        finally:
            incoming.remove()

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(upload, range(4)))
    assert sorted(map(str, found)) == ["True", "conflict", "conflict", "conflict"]
    with reading(engine) as connection:
        (stored,) = teachers.page(connection, ada, archived=False, after="", limit=10)
        entries = audit.read(engine, "tracker one")
    assert [path.name for path in teachers.folder_in(settings).iterdir()] == [stored.folder]
    assert [(one.action, one.detail["sha256"]) for one in entries] == [("upload", stored.sha256)]
    with writing(engine) as connection:
        assert teachers.archive(connection, ada, "one").archived_at is not None
    with reading(engine) as connection:
        assert teachers.page(connection, ada, archived=False, after="", limit=10) == []
        assert teachers.count(connection, "ada") == 0
