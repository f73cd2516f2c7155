"""A trained tracker as two ONNX graphs, compared with torch after the export, and as a bundle.

The bundle is what users take home: a folder that tracks with numpy, OpenCV and ONNX Runtime alone.
"""

import ast
import copy
import hashlib
import json
import logging
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from search_spaces import (
    Architecture,
    Geometry,
    TrackerNetwork,
    architecture_to_json,
    build,
    load,
)
from workers._graph_checks import Branch, ExportError, branches, check_graphs
from workers.checkpoints import weights_sha256
from workers.latency._graph_modules import MODULE
from workers.onnx_predictor import FRAME, TEMPLATE

__all__ = ["ExportError", "export_bundle", "export_graphs"]

OPSET = 18  # the oldest that the exporter writes by itself: ONNX Runtime reads it since 2023
FORMAT = 1  # of tracker.json
DESCRIPTION = "tracker.json"
EXTERNAL_BYTES = 1_800_000_000  # a graph's file ends at 2 GB: larger weights lie beside it

_SCRIPT = Path(__file__).parent / "bundle" / "track.py"
_README = """\
pip install numpy opencv-python onnxruntime
python track.py VIDEO_OR_FOLDER --box x,y,w,h --out boxes.txt --draw tracked.mp4
"""


@torch.inference_mode(False)
@torch.enable_grad()
def export_graphs(
    network: TrackerNetwork,
    geometry: Geometry,
    folder: Path,
    *,
    dynamic_batch: bool = False,
    modules_noted: bool = False,
) -> tuple[Path, Path]:
    """Write template.onnx and frame.onnx, both verified, or nothing at all.

    ``modules_noted``: every node says by which module of the network it was called.

    template: 'crop' -> 'template_0', 'template_1', ... frame: 'crop', 'template_0', ... ->
    'scores', 'boxes'. A crop is normalised float32 (1, 3, side, side).
    """
    if dynamic_batch:
        raise ExportError(
            "the graphs have fixed shapes: no tracker family has a dynamic batch (the correlation "
            "and the tables of positions are made for one size); leave dynamic_batch out and run "
            "the graphs once for every target"
        )
    network = copy.deepcopy(network).cpu().float().eval()
    with _written_at_once(folder) as made:
        for name, branch in branches(network, geometry).items():
            _write_graph(branch, made / name, modules_noted)
        check_graphs(network, geometry, made)
    return folder / TEMPLATE, folder / FRAME


def export_bundle(
    architecture: Architecture,
    network: TrackerNetwork,
    folder: Path,
    *,
    provenance: Mapping[str, str],
    replace: bool = False,
) -> Path:
    """Write the folder that users take home: graphs, tracker.json, track.py and README.txt.

    ``provenance`` is what the caller knows: the date, where the weights come from. ``replace``
    allows an older bundle in the folder, never anything else.
    """
    _check_folder(folder, replace)
    _check_shapes(architecture, network)
    geometry = load(architecture.family).geometry(architecture)
    with _written_at_once(folder) as made:
        export_graphs(network, geometry, made)
        description = {
            "format": FORMAT,
            "geometry": asdict(geometry),
            "sha256": {path.name: _sha256(path) for path in sorted(made.iterdir())},
            "provenance": {**provenance, **_made_from(architecture, network)},
        }
        text = json.dumps(description, indent=1) + "\n"
        (made / DESCRIPTION).write_text(text, encoding="utf-8")
        (made / "README.txt").write_text(_README, encoding="utf-8")
        shutil.copyfile(_SCRIPT, made / _SCRIPT.name)
    return folder


def _made_from(architecture: Architecture, network: TrackerNetwork) -> dict[str, Any]:
    return {
        "paretrack": version("paretrack"),
        "architecture": architecture_to_json(architecture),
        "weights_sha256": weights_sha256(network.state_dict()),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "opset": OPSET,
        "torch": version("torch"),
        "onnx": version("onnx"),
    }


def _write_graph(branch: Branch, path: Path, modules_noted: bool) -> None:
    try:
        with _quiet_exporter():
            program = torch.onnx.export(
                branch.module,
                tuple(branch.inputs.values()),
                dynamo=True,
                opset_version=OPSET,
                input_names=list(branch.inputs),
                output_names=list(branch.outputs),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise ExportError(f"{path.name}: torch cannot export this branch: {error}") from error
    assert program is not None
    for node in program.model.graph.all_nodes():
        scopes = node.metadata_props.get("pkg.torch.onnx.name_scopes")
        node.metadata_props.clear()  # paths and lines of our code: no use at the user's
        if modules_noted and scopes is not None:
            node.metadata_props[MODULE] = _innermost(scopes)
    bytes_ = sum(p.numel() * p.element_size() for p in branch.module.parameters())
    program.save(path, external_data=bytes_ > EXTERNAL_BYTES)


def _innermost(scopes: str) -> str:
    """The path in the network. The exporter lists modules from the branch inwards, then itself."""
    *_, module = ast.literal_eval(scopes)[:-1] or [""]
    return str(module).partition(".")[2]  # the first word is what the branch calls the network


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Without the remarks of the exporter that say nothing about this network."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    registration.addFilter(_is_news)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
            yield
    finally:
        registration.removeFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("torchvision is not installed")


@contextmanager
def _written_at_once(folder: Path) -> Iterator[Path]:
    """A folder whose files get to ``folder`` at the end, or nowhere if anything goes wrong."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
            made = Path(temporary) / "made"  # the temporary folder itself is closed to others
            made.mkdir()
            yield made
            if folder.exists():
                _move_files(made, folder)
            else:
                made.rename(folder)
    except OSError as error:
        raise ExportError(f"{folder}: cannot be written ({error})") from error


def _move_files(made: Path, folder: Path) -> None:
    """Over those of an older bundle. The description comes last: until then it fits no file."""
    for graph in (TEMPLATE, FRAME):
        (folder / f"{graph}.data").unlink(missing_ok=True)
    for path in sorted(made.iterdir(), key=lambda path: path.name == DESCRIPTION):
        path.replace(folder / path.name)


def _check_folder(folder: Path, replace: bool) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not _is_bundle(folder):
        raise ExportError(f"{folder}: holds something else than a tracker; choose a new folder")
    if not replace:
        raise ExportError(
            f"{folder}: there is an exported tracker already; choose a new folder, or replace it "
            "(--force)"
        )


def _is_bundle(folder: Path) -> bool:
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(description, dict) and {"format", "geometry", "sha256"} <= description.keys()


def _check_shapes(architecture: Architecture, network: TrackerNetwork) -> None:
    """An architecture beside other weights would be a lie that nobody notices."""
    with torch.device("meta"):
        expected = {name: t.shape for name, t in build(architecture).state_dict().items()}
    got = {name: t.shape for name, t in network.state_dict().items()}
    wrong = sorted(n for n in expected.keys() | got.keys() if expected.get(n) != got.get(n))
    if wrong:
        raise ExportError(
            f"the network is not what its architecture says: {len(wrong)} tensors differ, first "
            f"{wrong[0]} ({_shape(got, wrong[0])} instead of {_shape(expected, wrong[0])})"
        )


def _shape(shapes: Mapping[str, torch.Size], name: str) -> str:
    return "x".join(map(str, shapes[name])) if name in shapes else "none"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
