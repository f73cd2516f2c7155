"""One trial in a worker, without Ray."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.workers.tuning.tiny import candidate, tuning
from workers.evaluation import evaluate
from workers.tuning import Tuning
from workers.tuning._story import begin
from workers.tuning._trial import Bench, Trial, opened
from workers.tuning.records import ranked, read_record, trial_folder, write_end
from workers.tuning.request import rungs


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Tuning:
    root = tmp_path_factory.mktemp("tuning")
    found = tuning(candidate(root), root / "shared")
    assert begin(found) is None
    return found


@pytest.fixture
def bench(shared: Tuning, tmp_path: Path) -> Bench:
    """Trials of its own; what they begin with is shared."""
    return replace(opened(shared), tuning=replace(shared, folder=tmp_path))


def to_the_end(trial: Trial) -> list[int]:
    steps = []
    while not trial.done:
        rung = trial.advance()
        assert rung is not None
        steps.append(rung.step)
    return steps


def test_a_trial_ends_where_an_evaluation_by_the_same_recipe_ends(
    bench: Bench, tmp_path: Path
) -> None:
    trial = Trial(bench, 0, {})
    assert to_the_end(trial) == [1, 3, 9] == rungs(bench.tuning)
    whole = evaluate(bench.tuning.candidate, tmp_path / "whole").recovered
    assert whole is not None
    assert trial.record.rungs[-1].one_step_iou == whole.one_step_iou
    assert trial.record.rungs[-1].pair_loss == whole.loss


def test_what_was_reached_before_a_break_is_told_again_and_not_trained_again(bench: Bench) -> None:
    values = {"learning_rate": 4e-3}
    first = Trial(bench, 1, values)
    told = [first.advance(), first.advance()]
    second = Trial(bench, 1, values)
    assert [second.advance(), second.advance()] == told
    assert to_the_end(second) == [9]
    unbroken = Trial(bench, 2, values)
    to_the_end(unbroken)
    assert unbroken.record.rungs[-1].pair_loss == second.record.rungs[-1].pair_loss
    assert unbroken.record.rungs[-1].pair_loss != Trial(bench, 1, {}).record.rungs[0].pair_loss


def test_a_trial_that_was_stopped_stays_so(bench: Bench) -> None:
    before = Trial(bench, 1, {})
    before.advance()
    write_end(bench.tuning.folder, 1, "stopped")
    again = Trial(bench, 1, {})
    assert to_the_end(again) == [1]


def test_a_recipe_that_leads_nowhere_fails_with_its_reason(bench: Bench) -> None:
    trial = Trial(bench, 3, {"learning_rate": 1e30})
    while not trial.done:
        last = trial.advance()
    assert last is None and trial.done
    found = read_record(bench.tuning.folder, 3, {})
    assert found.failed is not None and "lower the learning rate" in found.failed
    assert ranked([found], "one_step_iou") == []


@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_trial_goes_on_with_anothers_weights_by_numbers_of_its_own(
    bench: Bench, tmp_path: Path, ema: float | None
) -> None:
    bench = replace(bench, tuning=replace(bench.tuning, scheduler="pbt"))
    assert rungs(bench.tuning) == [2, 4, 6, 8, 9]
    donor = Trial(bench, 1, {"learning_rate": 4e-3})
    donor.advance(), donor.advance()
    (tmp_path / "checkpoint").mkdir()
    donor.keep(tmp_path / "checkpoint")
    loser = Trial(bench, 2, {"learning_rate": 1e-4})
    loser.advance()

    values = {"learning_rate": 2e-4, "ema": ema}
    taker = Trial(bench, 2, values)
    taker.take_over(tmp_path / "checkpoint")
    rung = taker.advance()

    assert rung is not None and rung.step == 6
    assert [(t.step, t.trial) for t in taker.record.takeovers] == [(4, 1)]
    assert taker.record.values == values
    states = [path.name for path in trial_folder(tmp_path, 2).glob("*.state")]
    assert states == ["recovery-1.state"], "what it had trained itself is gone"
    of_its_own = Trial(bench, 4, values)
    assert to_the_end(of_its_own) == [2, 4, 6, 8, 9]
    assert of_its_own.record.rungs[2].pair_loss != rung.pair_loss
    again = Trial(bench, 2, values)  # as after a break: where it stands comes first
    assert again.advance() == rung
    assert to_the_end(again) == [8, 9]


def test_a_candidate_that_cannot_be_cut_or_has_no_data_is_refused(
    shared: Tuning, tmp_path: Path
) -> None:
    whole = shared.candidate
    refused = [
        (replace(whole, kept_layers=(0, 99)), "layers"),
        (replace(whole, data=replace(whole.data, root=tmp_path / "none")), "none"),
        (replace(whole, refit=0, data=replace(whole.data, train="sunday")), "sunday"),
    ]
    for number, (cut, said) in enumerate(refused):
        reason = begin(replace(shared, candidate=cut, folder=tmp_path / str(number)))
        assert reason is not None and said in reason, reason


def test_the_best_is_who_came_furthest_and_then_by_the_metric(bench: Bench) -> None:
    for number, rate in enumerate((1e-3, 4e-3, 1e-4)):
        trial = Trial(bench, number, {"learning_rate": rate})
        to_the_end(trial) if number < 2 else trial.advance()
    records = [read_record(bench.tuning.folder, number, {}) for number in range(3)]
    by_loss = ranked(records, "pair_loss")
    assert by_loss[0].rungs[-1].pair_loss < by_loss[1].rungs[-1].pair_loss
    by_iou = ranked(records, "one_step_iou")
    assert by_iou[0].rungs[-1].one_step_iou >= by_iou[1].rungs[-1].one_step_iou
    assert by_iou[2].number == by_loss[2].number == 2
