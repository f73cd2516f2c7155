"""Making the sequences of a folder, over many processes, and going on after a kill.

A finished sequence is recognised by its facts file, which is renamed into place last. One caller at
a time works on a folder (a file lock, which goes with its process); the others wait and then find
it done.
"""

import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from shutil import rmtree
from threading import Thread

import cv2
import numpy as np

from workers.datasets._sequence import DatasetError
from workers.datasets._synthetic import store
from workers.datasets._synthetic.camera import HEIGHT, WIDTH
from workers.datasets._synthetic.scene import set_up
from workers.datasets._synthetic.store import INDEX, Part, facts_file, frames_file
from workers.datasets._synthetic.strata import configure

Report = Callable[[int, int], None]


def produce(wanted: Part, folder: Path, processes: int, report: Report) -> None:
    """Fill the folder of a part unless it is there already."""
    unfinished = _unfinished(folder)
    try:
        with _locked(folder):
            if (folder / INDEX).exists():
                return
            unfinished.mkdir(exist_ok=True)
            _fill(wanted, unfinished, processes, report)
            _finish(wanted, unfinished, folder)
    except OSError as error:
        raise DatasetError(
            f"cannot write {unfinished}: {error}; make room or choose another place "
            f"(sequences take {wanted.count * wanted.length * HEIGHT * WIDTH * 3 / 1e6:.0f} MB)"
        ) from error


def discard(folder: Path) -> None:
    """Remove the folder, finished or not."""
    if not folder.parent.exists():
        return
    with _locked(folder):
        for path in (folder, _unfinished(folder)):
            if path.exists():
                rmtree(path)


def _unfinished(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.unfinished")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Alone with a folder, which need not exist."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as handle:
        flock(handle, LOCK_EX)
        yield


def _fill(wanted: Part, folder: Path, processes: int, report: Report) -> None:
    """Make the sequences that are still missing."""
    missing = [i for i in range(wanted.count) if not (folder / facts_file(i)).exists()]
    done = wanted.count - len(missing)
    report(done, wanted.count)
    made = _made_here if processes == 1 or len(missing) < 2 else _made_by_many
    for _ in made(wanted, folder, missing, min(processes, len(missing))):
        done += 1
        report(done, wanted.count)


def _made_here(wanted: Part, folder: Path, missing: list[int], processes: int) -> Iterator[None]:
    for index in missing:
        make(wanted, folder, index)
        yield


def _made_by_many(wanted: Part, folder: Path, missing: list[int], processes: int) -> Iterator[None]:
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _prepare)
    try:
        for future in as_completed([pool.submit(make, wanted, folder, i) for i in missing]):
            future.result()
            yield
    except BrokenProcessPool as error:
        raise DatasetError(
            f"a process that generated {folder} was ended from outside (out of memory?); "
            "run it again, perhaps with fewer processes: it goes on where it stopped"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare() -> None:
    """One thread for each process; Ctrl-C is for the parent, and nobody outlives it."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def make(wanted: Part, folder: Path, index: int) -> None:
    """Draw one sequence and store it: the pixels, then the facts that say they are complete."""
    scene = set_up(configure(wanted.split, wanted.seed, index))
    times = scene.moments(wanted.length)
    frames = np.empty((wanted.length, HEIGHT, WIDTH, 3), np.uint8)
    boxes, visibility = [], []
    for row, t in enumerate(times):
        moment = scene.render(t)
        frames[row] = moment.frame
        boxes.append(moment.box)
        visibility.append(round(moment.visibility, 4))
    facts = {
        "boxes": boxes,
        "visibility": visibility,
        "attributes": sorted(scene.config.attributes),
        "numbers": {
            "visibility": round(float(np.mean(visibility)), 4),
            "speed": round(float(np.mean([scene.speed(t) for t in times])), 4),
            "distractors": scene.config.distractors,
        },
        "checksum": store.checksum(frames),
    }
    draft = folder / f"{index:04d}.{os.getpid()}.draft"
    with draft.open("wb") as handle:
        np.save(handle, frames)
    draft.replace(folder / frames_file(index))
    draft.write_text(json.dumps(facts))
    draft.replace(folder / facts_file(index))


def _finish(wanted: Part, unfinished: Path, folder: Path) -> None:
    """One index instead of a file for each sequence; then the folder gets its name."""
    records = [json.loads((unfinished / facts_file(i)).read_text()) for i in range(wanted.count)]
    (unfinished / INDEX).write_text(json.dumps({**wanted.facts(), "sequences": records}))
    unfinished.rename(folder)
    for index in range(wanted.count):
        (folder / facts_file(index)).unlink()
    for draft in folder.glob("*.draft"):
        draft.unlink()
