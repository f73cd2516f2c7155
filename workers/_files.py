"""Files that appear under their name only when they are complete and on the disk.

A process may be killed at any moment: what was there before is then still there. Tensors lie in
safetensors files, with one JSON note of ours in the header; nothing is pickled.
"""

import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from search_spaces import ParetrackError

_NOTE = "paretrack"  # one key in the header: several would be written in no fixed order


class CheckpointError(ParetrackError):
    """A checkpoint that cannot be read or written, or that does not fit the network."""


def write_text(path: Path, text: str) -> None:
    """The whole text under its name, or what was there before."""
    _write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_tensors(path: Path, tensors: Mapping[str, Tensor], note: Any) -> None:
    """Tensors by name, with a note about them that can be said in JSON."""
    # Copies, because safetensors refuses tensors that share memory.
    plain = {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()
    }
    header = {_NOTE: json.dumps(note)}
    _write(path, lambda temporary: save_file(plain, temporary, header))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], Any]:
    """The tensors of one of our files and our note in its header, None where there is none."""
    _check_file(path)
    try:
        with safe_open(path, "pt") as file:
            note = (file.metadata() or {}).get(_NOTE, "null")
            return {name: file.get_tensor(name) for name in list(file.keys())}, json.loads(note)
    except (SafetensorError, OSError, ValueError, RuntimeError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: cut off, damaged, or not a safetensors file ({error}); copy it again"
        ) from error


def read_note(path: Path) -> Any:
    """Our note in the header of a file, None where there is none; no tensor is read."""
    _check_file(path)
    try:
        with safe_open(path, "pt") as file:
            return json.loads((file.metadata() or {}).get(_NOTE, "null"))
    except (SafetensorError, OSError, ValueError, RuntimeError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; check the path, or save the tracker again")
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path}: the file is empty (0 bytes); copy or save it again")


def read_bytes(path: Path) -> bytes:
    """A whole small file, which must be there and not be empty."""
    _check_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside ``path``, make sure that it is on the disk, then give it its name."""
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        try:
            temporary.touch()  # with the permissions that the user wants new files to have
            mode = temporary.stat().st_mode
            write(temporary)
            temporary.chmod(mode)
            _sync(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync(path.parent)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path}: cannot be written ({error}); what was there before is still there"
        ) from error


def _remove_leftovers(path: Path) -> None:
    """Drop what a killed save left behind; an hour is more than any save takes."""
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        with suppress(FileNotFoundError):  # another save has just finished with it
            if leftover.stat().st_mtime < time.time() - 3600:
                leftover.unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
