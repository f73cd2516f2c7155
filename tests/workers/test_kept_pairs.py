"""Pairs that are kept for the next candidate are those that it would have drawn itself."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from search_spaces import load
from tests.workers.test_evaluation import TINY, write_folder
from workers._kept_pairs import Shown, shown, to_judge_on, to_refit_on
from workers.candidate import Candidate, Data
from workers.checkpoints import save_tracker
from workers.datasets import Sequence, folder
from workers.evaluation import evaluate
from workers.judge import validation_pairs
from workers.pairs import PLAIN, Pairs, PairSource
from workers.pruning.widths import narrowed
from workers.training import fresh_network

GEOMETRY = load("siamrpn").geometry(TINY)


def forget() -> None:
    for kept in (to_refit_on, to_judge_on):
        kept.cache_clear()


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    forget()
    yield
    forget()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_folder(tmp_path / "data", 2, 5)
    return tmp_path / "data"


def now(root: Path) -> Shown:
    return shown(folder.load(root, "all"))


def refitted_on(data: Shown, seed: int = 0, count: int = 3) -> Pairs:
    return to_refit_on(data, GEOMETRY, PLAIN, seed, count)


def alike(a: Pairs, b: Pairs) -> bool:
    names = ("templates", "searches", "boxes", "same")
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)


def test_the_same_data_are_drawn_from_once(root: Path) -> None:
    first = refitted_on(now(root))
    assert refitted_on(now(root)) is first
    sequences: list[Sequence] = folder.load(root, "all")
    assert alike(first, PairSource(sequences, GEOMETRY, PLAIN, 0).batch(0, 3))
    judged = to_judge_on(now(root), GEOMETRY)
    assert to_judge_on(now(root), GEOMETRY) is judged
    anew = validation_pairs(sequences, GEOMETRY)
    assert all(alike(a, b) for a, b in zip(judged, anew, strict=True))


def test_everything_that_decides_pairs_tells_them_apart(root: Path) -> None:
    data = now(root)
    wider = replace(GEOMETRY, search_size=GEOMETRY.search_size + 8)
    found = [
        refitted_on(data),
        refitted_on(data, seed=1),
        refitted_on(data, count=4),
        to_refit_on(data, wider, PLAIN, 0, 3),
        to_refit_on(data, GEOMETRY, replace(PLAIN, flip=1.0), 0, 3),
        refitted_on(shown(data.sequences[:1])),
    ]
    assert not any(alike(a, b) for n, a in enumerate(found) for b in found[:n])


def test_a_changed_box_is_noticed(root: Path) -> None:
    before = refitted_on(now(root))
    for path in root.glob("*/groundtruth.txt"):
        moved = np.loadtxt(path, delimiter=",") + np.array([1, 0, 0, 0])
        np.savetxt(path, moved, fmt="%d", delimiter=",")
    assert not alike(refitted_on(now(root)), before)


def test_pictures_that_were_put_in_the_place_of_others_are_noticed(root: Path) -> None:
    before = refitted_on(now(root))
    for path in root.glob("*/*.png"):
        new = path.with_name("new.png")
        assert cv2.imwrite(str(new), 255 - cv2.imread(str(path)))
        new.replace(path)
    assert not alike(refitted_on(now(root)), before)


def test_a_copy_of_the_data_elsewhere_is_drawn_from_anew(root: Path, tmp_path: Path) -> None:
    first = refitted_on(now(root))
    write_folder(tmp_path / "copy", 2, 5)
    again = refitted_on(now(tmp_path / "copy"))
    assert again is not first and alike(again, first)


def test_a_candidate_is_judged_alike_whatever_was_judged_before_it(
    root: Path, tmp_path: Path
) -> None:
    save_tracker(tmp_path / "teacher", TINY, fresh_network(TINY, seed=0))
    data = Data(dataset="folder", root=root, train="all", judged_on="all")
    candidate = Candidate(
        teacher=tmp_path / "teacher",
        architecture=narrowed(TINY, keep=0.5),
        refit=8,
        data=data,
        probes=(),
    )
    evaluate(replace(candidate, architecture=narrowed(TINY, keep=0.7)), tmp_path / "a", until=0)
    after = evaluate(candidate, tmp_path / "b", until=0)
    assert to_refit_on.cache_info().hits == 1
    forget()
    alone = evaluate(candidate, tmp_path / "c", until=0)
    assert after.inherited == alone.inherited is not None
    weights = [tmp_path / name / "inherited" / "weights.safetensors" for name in ("b", "c")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
