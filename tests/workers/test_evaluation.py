"""The story of one candidate, with real parts at small size."""

import json
from dataclasses import replace
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest
import torch

from search_spaces import ParetrackError, architecture_from_json, load
from tests.workers.datasets import miniature
from tests.workers.pruning.test_refit import doubled, even, first, halved
from tests.workers.test_tracking import moving_square
from workers import datasets
from workers.accuracy import RULES, Tracked, accuracy, rules_named
from workers.boxes_file import read_boxes
from workers.candidate import Candidate, Data, read_measurement
from workers.checkpoints import load_tracker, save_tracker
from workers.datasets import DatasetError
from workers.evaluation import Happening, evaluate, sequences
from workers.latency import SPLITS, Split
from workers.pruning import METHODS
from workers.pruning._surgery import Scorer
from workers.pruning.widths import narrowed
from workers.training import Recipe, fresh_network

TINY = load("siamrpn").PRESETS["siamrpn-tiny"]


def write_folder(root: Path, count: int, length: int) -> None:
    """Moving squares as a user's own pictures."""
    for number in range(count):
        sequence = moving_square(length, 2, number)
        folder = root / f"square-{number}"
        folder.mkdir(parents=True)
        for t in range(length):
            assert cv2.imwrite(str(folder / f"{t:04d}.png"), sequence.frames[t][..., ::-1])
        np.savetxt(folder / "groundtruth.txt", sequence.boxes, fmt="%d", delimiter=",")


def tiny_candidate(root: Path) -> Candidate:
    """Half of a tiny teacher; it and its data are below ``root``, made where they are absent."""
    if not (root / "teacher").exists():
        write_folder(root / "data", 3, 6)
        save_tracker(root / "teacher", TINY, fresh_network(TINY, seed=0))
    return Candidate(
        teacher=root / "teacher",
        architecture=narrowed(TINY, keep=0.5),
        refit=8,
        recipe=Recipe(steps=4, batch=4),
        data=Data(dataset="folder", root=root / "data", train="all", judged_on="all"),
        probes=("eager",),
    )


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    return tiny_candidate(tmp_path_factory.mktemp("story"))


def test_the_whole_story_leaves_a_tracker_its_boxes_and_a_measurement(
    candidate: Candidate, tmp_path: Path
) -> None:
    heard: list[Happening] = []

    found = evaluate(candidate, tmp_path, watch=heard.append)

    assert found.state == "COMPLETE", found.reason
    assert found.cost is not None and found.accuracy is not None
    assert found.cost.macs_frame < 0.5e6
    assert found.latency["eager"].step.median_ms > 0
    assert found.latency["eager"].track is not None
    assert [moment.step for moment in found.curve][-1] == 4
    assert found.inherited != found.recovered
    assert set(found.seconds) == {
        "build", "cost", "latency, eager", "refit", "inherited accuracy", "recovery", "accuracy",
        "latency by layer, eager",
    }  # fmt: skip
    assert {happening.step for happening in heard} >= set(found.seconds)
    architecture, network = load_tracker(tmp_path)
    assert architecture == candidate.architecture
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert parameters == found.cost.parameters
    boxes = read_boxes(tmp_path)
    assert {name: rows.shape for name, rows in boxes.items()} == {
        f"square-{n}": (6, 4) for n in range(3)
    }
    stored = json.loads((tmp_path / "measurement.json").read_text())
    assert stored["accuracy"]["average_overlap"]["value"] == found.accuracy.average_overlap.value
    told = stored["candidate"]
    assert architecture_from_json(told["architecture"]) == candidate.architecture
    assert (told["seed"], told["recipe"]["steps"], told["data"]["dataset"]) == (0, 4, "folder")
    assert len(stored["teacher_sha256"]) == 64


def test_a_step_that_nobody_can_look_into_is_a_note_and_no_failure(
    candidate: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> Split:
        raise RuntimeError("the profiler fell asleep")

    quick = replace(candidate, recipe=None)
    monkeypatch.setitem(cast(dict[str, object], SPLITS), "eager", fail)
    found = evaluate(quick, tmp_path / "a")
    assert (found.state, found.split, found.tracker) == ("COMPLETE", {}, tmp_path / "a")
    last = found.gates[-1]
    assert (last.name, last.verdict) == ("latency by layer, eager", "failed")
    assert last.note == "RuntimeError: the profiler fell asleep"
    monkeypatch.delitem(cast(dict[str, object], SPLITS), "eager")
    assert "does not tell modules apart" in evaluate(quick, tmp_path / "b").gates[-1].note


def test_what_was_measured_before_steps_were_looked_into_is_read(
    candidate: Candidate, tmp_path: Path
) -> None:
    quick = replace(candidate, recipe=None)
    now = evaluate(quick, tmp_path)
    path = tmp_path / "measurement.json"
    assert read_measurement(path, quick) == now
    assert now.split["eager"].self_ms.keys() > {"backbone.conv1"}
    older = json.loads(path.read_text())
    del older["split"]
    path.write_text(json.dumps(older))
    assert read_measurement(path, quick) == replace(now, split={})


def test_what_a_probe_keeps_for_the_end_is_gone_then(candidate: Candidate, tmp_path: Path) -> None:
    quick = replace(candidate, recipe=None, probes=("onnx_runtime",))
    evaluate(quick, tmp_path, until="gates")
    assert not (tmp_path / "timed-onnx_runtime").exists(), "nobody may come back for it"
    evaluate(replace(quick, seed=1), tmp_path, until=0)
    assert (tmp_path / "timed-onnx_runtime").exists()
    found = evaluate(replace(quick, seed=1), tmp_path)
    assert found.split["onnx_runtime"].self_ms
    assert not list(tmp_path.glob("timed-*"))


def test_the_same_seed_gives_the_same_accuracy_and_weights(
    candidate: Candidate, tmp_path: Path
) -> None:
    quick = replace(candidate, probes=())
    a = evaluate(quick, tmp_path / "a")
    b = evaluate(quick, tmp_path / "b")
    c = evaluate(replace(quick, seed=1), tmp_path / "c")

    def bits(name: str) -> list[torch.Tensor]:
        return list(load_tracker(tmp_path / name)[1].state_dict().values())

    assert a.accuracy is not None and b.accuracy is not None
    assert a.accuracy.overlap_of == b.accuracy.overlap_of
    assert all(torch.equal(x, y) for x, y in zip(bits("a"), bits("b"), strict=True))
    assert not all(torch.equal(x, y) for x, y in zip(bits("a"), bits("c"), strict=True))
    assert c.state == "COMPLETE"


def test_the_teacher_itself_is_a_candidate(candidate: Candidate, tmp_path: Path) -> None:
    found = evaluate(replace(candidate, architecture=TINY, recipe=None, probes=()), tmp_path)
    assert found.state == "COMPLETE"
    assert found.recovered is None and found.curve == ()
    teacher, kept = load_tracker(candidate.teacher)[1], load_tracker(tmp_path)[1]
    assert all(
        torch.equal(x, y)
        for x, y in zip(teacher.state_dict().values(), kept.state_dict().values(), strict=True)
    )


def test_a_refit_brings_a_cut_network_back_to_its_teacher(
    candidate: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teacher has every channel twice, so that a half of it can do the same."""
    monkeypatch.setitem(cast(dict[str, Scorer], METHODS), "first", first)
    architecture = even("siamrpn-tiny")
    save_tracker(tmp_path / "doubled", architecture, doubled(architecture))
    plain = replace(
        candidate, teacher=tmp_path / "doubled", architecture=halved(architecture),
        pruning="first", recipe=None, probes=(),
    )  # fmt: skip
    whole = evaluate(replace(plain, architecture=architecture), tmp_path / "whole").inherited
    heard: list[Happening] = []

    refitted = evaluate(replace(plain, refit=64), tmp_path / "a", watch=heard.append)
    again = evaluate(replace(plain, refit=64), tmp_path / "b")
    as_cut = evaluate(replace(plain, refit=0), tmp_path / "c")

    assert whole and refitted.inherited and as_cut.inherited
    assert refitted.inherited == again.inherited
    assert abs(refitted.inherited.loss - whole.loss) < 0.1 * abs(as_cut.inherited.loss - whole.loss)
    assert "refit" in refitted.seconds and "refit" not in as_cut.seconds
    told = [(h.done, h.total) for h in heard if h.step == "refit"][1:]
    assert told == [(i, len(told)) for i in range(1, len(told) + 1)]


def test_what_is_not_cut_and_what_inherits_nothing_is_not_refitted(
    candidate: Candidate, tmp_path: Path
) -> None:
    plain = replace(candidate, recipe=None, probes=())
    random = evaluate(replace(plain, weights="random"), tmp_path / "random")
    uncut = evaluate(replace(plain, architecture=TINY), tmp_path / "uncut")
    assert "refit" not in random.seconds and "refit" not in uncut.seconds


def test_a_refit_without_anything_to_look_at_says_how_to_go_without(
    candidate: Candidate, tmp_path: Path
) -> None:
    data = replace(candidate.data, train="nothing")
    plain = replace(candidate, data=data, recipe=None, probes=())
    with pytest.raises(DatasetError, match=r"nothing.*refit 0"):
        evaluate(plain, tmp_path)
    assert evaluate(replace(plain, refit=0), tmp_path).state == "COMPLETE"
    with pytest.raises(ParetrackError, match="-1"):
        replace(candidate, refit=-1)


def test_random_weights_inherit_nothing(candidate: Candidate, tmp_path: Path) -> None:
    plain = replace(candidate, recipe=None, probes=())
    inherited = evaluate(plain, tmp_path / "inherited")
    random = evaluate(replace(plain, weights="random"), tmp_path / "random")
    assert inherited.inherited != random.inherited


def test_a_candidate_that_fails_is_a_measurement_with_a_reason(
    candidate: Candidate, tmp_path: Path
) -> None:
    diverging = Recipe(steps=30, learning_rate=1e30, clip=None, warmup=0.0)
    found = evaluate(replace(candidate, recipe=diverging, probes=()), tmp_path)
    assert found.state == "FAILED"
    assert found.reason is not None and "lower the learning rate" in found.reason
    assert found.cost is not None
    assert json.loads((tmp_path / "measurement.json").read_text())["state"] == "FAILED"


def test_a_failed_candidate_leaves_nothing_of_the_one_before(
    candidate: Candidate, tmp_path: Path
) -> None:
    evaluate(replace(candidate, probes=(), recipe=None), tmp_path)
    assert (tmp_path / "weights.safetensors").exists()
    diverging = Recipe(steps=30, learning_rate=1e30, clip=None, warmup=0.0)
    evaluate(replace(candidate, recipe=diverging, probes=()), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["measurement.json"]


def test_data_that_is_not_there_is_not_the_candidates_fault(
    candidate: Candidate, tmp_path: Path
) -> None:
    nowhere = replace(candidate.data, root=tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="nowhere"):
        evaluate(replace(candidate, data=nowhere), tmp_path / "out")


def test_a_folder_that_cannot_be_written_is_said_before_any_work(
    candidate: Candidate, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file")
    heard: list[Happening] = []
    with pytest.raises(ParetrackError, match="taken cannot be written"):
        evaluate(candidate, tmp_path / "taken", watch=heard.append)
    assert heard == []


def test_a_sequence_without_judged_frames_is_null_in_the_document(
    candidate: Candidate, tmp_path: Path
) -> None:
    write_folder(tmp_path / "data", 2, 6)
    write_folder(tmp_path / "more", 1, 1)
    (tmp_path / "more" / "square-0").rename(tmp_path / "data" / "single")
    data = replace(candidate.data, root=tmp_path / "data")
    evaluate(replace(candidate, data=data, probes=(), recipe=None), tmp_path / "out")
    text = (tmp_path / "out" / "measurement.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["accuracy"]["overlap_of"]["single"] is None


def test_a_data_set_is_judged_by_its_own_rules_in_the_pixels_of_its_files(
    candidate: Candidate, tmp_path: Path
) -> None:
    write_folder(tmp_path / "squares", 2, 6)
    for folder in (tmp_path / "squares").iterdir():
        home = tmp_path / "otb" / folder.name
        (home / "img").mkdir(parents=True)
        for picture in folder.glob("*.png"):
            picture.rename(home / "img" / picture.name)
        (folder / "groundtruth.txt").rename(home / "groundtruth_rect.txt")
    data = Data(dataset="otb", root=tmp_path / "otb", judged_on="all")
    as_they_are = replace(candidate, data=data, probes=(), recipe=None, refit=0)

    own = evaluate(as_they_are, tmp_path / "own").accuracy
    asked = evaluate(
        replace(as_they_are, data=replace(data, rules="got10k")), tmp_path / "asked"
    ).accuracy

    assert own is not None and asked is not None
    assert (own.rules, asked.rules) == ("pysot-otb", "got10k")
    assert own.precision is not None and asked.precision is None
    found = [
        Tracked(
            name=s.name, predicted=read_boxes(tmp_path / "own")[s.name], truth=s.boxes,
            first_pixel=1,
        )
        for s in sequences(data, "all", None)
    ]  # fmt: skip
    expected = accuracy(found, rules_named("pysot-otb"))
    assert own.success is not None
    assert own.success.value == expected.value("success")
    assert own.precision.value == expected.value("precision")


def test_the_rules_of_every_data_set_exist() -> None:
    by_default = {name: datasets.rules(name) for name in datasets.DATASETS}
    assert set(by_default.values()) <= set(RULES)
    assert by_default["got10k"] == by_default["synthetic"] == by_default["folder"] == "got10k"
    assert (by_default["otb"], by_default["lasot"]) == ("pysot-otb", "pysot-lasot")


def test_data_without_published_truth_are_not_judged_on(
    candidate: Candidate, tmp_path: Path
) -> None:
    miniature.got10k(tmp_path / "got", "test")
    for boxes in (tmp_path / "got" / "test").glob("*/groundtruth.txt"):
        boxes.write_text(boxes.read_text().splitlines()[0] + "\n")
    data = Data(dataset="got10k", root=tmp_path / "got", judged_on="test")
    with pytest.raises(DatasetError, match="not published"):
        evaluate(replace(candidate, data=data), tmp_path / "never")
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(
    ("change", "known"),
    [
        ({"probes": ("wishful",)}, "eager"),
        ({"pruning": "wishful"}, "magnitude"),
        ({"recovery": "wishful"}, "finetune"),
        ({"data": Data(dataset="wishful", root=Path())}, "lasot"),
        ({"data": Data(dataset="folder", root=Path(), rules="wishful")}, "pysot-otb"),
    ],
)
def test_a_name_that_nobody_knows_is_refused_before_any_work(
    candidate: Candidate, change: dict[str, object], known: str, tmp_path: Path
) -> None:
    with pytest.raises(ParetrackError, match=rf"wishful.*{known}"):
        evaluate(replace(candidate, **change), tmp_path / "never")  # type: ignore[arg-type]
    assert not (tmp_path / "never").exists()
