"""The commands that call a service, as a user runs them: real processes, a real server."""

import csv
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema_rs
import numpy as np
import pytest
from onnxruntime import InferenceSession
from sqlalchemy import Engine

from service.app import create_app
from service.database import embedded_url, open_database
from service.jobs import StoredJob
from service.recorded import read_job
from service.settings import Settings
from tests.acceptance.conftest import Ran
from tests.service.jobs import Bench, bench, make_teacher
from tests.service.line import Line, line_to
from tests.service.running import run
from tests.service.searched import searched, submitted
from tests.service.served import serving
from workers.documents import plain

RUN = "from service.cli import main; main()"
WORDS: dict[str, Any] = {
    "limits": ["macs_frame<=950k"], "budget": {"trials": 8}, "early_stopping": "none"
}  # fmt: skip


@dataclass
class Town:
    """A service at the end of a line, and a user's machine that has nothing but its address."""

    engine: Engine
    here: Bench
    settings: Settings
    line: Line
    done: StoredJob
    environment: dict[str, str] = field(default_factory=dict)

    def words(self, *arguments: object) -> list[str]:
        return [sys.executable, "-c", RUN, *map(str, arguments)]

    def __call__(self, *arguments: object, **environment: str) -> Ran:
        ran = subprocess.run(
            self.words(*arguments),
            capture_output=True,
            text=True,
            env={**self.environment, **environment},
            timeout=60,
        )
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    def begun(self, *arguments: object) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self.words(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            # Whoever starts the tests in the background has it ignored, and so would this one.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def submitted(self, name: str) -> StoredJob:
        return submitted(self.engine, self.here, name=name, **WORDS)

    def spec(self, name: str) -> Path:
        path = self.here.home / f"{name}.json"
        job = plain(self.here.job(name=name, **WORDS))
        path.write_text(json.dumps({k: v for k, v in job.items() if k != "name"}))
        return path


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    here = bench(folder, make_teacher(folder / "first"))
    url = embedded_url(here.home / "paretrack.db")
    engine = open_database(url)
    done = searched(engine, here, name="street", **WORDS)
    settings = Settings(home=here.home, database_url=url)
    elsewhere = {k: v for k, v in os.environ.items() if not k.startswith("PARETRACK_")}
    with serving(create_app(settings, needs_tokens=False)) as served, line_to(served.url) as line:
        elsewhere |= {
            "PARETRACK_URL": line.url, "PARETRACK_HOME": str(folder / "user"), "COLUMNS": "150",
        }  # fmt: skip
        yield Town(engine, here, settings, line, done, elsewhere)
    engine.dispose()


def until(holds: Callable[[], bool], what: str) -> None:
    for _ in range(1000):
        if holds():
            return
        time.sleep(0.02)
    raise AssertionError(what)


def test_a_job_is_previewed_submitted_once_listed_and_cancelled(town: Town) -> None:
    spec = town.spec("alley")
    seen = json.loads(town("preview", spec, "--json").out)
    assert seen["family"] == "siamrpn"
    assert seen["limits"][0]["satisfiable"] is True

    words = ("submit", spec, "--label", "release-3", "--priority", 5, "--key", "k1", "--json")
    first, second = town(*words), town(*words)
    assert (first.code, second.code, first.err) == (0, 0, ""), first.err
    job = json.loads(first.out)
    assert json.loads(second.out)["id"] == job["id"]
    assert (job["state"], job["labels"], job["priority"]) == ("QUEUED", ["release-3"], 5)
    listed = json.loads(town("jobs", "--label", "release-3", "--state", "queued", "--json").out)
    assert [each["id"] for each in listed] == [job["id"]]
    assert job["id"] in town("jobs").out

    assert "waits to be resumed" in town("pause", "alley", "--why", "the device is needed").out
    assert json.loads(town("resume", "alley", "--json").out)["state"] == "QUEUED"
    assert json.loads(town("cancel", job["id"], "--json").out)["state"] == "CANCELLED"
    again = town("stop", "alley", "--json")
    assert again.code == 2
    assert "it stays as it is" in json.loads(again.err)["error"]["message"]


def test_a_job_is_followed_over_a_restart_of_the_service(town: Town) -> None:
    job = town.submitted("followed")
    before = town.line.backend
    with serving(create_app(town.settings, needs_tokens=False)) as first:
        town.line.backend = first.url
        asked = len(town.line.requests)
        process = town.begun("watch", "followed")
        until(lambda: any(b"/events" in r for r in town.line.requests[asked:]), "nobody follows")
        first.end()
    asked = len(town.line.requests)
    until(lambda: len(town.line.requests) > asked, "nobody comes back")  # and nobody is there
    town.line.backend = before
    thread = threading.Thread(target=run, args=(town.engine, town.here, job))
    thread.start()
    out, err = process.communicate(timeout=60)
    thread.join()

    assert process.returncode == 0, err
    record = read_job(town.engine, job.id)
    for trial in record.trials:
        assert err.count(f"trial {trial.number} {trial.state.lower()}") == 1, err
    assert "the service is away; it is waited for" in err
    assert "succeeded: the budget is spent" in err
    assert all(f"│ {trial.number} " in out for trial in record.front)

    over = town("watch", job.id, "--json")
    assert (over.code, over.err) == (0, "")
    document = json.loads(over.out)
    assert document["job"]["state"] == "SUCCEEDED"
    assert {p["number"] for p in document["front"]["points"]} == {t.number for t in record.front}


def test_whoever_looks_away_is_told_how_to_come_back(town: Town) -> None:
    job = town.submitted("left alone")
    asked = len(town.line.requests)
    process = town.begun("watch", job.id)
    until(lambda: any(b"/events" in r for r in town.line.requests[asked:]), "nobody follows")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in err) == (130, False), err
    assert f"paretrack watch {job.id}" in err
    town("cancel", job.id)
    ended, told = town("watch", job.id), town("watch", job.id, "--json")
    assert (ended.code, told.code) == (1, 1)
    assert "cancelled" in ended.out
    assert json.loads(told.out)["job"]["state"] == "CANCELLED"


def test_trials_and_the_front_are_those_of_the_record(town: Town, tmp_path: Path) -> None:
    record = read_job(town.engine, town.done.id)
    trials = json.loads(town("trials", "street", "--sort", "-average_overlap", "--json").out)
    assert sorted(t["number"] for t in trials) == [t.number for t in record.trials]
    rows = list(csv.DictReader(io.StringIO(town("trials", "street", "--csv").out)))
    assert [int(row["number"]) for row in rows] == [t.number for t in record.trials]
    few = town("trials", "street", "--count", 1, "--state", "complete").out
    complete = [t.number for t in record.trials if t.state == "COMPLETE"]
    assert f"│ {complete[0]} " in few and f"│ {complete[1]} " not in few

    shown = town("front", "street", "--plot", tmp_path / "front.svg")
    assert (shown.code, (tmp_path / "front.svg").exists()) == (0, True), shown.err
    assert f"paretrack download {town.done.id} TRIAL FOLDER" in " ".join(shown.err.split())
    there = json.loads(town("front", "street", "--json").out)
    assert [t["number"] for t in there["front"]] == [t.number for t in record.front]
    # What the service says is what the record says, read where it lies.
    database = {"PARETRACK_HOME": str(town.here.home), "PARETRACK_URL": ""}
    here = json.loads(town("front", town.done.id, "--json", **database).out)
    for document in (here, there):
        for trial in document["front"]:
            del trial["tracker"]
    assert here == there


def test_a_job_of_the_record_is_found_beside_a_service(town: Town) -> None:
    database = {"PARETRACK_HOME": str(town.here.home)}
    town.here.run(town.engine, _pool(), town.here.job("only here", **WORDS))
    found = town("front", "only here", "--against", "street", "--json", **database)
    assert found.code == 0, found.err
    assert json.loads(found.out)["against"]["job"] == town.done.id
    missing = town("front", "only heer", **database)
    assert (missing.code, "no job 'only heer' at" in missing.err) == (2, True), missing.err


def _pool() -> Any:
    from tests.service.table_pool import TablePool

    return TablePool(2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("watch", "stret"), ("no job 'stret'", "did you mean street", "paretrack jobs")),
        (("trials", "street", "--sort", "beauty"), ("sort: expected one of number",)),
        (("trials", "street", "--csv", "--count", 1), ("leave --json and --count out",)),
        (("download", "street", 0, "x", "--only", "../y"), ("trial 0 of street-",)),
        (("submit", "street", "--limit", "macs_frame<=1"), ("no candidate",)),
        (("submit", "street", "--steps", -1), ("steps: expected 0 or more",)),
        (("jobs", "--state", "silly"), ("SUCCEEDED",)),
        (("tracker", "upload", "nowhere.pth", "x"), ("nowhere.pth is not there",)),
        (("tracker", "show", "siamrpn-sintetic"), ("did you mean siamrpn-synthetic",)),
        (("tracker", "archive", "siamrpn-synthetic"), ("ships with Paretrack",)),
    ],
)
def test_a_wrong_word_is_one_message(town: Town, words: tuple[object, ...], said: Any) -> None:
    ran = town(*words)
    told = " ".join(ran.err.split())
    assert (ran.code, "Traceback" in told) == (2, False), ran.err
    assert told.startswith("paretrack: ")
    for word in said:
        assert word in told


def test_a_tracker_comes_with_its_onnx_files_which_run(town: Town, tmp_path: Path) -> None:
    best = read_job(town.engine, town.done.id).front[-1]
    make_teacher(Path(best.tracker))
    early = town("download", "street", "best", tmp_path / "early", "--only", "frame.onnx")
    assert early.code == 2 and "--onnx makes the ONNX files" in " ".join(early.err.split())

    ran = town("download", "street", "best", tmp_path / "tracker", "--onnx", "--json")
    assert (ran.code, ran.err) == (0, ""), ran.err
    files = {Path(one["path"]).name: one for one in json.loads(ran.out)}
    assert {"architecture.json", "model.safetensors", "template.onnx", "frame.onnx"} <= set(files)
    for name, one in files.items():
        content = (tmp_path / "tracker" / name).read_bytes()
        assert one["path"] == str(tmp_path / "tracker" / name)
        assert (len(content), hashlib.sha256(content).hexdigest()) == (one["bytes"], one["sha256"])
    for name in ("template.onnx", "frame.onnx"):
        session = InferenceSession(tmp_path / "tracker" / name)
        zeros = {each.name: np.zeros(each.shape, np.float32) for each in session.get_inputs()}
        assert all(np.isfinite(found).all() for found in session.run(None, zeros))


def test_a_tracker_is_uploaded_shown_searched_from_and_archived(town: Town, tmp_path: Path) -> None:
    ran = town("tracker", "upload", town.here.teacher, "my-own", "--note", "from home", "--json")
    assert (ran.code, ran.err) == (0, ""), ran.err
    made = json.loads(ran.out)
    assert (made["name"], made["family"], made["kind"]) == ("my-own", "siamrpn", "uploaded")
    listed = town("tracker", "list").out
    assert "my-own" in listed and "average_overlap" in listed and "uploaded" in listed
    shown = town("tracker", "show", "my-own").out
    assert all(word in shown for word in ("from home", made["sha256"], "macs_frame"))

    queued = town("submit", town.spec("mine"), "--teacher", "my-own", "--json")
    assert json.loads(queued.out)["spec"]["teacher"] == "my-own", queued.err
    town("cancel", json.loads(queued.out)["id"])
    assert "my-own is archived" in town("tracker", "archive", "my-own").out
    names = [each["name"] for each in json.loads(town("tracker", "list", "--json").out)]
    assert names == ["ostrack-synthetic", "siamrpn-synthetic"]
    late = town("submit", town.spec("late"), "--teacher", "my-own")
    assert (late.code, "is archived" in " ".join(late.err.split())) == (2, True), late.err


def test_where_no_service_is_it_says_what_to_do(town: Town) -> None:
    began = time.monotonic()
    ran = town("jobs", PARETRACK_URL="http://127.0.0.1:9")
    assert ran.code == 2
    assert "is `paretrack up` running?" in ran.err and "http://127.0.0.1:9" in ran.err
    assert time.monotonic() - began < 30


def test_an_editor_can_be_given_the_schema_of_a_file(town: Town) -> None:
    ran = town("spec-schema")
    assert ran.code == 0
    jsonschema_rs.validator_for(json.loads(ran.out)).validate(
        json.loads(town.spec("checked").read_text())
    )
