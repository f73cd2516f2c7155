"""What may be asked of a tuning, and when its winner is stored."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search_spaces import ParetrackError, value_from_json
from service.job import Where
from service.recipe_tuning import TuneRequest, TuningError, _claim, _judged, planned
from service.settings import Settings
from tests.workers.test_evaluation import TINY, tiny_candidate
from workers.checkpoints import load_tracker
from workers.documents import document
from workers.judge import PairAccuracy
from workers.pruning.widths import narrowed
from workers.training import Recipe
from workers.tuning import Tuned
from workers.tuning.records import Rung, TrialRecord
from workers.tuning.request import winner


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("home")
    tiny_candidate(root)
    return root


@pytest.fixture
def asked(home: Path, tmp_path: Path) -> TuneRequest:
    from search_spaces import architecture_to_json

    data = Where(dataset="folder", root=str(home / "data"), train="all", judged_on="all")
    return TuneRequest(
        out=str(tmp_path / "tuned.json"),
        teacher=str(home / "teacher"),
        architecture=architecture_to_json(narrowed(TINY, keep=0.5)),
        steps=9,
        data=data,
        trials=4,
    )


def settings(home: Path, address: str | None = None) -> Settings:
    return Settings(home=home, database_url=None, ray_address=address)


def test_the_starting_recipe_is_the_first_trial(asked: TuneRequest, home: Path) -> None:
    found = planned(asked, settings(home))
    recipe = found.candidate.recipe
    assert recipe is not None and recipe.steps == 9 and len(found.values) == 4
    assert found.values[0]["learning_rate"] == recipe.learning_rate
    assert found.folder == Path(asked.out).with_suffix(".tuning") and not found.folder.exists()
    assert found.candidate.refit == 128 and load_tracker(found.candidate.teacher)[0] == TINY


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"scheduler": "hyperband"}, "no scheduler 'hyperband'.*asha or pbt"),
        ({"metric": "average_overlap"}, "no metric 'average_overlap'.*one_step_iou or pair_loss"),
        ({"trials": 1}, "at least 2"),
        ({"seconds": 0.0}, "over 0"),
        ({"parallel": 999}, "need 999 CPUs; this machine has"),
        ({"vary": {"learning_rat": None}}, "choose from learning_rate"),
        ({"vary": {"warmup": {"least": 0.2, "most": 0.1}}}, "the range is empty"),
        ({"vary": {"ema": None}, "scheduler": "pbt"}, "ema is nothing at the start"),
        ({"out": "recipe.yaml"}, "a recipe is a .json file"),
        ({"recovery": "hope"}, "no recovery named 'hope'"),
        ({"device": "gpu"}, "cannot be used here"),
        ({"teacher": "nobody"}, "no tracker named 'nobody'"),
        ({"data": Where(dataset="got10k")}, "say where got10k lies"),
    ],
)
def test_what_cannot_be_tuned_is_said_before_anything_begins(
    asked: TuneRequest, home: Path, wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(ParetrackError, match=said):
        planned(replace(asked, **wrong), settings(home))
    assert not asked.folder.exists()


def test_a_cluster_may_have_more_cpus_than_this_machine(asked: TuneRequest, home: Path) -> None:
    many = replace(asked, parallel=(os.cpu_count() or 1) + 1)
    assert planned(many, settings(home, "127.0.0.1:6379")).parallel == many.parallel


@pytest.mark.parametrize("content", ['{"name": "my job"}', "[]", "shopping list"])
def test_a_file_that_is_no_recipe_is_not_replaced(
    asked: TuneRequest, home: Path, content: str
) -> None:
    Path(asked.out).write_text(content)
    with pytest.raises(TuningError, match=r"tuned\.json exists and is not a recipe"):
        planned(asked, settings(home))
    assert Path(asked.out).read_text() == content
    Path(asked.out).write_text(json.dumps({"steps": 7}))
    planned(asked, settings(home))


def test_the_folder_of_another_tuning_is_refused(asked: TuneRequest, home: Path) -> None:
    _claim(asked, planned(asked, settings(home)))
    longer = replace(asked, seconds=60.0, parallel=1)
    _claim(longer, planned(longer, settings(home)))
    other = replace(asked, seed=3)
    with pytest.raises(TuningError, match="holds a tuning with another seed"):
        _claim(other, planned(other, settings(home)))


def rung(iou: float) -> Rung:
    return Rung(step=9, one_step_iou=iou, pair_loss=3 - iou, seconds=1.0)


def found(chosen: tuple[float, float], again: tuple[float, float], request: Any) -> Any:
    """A tuning whose start and winner have these one-step IoUs, with one seed and another."""
    from workers.candidate import Measurement

    records = [
        TrialRecord(number=n, values={**request.values[n]}, step=9, rungs=(rung(iou),))
        for n, iou in enumerate(chosen)
    ]
    plain = Measurement(
        state="COMPLETE", candidate=request.candidate, teacher_sha256="", dataset_version=""
    )
    checks = {
        n: replace(plain, recovered=PairAccuracy(pairs=1, one_step_iou=iou, loss=3 - iou))
        for n, iou in enumerate(again)
    }
    by_score = sorted(records, key=lambda r: -r.rungs[0].one_step_iou)
    won = winner(records, request)
    return Tuned(
        records=tuple(records),
        ranked=tuple(by_score),
        inherited=plain,
        winner=won,
        checks=checks if won else {},
    )


@pytest.mark.parametrize("metric", ["one_step_iou", "pair_loss"])
@pytest.mark.parametrize(
    ("chosen", "again", "holds"),
    [
        ((0.60, 0.63), (0.61, 0.62), True),
        ((0.60, 0.63), (0.61, 0.60), False),  # worse with the other seed
        ((0.60, 0.61), (0.62, 0.63), False),  # better with each, but less than a seed does
        ((0.63, 0.60), (0.0, 0.0), False),  # nothing is better
    ],
)
def test_a_winner_is_stored_only_if_its_gain_is_more_than_a_seed_does(
    asked: TuneRequest,
    home: Path,
    metric: str,
    chosen: tuple[float, float],
    again: tuple[float, float],
    holds: bool,
) -> None:
    request = planned(replace(asked, metric=metric), settings(home))
    tuned = _judged(request, found(chosen, again, request))
    start = request.candidate.recipe
    assert start is not None and tuned.holds is holds
    if not holds:
        assert tuned.recipe == start
    else:
        assert tuned.recipe.learning_rate == request.values[1]["learning_rate"]
        assert tuned.recipe.weights.l1 == request.values[1]["weights.l1"]
        assert isinstance(tuned.recipe, Recipe) and tuned.recipe.steps == start.steps
    assert [round(gain.better, 6) for gain in tuned.gains] == (
        [round(b - a, 6) for a, b in (chosen, again)] if chosen[1] > chosen[0] else []
    )


def test_what_did_not_come_to_its_end_or_fails_at_the_start_wins_nothing(
    asked: TuneRequest, home: Path
) -> None:
    request = planned(asked, settings(home))
    tuned = found((0.60, 0.63), (0.61, 0.62), request)
    for number in (0, 1):
        records = [replace(r, step=3 if r.number == number else 9) for r in tuned.records]
        assert winner(records, request) is None
    broken = replace(tuned.records[0], failed="the loss became nan")
    with pytest.raises(TuningError, match="the starting recipe fails: the loss became nan"):
        _judged(request, replace(tuned, records=(broken, tuned.records[1]), winner=None))


def test_a_request_can_be_stored_and_read_again(asked: TuneRequest) -> None:
    full = replace(asked, vary={"warmup": {"least": 0.0, "most": 0.1}}, kept_layers=(0, 1))
    assert value_from_json(TuneRequest, json.loads(document(full))) == full
