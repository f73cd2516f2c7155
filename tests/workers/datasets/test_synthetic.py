"""The files of the synthetic benchmark: made once, by anybody, whole, or a clear error."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from workers.datasets import DatasetError, Sequence, synthetic
from workers.datasets._synthetic.scene import set_up
from workers.datasets._synthetic.strata import configure


def pixels(sequences: list[Sequence]) -> bytes:
    return b"".join(s.frames[i].tobytes() for s in sequences for i in range(len(s.frames)))


def small(root: Path, processes: int = 1, **options: int) -> Path:
    return synthetic.generate(root, "val", count=3, length=2, processes=processes, **options)


def read(root: Path, **options: int) -> list[Sequence]:
    return synthetic.load(root, "val", count=3, length=2, **options)


def silent(_: str) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated part that no test changes."""
    home = tmp_path_factory.mktemp("synthetic")
    small(home)
    return home


def test_what_was_generated_is_what_the_scene_shows(root: Path) -> None:
    sequences = read(root)
    assert [s.name for s in sequences] == ["val-0000", "val-0001", "val-0002"]
    for index, sequence in enumerate(sequences):
        subject = set_up(configure("val", 0, index))
        shown = [subject.render(t) for t in subject.moments(2)]
        assert len(sequence.frames) == 2
        assert np.array_equal(sequence.frames[-1], shown[-1].frame)
        assert np.array_equal(sequence.boxes, [moment.box for moment in shown])
        assert sequence.attributes == subject.config.attributes
        assert sequence.numbers["distractors"] == subject.config.distractors
        assert sequence.numbers["visibility"] > 0.5
        assert sequence.numbers["speed"] > 0.01
    with pytest.raises(IndexError, match="no frame 2"):
        sequences[0].frames[2]


def test_a_frame_that_was_drawn_on_does_not_change_the_stored_one(root: Path) -> None:
    frames = read(root)[0].frames
    frames[0][:] = 0
    assert frames[0].any()


def test_cover_and_presence_follow_the_visible_share(tmp_path: Path) -> None:
    index = small(tmp_path) / "index.json"
    facts = json.loads(index.read_text())
    facts["sequences"][0]["visibility"] = [1.0, 0.0499]
    facts["sequences"][1]["visibility"] = [0.05, 0.126]
    index.write_text(json.dumps(facts))
    first, second, _ = read(tmp_path)
    assert first.cover is not None
    assert second.cover is not None
    assert [first.cover.tolist(), second.cover.tolist()] == [[8, 0], [1, 2]]
    assert [first.present.tolist(), second.present.tolist()] == [[True, False], [True, True]]


def test_two_processes_make_the_same_pixels_as_one(root: Path, tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    synthetic.generate(
        tmp_path, "val", count=3, length=2, processes=2, report=lambda *n: heard.append(n)
    )
    assert pixels(read(tmp_path)) == pixels(read(root))
    assert heard == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_an_interrupted_generation_leaves_nothing_half_done_and_goes_on(
    root: Path, tmp_path: Path
) -> None:
    def give_up(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthetic.generate(tmp_path, "val", count=3, length=2, processes=1, report=give_up)
    with pytest.raises(DatasetError, match="paretrack dataset generate val --count 3 --length 2"):
        read(tmp_path)
    heard: list[int] = []
    synthetic.generate(
        tmp_path, "val", count=3, length=2, processes=1, report=lambda done, _: heard.append(done)
    )
    assert heard == [2, 3]
    assert pixels(read(tmp_path)) == pixels(read(root))


def test_pixels_of_a_killed_writer_do_not_count(root: Path, tmp_path: Path) -> None:
    folder = small(tmp_path)
    unfinished = folder.rename(folder.with_name(folder.name + ".unfinished"))
    (unfinished / "index.json").unlink()
    (unfinished / "0001.npy").write_bytes(b"half")
    (unfinished / "0002.77.draft").write_bytes(b"half")
    small(tmp_path)
    assert pixels(read(tmp_path)) == pixels(read(root))
    assert sorted(path.name for path in folder.iterdir()) == [
        "0000.npy",
        "0001.npy",
        "0002.npy",
        "index.json",
    ]


def test_two_callers_at_once_make_it_once(root: Path, tmp_path: Path) -> None:
    heard: list[int] = []
    with ThreadPoolExecutor(2) as callers:
        answers = [
            callers.submit(
                synthetic.generate, tmp_path, "val", count=3, length=2, processes=1,
                report=lambda done, _: heard.append(done),
            )
            for _ in range(2)
        ]  # fmt: skip
        assert len({answer.result() for answer in answers}) == 1
    assert heard == [0, 1, 2, 3]
    assert pixels(read(tmp_path)) == pixels(read(root))


def test_what_is_there_is_not_made_again_until_it_is_removed(tmp_path: Path) -> None:
    folder = small(tmp_path)
    made = (folder / "0000.npy").stat().st_mtime_ns
    small(tmp_path)
    assert (folder / "0000.npy").stat().st_mtime_ns == made
    synthetic.remove(tmp_path, "val", count=3, length=2)
    assert not folder.exists()
    synthetic.remove(tmp_path / "nowhere", "val")
    small(tmp_path)
    assert synthetic.check(tmp_path, silent) == []


def test_another_seed_or_size_lies_in_another_folder(root: Path) -> None:
    with pytest.raises(DatasetError, match="generate val --seed 5 --count 3 --length 2"):
        read(root, seed=5)
    with pytest.raises(DatasetError, match="run `paretrack dataset generate hard`"):
        synthetic.load(root, "hard")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "0001.npy").write_bytes(b""), r"0001\.npy is damaged: it has 0 bytes"),
        (lambda f: (f / "0001.npy").unlink(), r"0001\.npy is damaged: it is missing"),
        (lambda f: (f / "index.json").write_text("{"), r"index\.json is damaged"),
        (lambda f: (f / "index.json").write_text("{}"), r"it should list 3 sequences"),
    ],
)
def test_a_damaged_file_is_named_with_what_to_do(
    tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(small(tmp_path))
    with pytest.raises(DatasetError, match=message) as caught:
        read(tmp_path)
    assert "--regenerate" in str(caught.value)
    assert [message_of.message for message_of in synthetic.check(tmp_path, silent)] != []


def test_an_index_of_another_version_is_refused(tmp_path: Path) -> None:
    index = small(tmp_path) / "index.json"
    index.write_text(index.read_text().replace(synthetic.VERSION, "synthetic-0"))
    with pytest.raises(DatasetError, match="should be about"):
        read(tmp_path)


def test_a_header_that_is_no_header_is_found_by_check(tmp_path: Path) -> None:
    path = small(tmp_path) / "0002.npy"
    path.write_bytes(b"x" * path.stat().st_size)
    [problem] = synthetic.check(tmp_path, silent)
    assert problem.path == path
    assert "0002.npy is damaged" in problem.message


def test_a_file_that_shrinks_after_loading_is_an_error_of_the_frame(tmp_path: Path) -> None:
    path = small(tmp_path) / "0002.npy"
    sequence = read(tmp_path)[2]
    os.truncate(path, path.stat().st_size - 10)
    with pytest.raises(DatasetError, match=r"0002\.npy is damaged: it ends within frame"):
        sequence.frames[len(sequence.frames) - 1]


def test_fewer_sequences_are_the_first_of_what_is_there_and_nothing_is_made_twice(
    tmp_path: Path,
) -> None:
    folder = small(tmp_path)
    everything = read(tmp_path)
    length = len(everything[0].frames)
    split = everything[0].name.partition("-")[0]

    made = synthetic.generate(tmp_path, split, count=2, length=length, processes=1)
    first = synthetic.load(tmp_path, split, count=2, length=length)

    assert made == folder
    assert [sequence.name for sequence in first] == [s.name for s in everything[:2]]
    assert (first[1].frames[0] == everything[1].frames[0]).all()


def test_check_hears_of_each_file_and_finds_one_changed_byte(tmp_path: Path) -> None:
    path = small(tmp_path) / "0001.npy"
    with path.open("r+b") as file:
        file.seek(-1000, os.SEEK_END)
        byte = file.read(1)
        file.seek(-1000, os.SEEK_END)
        file.write(bytes([byte[0] ^ 1]))
    heard: list[str] = []
    problems = synthetic.check(tmp_path, heard.append)
    assert [problem.path for problem in problems] == [path]
    assert len(heard) == 3
    [nothing] = synthetic.check(tmp_path / "empty", silent)
    assert "paretrack dataset generate" in nothing.message


@pytest.mark.parametrize("wrong", [{"count": 0}, {"length": 0}, {"seed": -1}, {"seed": 2**32}])
def test_a_size_or_seed_that_cannot_be_is_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(DatasetError, match="must be at least 1"):
        synthetic.generate(tmp_path, "val", **wrong)
    with pytest.raises(DatasetError, match="it has train, val, test, hard"):
        synthetic.load(tmp_path, "validation")


def test_a_place_that_cannot_be_written_is_named_with_the_room_it_takes(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DatasetError, match=r"cannot write .*file.*take 1 MB"):
        small(tmp_path / "file")
