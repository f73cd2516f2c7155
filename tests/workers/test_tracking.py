"""The loop itself: crops, rules of the two lines, one at a time against lock-step."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from search_spaces import Choice, Geometry, Normalisation, ParetrackError
from workers.datasets import Sequence
from workers.tracking import (
    Crops,
    Memory,
    State,
    Window,
    choose,
    cut,
    score_window,
    search_window,
    start,
    template_window,
    track,
    track_many,
)

FACTOR = Geometry(
    template_size=32,
    search_size=64,
    rule="factor",
    template_factor=2.0,
    search_factor=4.0,
    normalisation=Normalisation(),
    map_size=16,
    choice=Choice(window="multiply", window_shape="inner"),
)
CONTEXT = Geometry(
    template_size=127,
    search_size=255,
    rule="context",
    padding="mean",
    normalisation=Normalisation(order="bgr"),
    map_size=25,
    boxes_per_cell=5,
    choice=Choice(
        window="blend",
        window_shape="zero_border",
        window_weight=0.42,
        change_penalty=0.05,
        size_rate=0.38,
        clip="centre",
    ),
)


class Brightest:
    """Finds the brightest pixel of a crop: a tracker whose answer is known."""

    def template(self, crops: Crops) -> Memory:
        return (crops.astype(np.float32).mean(axis=(1, 2)),)

    def frame(self, crops: Crops, memory: Memory) -> tuple[NDArray[Any], NDArray[Any]]:
        assert len(memory[0]) == len(crops)
        side = crops.shape[1] // FACTOR.map_size
        batch = len(crops)
        grey = crops.astype(np.float32).sum(axis=3)
        cells = grey.reshape(batch, FACTOR.map_size, side, FACTOR.map_size, side).mean((2, 4))
        scores = cells.reshape(batch, -1) / 765
        centres = (np.arange(FACTOR.map_size) + 0.5) * side
        y, x = np.meshgrid(centres, centres, indexing="ij")
        boxes = np.stack([x, y, np.full_like(x, 16), np.full_like(x, 16)], axis=-1)
        return scores, np.repeat(boxes.reshape(1, -1, 4), batch, axis=0)


def moving_square(length: int, step: float, seed: int = 0) -> Sequence:
    """A bright square on a dark, slightly noisy ground."""
    rng = np.random.default_rng(seed)
    frames, boxes = [], []
    for t in range(length):
        image = rng.integers(0, 30, (120, 160, 3), dtype=np.uint8)
        x, y = 40 + round(step * t), 50 + round(0.5 * step * t)
        image[y : y + 16, x : x + 16] = 255
        frames.append(image)
        boxes.append([x, y, 16, 16])
    return Sequence(
        name=f"square-{length}-{seed}",
        frames=frames,
        boxes=np.array(boxes, float),
        present=np.ones(length, bool),
    )


def test_a_moving_square_is_followed() -> None:
    sequence = moving_square(20, step=3)

    found = track(Brightest(), iter(sequence.frames), sequence.boxes[0], FACTOR)

    centres = found.boxes[:, :2] + found.boxes[:, 2:] / 2
    wanted = sequence.boxes[:, :2] + sequence.boxes[:, 2:] / 2
    assert np.abs(centres - wanted).max() < 8  # half of the square
    assert (found.boxes[0] == sequence.boxes[0]).all()
    assert len(found.seconds) == 20
    assert (found.seconds > 0).all()


def test_lock_step_gives_the_boxes_of_one_at_a_time_for_any_lengths_and_batch() -> None:
    sequences = [
        moving_square(n, step, n) for n, step in ((7, 2), (1, 0), (12, 3), (5, 1), (12, 0))
    ]
    alone = [track(Brightest(), iter(s.frames), s.boxes[0], FACTOR) for s in sequences]

    for batch in (1, 2, 5, 64):
        together = track_many(Brightest(), sequences, FACTOR, batch=batch)
        for a, b in zip(alone, together, strict=True):
            np.testing.assert_array_equal(a.boxes, b.boxes)
            np.testing.assert_array_equal(a.scores, b.scores)


def test_lock_step_reports_every_frame_once() -> None:
    sequences = [moving_square(n, 1, n) for n in (3, 5)]
    heard: list[tuple[int, int]] = []

    track_many(Brightest(), sequences, FACTOR, report=lambda *at: heard.append(at))

    assert heard[-1] == (8, 8)
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)


def test_a_network_that_answers_nan_is_named_with_sequence_and_frame() -> None:
    class Diverged(Brightest):
        def frame(self, crops: Crops, memory: Memory) -> tuple[NDArray[Any], NDArray[Any]]:
            scores, boxes = super().frame(crops, memory)
            return scores * np.nan, boxes

    with pytest.raises(ParetrackError, match=r"square-3-0, frame 1: .*not finite"):
        track_many(Diverged(), [moving_square(3, 1)], FACTOR)


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (0, 0, 5, -1), (np.nan, 0, 5, 5), (0, 0, np.inf, 5)])
def test_a_box_without_extent_cannot_be_started_on(box: tuple[float, ...]) -> None:
    with pytest.raises(ParetrackError, match="cannot start"):
        start(np.array(box), FACTOR)


@pytest.mark.parametrize(
    ("geometry", "box", "template", "search"),
    [
        # OSTrack: side ceil(sqrt(w h) factor), corner round(centre - side / 2), half to even.
        (FACTOR, (10, 20, 30, 40), (-10, 5, 70), (-44, -30, 139)),
        (FACTOR, (10, 20, 31, 40), (-10, 4, 71), (-45, -30, 141)),
        # pysot: centre x + (w - 1) / 2, corner floor(centre - (side + 1) / 2 + 0.5).
        (CONTEXT, (10, 20, 30, 40), (-11, 4, 70), (-46, -31, 140)),
    ],
)
def test_windows_are_those_of_the_published_code(
    geometry: Geometry,
    box: tuple[float, ...],
    template: tuple[int, ...],
    search: tuple[int, ...],
) -> None:
    state = start(np.array(box, float), geometry)

    for window, wanted in (
        (template_window(state, geometry), template),
        (search_window(state, geometry), search),
    ):
        assert (window.x, window.y, window.side) == wanted


def test_what_lies_outside_the_image_is_filled() -> None:
    image = np.full((50, 60, 3), 200, np.uint8)
    fill = np.array([1.0, 2.0, 3.0])

    partly = cut(image, Window(-10, -10, 20, 1.0), 20, fill)
    wholly = cut(image, Window(100, 100, 20, 1.0), 20, fill)

    assert (partly[:9, :9] == (1, 2, 3)).all()
    assert (partly[11:, 11:] == 200).all()
    assert (wholly == (1, 2, 3)).all()


@given(
    x=st.integers(-150, 150),
    y=st.integers(-150, 150),
    side=st.integers(1, 200),
    size=st.sampled_from([8, 33]),
)
def test_a_crop_has_the_asked_size_wherever_its_window_lies(
    x: int, y: int, side: int, size: int
) -> None:
    image = np.zeros((40, 70, 3), np.uint8)
    assert cut(image, Window(x, y, side, 1.0), size, np.zeros(3)).shape == (size, size, 3)


def test_the_inner_window_has_no_zero_and_the_other_has() -> None:
    assert score_window(FACTOR).min() > 0
    zero_border = score_window(CONTEXT)
    assert zero_border.min() == 0
    assert len(zero_border) == 25 * 25 * 5


@given(w=st.floats(1, 300), h=st.floats(1, 300), cx=st.floats(-50, 250), cy=st.floats(-50, 250))
def test_whatever_wins_stays_inside_the_image_and_large_enough(
    w: float, h: float, cx: float, cy: float
) -> None:
    for clip in ("corners", "centre"):
        geometry = replace(FACTOR, choice=replace(FACTOR.choice, clip=clip))
        boxes = np.array([[cx, cy, w, h]])
        state, _ = choose(
            np.ones(1), boxes, State(80, 60, 20, 20), Window(48, 28, 64, 1.0), geometry,
            np.ones(1), (160, 120),
        )  # fmt: skip
        assert 0 <= state.cx <= 160
        assert 0 <= state.cy <= 120
        assert 10 <= state.w <= 160
        assert 10 <= state.h <= 120


def test_the_change_penalty_prefers_the_box_of_the_old_size() -> None:
    boxes = np.array([[127.5, 127.5, 200.0, 40.0], [127.5, 127.5, 64.0, 64.0]])
    state = State(50, 50, 32, 32)
    geometry = replace(CONTEXT, choice=replace(CONTEXT.choice, window_weight=0.0))
    window = search_window(state, geometry)

    followed, _ = choose(
        np.array([0.9, 0.88]), boxes, state, window, geometry, np.ones(2), (320, 240)
    )

    assert followed.w == pytest.approx(32, abs=1)
    assert followed.h == pytest.approx(32, abs=1)


def test_sizes_follow_slowly_where_a_rate_is_given() -> None:
    state = State(50, 50, 32, 32)
    window = search_window(state, CONTEXT)
    box = np.array([[127.5, 127.5, 80 * window.scale, 32 * window.scale]])

    followed, _ = choose(np.ones(1), box, state, window, CONTEXT, np.ones(1), (320, 240))

    assert 32 < followed.w < 32 + 0.38 * (80 - 32)
    assert followed.h == pytest.approx(32)
