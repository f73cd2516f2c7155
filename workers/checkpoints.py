"""A tracker on disk is a folder: architecture.json says what it is, weights.safetensors the rest.

Nothing is pickled, and a process that is killed in the middle of a save loses nothing: the tracker
that was there before is still readable.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from search_spaces import (
    Architecture,
    TrackerNetwork,
    architecture_from_json,
    architecture_to_json,
    build,
    load,
    names,
)
from workers._files import (
    CheckpointError,
    read_bytes,
    read_note,
    read_tensors,
    write_tensors,
    write_text,
)
from workers._foreign import read_foreign

__all__ = [
    "CheckpointError",
    "import_checkpoint",
    "load_state",
    "load_tracker",
    "noted_architecture",
    "read_foreign",
    "save_state",
    "save_tracker",
    "weights_sha256",
    "write_text",
]

ARCHITECTURE = "architecture.json"
WEIGHTS = "weights.safetensors"
DOWNLOADED = "model.safetensors"  # the same, as the service hands it out


def save_tracker(folder: Path, architecture: Architecture, network: TrackerNetwork) -> None:
    """Write both files; other files of the folder stay. The weights must fit the architecture."""
    weights = network.state_dict()
    if report := _differences(weights, _fresh(architecture)):
        raise CheckpointError(
            f"{folder}: not saved, the architecture does not describe the network: {report}"
        )
    text = json.dumps(architecture_to_json(architecture), indent=1) + "\n"
    description = folder / ARCHITECTURE
    before = _sha256(description.read_bytes()) if description.is_file() else ""
    # Two files cannot be replaced in one step. The weights therefore say which architecture they
    # belong to and which text stood in architecture.json before: see _architecture.
    note = {"architecture": text, "replaces": before}
    if (folder / WEIGHTS).exists():
        write_tensors(folder / WEIGHTS, weights, note)
        write_text(description, text)
    else:
        write_text(description, text)
        write_tensors(folder / WEIGHTS, weights, note)


def weights_file(folder: Path) -> Path:
    """Where a tracker's weights are: in its own file, or in one that was downloaded."""
    own, downloaded = folder / WEIGHTS, folder / DOWNLOADED
    return downloaded if downloaded.exists() and not own.exists() else own


def load_tracker(folder: Path) -> tuple[Architecture, TrackerNetwork]:
    """The tracker as it was saved, in evaluation mode, on the CPU."""
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder}: no such folder; a tracker is a folder with {ARCHITECTURE} and {WEIGHTS}"
        )
    text = read_bytes(folder / ARCHITECTURE)
    weights, note = read_tensors(weights_file(folder))
    architecture = _architecture(folder, text, note)
    network = _fresh(architecture)
    if report := _differences(weights, network):
        raise CheckpointError(f"{weights_file(folder)}: does not fit {ARCHITECTURE}: {report}")
    network.load_state_dict(weights)
    return architecture, network.eval()


def _architecture(folder: Path, text: bytes, note: Any) -> Architecture:
    """What architecture.json says, unless a save was cut off between the weights and it."""
    if isinstance(note, dict) and note.get("replaces") == _sha256(text):
        text = str(note.get("architecture")).encode()
    try:
        return architecture_from_json(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder / ARCHITECTURE}: {error}") from error


def import_checkpoint(path: Path, architecture: Architecture) -> TrackerNetwork:
    """A network with the weights of a published file; every name and shape must match."""
    weights = read_foreign(path)
    with torch.device("meta"):  # what does not fit the file must not take memory
        expected = build(architecture)
    if report := _differences(weights, expected):
        raise CheckpointError(
            f"{path}: not the weights of this {architecture.family}: {report}. {_hint(weights)}"
        )
    network = _fresh(architecture)
    network.load_state_dict(weights)
    return network.eval()


def noted_architecture(path: Path) -> Architecture | None:
    """What a weights' file of ours says that it belongs to; None where it says nothing."""
    note = read_note(path)
    if not isinstance(note, dict) or "architecture" not in note:
        return None
    try:
        return architecture_from_json(json.loads(str(note["architecture"])))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its note of the architecture: {error}") from error


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """A checksum of the values, whatever file they lie in."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """A training state in one file: nested dicts and lists of tensors, numbers and text.

    Keys are text. A tuple comes back as a list.
    """
    tensors: dict[str, Tensor] = {}
    note = _described(state, tensors, "")
    write_tensors(path, tensors, note)


def load_state(path: Path) -> dict[str, Any]:
    """What ``save_state`` wrote; tensors are on the CPU."""
    tensors, note = read_tensors(path)
    try:
        state = _restored(note, tensors)
    except (LookupError, TypeError, AttributeError, RecursionError):
        state = None
    if not isinstance(state, dict):
        raise CheckpointError(
            f"{path}: not a training state; expected a file that save_state wrote, "
            "a tracker is read from its folder"
        )
    return state


def _described(value: Any, tensors: dict[str, Tensor], at: str) -> Any:
    """``value`` as JSON, with its tensors set aside under the path where they stood."""
    if isinstance(value, Tensor):
        name = f"{len(tensors)}{at}"
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise CheckpointError(f"state{at}: keys are text, got {key!r}; save str(key)")
        items = {key: _described(item, tensors, f"{at}/{key}") for key, item in value.items()}
        return {"dict": items}
    if isinstance(value, (list, tuple)):
        return [_described(item, tensors, f"{at}/{i}") for i, item in enumerate(value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise CheckpointError(
        f"state{at}: expected tensors, numbers, text, dicts and lists, got {type(value).__name__}"
    )


def _restored(note: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(note, list):
        return [_restored(item, tensors) for item in note]
    if not isinstance(note, dict):
        return note
    if "tensor" in note:
        return tensors[note["tensor"]]
    return {key: _restored(item, tensors) for key, item in note["dict"].items()}


def _fresh(architecture: Architecture) -> TrackerNetwork:
    # Its weights are drawn only to be replaced: the caller's random numbers stay as they were.
    with torch.random.fork_rng(devices=[]):
        return build(architecture)


def _differences(weights: Mapping[str, Tensor], network: TrackerNetwork) -> str:
    """What does not match, in one line; empty when everything does."""
    expected = {name: tensor.shape for name, tensor in network.state_dict().items()}
    missing = [(name, "") for name in expected if name not in weights]
    unexpected = [(name, "") for name in weights if name not in expected]
    mismatching = [
        (name, f" {list(weights[name].shape)}, expected {list(shape)}")
        for name, shape in expected.items()
        if name in weights and weights[name].shape != shape
    ]
    found = (("missing", missing), ("unexpected", unexpected), ("of another shape", mismatching))
    return "; ".join(f"{len(which)} {what} ({_some(which)})" for what, which in found if which)


def _some(which: list[tuple[str, str]]) -> str:
    # Names come from a file that anybody may have written: quoted and cut.
    listed = ", ".join(f"{name[:80]!r}{remark}" for name, remark in which[:3])
    return listed + (", ..." if len(which) > 3 else "")


def _hint(weights: Mapping[str, Tensor]) -> str:
    """The preset that comes nearest, in words."""
    shares = {
        f"preset {preset!r} of {family}": _share(weights, architecture)
        for family in names()
        for preset, architecture in load(family).PRESETS.items()
    }
    if fitting := [name for name, share in shares.items() if share == 1]:
        return f"They fit {' and '.join(fitting)}"
    best = max(shares, key=lambda name: shares[name])
    if shares[best] < 0.2:
        return "No preset of any family comes near them"
    return f"The nearest is {best}, which {shares[best]:.0%} of the tensors match"


def _share(weights: Mapping[str, Tensor], architecture: Architecture) -> float:
    """How much of file and network together has the same name and shape."""
    with torch.device("meta"):  # no memory is taken: the presets are large
        expected = build(architecture).state_dict()
    matching = len([n for n, t in expected.items() if n in weights and weights[n].shape == t.shape])
    return matching / len(set(weights) | set(expected))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
