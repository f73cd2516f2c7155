"""Finding the sequences of a directory tree, and saying what is wrong with it.

Every reader takes a ``complain``: ``load`` hands in ``refuse``, which raises at the first fault;
``check`` hands in one that writes down and goes on. So both see a tree with the same eyes.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from workers.datasets._sequence import DatasetError, Sequence

Complain = Callable[[Path, str], None]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A sequence that was found. ``read`` opens its files; pictures are decoded later still."""

    name: str
    box_file: Path
    read: Callable[[Complain], Sequence]
    # Frames, from 1, of which it is known that the published box is none.
    known_faults: frozenset[int] = frozenset()


def refuse(path: Path, message: str) -> NoReturn:
    raise DatasetError(f"{path}: {message}")


def load_entries(
    entries: Iterable[Entry], root: Path, expected: str, count: int | None
) -> list[Sequence]:
    """The first ``count`` in name order, or a DatasetError that says which layout was expected."""
    in_order = sorted(entries, key=lambda entry: entry.name)
    sequences = [entry.read(refuse) for entry in in_order[:count]]
    if not sequences:
        say_empty(root, expected, refuse)
    return sequences


def say_empty(root: Path, expected: str, complain: Complain) -> None:
    complain(root, f"holds no sequence; expected {expected}")


def demand_split(split: str, splits: tuple[str, ...]) -> None:
    if split not in splits:
        raise DatasetError(f"there is no split {split!r}; choose one of {', '.join(splits)}")


def subdirectories(root: Path, complain: Complain) -> list[Path]:
    """Sorted; those that a file manager or an archiver leaves behind are not of the data set."""
    if not root.is_dir():
        complain(root, "there is no such directory; give the one that the data set lies in")
        return []
    found = (path for path in root.iterdir() if path.is_dir())
    return sorted(path for path in found if not path.name.startswith((".", "__")))


def read_text(path: Path, complain: Complain) -> str | None:
    """What a small file says, or None after a complaint."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        complain(path, "this file is missing; take it from the published archive again")
    except (OSError, UnicodeDecodeError) as error:
        complain(path, f"cannot be read as text: {error}")
    return None


def read_names(path: Path, complain: Complain) -> list[str]:
    """The lines of a list of sequences."""
    text = read_text(path, complain) or ""
    return [line.strip() for line in text.splitlines() if line.strip()]
