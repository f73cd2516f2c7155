import pickle
import threading
import weakref
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.workers.datasets.miniature import (
    encoded,
    numbers_of,
    picture,
    write_images,
    write_video,
)
from workers.datasets import DatasetError, Image, ImageFrames, VideoFrames, prefetched
from workers.datasets._frames import decode_image, image_frames, same_count
from workers.datasets._tree import refuse


def every(frames: Any) -> list[int]:
    return numbers_of(frames[i] for i in range(len(frames)))


# Image files


def test_pictures_are_rgb(tmp_path: Path) -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[:] = (0, 0, 200)  # as OpenCV writes it
    cv2.imwrite(str(tmp_path / "red.png"), red)
    image = decode_image(tmp_path / "red.png")
    assert image.dtype == np.uint8
    assert image[0, 0].tolist() == [200, 0, 0]


def test_a_grey_picture_has_three_channels_too(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey.jpg"), np.full((8, 8), 90, np.uint8))
    assert decode_image(tmp_path / "grey.jpg").shape == (8, 8, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
def test_an_image_cut_off_anywhere_is_an_error_that_names_it(tmp_path: Path, suffix: str) -> None:
    path, whole = tmp_path / f"00000007{suffix}", encoded(7, suffix)
    path.write_bytes(whole)
    assert numbers_of([decode_image(path)]) == [7]
    step = 1 if suffix == ".png" else 7
    for length in range(0, len(whole), step):
        path.write_bytes(whole[:length])
        with pytest.raises(DatasetError, match=rf"00000007\{suffix}"):
            decode_image(path)


def test_a_jpeg_whose_end_is_zeros_is_cut_off(tmp_path: Path) -> None:
    path, whole = tmp_path / "1.jpg", encoded()
    path.write_bytes(whole[:-40] + bytes(40))
    with pytest.raises(DatasetError, match=r"1\.jpg: this image is cut off"):
        decode_image(path)


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_picture(tmp_path: Path) -> None:
    thumbnail, whole = encoded(2), encoded(1)
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2) + thumbnail
    path = tmp_path / "1.jpg"
    path.write_bytes(whole[:2] + segment + whole[2:])
    assert numbers_of([decode_image(path)]) == [1]
    path.write_bytes((whole[:2] + segment + whole[2:])[:-30])
    with pytest.raises(DatasetError, match="cut off"):
        decode_image(path)


def test_what_a_camera_appends_to_a_picture_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "1.jpg"
    path.write_bytes(encoded(3) + b"\xff\xda" + bytes(100))
    assert numbers_of([decode_image(path)]) == [3]


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "missing"), (b"", r"empty \(0 bytes\)"), (b"hello" * 9, "not an image")],
)
def test_a_file_that_is_no_image_says_why(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "0001.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=rf"0001\.jpg: .*{said}"):
        decode_image(path)


def test_a_header_that_promises_an_enormous_picture_is_no_image(tmp_path: Path) -> None:
    damaged = bytearray(encoded(1, ".bmp"))
    damaged[18:26] = b"\xff\xff\xff\x7f" * 2  # width and height
    (tmp_path / "1.bmp").write_bytes(damaged)
    with pytest.raises(DatasetError, match=r"1\.bmp: this is not an image"):
        decode_image(tmp_path / "1.bmp")


def test_images_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    write_images(tmp_path, [10, 2, 1], digits=1)
    (tmp_path / "._2.jpg").write_bytes(b"left behind by a file manager")
    (tmp_path / "notes.txt").write_text("no image")
    frames = image_frames(tmp_path, refuse)
    assert frames.names == ("1.jpg", "2.jpg", "10.jpg")
    assert every(frames) == [1, 2, 10]


def test_frames_are_indexed_like_a_list(tmp_path: Path) -> None:
    write_images(tmp_path, [1, 2, 3])
    frames = image_frames(tmp_path, refuse)
    assert len(frames) == 3
    assert numbers_of([frames[-1], frames[np.int64(1)]]) == [3, 2]  # type: ignore[index]
    with pytest.raises(IndexError, match="frame 3 of 3"):
        frames[3]


def test_an_image_of_another_size_is_named_with_both_sizes(tmp_path: Path) -> None:
    write_images(tmp_path, [1, 2])
    cv2.imwrite(str(tmp_path / "00000003.jpg"), picture(3, 64, 48))
    frames = image_frames(tmp_path, refuse)
    assert numbers_of([frames[1]]) == [2]
    with pytest.raises(DatasetError, match=r"00000003\.jpg: is 64x48, .*00000001\.jpg of 32x24"):
        frames[2]
    assert image_frames(tmp_path, refuse, same_size=False)[2].shape == (48, 64, 3)


def test_frames_travel_to_another_process(tmp_path: Path) -> None:
    write_images(tmp_path / "img", [1, 2])
    write_video(tmp_path / "a.avi", 3)
    images, video = image_frames(tmp_path / "img", refuse), VideoFrames(tmp_path / "a.avi")
    assert numbers_of([images[1], video[1]]) == [2, 1]
    assert every(pickle.loads(pickle.dumps(images))) == [1, 2]
    assert every(pickle.loads(pickle.dumps(video))) == [0, 1, 2]


def test_a_wrong_count_names_the_image_between_two_others(tmp_path: Path) -> None:
    write_images(tmp_path, [1, 2, 4])
    with pytest.raises(DatasetError, match=r"4 boxes for 3 frames; image 00000003\.jpg is missing"):
        same_count(image_frames(tmp_path, refuse), np.zeros((4, 4)), tmp_path / "g.txt", refuse)


# Video files


REAL_CAPTURE = cv2.VideoCapture  # tests put other classes in its place


class Counting:
    """cv2.VideoCapture that counts how often it seeks."""

    seeks = 0

    def __init__(self, path: str) -> None:
        self._capture = REAL_CAPTURE(path)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._capture, name)

    def set(self, *values: float) -> bool:
        type(self).seeks += 1
        return self._capture.set(*values)  # type: ignore[arg-type]


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> type[Counting]:
    class Here(Counting):
        """Counts anew for each test."""

    monkeypatch.setattr("workers.datasets._video.cv2.VideoCapture", Here)
    return Here


@pytest.mark.parametrize(("codec", "suffix"), [("MJPG", ".avi"), ("mp4v", ".mp4")])
def test_a_video_gives_the_same_frames_in_any_order(
    tmp_path: Path, codec: str, suffix: str
) -> None:
    write_video(tmp_path / f"a{suffix}", 60, codec)
    frames = VideoFrames(tmp_path / f"a{suffix}")
    assert every(frames) == list(range(60))
    order = np.random.default_rng(0).permutation(60).tolist()
    assert numbers_of(frames[i] for i in order) == order
    assert numbers_of([frames[5], frames[5], frames[-1], frames[0]]) == [5, 5, 59, 0]
    with pytest.raises(IndexError):
        frames[60]


def test_a_video_is_read_in_order_without_seeking(tmp_path: Path, counting: type[Counting]) -> None:
    write_video(tmp_path / "a.avi", 40)
    frames = VideoFrames(tmp_path / "a.avi")
    counting.seeks = 0
    assert every(frames) == list(range(40))
    assert numbers_of(prefetched(frames, threads=4)) == list(range(40))
    assert numbers_of(frames[i] for i in range(0, 40, 5)) == list(range(0, 40, 5))
    assert counting.seeks == 0
    assert numbers_of([frames[3]]) == [3]  # backward
    assert counting.seeks == 1


def test_a_video_that_is_cut_off_says_how_much_of_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    write_video(path, 40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DatasetError, match=r"a\.avi: claims 40 frames, but \d+ can be decoded"):
        VideoFrames(path)


def test_a_frame_count_that_the_container_does_not_know_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(tmp_path / "a.avi", 12)

    class Unsure(Counting):
        def get(self, prop: int) -> float:
            return -1.0 if prop == cv2.CAP_PROP_FRAME_COUNT else self._capture.get(prop)

    monkeypatch.setattr("workers.datasets._video.cv2.VideoCapture", Unsure)
    assert every(VideoFrames(tmp_path / "a.avi")) == list(range(12))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no such video"),
        (b"", "cannot be opened"),
        (b"text" * 50, "cannot be opened"),
    ],
)
def test_a_file_that_is_no_video_says_why(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "a.avi"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=rf"a\.avi: {said}"):
        VideoFrames(path)


def test_a_video_without_frames_is_an_error(tmp_path: Path) -> None:
    write_video(tmp_path / "a.avi", 0)
    with pytest.raises(DatasetError, match=r"a\.avi: (cannot be opened|not one frame)"):
        VideoFrames(tmp_path / "a.avi")


# Decoding ahead


class Counted:
    """Frames that remember how many pictures were decoded, and how many are alive."""

    def __init__(self, count: int, fails_at: int = -1) -> None:
        self.count, self.fails_at, self.decoded = count, fails_at, 0
        self.alive: weakref.WeakSet[Any] = weakref.WeakSet()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Image:
        with self._lock:
            self.decoded += 1
        if index == self.fails_at:
            raise DatasetError(f"{index}.jpg: broken")
        image = np.full((2, 2, 3), index % 256, np.uint8)
        with self._lock:
            self.alive.add(_Hold(image))
        return image


class _Hold:
    """Lives as long as the picture that it is tied to."""

    def __init__(self, image: Image) -> None:
        weakref.finalize(image, lambda keep: None, self)


def decoding_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("prefetch")]


def test_pictures_come_in_order_whatever_the_number_of_threads(tmp_path: Path) -> None:
    write_images(tmp_path, range(1, 31))
    frames = image_frames(tmp_path, refuse)
    for threads, ahead in ((1, 1), (2, 8), (5, 3), (3, 100)):
        assert numbers_of(prefetched(frames, threads, ahead)) == list(range(1, 31))


def test_a_video_longer_than_memory_streams() -> None:
    frames = Counted(20_000)
    with closing_stream(frames, ahead=6) as stream:
        for consumed in range(1, 200):
            next(stream)
            assert frames.decoded <= consumed + 6
            assert len(frames.alive) <= 6 + 2
    assert frames.decoded <= 199 + 6


def closing_stream(frames: Counted, ahead: int) -> "closing[Any]":
    stream: Iterator[Image] = prefetched(frames, 2, ahead)
    return closing(stream)  # type: ignore[type-var]


def test_an_error_comes_when_it_is_its_turn() -> None:
    seen = []
    with pytest.raises(DatasetError, match=r"5\.jpg: broken"):
        for image in prefetched(Counted(20, fails_at=5), threads=3, ahead=8):
            seen.append(int(image[0, 0, 0]))  # noqa: PERF401 - what was seen before the error
    assert seen == [0, 1, 2, 3, 4]
    assert not decoding_threads()


def test_threads_end_when_the_consumer_stops_early() -> None:
    frames = Counted(1000)
    for image in prefetched(frames, threads=2, ahead=4):
        assert decoding_threads()
        if image[0, 0, 0] == 3:
            break
    del image
    assert not decoding_threads()
    assert frames.decoded < 20


def test_two_pictures_are_decoded_at_a_time() -> None:
    together = threading.Barrier(2, timeout=60)

    class Meeting(Counted):
        def __getitem__(self, index: int) -> Image:
            together.wait()  # breaks unless another thread decodes too
            return super().__getitem__(index)

    assert len(list(prefetched(Meeting(6), threads=2, ahead=2))) == 6


def test_nothing_is_decoded_before_the_first_picture_is_asked_for() -> None:
    frames = Counted(5)
    prefetched(frames)
    assert frames.decoded == 0
    assert list(prefetched(Counted(0))) == []


def test_a_look_ahead_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 2 and 0"):
        next(prefetched(Counted(5), ahead=0))


def test_images_of_one_name_are_kept_once(tmp_path: Path) -> None:
    # Ten thousand videos of GOT-10k would otherwise hold 1.4 million strings.
    write_images(tmp_path / "a", [1])
    write_images(tmp_path / "b", [1])
    a: ImageFrames = image_frames(tmp_path / "a", refuse)
    assert a.names[0] is image_frames(tmp_path / "b", refuse).names[0]
