"""What happens on the node that an assignment was sent to. Teacher and data are the node's own."""

import hashlib
import os
import pickle
import secrets
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from search_spaces import ParetrackError
from workers._carrying_out import Throttled, carry_out
from workers.on_ray._process import HOME
from workers.pool import Assignment, Hear, Work

if TYPE_CHECKING:
    from workers.candidate import Candidate

Packed = dict[str, bytes]  # the files of a teacher by name
DATA = "PARETRACK_DATA"


def pack(files: Sequence[Path]) -> tuple[str, Packed]:
    """A teacher's files and their checksum."""
    packed = {path.name: path.read_bytes() for path in files}
    return _checksum(packed), packed


def work_through(
    assignment: bytes,
    work: bytes,
    threads: int,
    checksum: str | None,
    fetch: Callable[[], Packed],
) -> Iterator[bytes | dict[str, Any]]:
    """Happenings, as bytes, and at last the measurement. ``checksum``: of the teacher's files."""
    asked: Assignment = pickle.loads(assignment)
    task: Work = pickle.loads(work)
    told: SimpleQueue[bytes | dict[str, Any] | BaseException] = SimpleQueue()

    def here(assignment: Assignment, folder: Path, hear: Hear) -> dict[str, Any]:
        candidate = on_this_node(assignment.candidate, checksum, fetch)
        return task(replace(assignment, candidate=candidate), folder, hear)

    def run() -> None:
        from workers.machine import use_threads

        try:
            use_threads(threads)
            hear = Throttled(lambda happening: told.put(pickle.dumps(happening)))
            measurement = carry_out(here, asked, hear)
            hear.flush()
            told.put(_as_asked(measurement, asked.candidate))
        except BaseException as error:  # a thread's exceptions reach nobody by themselves
            told.put(error)

    threading.Thread(target=run, name="assignment", daemon=True).start()
    while isinstance(item := told.get(), bytes):
        yield item
    if isinstance(item, BaseException):
        raise item
    yield item


def on_this_node(
    candidate: "Candidate", checksum: str | None, fetch: Callable[[], Packed]
) -> "Candidate":
    """The same candidate with the teacher and the data of this machine."""
    teacher = candidate.teacher
    if checksum is not None and _checksum_of(teacher) != checksum:
        teacher = _unpacked(checksum, fetch)
    root = _data_root(candidate.data.root, candidate.data.dataset)
    return replace(candidate, teacher=teacher, data=replace(candidate.data, root=root))


def _as_asked(measurement: dict[str, Any], candidate: "Candidate") -> dict[str, Any]:
    """Where this node keeps teacher and data is nothing to the reader."""
    if told := measurement.get("candidate"):
        told["teacher"] = str(candidate.teacher)
        told["data"]["root"] = str(candidate.data.root)
    return measurement


def _data_root(root: Path, dataset: str) -> Path:
    if root.exists():
        return root
    own = os.environ.get(DATA)
    for found in (Path(own) / dataset, Path(own)) if own else ():
        if found.exists():
            return found
    raise ParetrackError(
        f"data set {dataset!r}: node {socket.gethostname()} has no {root}, and {DATA} is "
        f"{'not set' if own is None else own} there; put the data at the same place on every node, "
        f"or start Ray on the node with {DATA} naming the folder that holds them"
    )


def _unpacked(checksum: str, fetch: Callable[[], Packed]) -> Path:
    """The teacher in this node's cache, where it comes to once."""
    home = Path(os.environ.get(HOME) or "~/.paretrack").expanduser()
    folder = home / "cache" / "teachers" / checksum
    if not folder.is_dir():
        unfinished = folder.with_name(f".{checksum}.{secrets.token_hex(4)}.tmp")
        unfinished.mkdir(parents=True)
        for name, content in fetch().items():
            (unfinished / name).write_bytes(content)
        try:
            unfinished.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another worker was quicker
                raise
            shutil.rmtree(unfinished)
    return folder


def _checksum_of(teacher: Path) -> str | None:
    """Of the files that this node sees there; None where it does not see them."""
    from workers.checkpoints import ARCHITECTURE, WEIGHTS

    files = [teacher / ARCHITECTURE, teacher / WEIGHTS]
    if not all(path.is_file() for path in files):
        return None
    stats = [path.stat() for path in files]
    return _read_checksum(tuple(files), tuple((s.st_mtime_ns, s.st_size) for s in stats))


@lru_cache(maxsize=8)
def _read_checksum(files: tuple[Path, ...], stamps: tuple[tuple[int, int], ...]) -> str:
    """``stamps``: so that changed files are read again."""
    return pack(files)[0]


def _checksum(packed: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name in sorted(packed):
        digest.update(f"{name} {len(packed[name])}\n".encode())
        digest.update(packed[name])
    return digest.hexdigest()
