"""The bundle at a user's: its boxes are the product's own, with neither torch nor the product."""

import hashlib
import importlib.util
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from search_spaces import Geometry, TrackerNetwork, load
from workers import export
from workers.checkpoints import weights_sha256
from workers.datasets import Image, VideoFrames
from workers.export import ExportError, export_bundle
from workers.onnx_predictor import OnnxPredictor
from workers.predictor import TorchPredictor
from workers.tracking import track

BOX = (52.0, 41.0, 31.0, 27.0)
FRAMES = 40


class Bundle(NamedTuple):
    folder: Path
    architecture: Any
    network: TrackerNetwork
    geometry: Geometry


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bundle]:
    """Presets as bundles. An export takes seconds: each is made once."""
    folder = tmp_path_factory.mktemp("bundles")
    return cache(lambda preset: exported(preset, folder / preset))


@pytest.fixture(
    scope="module",
    params=[
        "ostrack-tiny",
        "siamrpn-tiny",
        pytest.param("ostrack-small", marks=pytest.mark.slow),
        pytest.param("siamrpn-small", marks=pytest.mark.slow),
    ],
)
def bundle(request: pytest.FixtureRequest, bundles: Callable[[str], Bundle]) -> Bundle:
    return bundles(request.param)


@pytest.fixture(scope="module")
def tiny(bundles: Callable[[str], Bundle]) -> Bundle:
    return bundles("siamrpn-tiny")


@pytest.fixture
def copied(tiny: Bundle, tmp_path: Path) -> Bundle:
    """A bundle that a test may break."""
    return tiny._replace(folder=Path(shutil.copytree(tiny.folder, tmp_path / "copied")))


@pytest.fixture(scope="module")
def script(tiny: Bundle) -> ModuleType:
    """track.py as a program of one's own imports it."""
    spec = importlib.util.spec_from_file_location("track", tiny.folder / "track.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "square.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (160, 120))
    for image in moving_square(seed=0):
        writer.write(image)
    writer.release()
    return path


def moving_square(seed: int) -> Iterator[Image]:
    """A textured square over a textured ground."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (12, 16, 3), np.uint8)
    ground = cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC)
    square = random.integers(0, 256, (27, 31, 3), np.uint8)
    for t in range(FRAMES):
        image = ground.copy()
        x, y = round(52 + 40 * math.sin(t / 9)), round(41 + 25 * math.sin(t / 7))
        image[y : y + 27, x : x + 31] = square
        yield image


def exported(preset: str, folder: Path, seed: int = 1) -> Bundle:
    family = load(preset.split("-")[0])
    architecture = family.PRESETS[preset]
    torch.manual_seed(seed)
    network = family.build(architecture)
    _vary_batch_norms(network)
    STEADIED[architecture.family](network)
    export_bundle(architecture, network, folder, provenance={"date": "2026-11-21", "by": "a test"})
    return Bundle(folder, architecture, network, family.geometry(architecture))


def steady_ostrack(network: Any) -> None:
    """Scores that differ, and boxes about as large as the target: untrained, they would grow."""
    head = network.box_head
    score, size, offset = (
        head.get_submodule(head.layers[branch][-1]) for branch in ("ctr", "size", "offset")
    )
    with torch.no_grad():
        score.weight *= 40
        size.weight *= 3
        size.bias.fill_(-math.log(2.0))  # through the sigmoid: a third of the search crop
        offset.bias.fill_(0.5)  # the middle of the cell


def steady_siamrpn(network: Any) -> None:
    """Scores neither 0 nor 1, and boxes near their anchors."""
    random = torch.Generator().manual_seed(0)
    sides = network.architecture.template_size, network.architecture.search_size
    network.eval()
    with torch.no_grad():
        crops = [torch.randn(1, 3, side, side, generator=random) for side in sides]
        cls, loc = network(*crops)
        for level in network.rpn_head.levels():
            level.cls.head[-1].weight *= 0.5 / cls.std()
            level.loc.head[-1].weight *= 0.2 / loc.std()


STEADIED = {"ostrack": steady_ostrack, "siamrpn": steady_siamrpn}


def _vary_batch_norms(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                nn.init.normal_(tensor, std=0.1)


def product_boxes(bundle: Bundle, images: list[Image], onnx: bool) -> NDArray[np.float64]:
    predictor: Any = (
        OnnxPredictor(bundle.folder, bundle.geometry)
        if onnx
        else TorchPredictor(bundle.network, bundle.geometry)
    )
    return track(predictor, images, np.array(BOX), bundle.geometry).boxes


def bundle_boxes(script: ModuleType, bundle: Bundle, images: list[Image]) -> NDArray[np.float64]:
    tracker = script.Tracker(bundle.folder)
    tracker.init(images[0], BOX)
    return np.array([BOX, *(tracker.track(image)[0] for image in images[1:])])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_boxes_equal_the_products_own(bundle: Bundle, script: ModuleType, seed: int) -> None:
    images = [image[..., ::-1].copy() for image in moving_square(seed)]
    boxes = bundle_boxes(script, bundle, images)
    assert len(np.unique(boxes, axis=0)) > FRAMES / 2  # or equality would mean little
    np.testing.assert_array_equal(boxes, product_boxes(bundle, images, onnx=True))
    np.testing.assert_allclose(boxes, product_boxes(bundle, images, onnx=False), atol=0.05, rtol=0)


# What a user's machine has: neither torch nor the product, nor what else the product needs.
WITHOUT_TORCH = """
import runpy, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "onnx", "search_spaces", "workers", "service"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
assert not {"torch", "workers"} & sys.modules.keys()
"""


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_TORCH, folder / "track.py", *arguments]
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, cwd=folder.parent, check=False
    )


def test_without_torch_the_boxes_of_a_video_equal_the_products_own(
    bundle: Bundle, video: Path, tmp_path: Path
) -> None:
    box = ",".join(map(str, BOX))
    drawn, out = tmp_path / "drawn.mp4", tmp_path / "boxes.txt"
    ran = run(bundle.folder, video, "--box", box, "--out", out, "--draw", drawn)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    frames = VideoFrames(video)
    expected = product_boxes(bundle, list(frames), onnx=True)
    rows = [",".join(f"{value:.3f}" for value in row) for row in expected]
    assert out.read_text().splitlines() == rows
    assert len(VideoFrames(drawn)) == FRAMES
    # The codec blurs the line, but on average it is greener than what it covers.
    line = np.s_[round(BOX[1]), round(BOX[0]) : round(BOX[0] + BOX[2])]
    assert VideoFrames(drawn)[0][line][:, 1].mean() > frames[0][line][:, 1].mean() + 50


def test_a_folder_of_pictures_is_read_in_natural_order_and_boxes_are_printed(
    tiny: Bundle, tmp_path: Path
) -> None:
    images = list(moving_square(3))[:12]
    for i, image in enumerate(images):
        assert cv2.imwrite(str(tmp_path / f"{i}.png"), image)
    (tmp_path / "notes.txt").write_text("not a picture")
    ran = run(tiny.folder, tmp_path, "--box", ",".join(map(str, BOX)))
    expected = product_boxes(tiny, [image[..., ::-1].copy() for image in images], onnx=True)
    assert ran.stdout.splitlines() == [",".join(f"{v:.3f}" for v in row) for row in expected]


@pytest.mark.parametrize("rate", [10, 29.97])
def test_a_drawn_video_is_as_fast_as_its_source(tiny: Bundle, tmp_path: Path, rate: float) -> None:
    path, drawn = tmp_path / "square.mp4", tmp_path / "drawn.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, (160, 120))
    for image in list(moving_square(seed=0))[:3]:
        writer.write(image)
    writer.release()
    ran = run(tiny.folder, path, "--box", ",".join(map(str, BOX)), "--draw", drawn)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert cv2.VideoCapture(str(drawn)).get(cv2.CAP_PROP_FPS) == pytest.approx(rate)


def test_pictures_of_other_sizes_are_drawn_as_large_as_the_first(
    tiny: Bundle, tmp_path: Path
) -> None:
    folder, drawn = tmp_path / "pictures", tmp_path / "drawn.mp4"
    folder.mkdir()
    white = [np.full((*size, 3), 255, np.uint8) for size in [(120, 160), (240, 320), (60, 80)]]
    white[1][:, 160:] = 0
    for i, image in enumerate(white):
        assert cv2.imwrite(str(folder / f"{i}.png"), image)
    ran = run(tiny.folder, folder, "--box", ",".join(map(str, BOX)), "--draw", drawn)
    assert (ran.returncode, ran.stderr) == (0, "")
    frames = VideoFrames(drawn)
    assert cv2.VideoCapture(str(drawn)).get(cv2.CAP_PROP_FPS) == 25
    assert [frame.shape for frame in frames] == [(120, 160, 3)] * 3
    # The larger one is shrunk to fit; the smaller lies in the corner, black around it.
    assert [round(frame.mean() / 255, 1) for frame in list(frames)[1:]] == [0.5, 0.2]


def test_the_description_says_what_was_exported(bundle: Bundle) -> None:
    description = json.loads((bundle.folder / "tracker.json").read_text())
    assert description["format"] == 1
    assert description["geometry"] == json.loads(json.dumps(asdict(bundle.geometry)))
    provenance = description["provenance"]
    assert (provenance["date"], provenance["by"]) == ("2026-11-21", "a test")
    assert provenance["architecture"]["family"] == bundle.architecture.family
    assert provenance["weights_sha256"] == weights_sha256(bundle.network.state_dict())
    assert provenance["opset"] == export.OPSET
    assert provenance.keys() > {"paretrack", "torch", "onnx", "parameters"}
    for name in ("template.onnx", "frame.onnx"):
        digest = hashlib.sha256((bundle.folder / name).read_bytes()).hexdigest()
        assert description["sha256"][name] == digest
    assert len((bundle.folder / "README.txt").read_text().splitlines()) == 2


def call(script: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """What the command says when it refuses; it never shows a traceback."""
    monkeypatch.setattr(sys, "argv", ["track.py", *arguments])
    monkeypatch.setattr(script.Tracker.__init__, "__defaults__", (folder, 1))
    with pytest.raises(SystemExit) as stopped:
        script.main()
    assert stopped.value.code
    return str(stopped.value.code)


@pytest.mark.parametrize(
    ("video_name", "box", "said"),
    [
        ("missing.mp4", "1,2,30,40", "missing.mp4: no such video or folder"),
        ("notes.txt", "1,2,30,40", "notes.txt: OpenCV finds no picture in it"),
        ("empty", "1,2,30,40", "empty: OpenCV finds no picture in it"),
        ("broken", "1,2,30,40", "1.jpg: not a picture that OpenCV can read"),
        ("square.mp4", "200,2,30,40", "(200.0, 2.0, 30.0, 40.0) is no box in a picture of 160x120"),
        ("square.mp4", "1,2,0,40", "is no box in a picture"),
        ("square.mp4", "nan,2,3,40", "is no box in a picture"),
        ("square.mp4", "1,2,inf,40", "is no box in a picture"),
        ("square.mp4", "1,2,1e6,40", "is no box in a picture"),
    ],
)
def test_what_a_user_gets_wrong_is_said_in_a_line(
    tiny: Bundle,
    script: ModuleType,
    video: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    video_name: str,
    box: str,
    said: str,
) -> None:
    (tmp_path / "notes.txt").write_text("no video")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "1.jpg").write_text("no picture")
    (tmp_path / "square.mp4").symlink_to(video)
    out = tmp_path / "boxes.txt"
    out.write_text("older boxes")
    path = str(tmp_path / video_name)
    message = call(script, tiny.folder, monkeypatch, path, "--box", box, "--out", str(out))
    assert said in message
    assert out.read_text() == "older boxes"


def test_a_box_that_is_not_four_numbers_is_a_usage_error(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(script, Path(), monkeypatch, "v.mp4", "--box", "1,2,3") == "2"
    assert "invalid x_y_w_h value: '1,2,3'" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_named(
    tiny: Bundle, script: ModuleType, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = str(tmp_path / "nowhere" / "boxes.txt")
    given = (str(video), "--box", "52,41,31,27")
    assert nowhere in call(script, tiny.folder, monkeypatch, *given, "--out", nowhere)
    drawn = nowhere.replace(".txt", ".mp4")
    assert drawn in call(script, tiny.folder, monkeypatch, *given, "--draw", drawn)


def test_a_damaged_bundle_is_refused_before_it_tracks(copied: Bundle, script: ModuleType) -> None:
    frame, description = copied.folder / "frame.onnx", copied.folder / "tracker.json"
    good = frame.read_bytes()
    frame.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(script.TrackError, match=r"frame\.onnx: not as it was written"):
        script.Tracker(copied.folder)
    frame.unlink()
    with pytest.raises(script.TrackError, match=r"not a complete exported tracker.*frame\.onnx"):
        script.Tracker(copied.folder)
    frame.write_bytes(good)
    script.Tracker(copied.folder)
    text = description.read_text()
    for wrong in ("", text[:200], "{}", "[1]"):
        description.write_text(wrong)
        with pytest.raises(script.TrackError, match="not a complete exported tracker"):
            script.Tracker(copied.folder)
    description.write_text(text.replace('"format": 1', '"format": 2', 1))
    with pytest.raises(script.TrackError, match=r"format 2; this track\.py reads format 1"):
        script.Tracker(copied.folder)


def test_a_folder_with_something_else_is_never_overwritten(tiny: Bundle, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("the only copy")
    for replace in (False, True):
        with pytest.raises(ExportError, match="holds something else than a tracker"):
            export_again(tiny, tmp_path, replace)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_bundle_is_replaced_only_when_asked_and_a_users_files_stay(
    copied: Bundle, tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ExportError, match="an exported tracker already"):
        export_again(copied, copied.folder, replace=False)
    (copied.folder / "boxes.txt").write_text("mine")
    (copied.folder / "frame.onnx").write_text("old")
    monkeypatch.setattr(export, "export_graphs", lambda *_: copy_graphs(tiny.folder, _[2]))
    export_again(copied, copied.folder, replace=True)
    assert (copied.folder / "boxes.txt").read_text() == "mine"
    new, old = (folder / "frame.onnx" for folder in (copied.folder, tiny.folder))
    assert new.read_bytes() == old.read_bytes()
    assert len(list(copied.folder.iterdir())) == 6
    assert list(copied.folder.parent.iterdir()) == [copied.folder]


def copy_graphs(source: Path, target: Path) -> None:
    for name in ("template.onnx", "frame.onnx"):
        shutil.copyfile(source / name, target / name)


def test_an_architecture_that_is_not_the_networks_is_refused(tiny: Bundle, tmp_path: Path) -> None:
    family = load("siamrpn")
    unit = family.units(tiny.architecture)[0]
    narrow = family.with_widths(tiny.architecture, {unit.name: unit.width - 1})
    with pytest.raises(ExportError, match=r"not what its architecture says.*backbone"):
        export_bundle(narrow, tiny.network, tmp_path / "new", provenance={})
    assert not list(tmp_path.iterdir())


def export_again(bundle: Bundle, folder: Path, replace: bool) -> None:
    export_bundle(bundle.architecture, bundle.network, folder, provenance={}, replace=replace)
