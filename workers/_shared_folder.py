"""A candidate's folder as a path of this machine, wherever it lies.

A local folder is used as it is. One behind a URL is copied into a scratch folder and back. A copy
back that is cut off leaves what a worker killed in the folder itself would leave: each file old or
new, and none newer than one that was written after it.
"""

import fcntl
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

import fsspec  # type: ignore[import-untyped]

from search_spaces import ParetrackError

_SCRATCH = "paretrack-scratch-"
_Stamp = tuple[int, int]  # when it was written, in nanoseconds, and its size


class Folder(Protocol):
    """Where a worker works; ``save`` makes what it wrote so far visible to others."""

    path: Path

    def save(self) -> None: ...


@contextmanager
def opened(folder: str) -> Iterator[Folder]:
    """The folder, made where it is absent. What lies there at the end is saved, unless it fails."""
    if "://" not in folder:
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        yield _Local(path)
        return
    _remove_abandoned()
    scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH))
    try:
        with (scratch / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            copied = _Copied(folder, scratch / "folder")
            yield copied
            copied.save()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Local:
    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self) -> None:
        """It is there already."""


class _Copied:
    def __init__(self, url: str, path: Path) -> None:
        try:
            self._there, root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise ParetrackError(
                f"folder {url!r} cannot be opened: {error}; "
                "give a path, or a URL of a kind whose fsspec package each worker has"
            ) from error
        self._root = PurePosixPath(root)
        self.path = path
        path.mkdir()
        self._copy_in()
        self._known = _files(path)

    def _copy_in(self) -> None:
        for name in self._there.find(str(self._root)):
            relative = PurePosixPath(name).relative_to(self._root)
            if _unfinished(relative.name):  # of a worker that was killed
                self._there.rm_file(name)
                continue
            target = self.path / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            self._there.get_file(name, str(target))

    def save(self) -> None:
        now = _files(self.path)
        changed = [name for name in now if self._known.get(name) != now[name]]
        for name in sorted(changed, key=now.__getitem__):
            self._copy_out(name)
        for name in self._known.keys() - now.keys():
            self._there.rm_file(str(self._root / name))
        self._known = now

    def _copy_out(self, name: str) -> None:
        target = self._root / name
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        self._there.makedirs(str(target.parent), exist_ok=True)
        self._there.put_file(str(self.path / name), str(temporary))
        self._there.mv(str(temporary), str(target))


def _files(folder: Path) -> dict[str, _Stamp]:
    """Every finished file below the folder."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and not _unfinished(path.name):
            stat = path.stat()
            found[path.relative_to(folder).as_posix()] = (stat.st_mtime_ns, stat.st_size)
    return found


def _unfinished(name: str) -> bool:
    """As workers._files and the copies here name what is still being written."""
    return name.startswith(".") and name.endswith(".tmp")


def _remove_abandoned() -> None:
    """Drop the scratch folders of killed workers: the living hold a lock."""
    for scratch in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*"):
        try:
            with (scratch / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(scratch, ignore_errors=True)
        except OSError:  # somebody works there, has just begun, or has another's permissions
            continue
