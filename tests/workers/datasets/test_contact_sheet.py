"""Contact sheets of videos."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from workers.datasets import DatasetError, Image, Sequence
from workers.datasets.contact_sheet import contact_sheet, draw_sheet

CAPTION, GAP = 18, 4


class Grey:
    """Frames of one shade, each a little brighter than the one before."""

    def __init__(self, count: int, height: int, width: int) -> None:
        self.count, self.shape = count, (height, width, 3)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Image:
        return np.full(self.shape, 50 + index, np.uint8)


def video(name: str = "one", count: int = 5, height: int = 120, width: int = 160) -> Sequence:
    return Sequence(
        name=name,
        frames=Grey(count, height, width),
        boxes=np.tile([40.0, 30.0, 80.0, 60.0], (count, 1)),
        present=np.ones(count, dtype=bool),
        attributes=frozenset({"occlusion", "scale"}),
        numbers={"speed": 0.25},
    )


def tile_of(sheet: Image, row: int, column: int, tile: int = 160) -> Image:
    height = CAPTION + tile * 3 // 4 + GAP
    top, left = row * height + CAPTION, column * (tile + GAP)
    return sheet[top : top + tile * 3 // 4, left : left + tile]


def test_there_is_a_row_for_each_video_and_a_column_for_each_moment() -> None:
    sheet = draw_sheet([video("one"), video("two")], columns=3, tile=160)
    assert sheet.shape == (2 * (CAPTION + 120 + GAP), 3 * (160 + GAP), 3)
    shades = [int(tile_of(sheet, 1, column)[100, 10, 0]) for column in range(3)]
    assert shades == [50, 52, 54]


def test_the_box_is_white_where_the_target_is_and_red_where_it_is_not() -> None:
    sequence = video()
    sequence.present[4] = False
    sheet = draw_sheet([sequence], columns=2, tile=160)
    assert tile_of(sheet, 0, 0)[60, 39].tolist() == [255, 255, 255]
    assert tile_of(sheet, 0, 1)[60, 39].tolist() == [255, 80, 80]


def test_a_frame_without_a_box_has_none_drawn() -> None:
    sequence = video()
    sequence.boxes[0] = np.nan
    first = tile_of(draw_sheet([sequence], columns=2, tile=160), 0, 0)
    assert np.all(first[20:] == 50)


def test_a_tall_video_is_fitted_without_distortion() -> None:
    picture = tile_of(draw_sheet([video(height=240, width=120)], columns=1, tile=160), 0, 0)
    assert np.all(picture[:, :48] == 0)
    assert picture[100, 60, 0] == 50


def test_a_video_shorter_than_the_row_leaves_the_rest_empty() -> None:
    sheet = draw_sheet([video(count=2)], columns=4, tile=160)
    assert np.all(tile_of(sheet, 0, 2) == 250)


def test_a_caption_too_long_for_the_row_is_cut() -> None:
    plain, long = (draw_sheet([video(n)], columns=1, tile=160) for n in ("one", "one" * 90))
    assert plain.shape == long.shape
    assert np.any(plain[:CAPTION] < 100)
    assert np.all(long[:CAPTION, -6:] == 250)


def test_the_sheet_is_written_as_a_png_that_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "sheet.png"
    contact_sheet([video()], path, columns=2, tile=160)
    picture = cv2.imread(str(path))
    assert picture is not None
    assert np.array_equal(picture[..., ::-1], draw_sheet([video()], columns=2, tile=160))


def test_what_cannot_be_drawn_or_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="0 sequences"):
        draw_sheet([])
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DatasetError, match="cannot write the contact sheet"):
        contact_sheet([video()], tmp_path / "file" / "sheet.png")
