"""The benchmark ``synthetic-1``: generated videos with exact boxes, for machines without data sets.

Each sequence is 320 x 240 and full of things that look like the target: 4 to 6 distractors (5 to 7
in ``hard``), two thirds of them circling it within the search crop, so that a tracker has to use
its template. Scenes are numbered. What is hard about a scene (occlusion, speed, size, number of
distractors, attributes) follows from its number in a cycle of 32, so that ``val`` and ``test``
agree in distribution; how it looks follows from version, split, seed and number.

Disjoint between the splits: hues, the rates, angles and cell sizes of textures, the lobes, depths,
exponents and proportions of outlines each come from bands that belong to one split only
(_synthetic/families.py), and the random streams are apart. ``hard`` has two kinds of texture,
voronoi and rings, that no other split has, and moves 1.35 times as fast.

``train`` has 8 scattered moments of each scene, the others consecutive frames; the first always
shows over 90 % of the target. Boxes are the extent of the target's pixels over half opaque, also
behind what hides them and beyond the border of the picture. ``present`` is False under 5 % visible,
``cover`` is 0 then, else the visible share times 8, rounded up. ``numbers`` has the mean
visibility, the mean speed in target sizes a frame, and how many distractors there are.
"""

import os
from collections.abc import Callable
from pathlib import Path

from workers.datasets._sequence import Problem, Sequence
from workers.datasets._synthetic import store, strata
from workers.datasets._synthetic.production import discard, produce

VERSION = store.VERSION
SPLITS: tuple[str, ...] = tuple(strata.SPLITS)
ATTRIBUTES: tuple[str, ...] = strata.ATTRIBUTES


def generate(
    root: Path,
    split: str,
    *,
    seed: int = 0,
    count: int | None = None,
    length: int | None = None,
    processes: int | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Path:
    """Make a split unless it is there, and say where. Goes on where a killed run stopped.

    ``report(done, total)`` hears of each sequence. Any number of callers may do this at once.
    """
    wanted = store.part(split, seed, count, length)
    folder = store.holder(wanted, root).folder(root)
    if not (folder / store.INDEX).exists():
        produce(wanted, folder, processes or os.cpu_count() or 1, report or _silent)
    return folder


def remove(
    root: Path, split: str, *, seed: int = 0, count: int | None = None, length: int | None = None
) -> None:
    """Forget what was generated, finished or not, so that it can be made again."""
    discard(store.part(split, seed, count, length).folder(root))


def load(
    root: Path, split: str, *, seed: int = 0, count: int | None = None, length: int | None = None
) -> list[Sequence]:
    """The sequences of a split that was generated before, or the first of them, in name order."""
    asked = store.part(split, seed, count, length)
    held = store.holder(asked, root)
    folder = held.folder(root)
    records = store.read_records(held, folder)[: asked.count]
    return [store.read_sequence(held, folder, n, record) for n, record in enumerate(records)]


def check(root: Path, report: Callable[[str], None]) -> list[Problem]:
    """Everything wrong with what was generated below ``root``, every pixel read."""
    indices = sorted((root / VERSION).glob(f"*/{store.INDEX}"))
    folders = [path.parent for path in indices if path.parent.suffix != ".unfinished"]
    if not folders:
        return [
            Problem(
                root / VERSION,
                "nothing is generated here: run `paretrack dataset generate val`, say",
            )
        ]
    return [Problem(*fault) for folder in folders for fault in store.faults(folder, report)]


def _silent(done: int, total: int) -> None:
    """Nobody asked how far it is."""
