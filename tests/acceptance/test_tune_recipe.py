"""paretrack tune-recipe as a user runs it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.conftest import Ran
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
