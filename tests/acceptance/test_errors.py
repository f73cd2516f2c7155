"""Whatever a user gets wrong is one screen that says what to do; never a traceback."""

import io
import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.acceptance.conftest import Ran

Command = Callable[..., Ran]


@pytest.fixture
def sequence(tmp_path: Path) -> Path:
    """A folder of three pictures with boxes."""
    folder = tmp_path / "walk"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        picture = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
        assert cv2.imwrite(str(folder / f"{number:04d}.jpg"), picture)
    (folder / "groundtruth.txt").write_text("10,10,20,20\n12,10,20,20\n14,10,20,20\n")
    return folder


def teaches(ran: Ran, *words: str) -> None:
    """Exit code 2, one screen, these words, no traceback."""
    assert ran.code == 2, ran.err
    assert "Traceback" not in ran.err + ran.out
    assert len(ran.err.strip().splitlines()) <= 25
    for word in words:
        assert word in ran.err, f"{word!r} is not in: {ran.err}"


def test_a_video_that_does_not_exist(paretrack: Command, tmp_path: Path) -> None:
    ran = paretrack("track", tmp_path / "none.mp4", "--box", "1,2,3,4")
    teaches(ran, "none.mp4", "no such video")


def test_a_file_that_is_no_video(paretrack: Command, tmp_path: Path) -> None:
    for name in ("text.mp4", "text.txt"):
        (tmp_path / name).write_text("this is not a video")
        teaches(paretrack("track", tmp_path / name, "--box", "1,2,3,4"), name)


def test_a_corrupt_image(paretrack: Command, sequence: Path, tmp_path: Path) -> None:
    broken = sequence / "0001.jpg"
    broken.write_bytes(broken.read_bytes()[:300])

    ran = paretrack("track", sequence, "--box", "10,10,20,20", "--out", tmp_path / "out")
    teaches(ran, "0001.jpg")
    checked = paretrack("dataset", "check", "folder", sequence, "--json")
    assert checked.code == 1
    assert "0001.jpg" in checked.out


def test_a_picture_of_another_size(paretrack: Command, sequence: Path, tmp_path: Path) -> None:
    assert cv2.imwrite(str(sequence / "0002.jpg"), np.zeros((50, 70, 3), np.uint8))
    ran = paretrack("track", sequence, "--box", "10,10,20,20", "--out", tmp_path / "out")
    teaches(ran, "0002.jpg", "70x50", "80x60")


@pytest.mark.parametrize("device", ["meta", "gpu", "cuda:99"])
def test_a_device_that_is_not_here(paretrack: Command, sequence: Path, device: str) -> None:
    ran = paretrack("track", sequence, "--box", "10,10,20,20", "--device", device)
    teaches(ran, f"'{device}' cannot be used here", "usable: cpu")


def test_a_missing_ground_truth(paretrack: Command, sequence: Path) -> None:
    (sequence / "groundtruth.txt").unlink()
    ran = paretrack("dataset", "show", "folder", "sheet.png", "--root", sequence, "--split", "all")
    teaches(ran, "groundtruth.txt")


@pytest.mark.parametrize("row", ["nan,nan,nan,nan", "500,500,20,20", "10,10,0,5", "10,10,x,5"])
def test_a_box_that_cannot_be(paretrack: Command, sequence: Path, row: str) -> None:
    (sequence / "groundtruth.txt").write_text(f"{row}\n12,10,20,20\n14,10,20,20\n")
    ran = paretrack("dataset", "show", "folder", "sheet.png", "--root", sequence, "--split", "all")
    teaches(ran, "groundtruth.txt", "line 1")


@pytest.mark.parametrize(
    "box", ["nan,1,5,5", "900,900,5,5", "1,2,3", "a,b,c,d", "1,1,0,4", "1,2,1e5,1e5"]
)
def test_a_first_box_that_shows_nothing(paretrack: Command, sequence: Path, box: str) -> None:
    teaches(paretrack("track", sequence, "--box", box), "--box")


def test_a_checkpoint_of_no_bytes(paretrack: Command, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pth"
    empty.touch()
    ran = paretrack("checkpoint", "import", empty, tmp_path / "out", "--preset", "ostrack-tiny")
    teaches(ran, "empty.pth", "0 bytes")
    assert not (tmp_path / "out").exists()


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("legacy", [True, False])
def test_a_pickle_bomb_as_checkpoint_does_not_go_off(
    paretrack: Command, tmp_path: Path, legacy: bool
) -> None:
    bomb, crater = tmp_path / "bomb.pth", tmp_path / "crater"
    payload = pickle.dumps({"state_dict": Bomb(crater)})
    if not legacy:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("bomb/data.pkl", payload)
            file.writestr("bomb/version", "3\n")
        payload = archive.getvalue()
    bomb.write_bytes(payload)

    ran = paretrack("checkpoint", "import", bomb, tmp_path / "out", "--preset", "ostrack-tiny")

    teaches(ran, "bomb.pth")
    assert not crater.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("export", "bundle", "--tracker", "nothing"), ("no tracker named 'nothing'",)),
        (("evaluate", "--keep", "2"), ("share to keep", "2")),
        (("evaluate", "--dataset", "got10k"), ("--root",)),
        (("evaluate", "--dataset", "nights"), ("nights", "synthetic", "otb")),
        (("evaluate", "--rules", "mine"), ("mine", "got10k", "ostrack-lasot")),
        (("evaluate", "--width", "stem"), ("--width", "NAME=UNITS", "stem")),
        (("evaluate", "--probe", "wishful"), ("wishful", "onnx_runtime")),
        (("evaluate", "--recipe", "none.json"), ("none.json",)),
        (("train", "out"), ("--preset",)),
        (("train", "out", "--preset", "none", "--steps", "1"), ("siamrpn-small",)),
        (("train", "out", "--preset", "siamrpn-tiny"), ("--steps",)),
        (("dataset", "generate", "nights"), ("nights", "train")),
        (("dataset", "check", "nothing", "."), ("nothing", "otb")),
        (("checkpoint", "import", "a.pth", "b", "--preset", "x"), ("ostrack-256",)),
    ],
)
def test_a_wrong_word_is_answered_with_the_right_ones(
    paretrack: Command, arguments: tuple[str, ...], words: tuple[str, ...], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("PARETRACK_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    teaches(paretrack(*arguments), *words)


@pytest.mark.parametrize(
    ("arguments", "kind", "word"),
    [
        (("evaluate", "--dataset", "nights", "--json"), "DatasetError", "synthetic"),
        (("evaluate", "--json", "--probe", "wishful"), "ParetrackError", "onnx_runtime"),
        (("export", "bundle", "--tracker", "nothing", "--json"), "ParetrackError", "nothing"),
        (("evaluate", "--json", "--stepz", "3"), "NoSuchOption", "--steps"),
        (("evaluate", "--json", "--steps", "-1"), "BadParameter", "--steps"),
        (("train", "--json"), "MissingParameter", "out"),
    ],
)
def test_to_a_program_an_error_is_one_json_object_on_standard_error(
    paretrack: Command, arguments: tuple[str, ...], kind: str, word: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("PARETRACK_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    ran = paretrack(*arguments)
    assert (ran.code, ran.out) == (2, "")
    told = json.loads(ran.err)
    assert told["error"]["kind"] == kind
    assert word in told["error"]["message"]


def test_the_installed_command_says_it_so_too(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("paretrack")
    ran = subprocess.run(
        [command, "evaluate", "--json", "--stepz", "3"],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (2, "")
    assert json.loads(ran.stderr)["error"]["kind"] == "NoSuchOption"


def test_with_json_help_is_help_and_success_says_nothing_else(
    paretrack: Command, sequence: Path, tmp_path: Path
) -> None:
    assert "Usage" in paretrack("evaluate", "--json", "--help").out
    ran = paretrack("dataset", "show", "folder", tmp_path / "sheet.png", "--root", sequence,
                    "--split", "all", "--json")  # fmt: skip
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(ran.out)["sequences"] == ["walk"]
