"""The script in every bundle: what it needs, and that its loop is the product's, rule by rule."""

import ast
import importlib.util
import json
import sys
from dataclasses import asdict
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from search_spaces import Choice, Geometry, Normalisation
from workers import export
from workers.predictor import network_input
from workers.tracking import Follower

SCRIPT = Path(export.__file__).parent / "bundle" / "track.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """track.py as a module: only tests import it."""
    spec = importlib.util.spec_from_file_location("bundled_track", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_imports_three_packages_and_stays_short() -> None:
    source = SCRIPT.read_text()
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level
            imported.add(node.module.split(".")[0])
    assert imported - sys.stdlib_module_names == {"numpy", "cv2", "onnxruntime"}
    assert len(source.splitlines()) < 250


class Answers:
    """A network that has its answers ready, and remembers what it was asked."""

    def __init__(self, answers: list[list[NDArray[np.float32]]]) -> None:
        self.crops: list[NDArray[np.float32]] = []
        self._answers = iter(answers)

    def run(self, names: Any, feeds: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        self.crops.append(feeds["crop"])
        return next(self._answers)


geometries = st.builds(
    Geometry,
    template_size=st.integers(6, 20),
    search_size=st.integers(6, 40),
    rule=st.sampled_from(["factor", "context"]),
    template_factor=st.floats(0.5, 3),
    search_factor=st.floats(0.5, 5),
    context=st.floats(0, 1),
    padding=st.sampled_from(["zero", "mean"]),
    normalisation=st.builds(
        Normalisation,
        order=st.sampled_from(["rgb", "bgr"]),
        scale=st.sampled_from([1.0, 1 / 255]),
        mean=st.tuples(*[st.floats(0, 1)] * 3),
        std=st.tuples(*[st.floats(0.1, 2)] * 3),
    ),
    map_size=st.integers(1, 4),
    boxes_per_cell=st.integers(1, 3),
    choice=st.builds(
        Choice,
        window=st.sampled_from(["multiply", "blend"]),
        window_shape=st.sampled_from(["inner", "zero_border"]),
        window_weight=st.floats(0, 1),
        change_penalty=st.sampled_from([0.0, 0.05, 0.4]),
        size_rate=st.sampled_from([None, 0.3, 1.0]),
        clip=st.sampled_from(["corners", "centre"]),
        minimum_size=st.sampled_from([1.0, 10.0]),
    ),
)


@settings(deadline=None)
@given(
    geometry=geometries,
    box=st.tuples(*[st.floats(-20, 60)] * 2, *[st.floats(0.5, 80)] * 2),
    size=st.tuples(st.integers(12, 60), st.integers(12, 60)),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_rule_of_the_loop_is_reproduced_to_the_last_digit(
    script: ModuleType,
    geometry: Geometry,
    box: tuple[float, float, float, float],
    size: tuple[int, int],
    seed: int,
) -> None:
    assume(box[0] < size[0] and box[1] < size[1] and box[0] + box[2] > 0 and box[1] + box[3] > 0)
    assume(box[2] < 2 * size[0] and box[3] < 2 * size[1])
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (5, size[1], size[0], 3), np.uint8)
    count = geometry.boxes_per_cell * geometry.map_size**2
    scores = random.random((4, 1, count), np.float32)
    boxes = random.uniform(0.2, geometry.search_size, (4, 1, count, 4)).astype(np.float32)
    network = Answers([[scores[0]], *([s, b] for s, b in zip(scores, boxes, strict=True))])
    tracker = scripted(script, geometry, network)
    follower = Follower(geometry)

    tracker.init(images[0], box)
    crops = [follower.begin(images[0], np.array(box))]
    for image, s, b in zip(images[1:], scores, boxes, strict=True):
        crops.append(follower.look(image))
        score = follower.settle(s[0], b[0])
        assert tracker.track(image) == (follower.box, score)
    for crop, asked in zip(crops, network.crops, strict=True):
        np.testing.assert_array_equal(network_input(crop[None], geometry).numpy(), asked)


def scripted(script: ModuleType, geometry: Geometry, network: Answers) -> Any:
    """The bundled tracker around answers instead of graphs."""
    tracker = script.Tracker.__new__(script.Tracker)
    text = json.dumps(asdict(geometry))
    tracker.geometry = json.loads(text, object_hook=lambda fields: SimpleNamespace(**fields))
    tracker._template_network = tracker._frame_network = network
    tracker._cosine = script.cosine_window(tracker.geometry)
    return tracker
