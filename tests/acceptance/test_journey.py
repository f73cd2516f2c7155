"""The commands one after the other, as a user takes them, on little data."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.acceptance.conftest import Ran
from tests.workers.test_evaluation import write_folder
from workers.checkpoints import load_tracker, weights_sha256

Command = Callable[..., Ran]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PARETRACK_HOME", str(tmp_path / "home"))
    return tmp_path


def answer(ran: Ran) -> dict[str, object]:
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert isinstance(found, dict)
    return found


def test_from_data_to_a_bundle_that_tracks(paretrack: Command, home: Path) -> None:
    little = ("--train-count", 4, "--count", 3)
    teacher, candidate, bundle = home / "teacher", home / "candidate", home / "bundle"

    made = answer(paretrack("dataset", "generate", "val", "train", "--count", 4, "--json"))
    assert all(Path(str(folder)).is_dir() for folder in made.values())
    assert paretrack("dataset", "check", "synthetic", home / "home" / "data").code == 0

    recipe = ("--preset", "siamrpn-tiny", "--steps", 3, "--batch", 4)
    answer(paretrack("train", teacher, *recipe, *little, "--json"))
    assert {path.name for path in teacher.iterdir()} >= {
        "architecture.json", "weights.safetensors", "recipe.json", "curve.json", "curve.png",
    }  # fmt: skip

    cut = (
        "--teacher",
        teacher,
        "--keep",
        0.5,
        "--steps",
        2,
        "--probe",
        "eager",
        "--out",
        candidate,
    )
    measured = answer(paretrack("evaluate", *cut, *little, "--json"))
    assert measured["state"] == "COMPLETE"
    assert json.loads((candidate / "measurement.json").read_text()) == measured

    answer(paretrack("export", bundle, "--tracker", candidate, "--json"))
    assert paretrack("export", bundle, "--tracker", candidate).code == 2
    assert paretrack("export", bundle, "--tracker", candidate, "--force").code == 0

    write_folder(home / "video", 1, 6)
    video, box = home / "video" / "square-0", "40,50,16,16"
    tracked = answer(
        paretrack(
            "track", video, "--box", box, "--tracker", candidate, "--out", home / "o", "--json"
        )
    )
    ours = np.loadtxt(str(tracked["boxes"]), delimiter=",")
    assert ours.shape == (6, 4)
    drawn = cv2.VideoCapture(str(tracked["video"]))
    assert int(drawn.get(cv2.CAP_PROP_FRAME_COUNT)) == 6
    drawn.release()

    theirs = home / "theirs.txt"
    subprocess.run(
        [sys.executable, bundle / "track.py", video, "--box", box, "--out", theirs],
        check=True, capture_output=True,
    )  # fmt: skip
    np.testing.assert_allclose(np.loadtxt(theirs, delimiter=","), ours, atol=0.06)


def test_training_that_was_finished_is_not_done_again(paretrack: Command, home: Path) -> None:
    words = ("train", home / "t", "--preset", "siamrpn-tiny", "--steps", 2, "--batch", 2,
             "--train-count", 2, "--count", 2)  # fmt: skip
    assert paretrack(*words).code == 0
    before = weights_sha256(load_tracker(home / "t")[1].state_dict())
    assert paretrack(*words).code == 0
    assert weights_sha256(load_tracker(home / "t")[1].state_dict()) == before


def test_a_contact_sheet_can_be_looked_at(paretrack: Command, home: Path) -> None:
    sheet = home / "sheet.png"
    assert paretrack("dataset", "show", "synthetic", sheet, "--count", 2).code == 0
    picture = cv2.imread(str(sheet))
    assert picture is not None
    assert picture.shape[1] > 600
    assert picture.std() > 10


def test_the_shipped_teachers_need_their_templates(paretrack: Command, home: Path) -> None:
    from workers.teachers import names

    assert names() == ["ostrack-synthetic", "siamrpn-synthetic"]
    for teacher in names():
        ran = paretrack("dataset", "validity", "synthetic", "--tracker", teacher, "--count", 32,
                        "--json")  # fmt: skip
        found = json.loads(ran.out)
        assert ran.code == 0, found["failures"]
        assert found["validity"]["average_overlap"] > 0.45


def test_the_doctor_finds_what_the_tests_themselves_use(paretrack: Command, home: Path) -> None:
    found = answer(paretrack("doctor", "--json"))
    states = {finding["what"]: finding["state"] for finding in found["findings"]}  # type: ignore[attr-defined]
    assert {states[name] for name in ("python", "torch", "onnxruntime", "sqlite", "home")} == {"ok"}
    assert states["video files"] == "ok"
    assert states["postgresql"] == "absent"
