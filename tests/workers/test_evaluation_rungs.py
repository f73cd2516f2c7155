"""Rung by rung, and limits that end the story of a candidate before any training."""

from dataclasses import replace
from pathlib import Path

import pytest

from search_spaces import ParetrackError
from tests.workers.test_evaluation import TINY, tiny_candidate
from workers.candidate import Candidate, digest, read_measurement
from workers.checkpoints import load_tracker, weights_sha256
from workers.evaluation import Happening, evaluate
from workers.metrics import Limit
from workers.pruning.widths import narrowed
from workers.training import Recipe


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    tiny = tiny_candidate(tmp_path_factory.mktemp("rungs"))
    return replace(tiny, refit=4, recipe=Recipe(steps=6, batch=2, ema=0.9))


def weights_in(folder: Path) -> str:
    return weights_sha256(load_tracker(folder)[1].state_dict())


def test_rung_by_rung_ends_like_one_go_and_does_nothing_twice(
    candidate: Candidate, tmp_path: Path
) -> None:
    whole = evaluate(candidate, tmp_path / "whole")
    heard: list[Happening] = []
    rungs = tmp_path / "rungs"

    tested = evaluate(candidate, rungs, until="gates", watch=heard.append)
    first = evaluate(candidate, rungs, until=0, watch=heard.append)
    second = evaluate(candidate, rungs, until=2, watch=heard.append)
    last = evaluate(candidate, rungs, watch=heard.append)

    assert [m.state for m in (tested, first, second, last)] == ["AT_RUNG"] * 3 + ["COMPLETE"]
    assert tested.cost and tested.latency and tested.inherited is None
    assert first.inherited == whole.inherited and first.recovered is None
    assert second.recovered != last.recovered == whole.recovered
    assert [m.steps for m in (first, second, last)] == [0, 2, 6]
    assert last.accuracy and whole.accuracy
    assert last.accuracy.overlap_of == whole.accuracy.overlap_of
    assert weights_in(rungs) == weights_in(tmp_path / "whole")
    assert last.latency == tested.latency  # timed once
    assert not (tested.split or first.split or second.split)
    assert last.split["eager"].step_ms == last.latency["eager"].step_ms
    begun = [h.step for h in heard if not h.total and h.moment is None]
    assert begun == [
        "cost", "latency, eager", "build", "refit", "inherited accuracy", "recovery", "recovery",
        "accuracy", "latency by layer, eager",
    ]  # fmt: skip
    assert [gate.name for gate in last.gates] == begun
    assert {path.name for path in rungs.iterdir()} == {
        "architecture.json", "weights.safetensors", "boxes.npz", "measurement.json",
    }  # fmt: skip


def test_another_candidate_in_the_same_folder_begins_afresh(
    candidate: Candidate, tmp_path: Path
) -> None:
    evaluate(candidate, tmp_path, until=2)
    other = replace(candidate, architecture=narrowed(TINY, keep=0.3))
    with pytest.raises(ParetrackError, match="another candidate"):
        read_measurement(tmp_path / "measurement.json", other)
    found = evaluate(other, tmp_path, until=0)
    assert found.cost and found.steps == 0 and found.candidate == other
    assert found.gates[0].name == "cost"


@pytest.mark.parametrize(
    ("limit", "last"),
    [
        (Limit(metric="parameters", at_most=10), "cost"),
        (Limit(metric="step_ms.eager", at_most=1e-6), "latency, eager"),
    ],
)
def test_what_breaks_a_limit_costs_no_training(
    candidate: Candidate, tmp_path: Path, limit: Limit, last: str
) -> None:
    found = evaluate(replace(candidate, limits=(limit,)), tmp_path)
    assert found.state == "INFEASIBLE"
    assert found.reason and f"{limit.at_most:g}" in found.reason
    assert (found.gates[-1].name, found.gates[-1].verdict) == (last, "infeasible")
    assert all(gate.verdict == "passed" for gate in found.gates[:-1])
    assert found.inherited is None and found.tracker is None
    assert not (tmp_path / "weights.safetensors").exists()


def test_a_soft_limit_and_one_that_holds_do_not_end_the_story(
    candidate: Candidate, tmp_path: Path
) -> None:
    soft = Limit(metric="parameters", at_most=10, hard=False)
    held = Limit(metric="macs_frame", at_most=1e12)
    better = Limit(metric="average_overlap", at_least=0.999)  # known too late to spare anything
    found = evaluate(replace(candidate, limits=(soft, held, better), recipe=None), tmp_path)
    assert found.state == "COMPLETE"


def test_the_digest_tells_what_decides_accuracy_and_nothing_else(candidate: Candidate) -> None:
    mine = digest(candidate, "teacher", "1")
    limit = Limit(metric="parameters", at_most=10)
    moved = replace(candidate.data, root=Path("elsewhere"))
    for same in (
        replace(candidate, limits=(limit,), probes=()),
        replace(candidate, data=moved, teacher=Path("copy")),
    ):
        assert digest(same, "teacher", "1") == mine
    others = [
        digest(candidate, "other", "1"),
        digest(candidate, "teacher", "2"),
        *(
            digest(changed, "teacher", "1")
            for changed in (
                replace(candidate, seed=1),
                replace(candidate, refit=0),
                replace(candidate, recipe=Recipe(steps=7)),
                replace(candidate, architecture=narrowed(TINY, keep=0.4)),
                replace(candidate, data=replace(candidate.data, judged_count=2)),
            )
        ),
    ]
    assert len({mine, *others}) == 8
