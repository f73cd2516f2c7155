"""A run is a function of its recipe, survives being killed, and says what is wrong."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest
import torch

from search_spaces import Geometry, ParetrackError, TrackerNetwork, load, ostrack
from tests.workers.test_tracking import moving_square
from workers.checkpoints import load_state, save_state
from workers.training import (
    Moment,
    Recipe,
    Saving,
    elimination_share,
    learning_rate,
    recipe_from_json,
    train,
)

FAMILY = load("siamrpn")
TINY = FAMILY.PRESETS["siamrpn-tiny"]
GEOMETRY = FAMILY.geometry(TINY)
SEQUENCES = [moving_square(6, 3), moving_square(6, 1, 1)]
RECIPE = Recipe(steps=6, batch=4, learning_rate=2e-3, ema=0.9)

ELIMINATING = replace(
    ostrack.PRESETS["ostrack-tiny"], elimination=ostrack.Elimination(blocks=(0, 1), keep=0.5)
)
VIEW = ostrack.geometry(ELIMINATING)
SOFT = replace(RECIPE, drop_path=0.3, eliminate_from=1 / 6, eliminate_fully_at=5 / 6)


def fresh() -> TrackerNetwork:
    torch.manual_seed(0)
    return FAMILY.build(TINY)


def fresh_eliminating() -> ostrack.OSTrack:
    torch.manual_seed(0)
    return ostrack.build(ELIMINATING)


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


@pytest.mark.parametrize(
    ("begin", "geometry", "recipe"),
    [(fresh, GEOMETRY, RECIPE), (fresh_eliminating, VIEW, SOFT)],
    ids=["plain", "softened"],
)
def test_a_resumed_run_ends_with_the_weights_of_one_that_was_not_interrupted(
    tmp_path: Path, begin: Callable[[], TrackerNetwork], geometry: Geometry, recipe: Recipe
) -> None:
    straight, broken = begin(), begin()
    train(straight, geometry, SEQUENCES, recipe)
    saving = Saving(path=tmp_path / "run.state", every=2)

    def stop_after_four(moment: Moment) -> None:
        if moment.step == 5:
            raise StoppedError

    with pytest.raises(StoppedError):
        train(
            broken, geometry, SEQUENCES, recipe,
            report=stop_after_four, report_every=1, saving=saving,
        )  # fmt: skip
    resumed = begin()
    curve = train(resumed, geometry, SEQUENCES, recipe, report_every=1, saving=saving)

    assert equal(straight, resumed)
    assert [moment.step for moment in curve] == [1, 2, 3, 4, 5, 6]


def test_a_run_that_pauses_on_its_way_ends_with_the_weights_of_one_that_does_not(
    tmp_path: Path,
) -> None:
    straight, paused, resumed = fresh(), fresh(), fresh()
    curve = train(straight, GEOMETRY, SEQUENCES, RECIPE, report_every=1)
    saving = Saving(path=tmp_path / "run.state", every=100)

    train(paused, GEOMETRY, SEQUENCES, RECIPE, saving=saving, until=3)
    train(resumed, GEOMETRY, SEQUENCES, RECIPE, saving=saving, until=5)
    last = train(resumed, GEOMETRY, SEQUENCES, RECIPE, saving=saving)

    assert [moment.step for moment in last] == [3, 5, 6]
    assert last[0].rate == curve[2].rate  # the schedule is that of the whole
    assert not equal(straight, paused)
    assert equal(straight, resumed)


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


@dataclass
class Ticking:
    """A clock that goes on by a second whenever it is read."""

    now: float = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def test_a_slow_validation_does_not_make_training_look_slow() -> None:
    def curve(seconds: float) -> list[Moment]:
        clock = Ticking()

        def validate(network: TrackerNetwork) -> dict[str, float]:
            clock.now += seconds
            return {"one": 1.0}

        return train(
            fresh(), GEOMETRY, SEQUENCES, RECIPE,
            validate=validate, validate_every=2, report_every=1, clock=clock,
        )  # fmt: skip

    assert curve(1000) == curve(0)
    assert [m.pairs_per_second for m in curve(1000)] == pytest.approx([4] * 6)
    assert [m.seconds_left for m in curve(1000)] == pytest.approx([5, 4, 3, 2, 1, 0])


def kept_tokens(network: ostrack.OSTrack) -> list[int]:
    """Filled, step by step, with the number of search tokens that leave the last block."""
    counts: list[int] = []
    network.backbone.blocks[-1].register_forward_hook(
        lambda block, inputs, outputs: counts.append(outputs[1].shape[1])
    )
    return counts


def test_elimination_comes_by_and_by_and_tracking_has_all_of_it() -> None:
    network = fresh_eliminating()
    counts = kept_tokens(network)
    names = list(network.state_dict())
    # A search crop has 16 tokens; half are kept twice: 16 -> 8 -> 4.
    train(network, VIEW, SEQUENCES, replace(SOFT, drop_path=0.0, ema=None))
    assert (counts[:2], counts[-1]) == ([16, 16], 4)
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) > 3
    assert list(network.state_dict()) == names

    same = ostrack.build(ELIMINATING).eval()
    same.load_state_dict(network.state_dict())
    template, search = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 64, 64)
    for mine, its in zip(network(template, search), same(template, search), strict=True):
        assert torch.equal(mine, its)
    assert counts[-1] == 4


def test_validation_in_the_middle_of_the_schedule_sees_the_architecture_as_it_is() -> None:
    network = fresh_eliminating()
    counts = kept_tokens(network)

    def validate(judged: TrackerNetwork) -> dict[str, float]:
        judged.eval()
        pair = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 64, 64)
        twice = [judged(*pair)[0] for _ in range(2)]
        return {"same": float(torch.equal(*twice)), "kept": float(counts[-1])}

    recipe = replace(SOFT, ema=None)
    curve = train(network, VIEW, SEQUENCES, recipe, validate=validate, validate_every=1)
    assert [m.validation for m in curve] == [{"same": 1.0, "kept": 4.0}] * 6


def test_the_schedule_of_elimination_is_the_published_one() -> None:
    recipe = Recipe(steps=300, eliminate_from=20 / 300, eliminate_fully_at=100 / 300)
    kept = [1 - 0.3 * elimination_share(step, recipe) for step in (0, 20, 40, 60, 80, 100, 299)]
    # The keep rate falls from 1 to .7 between epochs 20 and 100: .7 + .15 (1 + cos(pi i / 80)).
    assert kept == pytest.approx([1, 1, 0.95606602, 0.85, 0.74393398, 0.7, 0.7])
    assert {elimination_share(step, Recipe(steps=9)) for step in range(9)} == {1.0}


@pytest.mark.parametrize("soft", [{"drop_path": 0.3}, {"eliminate_fully_at": 0.9}])
def test_softening_changes_training_and_the_seed_decides_it(soft: dict[str, float]) -> None:
    plain = replace(RECIPE, ema=None)
    networks = [fresh_eliminating() for _ in range(3)]
    for network, recipe in zip(networks, (plain, *[replace(plain, **soft)] * 2), strict=True):
        train(network, VIEW, SEQUENCES, recipe)
    assert equal(networks[1], networks[2])
    assert not equal(networks[0], networks[1])


@pytest.mark.parametrize("soft", [{"drop_path": 0.1}, {"eliminate_fully_at": 0.5}])
def test_a_family_that_cannot_be_softened_says_so_before_it_reads_data(
    soft: dict[str, float],
) -> None:
    with pytest.raises(ParetrackError, match=r"^siamrpn trains neither with drop_path"):
        train(fresh(), GEOMETRY, [], replace(RECIPE, **soft))


def test_a_schedule_for_a_network_that_eliminates_nothing_is_refused() -> None:
    network = ostrack.build(ostrack.PRESETS["ostrack-tiny"])
    with pytest.raises(ParetrackError, match="this ostrack network eliminates no tokens"):
        train(network, VIEW, [], replace(RECIPE, eliminate_fully_at=0.5))


def test_what_was_stored_before_a_field_was_known_is_read_and_gone_on_with(tmp_path: Path) -> None:
    older = asdict(RECIPE)
    for name in ("drop_path", "eliminate_from", "eliminate_fully_at"):
        del older[name]
    assert recipe_from_json(older) == RECIPE
    saving = Saving(path=tmp_path / "run.state")
    train(fresh(), GEOMETRY, SEQUENCES, RECIPE, saving=saving)
    save_state(saving.path, {**load_state(saving.path), "recipe": older})
    assert train(fresh(), GEOMETRY, SEQUENCES, RECIPE, saving=saving)[-1].step == 6


def test_the_rate_warms_up_and_falls_as_the_schedule_says() -> None:
    cosine = Recipe(steps=100, warmup=0.1, learning_rate=1.0)
    drop = replace(cosine, schedule="drop", drop_at=0.8)
    assert learning_rate(0, cosine) == pytest.approx(0.1)
    assert learning_rate(10, cosine) == pytest.approx(1.0)
    assert learning_rate(100, cosine) == pytest.approx(0.0)
    assert [learning_rate(step, drop) for step in (50, 79, 80)] == pytest.approx([1, 1, 0.1])


def test_a_recipe_comes_back_from_json() -> None:
    assert recipe_from_json(asdict(SOFT)) == SOFT


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
        ({"steps": 2, "drop_path": 1.0}, "drop_path is from 0 to less than 1, got 1.0"),
        ({"steps": 2, "drop_path": float("nan")}, "drop_path is from 0"),
        ({"steps": 2, "eliminate_fully_at": 20}, "eliminate_fully_at is from 0 to 1, got 20"),
        ({"steps": 2, "eliminate_from": 0.2}, r"from 0 to eliminate_fully_at \(0.0\), got 0.2"),
        ([], "Recipe: expected an object"),
    ],
)
def test_a_recipe_says_what_is_wrong_with_it(wrong: object, message: str) -> None:
    with pytest.raises(ParetrackError, match=message):
        recipe_from_json(wrong)
