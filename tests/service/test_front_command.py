"""paretrack front, as a user runs it, on records of searches over a table."""

import csv
import io
import json
import math
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest
from optuna.trial import TrialState
from sqlalchemy import Engine

from service.database import embedded_url, open_database
from service.front import compared, hypervolume
from service.recorded import RecordedJob, over, read_job
from tests.acceptance.conftest import Ran, paretrack
from tests.service.jobs import Bench, bench, brute_front, make_teacher
from tests.service.night import open_record
from tests.service.table_pool import TablePool
from workers.accuracy import Interval
from workers.pool import Assignment, Done, Report

__all__ = ["paretrack"]  # a fixture
Command = Callable[..., Ran]
LIMIT = "macs_frame<=900k"


def with_a_range(assignment: Assignment) -> Report | None:
    """What the table says, and how sure that is."""
    found = TablePool(1)._judge(assignment)
    accuracy: Any = found["accuracy"]
    if accuracy is not None:
        known = accuracy["average_overlap"]["value"]
        accuracy["average_overlap"] = vars(Interval(known, known - 0.02, known + 0.01))
    return Done(assignment.ticket, found)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with three jobs in its record; the last one has two costs."""
    folder = tmp_path_factory.mktemp("searched")
    here = bench(folder, make_teacher(folder / "first"))
    engine = open_database(embedded_url(here.home / "paretrack.db"))
    words = {"limits": [LIMIT], "early_stopping": "none", "budget": {"trials": 8, "asked": 16}}
    two = ["macs_frame", "parameters"]
    pool = TablePool(2, instead=with_a_range)
    here.run(engine, pool, here.job("street", **words))
    here.run(engine, pool, here.job("night", seed=3, **words))
    here.run(engine, pool, here.job("both", costs=two, seed=1, **words))
    engine.dispose()
    return here.home


@pytest.fixture
def home(searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, for one test; no tracker is left in it, and no teacher."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(searched / "paretrack.db", home)
    monkeypatch.setenv("PARETRACK_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "150")
    for name in ("PARETRACK_DATABASE_URL", "PARETRACK_URL"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture
def engine(home: Path) -> Iterator[Engine]:
    engine = open_database(embedded_url(home / "paretrack.db"))
    yield engine
    engine.dispose()


# --- the record -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["street", "both"])
def test_the_front_of_the_record_is_the_front_of_its_trials(engine: Engine, name: str) -> None:
    job = read_job(engine, name)
    good = [t for t in job.trials if t.state == "COMPLETE" and t.holds]
    points = {t.number: job.point(t.figures) for t in good}
    undominated = {
        n
        for n, one in points.items()
        if not any(o != one and all(a <= b for a, b in zip(o, one, strict=True))
                   for o in points.values())
    }  # fmt: skip
    assert {t.number for t in job.front} == undominated
    costs = [t.figures["macs_frame"] for t in job.front]
    assert costs == sorted(costs)
    last = [points[n] for n in undominated]
    everything = math.prod(job.reference[1:])  # a perfect accuracy at no cost
    assert job.hypervolume == pytest.approx(hypervolume(last, job.reference) / everything)
    assert job.reference[1:] == tuple(job.teacher[m.name] for m in job.objectives[1:])
    grown = [volume for _, volume in job.hypervolumes]
    assert grown == sorted(grown) and len(grown) == len(job.trials)


def test_what_the_record_says_of_hypervolume_is_believed(engine: Engine) -> None:
    job = read_job(engine, "street")
    stored = replace(
        job,
        stored_reference=(0.0, 7.0),
        trials=tuple(replace(t, hypervolume=float(t.number)) for t in job.trials),
    )
    assert stored.reference == (0.0, 7.0)
    assert {volume for _, volume in stored.hypervolumes} == {float(t.number) for t in job.trials}
    other = over(stored, ["average_overlap", "parameters"])
    assert other.reference == (0.0, job.teacher["parameters"])
    assert 0 < other.hypervolume < 1
    assert over(stored, ["average_overlap", "macs_frame"]) == stored
    afresh = replace(job, trials=tuple(replace(t, hypervolume=None) for t in job.trials))
    assert afresh.hypervolume == pytest.approx(job.hypervolume)


def test_ranges_are_those_of_the_measurement_that_the_figures_are_of(engine: Engine) -> None:
    found = read_job(engine, "street").front
    assert found
    for trial in found:
        known = trial.figures["average_overlap"]
        assert trial.ranges == {
            "average_overlap": (pytest.approx(known - 0.02), pytest.approx(known + 0.01))
        }


# --- the command ------------------------------------------------------------------------------


def test_the_table_has_the_teacher_above_and_then_the_front_by_cost(
    home: Path, engine: Engine, paretrack: Command
) -> None:
    ran = paretrack("front", "street")
    job = read_job(engine, "street")

    assert ran.code == 0, ran.err
    rows = [line.strip("│ ").split("│") for line in ran.out.splitlines() if line.startswith("│")]
    assert [row[0].strip() for row in rows] == ["teacher", *(str(t.number) for t in job.front)]
    assert [row[0].strip() for row in rows if "knee" in row[-1]] == (
        [] if job.knee is None else [str(job.knee)]
    )
    cells = [cell.strip() for cell in rows[1]]
    first = job.front[0].figures
    assert cells[1] == f"{first['average_overlap']:.3f}"
    assert cells[2] == f"{first['macs_frame'] / 1e6:.3f} M"
    assert f"trackers: {job.front[0].tracker.rpartition('/')[0]}/TRIAL" in ran.err.replace("\n", "")
    assert "the budget is spent" in ran.err


def test_as_json_it_is_one_document(home: Path, engine: Engine, paretrack: Command) -> None:
    ran = paretrack("front", "both", "--json")
    job = read_job(engine, "both")

    assert (ran.code, ran.err) == (0, "")
    found = json.loads(ran.out)
    assert [t["number"] for t in found["front"]] == [t.number for t in job.front]
    assert found["knee"] == job.knee
    assert found["hypervolume"] == job.hypervolume
    assert found["reference"] == {
        "average_overlap": 0.0, **{n: job.teacher[n] for n in ("macs_frame", "parameters")}
    }  # fmt: skip
    assert found["front"][0]["params"] == job.front[0].params
    assert found["limits"] == ["macs_frame<=900000"]
    assert sum(found["states"].values()) == len(job.trials)


def test_as_csv_it_is_a_row_each_in_plain_units(
    home: Path, engine: Engine, paretrack: Command
) -> None:
    ran = paretrack("front", "street", "--csv")
    job = read_job(engine, "street")

    assert (ran.code, ran.err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert [row["trial"] for row in rows] == ["teacher", *(str(t.number) for t in job.front)]
    for row, trial in zip(rows[1:], job.front, strict=True):
        assert float(row["macs_frame"]) == trial.figures["macs_frame"]
        assert float(row["average_overlap.low"]) == trial.ranges["average_overlap"][0]
        assert row["tracker"] == trial.tracker
        assert {n: row[f"params.{n}"] for n in trial.params} == {
            n: str(v) for n, v in trial.params.items()
        }
    assert None not in rows[0] and None not in rows[0].values()


@pytest.mark.parametrize(
    ("ending", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_a_picture_is_what_its_ending_says_and_the_same_every_time(
    home: Path, paretrack: Command, tmp_path: Path, ending: str, begins: bytes
) -> None:
    drawn = []
    for folder in ("first", "second"):
        path = tmp_path / folder / f"front.{ending}"
        ran = paretrack("front", "both", "--plot", path, "--against", "both")
        assert ran.code == 0, ran.err
        drawn.append(path.read_bytes())
    assert drawn[0].startswith(begins)
    assert drawn[0] == drawn[1]
    if ending == "png":
        picture = cv2.imread(str(path))
        assert picture is not None and picture.std() > 10


def test_against_another_job_it_says_what_was_gained_and_lost(
    home: Path, engine: Engine, paretrack: Command
) -> None:
    ran = paretrack("front", "street", "--against", "night", "--json")
    mine, theirs = read_job(engine, "street"), read_job(engine, "night")

    found = json.loads(ran.out)["against"]
    ours, others = compared(points(mine), points(theirs), mine.reference)
    assert found["hypervolume"]["mine"] == pytest.approx(mine.hypervolume)
    assert found["hypervolume"]["theirs"] == pytest.approx(theirs.hypervolume)
    assert found["epsilon"] == {"mine": ours.epsilon, "theirs": others.epsilon}
    assert found["gained"] == [mine.front[i].number for i in ours.alone]
    assert found["lost"] == [theirs.front[i].number for i in others.alone]
    shown = paretrack("front", "street", "--against", "night").out
    assert f"{mine.hypervolume:.4f}" in shown and f"{theirs.hypervolume:.4f}" in shown
    same = json.loads(paretrack("front", "night", "--against", "night", "--json").out)["against"]
    assert (same["gained"], same["lost"], same["epsilon"]["mine"]) == ([], [], 0.0)


def points(job: RecordedJob) -> list[tuple[float, ...]]:
    return [job.point(trial.figures) for trial in job.front]


def test_the_front_can_be_seen_over_other_metrics(
    home: Path, engine: Engine, paretrack: Command
) -> None:
    ran = paretrack("front", "street", "--x", "parameters", "--y", "one_step_iou", "--json")
    found = json.loads(ran.out)
    assert [m["metric"] for m in found["objectives"]] == ["one_step_iou", "parameters"]
    seen = over(read_job(engine, "street"), ["one_step_iou", "parameters"])
    assert [t["number"] for t in found["front"]] == [t.number for t in seen.front]
    counts = [t["figures"]["parameters"] for t in found["front"]]
    assert counts == sorted(counts)
    both = paretrack("front", "street", "--x", "parameters", "--against", "both", "--json")
    assert both.code == 0, both.err


def test_a_job_that_runs_is_shown_as_far_as_it_has_come(
    home: Path, engine: Engine, paretrack: Command
) -> None:
    record = open_record(engine, "half", metric_names=("average_overlap", "macs_frame"))
    record.set_study_attrs(
        {
            "job": {"accuracy": "average_overlap", "costs": ["macs_frame"], "limits": []},
            "teacher": {"average_overlap": 0.7, "macs_frame": 9e6},
        }
    )
    empty = paretrack("front", "half", "--plot", home / "none.png")
    assert (empty.code, (home / "none.png").exists()) == (0, True), empty.err
    assert "nothing is on the front yet" in empty.err
    for overlap, macs in ((0.6, 5e6), (0.5, 6e6)):
        number = record.begin({}, {}, {"digest": str(macs)}, {})
        record.finish(number, TrialState.COMPLETE, [overlap, macs], {}, {"state": "COMPLETE"})
    record.begin({}, {}, {"digest": "c"}, {})

    ran = paretrack("front", "half", "--json")

    found = json.loads(ran.out)
    assert [t["number"] for t in found["front"]] == [0]
    assert found["states"] == {"COMPLETE": 2, "RUNNING": 1}
    assert found["ended"] is None


def test_a_job_that_has_not_begun_is_said(home: Path, engine: Engine, paretrack: Command) -> None:
    open_record(engine, "new")
    teaches(paretrack("front", "new"), "'new'", "its teacher is still being measured")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("streat",), ("no job named 'streat'", "did you mean street?", "both", "night")),
        (("street", "--against", "nihgt"), ("did you mean night?",)),
        (("street", "--plot", "front.gif"), ("front.gif", ".png, .svg, .pdf")),
        (("street", "--plot", "front"), ("front", ".png, .svg, .pdf")),
        (("street", "--csv", "--json"), ("--csv and --json",)),
        (("street", "--against", "both"), ("macs_frame, parameters", "--x")),
        (("street", "--x", "beauty"), ("no metric 'beauty'",)),
        (("street", "--x", "step_ms.eager"), ("has not measured step_ms.eager", "peak_memory")),
        (("street", "--x", "average_overlap"), ("choose different metrics",)),
    ],
)
def test_a_wrong_word_is_one_message(
    home: Path, paretrack: Command, words: tuple[str, ...], said: tuple[str, ...]
) -> None:
    teaches(paretrack("front", *words), *said)


def teaches(ran: Ran, *words: str) -> None:
    told = " ".join(ran.err.split())
    assert (ran.code, "Traceback" in told) == (2, False), ran.err
    for word in words:
        assert word in told


def test_where_nothing_is_recorded_nothing_is_made(
    tmp_path: Path, paretrack: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARETRACK_HOME", str(tmp_path / "nowhere"))
    teaches(paretrack("front", "street"), "no job named 'street'", "PARETRACK_HOME")
    assert not (tmp_path / "nowhere").exists()


def test_a_job_that_is_nowhere_is_looked_for_here_and_at_a_service(
    home: Path, paretrack: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    monkeypatch.setattr("service.client.DEFAULT_URL", url)
    said = ("no job named 'streat' in", "did you mean street?", f"nothing answers at {url}")
    teaches(paretrack("front", "streat"), *said)
    with silent() as (url, heard):
        monkeypatch.setattr("service.client.DEFAULT_URL", url)
        shown = paretrack("front", "street")
        assert (shown.code, heard) == (0, []), "what is here is asked of nobody"
        monkeypatch.setattr("service.commands.front.SHORT_PATIENCE", 0.5)
        teaches(paretrack("front", "streat"), *said[:2], f"{url} (the default) did not answer")
        assert len(heard) == 1, "and it is not asked again"


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


@contextmanager
def silent() -> Iterator[tuple[str, list[socket.socket]]]:
    """Something that listens and never says a word, and the calls that it has taken."""
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def take() -> None:
            with suppress(OSError):  # the end of the test
                while True:
                    taken.append(listening.accept()[0])

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", taken
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(60)
    for call in taken:
        call.close()


def test_it_is_shown_without_torch(home: Path) -> None:
    code = (
        "import sys; sys.argv = ['paretrack', 'front', 'street', '--json']\n"
        "from service.cli import app\n"
        "app(standalone_mode=False)\n"
        "assert 'torch' not in sys.modules, 'torch was loaded'\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_the_search_itself_finds_the_same_front(tmp_path: Path, teacher: Path) -> None:
    here: Bench = bench(tmp_path, teacher)
    engine = open_database(embedded_url(here.home / "paretrack.db"))
    finished = here.run(engine, TablePool(2), here.job("own", budget={"trials": 8}))
    job = read_job(engine, "own")
    engine.dispose()
    assert {t.number for t in job.front} == set(finished.outcome.front)
    assert {t.number for t in job.front} == brute_front(finished.trials, finished.plan)
    assert job.hypervolume == pytest.approx(finished.outcome.hypervolume)
    assert job.ended == finished.outcome.reason
