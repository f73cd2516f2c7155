"""Architectures as JSON: the only form in which a network's shape is stored or sent."""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from search_spaces._errors import ArchitectureError

T = TypeVar("T")


def to_json(architecture: Any) -> dict[str, Any]:
    """Plain dicts, lists, numbers and names."""
    return {"format": 1, **cast(dict[str, Any], _plain(asdict(architecture)))}


def from_json(kind: type[T], data: Any) -> T:
    """The dataclass that ``to_json`` wrote; an error names the path of what is wrong."""
    if not isinstance(data, dict) or data.get("format") != 1:
        got = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise ArchitectureError(f"not an architecture of format 1 (got {got!r})")
    return cast(T, _read(kind, {k: v for k, v in data.items() if k != "format"}, kind.__name__))


def value_from_json(kind: type[T], data: Any) -> T:
    """A value of this kind from plain dicts, lists, numbers and names, checked field by field."""
    return cast(T, _read(kind, data, getattr(kind, "__name__", str(kind))))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def _read(kind: Any, value: Any, path: str) -> Any:
    origin = get_origin(kind)
    if is_dataclass(kind):
        return _read_dataclass(cast(type[Any], kind), value, path)
    if kind is Any:
        return value
    if origin in (Mapping, dict):
        return _read_mapping(get_args(kind)[1], value, path)
    if origin is tuple:
        return _read_tuple(get_args(kind), value, path)
    if origin is Literal:
        if value not in get_args(kind):
            raise ArchitectureError(
                f"{path}: {value!r} is none of {', '.join(map(repr, get_args(kind)))}"
            )
        return value
    if origin in (Union, UnionType):
        return _read_union(get_args(kind), value, path)
    return _read_scalar(kind, value, path)


def _read_dataclass(kind: type[Any], value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        raise ArchitectureError(f"{path}: expected an object, got {value!r}")
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}
    unknown = sorted(set(value) - set(known))
    missing = sorted(
        name
        for name, field in known.items()
        if name not in value and field.default is MISSING and field.default_factory is MISSING
    )
    if unknown or missing:
        raise ArchitectureError(f"{path}: unknown fields {unknown}, missing fields {missing}")
    return kind(
        **{name: _read(hints[name], item, f"{path}.{name}") for name, item in value.items()}
    )


def _read_mapping(kind: Any, value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ArchitectureError(f"{path}: expected an object, got {value!r}")
    return {name: _read(kind, item, f"{path}.{name}") for name, item in value.items()}


def _read_tuple(items: tuple[Any, ...], value: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ArchitectureError(f"{path}: expected a list, got {value!r}")
    if len(items) == 2 and items[1] is Ellipsis:
        items = (items[0],) * len(value)
    if len(items) != len(value):
        raise ArchitectureError(f"{path}: expected {len(items)} items, got {len(value)}")
    return tuple(
        _read(kind, item, f"{path}[{i}]")
        for i, (kind, item) in enumerate(zip(items, value, strict=True))
    )


def _read_union(kinds: tuple[Any, ...], value: Any, path: str) -> Any:
    if value is None and NoneType in kinds:
        return None
    remaining = [kind for kind in kinds if kind is not NoneType]
    for kind in remaining[:-1]:
        try:
            return _read(kind, value, path)
        except ArchitectureError:
            continue
    return _read(remaining[-1], value, path)


def _read_scalar(kind: Any, value: Any, path: str) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    wanted = (int, float) if kind is float else kind
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
        raise ArchitectureError(f"{path}: expected {kind.__name__}, got {value!r}")
    return float(value) if kind is float else value
