from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.datasets import Boxes, DatasetError, format_boxes
from workers.datasets._boxes import Layout, box_faults, parse_boxes, read_boxes, read_labels
from workers.datasets._tree import refuse

HERE = Path("groundtruth.txt")
SEPARATORS = st.sampled_from([",", "\t", " ", ", ", "  ", " \t"])
NUMBERS = st.floats(-1e4, 1e4, allow_subnormal=False)
SIZES = st.floats(0.01, 1e4)


@st.composite
def boxes_with_gaps(draw: st.DrawFn) -> Boxes:
    """Boxes of a video whose target is now and then absent, but not in the last frame."""
    rows = draw(st.lists(st.tuples(NUMBERS, NUMBERS, SIZES, SIZES), min_size=1, max_size=8))
    boxes = np.array(rows)
    gone = draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    boxes[np.array([*gone[:-1], False])] = np.nan
    return boxes


def parse(text: str, layout: Layout | None = None, first_pixel: int = 0) -> Boxes:
    return parse_boxes(text, HERE, refuse, layout, first_pixel)


@settings(deadline=None)
@given(boxes_with_gaps(), SEPARATORS)
def test_what_was_written_is_read_back_bit_for_bit(boxes: Boxes, separator: str) -> None:
    np.testing.assert_array_equal(parse(format_boxes(boxes, separator)), boxes)


@settings(deadline=None)
@given(boxes_with_gaps(), SEPARATORS)
def test_a_file_that_counts_from_one_gives_the_same_boxes(boxes: Boxes, separator: str) -> None:
    text = format_boxes(boxes, separator, first_pixel=1)
    np.testing.assert_allclose(parse(text, first_pixel=1), boxes, rtol=0, atol=1e-9)


@settings(deadline=None)
@given(boxes_with_gaps(), SEPARATORS, st.sampled_from([0, 1]))
def test_corners_give_the_boxes_they_were_made_of(
    boxes: Boxes, separator: str, first_pixel: int
) -> None:
    corners = np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]) + first_pixel
    read = parse(format_boxes(corners, separator), "xyxy", first_pixel)
    np.testing.assert_allclose(read, boxes, rtol=0, atol=1e-9)


@settings(deadline=None)
@given(boxes_with_gaps(), SEPARATORS, st.sampled_from([0, 1]), st.permutations(range(4)))
def test_a_polygon_gives_the_upright_box_around_it_whatever_its_first_corner(
    boxes: Boxes, separator: str, first_pixel: int, order: list[int]
) -> None:
    x, y, w, h = boxes.T
    points = np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]])[order]
    polygons = points.transpose(2, 0, 1).reshape(-1, 8) + first_pixel
    lines = (separator.join(map(repr, map(float, row))) for row in polygons)
    read = parse("\n".join(lines), None, first_pixel)
    np.testing.assert_allclose(read, boxes, rtol=0, atol=1e-9)


def test_a_tilted_polygon_becomes_its_upright_box() -> None:
    assert parse("10,0,20,10,10,20,0,10").tolist() == [[0, 0, 20, 20]]


def test_separators_may_change_from_line_to_line_and_within_one() -> None:
    # BlurCar1 of OTB has one line with blanks among lines with tabs.
    expected = [[1, 2, 3, 4]] * 4
    assert parse("1\t2\t3\t4\n1 2 3 4\n1,2,3,4\r\n1, 2\t3  4").tolist() == expected


@pytest.mark.parametrize("absent", ["nan,nan,nan,nan", "NaN NaN NaN NaN", "nan", ",,,", "", "\t"])
def test_an_absent_target_is_a_row_of_nan_at_its_place(absent: str) -> None:
    boxes = parse(f"1,2,3,4\n{absent}\n5,6,7,8\n")
    assert np.isnan(boxes[1]).all()
    assert boxes[[0, 2]].tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_empty_lines_at_the_end_are_no_frames() -> None:
    assert len(parse("1,2,3,4\n\n \n")) == 1


def test_a_byte_order_mark_is_no_number(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_bytes(b"\xef\xbb\xbf1,2,3,4\n")
    assert read_boxes(path, refuse).tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,2,3,4\nx,y,w,h", r"groundtruth.txt: line 2: 'x' is not a number"),
        ("1,2,3,4\n1,2,3", r"line 2: has 3 values, expected 4"),
        ("1,2,3", r"line 1: has 3 values, expected 4 \(a box\) or 8 \(a polygon\)"),
        ("1,2,3,4\n1,2,3,4,5,6,7,8", r"line 2: has 8 values, expected 4"),
        ("1,2,,4", r"line 1: some values are missing"),
        ("1,2,3,4\na\nb\nc", r"line 2: .*; 2 more like it \(line 3, 4\)"),
    ],
)
def test_a_line_that_is_no_box_is_named(text: str, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        parse(text)


def test_eight_columns_are_refused_where_boxes_were_promised() -> None:
    with pytest.raises(DatasetError, match="has 8 values, expected 4"):
        parse("1,2,3,4,5,6,7,8", "xywh")


def test_a_faulty_line_leaves_the_other_boxes_with_their_frames() -> None:
    complaints: list[str] = []
    text = "1,2,3,4\noops\n5,6,7,8"
    boxes = parse_boxes(text, HERE, lambda _, message: complaints.append(message))
    assert len(complaints) == 1
    assert boxes[2].tolist() == [5, 6, 7, 8]
    assert np.isnan(boxes[1]).all()


def test_text_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "groundtruth.txt"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match=r"groundtruth.txt: cannot be read as text"):
        read_boxes(path, refuse)


@pytest.mark.parametrize("text", ["0,0,8", "0\n0\n8\n", "0 0 8"])
def test_labels_are_one_number_a_frame_on_one_line_or_many(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cover.label"
    path.write_text(text)
    labels = read_labels(path, 3, refuse, highest=8)
    assert labels is not None
    assert labels.tolist() == [0, 0, 8]


@pytest.mark.parametrize(
    ("text", "said"),
    [("0,1", "has 2 labels, expected 3"), ("0,1,2", "has '2'; expected .* 0 to 1")],
)
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "absence.label"
    path.write_text(text)
    with pytest.raises(DatasetError, match=said):
        read_labels(path, 3, refuse)


@pytest.mark.parametrize(
    ("box", "fault"),
    [
        ((0, 0, 1, 1), None),
        ((-5, -5, 6, 6), None),
        ((99, 79, 50, 50), None),
        ((np.nan,) * 4, None),
        ((-5, 0, 5, 5), "outside the image of 100x80"),
        ((100, 0, 5, 5), "outside"),
        ((0, -9, 5, 5), "outside"),
        ((0, 80, 5, 5), "outside"),
        ((0, 0, 0, 5), "no area"),
        ((0, 0, 5, -1), "no area"),
        ((np.inf, 0, 5, 5), "not finite"),
        ((0, 0, 5, np.inf), "not finite"),
    ],
)
def test_only_a_box_without_any_pixel_of_the_image_is_a_fault(
    box: tuple[float, ...], fault: str | None
) -> None:
    faults = box_faults(np.array([box], float), np.array([100, 80]))
    assert list(faults) == ([0] if fault else [])
    assert fault is None or fault in faults[0]
