"""The loop against the authors' trackers: what their code answered on tiny inputs made by formulas.

OSTRACK: botaoye/OSTrack 33b5e12, its OSTrack tracker with sample_target, clip_box and cal_bbox.
PYSOT: STVIR/pysot d04028f, SiamRPNTracker with get_subwindow, pictures given to it as BGR.
Both ran on a CPU, in float64, with the answers of ``maps`` and ``cls_loc`` instead of a network.
"""

import hashlib
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from search_spaces import Geometry, load
from search_spaces._layers.anchors import Anchors, anchor_boxes, decode_boxes
from search_spaces._layers.centre_head import decode_centres
from workers.datasets import Image
from workers.tracking import (
    Crops,
    Memory,
    cut,
    fill_colour,
    search_window,
    start,
    template_window,
    track,
)

OSTRACK = load("ostrack").geometry(load("ostrack").PRESETS["ostrack-256"])
PYSOT = load("siamrpn").geometry(load("siamrpn").PRESETS["siamrpn-r50"])
ANCHORS = Anchors(stride=8, ratios=(0.33, 0.5, 1.0, 2.0, 3.0), scale=8.0)
FIRST = (61.5, 40.25, 31.0, 22.5)


def picture(width: int, height: int) -> Image:
    y, x, channel = np.ogrid[:height, :width, :3]
    return np.asarray((7 * x + 13 * y + x * y + 40 * channel) % 251, dtype=np.uint8)


PICTURE = picture(140, 111)


def waves(planes: int, side: int, frame: int) -> Tensor:
    """(1, planes, side, side) between -1 and 1, without equal numbers, another one each frame."""
    count = np.arange(planes * side * side, dtype=np.float64)
    values = np.sin(0.37 * count + 1.3 * frame) * np.cos(0.0113 * count * (1 + frame % 3))
    return torch.from_numpy(values.reshape(1, planes, side, side))


def maps(frame: int) -> tuple[Tensor, Tensor, Tensor]:
    """Score, size and offset; the target seems to run to wander and to grow."""
    size = 0.25 + 0.1 * waves(2, 16, frame + 50) + 0.03 * frame
    return 0.5 + 0.4 * waves(1, 16, frame), size, 0.5 + 0.4 * waves(2, 16, frame + 20)


def cls_loc(frame: int) -> tuple[Tensor, Tensor]:
    loc = 0.5 * waves(20, 25, frame + 30)
    loc[:, :10] += 0.6  # to the right lower corner
    return 3 * waves(10, 25, frame), loc


class OneStreamAnswers:
    """A network of OSTrack's outputs, decoded by the product's own code."""

    def __init__(self) -> None:
        self.seen = 0

    def template(self, crops: Crops) -> Memory:
        return (crops,)

    def frame(self, crops: Crops, memory: Memory) -> tuple[NDArray[Any], NDArray[Any]]:
        self.seen += 1
        scores, boxes = decode_centres(maps(self.seen), OSTRACK.search_size)
        return scores.numpy(), boxes.numpy()


class AnchorAnswers(OneStreamAnswers):
    """A network of SiamRPN++'s outputs."""

    def frame(self, crops: Crops, memory: Memory) -> tuple[NDArray[Any], NDArray[Any]]:
        self.seen += 1
        cls, loc = cls_loc(self.seen)
        anchors = anchor_boxes(ANCHORS, PYSOT.map_size, PYSOT.search_size)
        boxes = decode_boxes(loc.reshape(1, 4, -1).transpose(1, 2), anchors)
        return cls.reshape(1, 2, -1).softmax(dim=1)[:, 1].numpy(), boxes.numpy()


class Crop(NamedTuple):
    """A crop that nobody resized: its side is the window's."""

    side: int
    sha256: str


def checksum(crop: Image) -> str:
    return hashlib.sha256(np.ascontiguousarray(crop).tobytes()).hexdigest()[:16]


def crops_of(image: Image, box: tuple[float, ...], geometry: Geometry) -> list[Crop]:
    """The template's crop and the search crop around the same box."""
    state, fill = start(np.array(box), geometry), fill_colour(PICTURE, geometry)
    windows = (template_window(state, geometry), search_window(state, geometry))
    return [Crop(w.side, checksum(cut(image, w, w.side, fill))) for w in windows]


@pytest.mark.parametrize(
    ("box", "template", "search"),
    [
        (FIRST, (53, "12792655337bf0da"), (106, "24f62aa34c8502b6")),
        ((50, 41, 20, 20), (40, "9ee79ce48f9da4c3"), (80, "4195dc326d23efa1")),
        ((50.5, 40.5, 21, 21), (42, "05d96a0be66351e5"), (84, "e6db5dfcf117540f")),
        ((-9.3, -4, 33, 12.6), (41, "d3d833dd79114ab9"), (82, "bbe976452c8034ef")),
        ((100, 80, 40, 31), (71, "359990eee3a06154"), (141, "bc48da989bb4404f")),
        ((120, 30, 20, 20), (40, "3e8dd5e78e21ff45"), (80, "923ce8d73664ad4c")),
    ],
)
def test_ostrack_crops_are_those_of_sample_target(
    box: tuple[float, ...], template: Crop, search: Crop
) -> None:
    assert crops_of(PICTURE, box, OSTRACK) == [template, search]


@pytest.mark.parametrize(
    ("box", "template", "search"),
    [
        (FIRST, (53, "1ca1c268e244be14"), (107, "79a94ced3aa2d722")),
        ((40, 41, 20, 20), (40, "c5ed5263c5e2844e"), (80, "dd4decd7a98a6f40")),
        ((40.5, 40.5, 21, 21), (42, "1b490a514db98c11"), (84, "3465012afb7f0119")),
        ((-9.3, -4, 33, 12.6), (44, "6779cbe72de6b69f"), (89, "d08dda0707a895c7")),
        ((100, 80, 40, 31), (71, "662db69dc25d3d04"), (142, "e8ae01b7132a2efb")),
        ((400, 20, 20, 20), (40, "d3d9a066ec5ad651"), (80, "b22a304a1f5336f0")),
    ],
)
def test_siamese_crops_are_those_of_get_subwindow_wherever_they_lie(
    box: tuple[float, ...], template: Crop, search: Crop
) -> None:
    assert crops_of(PICTURE, box, PYSOT) == [template, search]


def test_crops_are_resized_as_the_authors_do() -> None:
    for geometry, middle_row in (
        (OSTRACK, [[116, 51, 91], [98, 75, 115], [80, 120, 139]]),
        (PYSOT, [[188, 144, 184], [213, 2, 42], [71, 111, 67]]),
    ):
        window = search_window(start(np.array(FIRST), geometry), geometry)
        crop = cut(PICTURE, window, 3, fill_colour(PICTURE, geometry))

        np.testing.assert_allclose(crop[1].astype(float), middle_row, atol=1)


def test_boxes_are_those_of_the_ostrack_tracker_frame_by_frame() -> None:
    wanted = [
        (46.8332164, 53.1144566, 26.6317526, 30.0760452),
        (34.8702947, 62.6941716, 40.4146144, 45.1772912),
        (20.6373661, 58.7138146, 59.3121375, 52.2861854),
        (1.590484, 53.724832, 83.2125537, 57.275168),
        (0.0, 36.6733322, 73.0331477, 74.3266678),
        (0.0, 0.0, 99.6735471, 95.287695),
        (19.7491333, 0.0, 120.2508667, 111.0),
        (0.0, 0.0, 140.0, 111.0),
    ]

    found = track(OneStreamAnswers(), [PICTURE] * (1 + len(wanted)), np.array(FIRST), OSTRACK)

    np.testing.assert_allclose(found.boxes[1:], wanted, rtol=0, atol=1e-6)


def test_boxes_are_those_of_the_siamrpn_tracker_frame_by_frame() -> None:
    wanted = [
        (71.0954444, 59.4886242, 31.0301367, 23.549781),
        (88.6757498, 77.6857429, 28.5441872, 22.3619331),
        (105.2133546, 98.8185991, 25.5641991, 24.3628017),
        (115.5916254, 98.6889855, 25.6972728, 24.6220291),
        (123.2482593, 97.9470359, 22.2271985, 26.1059283),
        (129.0548501, 98.1878582, 21.8902998, 25.6242835),
        (129.358533, 97.8897825, 21.282934, 26.2204351),
        (128.5977539, 98.2856404, 22.8044923, 25.4287193),
    ]

    found = track(AnchorAnswers(), [PICTURE] * (1 + len(wanted)), np.array(FIRST), PYSOT)

    np.testing.assert_allclose(found.boxes[1:], wanted, rtol=0, atol=1e-6)
