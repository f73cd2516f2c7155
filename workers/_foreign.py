"""Reads the weights in other projects' files without executing anything that is in them.

A ``.pth`` is a pickle, and a pickle is a program. Here it runs on a machine of our own that knows
data and the few names with which torch describes a tensor; all else becomes an inert marker, and
memory is bounded by the size of the file. Formats: safetensors, torch's zip files (1.6 and later),
and the stream of pickles that torch wrote before.
"""

import math
import mmap
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from workers._files import CheckpointError
from workers._pickle_machine import INERT, Builder, Name, PickleMachine, UnreadablePickleError

_MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of a legacy torch file
_CONTAINERS = ("net", "state_dict", "model", "network")  # where projects keep the weights
_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: torch.dtype
    numel: int

    @property
    def nbytes(self) -> int:
        return self.numel * self.dtype.itemsize


class _Storages:
    """The storages that a pickle refers to, by key."""

    def __init__(self) -> None:
        self.known: dict[str, _Storage] = {}

    def __call__(self, reference: Any) -> Any:
        """What stands for ('storage', type, key, device, number of elements[, view])."""
        if not isinstance(reference, tuple) or len(reference) not in (5, 6):
            return INERT
        label, kind, key, _, numel, *view = reference
        if label != "storage" or not isinstance(kind, Name) or kind.name not in _DTYPES:
            return INERT
        if not isinstance(key, str) or not _are_sizes((numel,)) or any(view):
            raise CheckpointError("damaged: a storage is not described as torch does")
        storage = _Storage(key, _DTYPES[kind.name], numel)
        if self.known.setdefault(key, storage) != storage:
            raise CheckpointError(f"damaged: its storage {key!r} is described twice")
        return storage


@dataclass(frozen=True)
class _TensorRecord:
    """How a tensor lies in a storage; no memory is taken before somebody wants the tensor."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def read_foreign(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict in a file of any origin, by name, without 'module.'."""
    try:
        weights = _read(path)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except UnreadablePickleError as error:
        raise CheckpointError(f"{path}: not a checkpoint, or a damaged one ({error})") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise CheckpointError(f"{path}: cannot be read ({reason}); check the path") from error
    if all(name.startswith("module.") for name in weights):
        return {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    return weights


def _read(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        start = file.read(9)
        size = path.stat().st_size
        if size == 0:
            raise CheckpointError("the file is empty (0 bytes); copy or download it again")
        if path.suffix == ".safetensors" or _looks_like_safetensors(start, size):
            return _read_safetensors(path)
        file.seek(0)
        if start.startswith(b"PK"):
            return _read_zip(file, size)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
            return _read_legacy(stream)


def _looks_like_safetensors(start: bytes, size: int) -> bool:
    return len(start) == 9 and start[8:] == b"{" and struct.unpack("<Q", start[:8])[0] <= size - 8


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"not a readable safetensors file ({error}); it may be cut off: copy it again"
        ) from error


def _read_zip(file: IO[bytes], size: int) -> dict[str, Tensor]:
    try:
        with zipfile.ZipFile(file) as archive:
            pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise CheckpointError("a zip file, but not one that torch.save wrote (no data.pkl)")
            records = _Records(archive, pickles[0].removesuffix("data.pkl"), size)
            if records.has("byteorder") and records.read("byteorder", None) != b"little":
                raise CheckpointError("written on a big-endian machine: save it again on another")
            machine = PickleMachine(records.read("data.pkl", None), _BUILDERS, _Storages())
            found = _find_weights(machine.run(), machine.names)
            return _build(found, lambda storage: records.read(f"data/{storage.key}", storage))
    except (
        zipfile.BadZipFile,
        NotImplementedError,  # a compression or version that zipfile does not know
        RuntimeError,  # an encrypted entry
        EOFError,
        LookupError,
        OverflowError,
        struct.error,
        zlib.error,
        UnicodeError,
    ) as error:
        raise CheckpointError(
            f"a torch file that is cut off or damaged ({error}); copy or download it again"
        ) from error


class _Records:
    """The entries of a torch zip file, never more bytes in all than the file has."""

    def __init__(self, archive: zipfile.ZipFile, prefix: str, budget: int) -> None:
        self._archive = archive
        self._prefix = prefix
        self._budget = budget

    def has(self, name: str) -> bool:
        return self._prefix + name in self._archive.NameToInfo

    def read(self, name: str, storage: _Storage | None) -> bytes:
        if not self.has(name):
            raise CheckpointError(f"damaged: its record {name!r} is missing")
        entry = self._archive.getinfo(self._prefix + name)
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise CheckpointError(f"record {name!r} is compressed, which torch.save never does")
        if storage is not None and entry.file_size != storage.nbytes:
            raise CheckpointError(
                f"damaged: record {name!r} has {entry.file_size} bytes, "
                f"its tensors need {storage.nbytes}"
            )
        # Entries of a crafted archive may overlap, so each alone would not bound the memory.
        self._budget -= entry.file_size
        if self._budget < 0:
            raise CheckpointError("damaged: its records claim more bytes than the file has")
        return self._archive.read(entry)


def _read_legacy(stream: mmap.mmap) -> dict[str, Tensor]:
    storages = _Storages()

    def machine() -> PickleMachine:
        return PickleMachine(cast(IO[bytes], stream), _BUILDERS, storages)

    first = machine()
    magic = first.run()
    if type(magic) is not int or magic != _MAGIC:
        raise CheckpointError(_no_weights(first.names))
    for _ in ("protocol version", "facts of the system"):
        machine().run()
    main = machine()
    found = _find_weights(main.run(), main.names)
    keys = machine().run()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise CheckpointError("damaged: its list of storages is not a list of names")
    places = _legacy_places(stream, keys, storages.known)

    def read(storage: _Storage) -> bytes:
        if storage.key not in places:
            raise CheckpointError(f"damaged: its storage {storage.key!r} is missing")
        start = places[storage.key]
        return stream[start : start + storage.nbytes]

    return _build(found, read)


def _legacy_places(
    stream: mmap.mmap, keys: list[str], storages: Mapping[str, _Storage]
) -> dict[str, int]:
    """Where each storage starts: they follow one another, each after its number of elements."""
    places: dict[str, int] = {}
    position = stream.tell()
    for key in keys:
        storage = storages.get(key)
        header = stream[position : position + 8]
        if storage is None or len(header) != 8 or struct.unpack("<q", header)[0] != storage.numel:
            raise CheckpointError(f"cut off or damaged at its storage {key!r}; copy it again")
        places[key] = position + 8
        position += 8 + storage.nbytes
        if position > len(stream):
            raise CheckpointError(f"cut off in its storage {key!r}; copy it again")
    return places


def _no_weights(names: set[Name]) -> str:
    listed = sorted(repr(f"{name.module}.{name.name}"[:60]) for name in names)
    what = f"it names {', '.join(listed[:5])}; nothing of it was executed" if listed else "no names"
    return (
        f"holds no weights ({what}). Expected a state dict, bare or under one of "
        f"{', '.join(map(repr, _CONTAINERS))}; of a whole pickled model, save model.state_dict()"
    )


def _find_weights(root: Any, names: set[Name]) -> dict[str, _TensorRecord]:
    found = _search(root, depth=4)
    if not found:
        raise CheckpointError(_no_weights(names))
    return found


def _search(tree: Any, depth: int) -> dict[str, _TensorRecord]:
    if not isinstance(tree, dict) or depth == 0:
        return {}
    for container in _CONTAINERS:
        if found := _search(tree.get(container), depth - 1):
            return found
    return {
        name: value
        for name, value in tree.items()
        if isinstance(name, str) and isinstance(value, _TensorRecord)
    }


def _build(
    records: Mapping[str, _TensorRecord], read: Callable[[_Storage], bytes]
) -> dict[str, Tensor]:
    storages: dict[str, Tensor] = {}
    weights = {}
    for name, record in records.items():
        key = record.storage.key
        if key not in storages:
            storages[key] = _flat(read(record.storage), record.storage)
        weights[name] = torch.as_strided(storages[key], record.size, record.stride, record.offset)
    return weights


def _flat(data: bytes, storage: _Storage) -> Tensor:
    if not data:
        return torch.empty(0, dtype=storage.dtype)
    return torch.frombuffer(bytearray(data), dtype=storage.dtype)


def _record(arguments: tuple[Any, ...]) -> _TensorRecord:
    """The arguments of torch's _rebuild_tensor, checked to lie inside the storage."""
    if len(arguments) < 4:
        raise CheckpointError("damaged: a tensor is not described as torch does")
    storage, offset, size, stride = arguments[:4]
    if not isinstance(storage, _Storage) or not (_are_sizes(size) and _are_sizes(stride)):
        raise CheckpointError("damaged: a tensor is not described as torch does")
    if not _are_sizes((offset,)) or len(size) != len(stride):
        raise CheckpointError("damaged: a tensor is not described as torch does")
    numel = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if numel > storage.numel or (numel and last >= storage.numel):
        raise CheckpointError("damaged: a tensor is larger than its storage")
    return _TensorRecord(storage, offset, tuple(size), tuple(stride))


def _are_sizes(values: Any) -> bool:
    return (
        isinstance(values, (tuple, list))
        and len(values) <= 16
        and all(type(value) is int and 0 <= value < 2**40 for value in values)
    )


def _ordered_dict(arguments: tuple[Any, ...]) -> dict[str, Any]:
    """Empty, to be filled by the pickle; those of Python 2 bring their [name, value] pairs."""
    pairs = arguments[0] if arguments and isinstance(arguments[0], list) else []
    return {
        pair[0]: pair[1]
        for pair in pairs
        if isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str)
    }


def _parameter(arguments: tuple[Any, ...]) -> Any:
    return arguments[0] if arguments else INERT


_BUILDERS: Mapping[Name, Builder] = {
    Name("torch._utils", "_rebuild_tensor"): _record,
    Name("torch._utils", "_rebuild_tensor_v2"): _record,
    Name("torch._utils", "_rebuild_parameter"): _parameter,
    Name("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    Name("torch", "Size"): _parameter,
    Name("collections", "OrderedDict"): _ordered_dict,
}
