"""A run is a function of its recipe, survives being killed, and says what is wrong."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from search_spaces import ParetrackError, TrackerNetwork, load
from tests.workers.test_tracking import moving_square
from workers.training import Moment, Recipe, Saving, learning_rate, recipe_from_json, train

FAMILY = load("siamrpn")
TINY = FAMILY.PRESETS["siamrpn-tiny"]
GEOMETRY = FAMILY.geometry(TINY)
SEQUENCES = [moving_square(6, 3), moving_square(6, 1, 1)]
RECIPE = Recipe(steps=6, batch=4, learning_rate=2e-3, ema=0.9)


def fresh() -> TrackerNetwork:
    torch.manual_seed(0)
    return FAMILY.build(TINY)


def weights(network: TrackerNetwork) -> list[torch.Tensor]:
    return list(network.state_dict().values())


def equal(a: TrackerNetwork, b: TrackerNetwork) -> bool:
    return all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


def test_training_lowers_the_loss() -> None:
    network = fresh()
    curve = train(network, GEOMETRY, SEQUENCES, replace(RECIPE, steps=60), report_every=10)
    assert curve[-1].terms["score"] < 0.9 * curve[0].terms["score"]
    assert curve[-1].step == 60
    assert not network.training


def test_the_same_seed_gives_the_same_weights_and_another_seed_does_not() -> None:
    a, b, c = fresh(), fresh(), fresh()
    train(a, GEOMETRY, SEQUENCES, RECIPE)
    train(b, GEOMETRY, SEQUENCES, RECIPE)
    train(c, GEOMETRY, SEQUENCES, replace(RECIPE, seed=1))
    assert equal(a, b)
    assert not equal(a, c)


class StoppedError(Exception):
    pass


def test_a_resumed_run_ends_with_the_weights_of_one_that_was_not_interrupted(
    tmp_path: Path,
) -> None:
    straight, broken = fresh(), fresh()
    train(straight, GEOMETRY, SEQUENCES, RECIPE)
    saving = Saving(path=tmp_path / "run.state", every=2)

    def stop_after_four(moment: Moment) -> None:
        if moment.step == 5:
            raise StoppedError

    with pytest.raises(StoppedError):
        train(
            broken, GEOMETRY, SEQUENCES, RECIPE,
            report=stop_after_four, report_every=1, saving=saving,
        )  # fmt: skip
    resumed = fresh()
    curve = train(resumed, GEOMETRY, SEQUENCES, RECIPE, report_every=1, saving=saving)

    assert equal(straight, resumed)
    assert [moment.step for moment in curve] == [1, 2, 3, 4, 5, 6]


def test_a_run_saved_with_another_recipe_is_not_mixed_up(tmp_path: Path) -> None:
    saving = Saving(path=tmp_path / "run.state", every=2)
    train(fresh(), GEOMETRY, SEQUENCES, RECIPE, saving=saving)
    with pytest.raises(ParetrackError, match="another recipe"):
        train(fresh(), GEOMETRY, SEQUENCES, replace(RECIPE, steps=9), saving=saving)


def test_a_run_of_another_network_or_data_is_not_mixed_in(tmp_path: Path) -> None:
    path = tmp_path / "run.state"
    train(fresh(), GEOMETRY, SEQUENCES, RECIPE, saving=Saving(path=path, identity="this"))
    with pytest.raises(ParetrackError, match="another identity: 'this', not 'that'"):
        train(fresh(), GEOMETRY, SEQUENCES, RECIPE, saving=Saving(path=path, identity="that"))


def test_kill_minus_nine_while_saving_leaves_a_state_to_go_on_from(tmp_path: Path) -> None:
    script = (
        "import torch; torch.set_num_threads(1)\n"
        "from pathlib import Path; from dataclasses import replace\n"
        "from tests.workers.test_training import *\n"
        f"saving = Saving(path=Path({str(tmp_path / 'run.state')!r}), every=1)\n"
        "train(fresh(), GEOMETRY, SEQUENCES, replace(RECIPE, steps=100000), saving=saving)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=Path.cwd())
    deadline = time.monotonic() + 120
    while not (tmp_path / "run.state").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    from workers.checkpoints import load_state

    state = load_state(tmp_path / "run.state")
    assert state["step"] >= 1


def test_a_loss_that_is_not_finite_ends_the_run_with_advice() -> None:
    recipe = replace(RECIPE, steps=50, learning_rate=1e30, clip=None, warmup=0.0)
    with pytest.raises(ParetrackError, match=r"at step \d+: lower the learning rate"):
        train(fresh(), GEOMETRY, SEQUENCES, recipe)


def test_validation_is_in_the_curve_at_its_steps_and_at_the_end() -> None:
    curve = train(
        fresh(), GEOMETRY, SEQUENCES, RECIPE,
        validate=lambda network: {"one": 1.0}, validate_every=4, report_every=3,
    )  # fmt: skip
    assert [(m.step, bool(m.validation)) for m in curve] == [(3, False), (4, True), (6, True)]


def test_the_rate_warms_up_and_falls_as_the_schedule_says() -> None:
    cosine = Recipe(steps=100, warmup=0.1, learning_rate=1.0)
    drop = replace(cosine, schedule="drop", drop_at=0.8)
    assert learning_rate(0, cosine) == pytest.approx(0.1)
    assert learning_rate(10, cosine) == pytest.approx(1.0)
    assert learning_rate(100, cosine) == pytest.approx(0.0)
    assert [learning_rate(step, drop) for step in (50, 79, 80)] == pytest.approx([1, 1, 0.1])


def test_a_recipe_comes_back_from_json() -> None:
    assert recipe_from_json(asdict(RECIPE)) == RECIPE


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"stepps": 3}, "stepps"),
        ({"steps": 0}, "at least 1"),
        ({"steps": 2.5}, "steps: expected int"),
        ({"steps": 2, "schedule": "dropp"}, "'dropp' is none of"),
        ({"steps": 2, "weights": {"anchors": "balance"}}, "'balance' is none of"),
        ({"steps": 2, "ema": 2.0}, "ema is between 0 and 1"),
        ({"steps": 2, "seed": -1}, "seed is from 0"),
        ([], "Recipe: expected an object"),
    ],
)
def test_a_recipe_says_what_is_wrong_with_it(wrong: object, message: str) -> None:
    with pytest.raises(ParetrackError, match=message):
        recipe_from_json(wrong)
