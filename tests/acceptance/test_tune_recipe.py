"""paretrack tune-recipe as a user runs it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from service.app import create_app
from service.database import embedded_url, open_database
from service.settings import Settings
from tests.acceptance.conftest import Ran
from tests.service.jobs import Bench
from tests.service.served import serving
from tests.service.table_pool import TablePool
from tests.service.test_daemon import running
from tests.workers.test_evaluation import tiny_candidate
from workers.training import recipe_from_json

Command = Callable[..., Ran]


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    monkeypatch.setenv("PARETRACK_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PARETRACK_RAY_ADDRESS", raising=False)
    tiny_candidate(tmp_path)
    return [
        "tune-recipe", tmp_path / "tuned.json", "--teacher", tmp_path / "teacher", "--keep", 0.5,
        "--dataset", "folder", "--root", tmp_path / "data", "--split", "all",
        "--train-split", "all", "--refit", 8, "--steps", 9, "--trials", 3, "--parallel", 2,
    ]  # fmt: skip


def test_a_recipe_is_tuned_stored_and_used(
    paretrack: Command, words: list[object], tmp_path: Path
) -> None:
    (tmp_path / "vary.json").write_text('{"learning_rate": {"least": 1e-4, "most": 1e-2}}')
    ran = paretrack(*words, "--vary", tmp_path / "vary.json", "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    stored = json.loads((tmp_path / "tuned.json").read_text())
    assert told["recipe"] == stored and recipe_from_json(stored).steps == 9
    assert len(told["trials"]) == 3 and told["trials"][0]["step"] == 9
    assert (stored == told["starting_recipe"]) is (not told["holds"])

    again = paretrack(*words, "--vary", tmp_path / "vary.json")
    assert again.code == 0 and "learning_rate" in again.out, "said again: from the record"
    # However a terminal breaks the lines of a long path.
    assert "tuned.jsonholds" in "".join(again.err.split())
    other = paretrack(*words, "--seed", 4)
    assert other.code == 2 and "holdsatuningwithanother" in "".join(other.err.split())

    used = paretrack(
        "evaluate", *words[2:16], "--recipe", tmp_path / "tuned.json", "--probe", "eager",
        "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    assert used.code == 0, used.err
    assert json.loads(used.out)["candidate"]["recipe"] == stored


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--scheduler", "bohb"], "asha or pbt"),
        (["--metric", "speed"], "one_step_iou or pair_loss"),
        (["--parallel", "500"], "need 500 CPUs"),
        (["--vary", "nowhere.json"], "is not what to vary"),
        (["--recipe", "nowhere.json"], "is not a recipe"),
    ],
)
def test_wrong_words_are_one_error(
    paretrack: Command, words: list[object], wrong: list[str], said: str, tmp_path: Path
) -> None:
    ran = paretrack(*words, *wrong)
    assert ran.code == 2 and said in ran.err and "Traceback" not in ran.err
    assert not (tmp_path / "tuned.tuning").exists()


def test_a_service_tunes_and_the_recipe_comes_back(
    paretrack: Command, words: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "service"
    home.mkdir()
    here = Bench(home, tmp_path / "teacher")
    url = embedded_url(home / "paretrack.db")
    engine = open_database(url)
    app = create_app(Settings(home=home, database_url=url), needs_tokens=False)
    out = tmp_path / "theirs.json"
    with serving(app) as served, running(engine, here, TablePool(1)):
        monkeypatch.setenv("PARETRACK_URL", served.url)
        ran = paretrack(words[0], out, *words[2:], "--trials", 2, "--submit", "--json")
        assert ran.code == 0, ran.err
        told = json.loads(ran.out)
        job = told["job"]["id"]
        assert told["job"]["state"] == "SUCCEEDED" and len(told["recipe"]["trials"]) == 2
        assert json.loads(out.read_text()) == told["recipe"]["recipe"]
        again = paretrack("recipe", job, tmp_path / "again.json")
        assert again.code == 0 and "learning_rate" in again.out, again.err
        assert (tmp_path / "again.json").read_text() == out.read_text()
        both = paretrack("tune-recipe", out, "--of", f"{job}/0", "--keep", 0.5)
        assert both.code == 2 and "leave --keep out" in both.err
        none = paretrack("tune-recipe", out, "--of", f"{job}/0")
        assert none.code == 2 and "there is no trial" in " ".join(none.err.split())
        bad = paretrack("recipe", job, tmp_path / "again.yaml")
        assert bad.code == 2 and "a recipe is a .json file" in " ".join(bad.err.split())
    engine.dispose()
