"""paretrack search, as a user runs it: killed in the middle, started again, and to its front."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from search_spaces import load
from service.database import embedded_url, open_database
from service.trials import read_trials
from tests.acceptance.conftest import Ran
from tests.workers.test_evaluation import write_folder
from workers.checkpoints import load_tracker, save_tracker
from workers.training import fresh_network

Command = Callable[..., Ran]
TINY = load("ostrack").PRESETS["ostrack-tiny"]
RUN = "from service.cli import main; main()"


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job in a file, with little data and a teacher that knows nothing."""
    monkeypatch.setenv("PARETRACK_HOME", str(tmp_path / "home"))
    write_folder(tmp_path / "data", 2, 4)
    save_tracker(tmp_path / "teacher", TINY, fresh_network(TINY, seed=0))
    return written(tmp_path / "job.json", tmp_path)


def written(path: Path, folder: Path, **words: Any) -> Path:
    job = {
        "teacher": str(folder / "teacher"),
        "data": {"dataset": "folder", "root": str(folder / "data"), "train": "all",
                 "judged_on": "all"},
        "steps": 2, "rungs": [0, 1], "refit": 4, "sampler": "nsga2",
        "recipe": {"steps": 2, "batch": 2},
        "limits": ["parameters<=10k"],
        "budget": {"trials": 4},
        **words,
    }  # fmt: skip
    path.write_text(json.dumps(job))
    return path


def test_killed_and_started_again_a_search_ends_with_a_front(
    paretrack: Command, job: Path, tmp_path: Path
) -> None:
    words = [sys.executable, "-c", RUN, "search", str(job), "--name", "night", "--json"]
    database = tmp_path / "home" / "paretrack.db"
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    rungs = tmp_path / "home" / "jobs" / "night" / "trials"
    while process.poll() is None and not (rungs / "1").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    _, err = process.communicate()
    assert process.returncode == -signal.SIGKILL, err
    engine = open_database(embedded_url(database))
    before = [(t.number, t.params) for t in read_trials(engine, "night")]
    engine.dispose()
    assert len(before) >= 2

    held = paretrack("search", job, "--name", "night")
    assert (held.code, "is worked on by process" in " ".join(held.err.split())) == (2, True)
    expire(database)
    ran = paretrack("search", job, "--name", "night", "--json")

    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    check(found, before)
    front = [trial for trial in found["trials"] if trial["number"] in found["front"]]
    architecture, _ = load_tracker(Path(front[0]["tracker"]))
    assert architecture != TINY
    picture = cv2.imread(str(tmp_path / "home" / "jobs" / "night" / "front.png"))
    assert picture is not None
    assert picture.std() > 10


def test_a_trial_of_an_earlier_search_is_trained_longer_and_nothing_else_is(
    paretrack: Command, job: Path, tmp_path: Path
) -> None:
    words = [job, "--early-stopping", "none", "--trials", 2, "--json"]
    night = paretrack("search", *words, "--name", "night")
    assert night.code == 0, night.err
    trial = json.loads(night.out)["trials"][-1]

    spec = written(tmp_path / "longer.json", tmp_path, steps=8, budget={"trials": 1, "asked": 1})
    of = f"night/{trial['number']}"
    ran = paretrack("search", spec, "--first", of, "--early-stopping", "none", "--json")
    assert ran.code == 0, ran.err
    (longer,) = json.loads(ran.out)["trials"]
    assert longer["params"] == trial["params"]

    for first, said in {"nights/0": "no job named 'nights'", "night/99": "has no trial 99"}.items():
        refused = paretrack("search", spec, "--name", "other", "--first", first)
        assert (refused.code, said in " ".join(refused.err.split())) == (2, True), refused.err


def check(found: dict[str, Any], before: list[tuple[int, dict[str, Any]]]) -> None:
    trials = found["trials"]
    assert found["front"]
    assert found["asked"] == len(trials) == sum(found["states"].values())
    assert found["asked"] - found["states"].get("INFEASIBLE", 0) == 4
    assert [(t["number"], t["params"]) for t in trials[: len(before)]] == before
    assert all(trial["state"] for trial in trials)


def expire(database: Path) -> None:
    """As if half a minute had passed."""
    engine = open_database(embedded_url(database))
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE leases SET expires_at = acquired_at")
    engine.dispose()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"costs": ["beauty"]}, "no metric 'beauty'"),
        ({"sampler": "dice"}, "no sampler named 'dice'"),
        ({"trials": 3}, "trials"),
        ({"limits": ["parameters<=10"]}, "no candidate of this space can hold"),
        ({"warm_start": ["yesterday"]}, "no job named 'yesterday'"),
    ],
)
def test_a_bad_job_is_one_screen_and_exit_code_2(
    paretrack: Command, job: Path, tmp_path: Path, words: dict[str, Any], said: str
) -> None:
    ran = paretrack("search", written(job, tmp_path, **words))

    assert ran.code == 2
    assert said in " ".join(ran.err.split())
    assert len(ran.err.splitlines()) < 25
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("broken.json", "{", "it is not a JSON document"),
        ("broken.yaml", "limits: [", "it is not a YAML document"),
        ("list.yaml", "- 1", "expected an object, got list"),
        ("twice.yaml", "steps: 1\nsteps: 2", "'steps' stands there twice"),
        ("nowhere.yaml", None, "No such file"),
        ("unknown.yaml", "trails: 3", "trails"),
    ],
)
def test_a_job_file_that_cannot_be_read_is_said(
    paretrack: Command, tmp_path: Path, file: str, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / file).write_text(text)
    ran = paretrack("search", tmp_path / file)
    # However a terminal breaks the lines of a long path.
    assert (ran.code, "".join(said.split()) in "".join(ran.err.split())) == (2, True), ran.err


def test_a_resource_without_an_amount_is_said(paretrack: Command, job: Path) -> None:
    ran = paretrack("search", job, "--pool", "ray", "--resource", "jetson")
    assert (ran.code, "expected a name and a number" in " ".join(ran.err.split())) == (2, True)
