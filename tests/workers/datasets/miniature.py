"""Tiny copies of the data sets in their published layout. Each picture shows its own number."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from workers.datasets import Dataset, Image, Sequence

WIDTH, HEIGHT = 32, 24


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> Image:
    """A grey picture whose halves are the last two digits of ``number`` to the base of 32."""
    image = np.empty((height, width, 3), np.uint8)
    image[:, : width // 2] = number // 32 % 32 * 8
    image[:, width // 2 :] = number % 32 * 8
    return image


def number_of(image: Image) -> int:
    left, right = np.split(image.astype(float), 2, axis=1)
    return round(left.mean() / 8) * 32 + round(right.mean() / 8)


def numbers_of(frames: Iterable[Image]) -> list[int]:
    return [number_of(image) for image in frames]


def encoded(number: int = 1, suffix: str = ".jpg") -> bytes:
    return cv2.imencode(suffix, picture(number))[1].tobytes()


def write_images(
    directory: Path, numbers: Iterable[int], digits: int = 8, suffix: str = ".jpg"
) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        name = f"{number:0{digits}d}{suffix}"
        (directory / name).write_bytes(encoded(number, suffix))


def write_video(path: Path, count: int, codec: str = "MJPG") -> None:
    # Large enough for the codec's blocks to keep the numbers apart.
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, (64, 48))
    for number in range(count):
        writer.write(picture(number, 64, 48))
    writer.release()


def rows(count: int, first: int = 0) -> list[tuple[int, int, int, int]]:
    """Boxes as a file has them; each row can be told from the others."""
    return [(1 + i % 9, 2 + i % 7, 4 + i % 11, 5) for i in range(first, first + count)]


def write_rows(path: Path, boxes: Iterable[Iterable[float]], separator: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (separator.join(str(value) for value in box) for box in boxes)
    path.write_text("\n".join(lines) + "\n")


def only_sequence(reader: Dataset, root: Path) -> Sequence:
    """The one sequence of a tree whose data set has no splits."""
    (sequence,) = reader.load(root, "all")
    return sequence


def problems_of(reader: Dataset, root: Path) -> list[str]:
    """What ``check`` finds, as text, with paths relative to the root."""
    found = reader.check(root, lambda name: None)
    return [f"{p.path.relative_to(root).as_posix()}: {p.message}" for p in found]


def got10k_sequence(directory: Path, count: int = 5) -> None:
    """A training or validation video; test videos have one box and no labels."""
    write_images(directory, range(1, count + 1))
    write_rows(directory / "groundtruth.txt", [[f"{v:.4f}" for v in row] for row in rows(count)])
    for label, value in (("absence", 0), ("cut_by_image", 0), ("cover", 8)):
        (directory / f"{label}.label").write_text(f"{value}\n" * count)
    (directory / "meta_info.ini").write_text(
        "[METAINFO]\nurl: https://youtu.be/b0ZnfLI8YPw\nbegin: 00:00:33\nend: 00:00:38\n"
        "anno_fps: 10Hz\nobject_class: anteater\nmotion_class: walking\nmajor_class: anteater\n"
        "root_class: animal\nmotion_adverb: slowly\nresolution: (32, 24)\n"
    )


def got10k(root: Path, split: str = "val", names: tuple[str, ...] = ("_2", "_1")) -> list[Path]:
    listed = [f"GOT-10k_{split.title()}_00000{name[1:]}" for name in names]
    (root / split).mkdir(parents=True)
    (root / split / "list.txt").write_text("\n".join(listed) + "\n")
    directories = [root / split / name for name in listed]
    for directory in directories:
        got10k_sequence(directory)
    return directories


def lasot_sequence(directory: Path, count: int = 5) -> None:
    write_images(directory / "img", range(1, count + 1))
    write_rows(directory / "groundtruth.txt", rows(count))
    for name in ("full_occlusion", "out_of_view"):
        (directory / f"{name}.txt").write_text(",".join(["0"] * count))
    (directory / "nlp.txt").write_text("white airplane landing on ground")


def otb_sequence(
    directory: Path,
    count: int = 5,
    *,
    first: int = 1,
    boxes: int | None = None,
    box_file: str = "groundtruth_rect.txt",
    separator: str = ",",
) -> None:
    write_images(directory / "img", range(first, first + count), digits=4)
    write_rows(directory / box_file, rows(count if boxes is None else boxes), separator)


def folder_sequence(directory: Path, count: int = 5, images: str = "img") -> None:
    write_images(directory / images, range(1, count + 1), digits=1)
    write_rows(directory / "groundtruth.txt", rows(count))
