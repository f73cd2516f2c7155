"""Pictures are written, show what they should and can be read back."""

from pathlib import Path

import cv2
import numpy as np

from tests.workers.test_tracking import moving_square
from workers.figures import COLOURS, draw_boxes, draw_curve, draw_strip, draw_video
from workers.training import Moment


def test_everybodys_box_is_drawn_in_its_colour() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    drawn = draw_boxes(image, [np.array([10.0, 10, 20, 20]), np.array([40.0, 20, 20, 20])])
    assert drawn.shape == (120, 160, 3)
    assert tuple(drawn[20, 40]) == COLOURS[0]
    assert tuple(drawn[40, 100]) == COLOURS[1]


def test_an_absent_box_is_not_drawn() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    assert not draw_boxes(image, [np.full(4, np.nan)]).any()


def test_a_strip_has_a_row_a_sequence_and_a_legend(tmp_path: Path) -> None:
    sequence = moving_square(3, 4)
    moments = [(frame, [box]) for frame, box in zip(sequence.frames, sequence.boxes, strict=True)]
    draw_strip({"one": moments, "two": moments}, ["truth"], tmp_path / "strip.png")
    picture = cv2.imread(str(tmp_path / "strip.png"))
    assert picture is not None
    height, width = picture.shape[:2]
    assert width == 3 * 2 * 160
    assert height > 2 * 2 * 120


def test_a_video_has_every_frame(tmp_path: Path) -> None:
    sequence = moving_square(5, 4)
    heard: list[tuple[int, int]] = []
    draw_video(
        sequence.frames, {"me": sequence.boxes}, tmp_path / "v.mp4",
        lambda *at: heard.append(at),
    )  # fmt: skip
    video = cv2.VideoCapture(str(tmp_path / "v.mp4"))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == 5
    video.release()
    assert heard[-1] == (5, 5)


def test_a_curve_without_validation_can_be_drawn(tmp_path: Path) -> None:
    curve = [Moment(n, 20, 2.0 / n, {"score": 1.0 / n}, 1e-3, 10.0, 1.0) for n in (10, 20)]
    draw_curve(curve, tmp_path / "curve.png", "a run")
    picture = cv2.imread(str(tmp_path / "curve.png"))
    assert picture is not None
    assert picture.std() > 10
