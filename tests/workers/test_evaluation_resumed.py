"""An evaluation that was killed in the middle of its recovery, and the one that comes after it."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from search_spaces import ParetrackError
from tests.workers.test_evaluation import TINY, tiny_candidate
from workers.candidate import Candidate, Measurement
from workers.checkpoints import load_state, load_tracker, weights_sha256
from workers.evaluation import Happening, evaluate
from workers.pruning.widths import narrowed
from workers.training import Recipe


class KilledError(Exception):
    """What no code of ours expects."""


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    tiny = tiny_candidate(tmp_path_factory.mktemp("resumed"))
    return replace(tiny, recipe=Recipe(steps=30, batch=2, ema=0.9), probes=())


@pytest.fixture(scope="module")
def whole(candidate: Candidate, tmp_path_factory: pytest.TempPathFactory) -> Measurement:
    return evaluate(candidate, tmp_path_factory.mktemp("whole"))


def killed_at(step: int) -> Callable[[Happening], None]:
    def watch(happening: Happening) -> None:
        if happening.moment is not None and happening.moment.step == step:
            raise KilledError

    return watch


def evaluate_killed(candidate: Candidate, out: Path, step: int) -> None:
    with pytest.raises(KilledError):
        evaluate(candidate, out, watch=killed_at(step))


def watched(candidate: Candidate, out: Path) -> tuple[Measurement, list[int]]:
    """The measurement, and the steps of recovery that were really made in this go."""
    heard: list[int] = []

    def watch(happening: Happening) -> None:
        if happening.moment is not None:
            heard.append(happening.moment.step)

    return evaluate(candidate, out, watch=watch), heard


def first_step(candidate: Candidate, out: Path) -> int:
    """The first step that is reported; the evaluation is killed there, before the next save."""
    heard: list[int] = []

    def watch(happening: Happening) -> None:
        if happening.moment is not None:
            heard.append(happening.moment.step)
            raise KilledError

    with pytest.raises(KilledError):
        evaluate(candidate, out, watch=watch)
    return heard[0]


@pytest.fixture(scope="module")
def killed(candidate: Candidate, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an evaluation that was killed with its first state just written."""
    out = tmp_path_factory.mktemp("killed")
    evaluate_killed(candidate, out, 20)
    return out


def checksum(measurement: Measurement) -> str:
    assert measurement.tracker is not None
    return weights_sha256(load_tracker(measurement.tracker)[1].state_dict())


def states(out: Path) -> list[Path]:
    return sorted(out.glob("*.state"))


def test_it_goes_on_where_it_was_and_ends_as_if_nothing_had_been(
    candidate: Candidate, whole: Measurement, tmp_path: Path
) -> None:
    evaluate_killed(candidate, tmp_path, 20)
    (state,) = states(tmp_path)
    assert load_state(state)["step"] == 10
    leftover = tmp_path / f".{state.name}.0123.tmp"
    leftover.touch()

    found, made = watched(candidate, tmp_path)

    assert made == [20, 30]
    assert checksum(found) == checksum(whole)
    assert found.accuracy is not None and whole.accuracy is not None
    assert found.accuracy.overlap_of == whole.accuracy.overlap_of
    assert [(m.step, m.loss) for m in found.curve] == [(m.step, m.loss) for m in whole.curve]
    assert states(tmp_path) == []
    assert not leftover.exists()


def test_a_recovery_of_a_few_steps_loses_at_most_one(candidate: Candidate, tmp_path: Path) -> None:
    assert candidate.recipe is not None
    short = replace(candidate, recipe=replace(candidate.recipe, steps=11))
    unbroken = evaluate(short, tmp_path / "unbroken")
    evaluate_killed(short, tmp_path / "cut", 10)
    (state,) = states(tmp_path / "cut")
    assert load_state(state)["step"] == 9
    assert checksum(evaluate(short, tmp_path / "cut")) == checksum(unbroken)


def test_killed_after_the_recovery_it_does_not_recover_again(
    candidate: Candidate, whole: Measurement, tmp_path: Path
) -> None:
    def watch(happening: Happening) -> None:
        if happening.step == "accuracy":
            raise KilledError

    with pytest.raises(KilledError):
        evaluate(candidate, tmp_path, watch=watch)
    found, made = watched(candidate, tmp_path)
    assert made == []
    assert checksum(found) == checksum(whole)


def _other_recipe(candidate: Candidate) -> Candidate:
    assert candidate.recipe is not None
    return replace(candidate, recipe=replace(candidate.recipe, learning_rate=2e-3))


@pytest.mark.parametrize(
    "change",
    [
        _other_recipe,
        lambda c: replace(c, seed=1),
        lambda c: replace(c, architecture=narrowed(TINY, keep=0.25)),
        lambda c: replace(c, pruning="random"),
        lambda c: replace(c, weights="random"),
        lambda c: replace(c, refit=0),
        lambda c: replace(c, data=replace(c.data, train_count=2)),
    ],
    ids=["recipe", "seed", "architecture", "pruning", "weights", "refit", "data"],
)
def test_another_candidate_does_not_take_the_state(
    candidate: Candidate, killed: Path, change: Callable[[Candidate], Candidate]
) -> None:
    assert first_step(change(candidate), killed) == 10


def test_another_candidate_ends_as_if_it_were_alone_and_leaves_no_state(
    candidate: Candidate, killed: Path, tmp_path: Path
) -> None:
    other = replace(candidate, seed=1)
    shutil.copytree(killed, tmp_path / "shared")
    found = evaluate(other, tmp_path / "shared")
    assert checksum(found) == checksum(evaluate(other, tmp_path / "alone"))
    assert states(tmp_path / "shared") == []


def test_other_threads_or_boxes_start_it_afresh(
    candidate: Candidate, killed: Path, tmp_path: Path
) -> None:
    torch.set_num_threads(2)
    try:
        assert first_step(candidate, killed) == 10
    finally:
        torch.set_num_threads(1)
    shutil.copytree(candidate.data.root, tmp_path / "data")
    elsewhere = replace(candidate, data=replace(candidate.data, root=tmp_path / "data"))
    assert first_step(elsewhere, killed) == 20  # where the same data lie decides nothing

    rows = tmp_path / "data" / "square-0" / "groundtruth.txt"
    x, rest = rows.read_text().split(",", 1)
    rows.write_text(f"{int(x) + 1},{rest}")

    assert first_step(elsewhere, killed) == 10


def test_a_failure_is_an_answer_too(candidate: Candidate, killed: Path, tmp_path: Path) -> None:
    assert candidate.recipe is not None
    diverging = replace(candidate.recipe, learning_rate=1e30, clip=None, warmup=0.0)
    shutil.copytree(killed, tmp_path / "out")
    failed = evaluate(replace(candidate, recipe=diverging), tmp_path / "out")
    assert failed.state == "FAILED"
    assert states(tmp_path / "out") == []


def test_a_picture_that_cannot_be_read_keeps_the_state(
    candidate: Candidate, killed: Path, tmp_path: Path
) -> None:
    shutil.copytree(killed, tmp_path / "out")
    shutil.copytree(candidate.data.root, tmp_path / "data")
    for picture in (tmp_path / "data").glob("*/*.png"):
        picture.write_bytes(b"no picture")
    broken = replace(candidate, data=replace(candidate.data, root=tmp_path / "data"))
    with pytest.raises(ParetrackError, match=r"\.png"):
        evaluate(broken, tmp_path / "out")
    assert states(tmp_path / "out") != []
