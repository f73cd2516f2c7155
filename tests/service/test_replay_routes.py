"""Replays of a trial over HTTP: made once, looked up by name, for those who may see the job."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import cv2
import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, update

from service import replays
from service._kept import put_measurement
from service._trial_summaries import SUMMARIES
from service.beside import Beside
from service.callers import Role
from service.database import embedded_url, open_database, writing
from service.settings import Settings
from tests.service.asking import ask
from tests.service.jobs import bench
from tests.service.kept import DIGEST, headers_of, put_trial
from tests.service.searched import API, made, submitted
from tests.service.served import serving
from tests.service.unmended import unmended
from tests.workers.test_evaluation import tiny_candidate
from workers.boxes_file import read_boxes
from workers.evaluation import evaluate

ODD = "%2e%2e <script>alert(1)<|script> & #1?"  # all that a folder may be called


@dataclass(frozen=True)
class Watched:
    """Trial 3 was judged, trial 4 was stopped, trial 5's tracker is gone."""

    engine: Engine
    settings: Settings
    job: str
    root: Path
    app: FastAPI

    @property
    def path(self) -> str:
        return f"{API}/jobs/{self.job}/trials/3/replays"

    @property
    def tracker(self) -> Path:
        return self.root / "out"

    def asked(self, method: str, path: str = "", status: int = 200, **more: Any) -> httpx.Response:
        answer = ask(self.app, method, self.path + path, **more)
        assert answer.status_code == status, answer.text[:2000]
        return answer


@pytest.fixture(scope="module")
def watched(
    tmp_path_factory: pytest.TempPathFactory, prepared_sqlite: Path, teacher: Path
) -> Iterator[Watched]:
    root = tmp_path_factory.mktemp("watched")
    candidate = replace(tiny_candidate(root), recipe=None, probes=(), refit=0)
    (root / "data" / "square-0").rename(root / "data" / ODD)
    measured = evaluate(candidate, root / "out").to_json()
    (root / "of_the_service").mkdir()
    here = bench(root / "of_the_service", teacher)
    url = embedded_url(here.home / "paretrack.db")
    (here.home / "paretrack.db").write_bytes(prepared_sqlite.read_bytes())
    engine = open_database(url)
    data = {"dataset": "folder", "root": str(root / "data"), "judged_on": "all", "train": "all"}
    job = submitted(engine, here, owner="ada", data=data)
    with writing(engine) as connection:
        put_trial(connection, job, 3, "COMPLETE", str(root / "out"))
        put_trial(connection, job, 4, "STOPPED", "")
        put_trial(connection, job, 5, "COMPLETE", str(root / "gone"))
        connection.execute(update(SUMMARIES).values(figures_json="{}"))
        put_measurement(connection, job.id, DIGEST, 0, True, measured)
    settings = Settings(home=here.home, database_url=url)
    with made(settings) as app:
        yield Watched(engine, settings, job.id, root, app)
    engine.dispose()


def names(watched: Watched) -> list[str]:
    return [one["sequence"] for one in watched.asked("GET").json()["items"]]


def test_the_sequences_come_best_first_and_one_of_them_is_the_median(watched: Watched) -> None:
    found = watched.asked("GET").json()
    overlaps = [one["overlap"] for one in found["items"]]
    assert overlaps == sorted(overlaps, reverse=True) and len(overlaps) == 3
    order = [one["sequence"] for one in found["items"]]
    assert [found["best"], found["median"], found["worst"]] == order
    assert ODD in order


def test_a_replay_is_made_once_and_shows_what_was_judged(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = names(watched)[0]
    path = f"/{quote(best, safe='')}"
    watched.asked("GET", path, 404)
    watched.asked("GET", f"{path}/frames", 404)

    first = watched.asked("POST", params={"which": "best"}).json()

    assert first["sequence"] == best
    judged = read_boxes(watched.tracker)[best]
    assert np.array_equal(np.array(first["candidate"]["boxes"]), judged)
    assert first["candidate"]["as_judged"] and not first["teacher"]["as_judged"]
    listed = watched.asked("GET").json()["items"]
    assert [one["made"] for one in listed] == [True, False, False]
    assert listed[0]["overlap"] == first["candidate"]["average_overlap"]
    monkeypatch.setattr(watched.app.state.service.errands, "ask", None)  # nobody is asked again
    assert watched.asked("POST", params={"sequence": best}).json() == first
    assert watched.asked("GET", path).json() == first
    assert str(watched.root) not in str(first)

    content = watched.asked("GET", f"{path}/frames").content
    assert len(content) == sum(first["lengths"]) and len(first["lengths"]) == 6
    at = 0
    for length in first["lengths"]:
        jpeg = np.frombuffer(content[at : at + length], np.uint8)
        picture = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
        assert picture is not None and picture.shape[1::-1] == tuple(first["picture_size"])
        at += length


def test_a_hostile_name_is_a_name_and_boxes_of_a_judged_teacher_are_taken(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teacher's are those of the candidate here, which another job might have measured."""
    service = watched.app.state.service
    known = SimpleNamespace(teacher_digest=DIGEST)
    monkeypatch.setattr(service.cuts, "of", lambda *asked: known)
    made = watched.asked("POST", params={"sequence": ODD}).json()
    assert made["sequence"] == ODD
    assert made["teacher"] == made["candidate"] and made["teacher"]["as_judged"]
    assert watched.asked("GET", f"/{quote(ODD, safe='')}").json() == made
    root = watched.settings.home / replays.FOLDER
    assert all(len(one.name) == 64 and one.name.isalnum() for one in root.iterdir())


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"sequence": "square-9"},
        {"sequence": "../../paretrack.db"},
        {"sequence": ""},
        {"which": "finest"},
        {"which": "best", "sequence": "square-1"},
        {"sequence": "n" * 400},
        {"sequence": "a\0b"},
    ],
)
def test_what_was_not_judged_cannot_be_made(watched: Watched, params: dict[str, str]) -> None:
    problem = watched.asked("POST", "", 422, params=params).json()
    assert problem["code"] == "invalid"
    assert {fault["parameter"] for fault in problem["errors"]} <= {"sequence", "which"}


@pytest.mark.parametrize(
    "name",
    ["square-9", "..%2f..%2fparetrack.db", "%2e%2e", "..", "%2fetc%2fpasswd", "n" * 400, "a%00"],
)
def test_a_name_leads_nowhere_else(watched: Watched, name: str) -> None:
    with serving(watched.app) as served:
        for behind in ("", "/frames"):
            answer = unmended(served.url, "GET", f"{watched.path}/{name}{behind}")
            assert answer.status in (404, 422), answer
            assert answer.kind == "application/problem+json"


@pytest.mark.parametrize(
    ("number", "method", "status", "said"),
    [
        (4, "GET", 409, "STOPPED and was not judged"),
        (4, "POST", 409, "STOPPED and was not judged"),
        (5, "POST", 409, "gone from the disk"),
        (6, "GET", 404, "no trial '6'"),
        (6, "POST", 404, "no trial '6'"),
    ],
)
def test_what_cannot_be_watched_says_why(
    watched: Watched, number: int, method: str, status: int, said: str
) -> None:
    path = watched.path.replace("/trials/3/", f"/trials/{number}/")
    more = {"params": {"which": "best"}} if method == "POST" else {}
    answer = ask(watched.app, method, path, **more)
    assert (answer.status_code, said in answer.text) == (status, True), answer.text


def test_data_that_this_machine_does_not_have_is_said_without_paths(watched: Watched) -> None:
    data = watched.root / "data"
    data.rename(watched.root / "elsewhere")
    try:
        answer = watched.asked("POST", "", 409, params={"which": "worst"})
    finally:
        (watched.root / "elsewhere").rename(data)
    assert "this machine does not have the folder data" in answer.json()["detail"]
    assert str(watched.root) not in answer.text


def test_one_replay_of_a_trial_is_made_at_a_time(watched: Watched) -> None:
    errands = watched.app.state.service.errands
    subject = f"replay {watched.job}/3"
    errands._begun(subject, Beside())
    try:
        answer = watched.asked("POST", "", 409, params={"which": "worst"})
    finally:
        errands._ended(subject)
    assert answer.json()["code"] == "in_flight" and "retry-after" in answer.headers


def test_one_that_takes_too_long_is_given_up(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "SECONDS", 0.05)
    answer = watched.asked("POST", "", 503, params={"which": "worst"})
    assert answer.json()["code"] == "unavailable"


def test_others_see_nothing_of_it_and_viewers_make_nothing(watched: Watched) -> None:
    viewer = headers_of(watched.engine, "ada", Role.VIEWER)
    other = headers_of(watched.engine, "eve")
    with made(watched.settings, needs_tokens=True) as app:
        assert ask(app, "GET", watched.path, headers=viewer).status_code == 200
        asked = {"params": {"which": "best"}}
        assert ask(app, "POST", watched.path, headers=viewer, **asked).status_code == 403
        assert ask(app, "POST", watched.path, headers=other, **asked).status_code == 404
        for path in ("", "/square-1", "/square-1/frames"):
            assert ask(app, "GET", watched.path + path, headers=other).status_code == 404


def test_only_so_many_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "KEPT", 2)
    for number in range(5):
        (tmp_path / str(number)).mkdir()
        os.utime(tmp_path / str(number), (number, number))
    (tmp_path / ".unfinished-1").mkdir()
    (tmp_path / ".unfinished-2").mkdir()
    os.utime(tmp_path / ".unfinished-2", (9, 9))
    replays._forget_the_oldest(tmp_path)
    assert sorted(one.name for one in tmp_path.iterdir()) == [".unfinished-1", "3", "4"]
