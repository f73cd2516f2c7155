"""Trackers and training states on disk: the same bits back, whenever the process is killed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces import (
    ArchitectureError,
    TrackerNetwork,
    architecture_to_json,
    build,
    load,
    names,
)
from workers import checkpoints
from workers.checkpoints import (
    CheckpointError,
    import_checkpoint,
    load_state,
    load_tracker,
    read_foreign,
    save_state,
    save_tracker,
    weights_sha256,
    write_text,
)

OSTRACK = load("ostrack")
TINY = OSTRACK.PRESETS["ostrack-tiny"]
OTHER = OSTRACK.with_widths(TINY, {"backbone.blocks.0.mlp": 20})


def fresh_network(architecture: Any = TINY, seed: int = 0) -> TrackerNetwork:
    torch.manual_seed(seed)
    return build(architecture)


def _outputs(architecture: Any, network: TrackerNetwork) -> list[Tensor]:
    geometry = load(architecture.family).geometry(architecture)
    generator = torch.Generator().manual_seed(1)
    template = torch.randn(1, 3, *(geometry.template_size,) * 2, generator=generator)
    search = torch.randn(1, 3, *(geometry.search_size,) * 2, generator=generator)
    with torch.inference_mode():
        return list(network.frame(search, network.template(template)))


def _randomise_statistics(network: TrackerNetwork) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)


_ANOTHER_PROCESS = """
import sys
from pathlib import Path
import torch
from tests.workers.test_checkpoints import _outputs
from workers.checkpoints import load_tracker, save_state

torch.set_num_threads(int(sys.argv[2]))
trackers = sorted(path.parent for path in Path(sys.argv[1]).glob("*/architecture.json"))
outputs = {folder.name: _outputs(*load_tracker(folder)) for folder in trackers}
save_state(Path(sys.argv[1], "outputs"), outputs)
"""


def test_a_new_process_computes_the_same_bits_from_the_folder(tmp_path: Path) -> None:
    expected = {}
    for name in names():
        family = load(name)
        preset = family.PRESETS[f"{name}-tiny"]
        unit = family.units(preset)[-1]
        architecture = family.with_widths(preset, {unit.name: unit.width - 1})
        network = fresh_network(architecture).eval()
        _randomise_statistics(network)
        save_tracker(tmp_path / name, architecture, network)
        expected[name] = _outputs(architecture, network)
    _python(_ANOTHER_PROCESS, tmp_path, torch.get_num_threads())
    assert_same(load_state(tmp_path / "outputs"), expected)


def assert_same(got: Any, expected: Any) -> None:
    assert type(got) is type(expected)
    if isinstance(expected, Tensor):
        assert got.dtype == expected.dtype
        torch.testing.assert_close(got, expected, rtol=0, atol=0, equal_nan=True)
    elif isinstance(expected, dict):
        assert list(got) == list(expected)
        for key in expected:
            assert_same(got[key], expected[key])
    elif isinstance(expected, list):
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            assert_same(one, other)
    else:
        assert got == expected or (got != got and expected != expected)


def _python(script: str, *arguments: object) -> str:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_loaded_tracker_has_its_architecture_and_is_in_evaluation_mode(tmp_path: Path) -> None:
    network = fresh_network().train()
    save_tracker(tmp_path, TINY, network)
    assert network.training
    architecture, loaded = load_tracker(tmp_path)
    assert architecture == TINY
    assert not loaded.training
    assert weights_sha256(loaded.state_dict()) == weights_sha256(network.state_dict())


def test_saving_and_loading_leave_the_random_numbers_alone(tmp_path: Path) -> None:
    network = fresh_network()
    before = torch.get_rng_state()
    save_tracker(tmp_path, TINY, network)
    load_tracker(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_was_downloaded_under_the_services_name_is_a_tracker(tmp_path: Path) -> None:
    save_tracker(tmp_path, TINY, build(TINY))
    before = weights_sha256(load_tracker(tmp_path)[1].state_dict())
    (tmp_path / checkpoints.WEIGHTS).rename(tmp_path / checkpoints.DOWNLOADED)
    assert weights_sha256(load_tracker(tmp_path)[1].state_dict()) == before


def test_two_saves_of_one_tracker_are_the_same_files_and_other_files_stay(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        save_tracker(tmp_path / folder, TINY, fresh_network())
        write_text(tmp_path / folder / "recipe.md", "steps: 100\n")
    files = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()}
    save_tracker(tmp_path / "a", OTHER, fresh_network(OTHER))
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(files)
    assert (tmp_path / "a" / "recipe.md").read_text() == "steps: 100\n"


def test_the_checksum_is_of_the_values_and_of_nothing_else() -> None:
    one, same, other = fresh_network(seed=0), fresh_network(seed=0), fresh_network(seed=1)
    assert weights_sha256(one.state_dict()) == weights_sha256(same.state_dict())
    assert weights_sha256(one.state_dict()) != weights_sha256(other.state_dict())
    assert weights_sha256({"a": torch.zeros(2, 3)}) != weights_sha256({"a": torch.zeros(3, 2)})
    assert weights_sha256({"a": torch.zeros(2)}) != weights_sha256({"a": torch.zeros(2).int()})
    turned = torch.arange(6.0).view(2, 3).t()
    assert weights_sha256({"a": turned}) == weights_sha256({"a": turned.clone()})


def test_an_architecture_that_does_not_describe_the_network_is_not_saved(tmp_path: Path) -> None:
    save_tracker(tmp_path, TINY, fresh_network())
    with pytest.raises(CheckpointError, match=r"not saved.*blocks\.0\.mlp\.fc1\.weight"):
        save_tracker(tmp_path, TINY, fresh_network(OTHER))
    assert load_tracker(tmp_path)[0] == TINY


# One process saves two different trackers in turns and is killed again and again.
_KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from tests.workers.test_checkpoints import OTHER, TINY, fresh_network
from workers.checkpoints import load_state, load_tracker, save_state, save_tracker

def save(step):
    save_tracker(folder, *trackers[step % 2])
    save_state(folder / "state", {"step": step, "values": torch.full((1000,), step)})

folder, chance = Path(sys.argv[1]), random.Random(0)
trackers = []
for mark, architecture in enumerate((TINY, OTHER)):
    network = fresh_network(architecture)
    for tensor in network.state_dict().values():
        tensor.fill_(mark)
    trackers.append((architecture, network))
save(0), save(1)
began = time.perf_counter()
save(0), save(1)
one_save = (time.perf_counter() - began) / 2
found = set()
for turn in range(20):
    child = os.fork()
    if child == 0:
        for step in range(turn, turn + 1000):
            save(step)
        os._exit(1)
    time.sleep(chance.uniform(0.2, 3) * one_save)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    architecture, network = load_tracker(folder)
    mark = [TINY, OTHER].index(architecture)
    assert all((tensor == mark).all() for tensor in network.state_dict().values())
    state = load_state(folder / "state")
    assert (state["values"] == state["step"]).all()
    found.add(mark)
print(len(found), "trackers,", len(list(folder.glob(".*.tmp"))), "cut off")
"""


def test_a_process_killed_in_the_middle_of_saves_loses_nothing(tmp_path: Path) -> None:
    # The script asserts after every kill; which of its two trackers it found is a matter of luck.
    assert "trackers" in _python(_KILLED, tmp_path / "tracker")


def test_a_save_cut_off_between_its_two_files_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_tracker(tmp_path, TINY, fresh_network())

    def killed(path: Path, text: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        save_tracker(tmp_path, OTHER, fresh_network(OTHER))
    assert load_tracker(tmp_path)[0] == OTHER
    monkeypatch.undo()
    save_tracker(tmp_path, TINY, fresh_network())
    assert load_tracker(tmp_path)[0] == TINY


def test_a_save_that_fails_says_so_and_keeps_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_tracker(tmp_path, TINY, fresh_network())

    def full(path: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(CheckpointError, match="No space left"):
        save_tracker(tmp_path, OTHER, fresh_network(OTHER))
    assert load_tracker(tmp_path)[0] == TINY
    assert not list(tmp_path.glob(".*"))


def test_what_a_killed_save_left_behind_is_removed_by_a_later_one(tmp_path: Path) -> None:
    old, young = tmp_path / ".state.0badcafe.tmp", tmp_path / ".state.deadbeef.tmp"
    for leftover in (old, young):
        leftover.write_bytes(b"half")
    os.utime(old, (0, 0))
    save_state(tmp_path / "state", {})
    assert not old.exists()
    assert young.exists()  # another process may be writing it


def test_an_edited_architecture_is_honoured(tmp_path: Path) -> None:
    save_tracker(tmp_path, TINY, fresh_network())
    edited = replace(TINY, search_factor=4.5)
    write_text(tmp_path / "architecture.json", json.dumps(architecture_to_json(edited)))
    assert load_tracker(tmp_path)[0] == edited


WEIGHTS, DESCRIBED = "weights.safetensors", "architecture.json"
SPOILT: dict[str, tuple[str, Callable[[bytes], bytes | None]]] = {
    "weights missing": (WEIGHTS, lambda _: None),
    "weights empty": (WEIGHTS, lambda _: b""),
    "weights cut": (WEIGHTS, lambda content: content[:-50]),
    "weights are something else": (WEIGHTS, lambda _: b"hello" * 100),
    "architecture missing": (DESCRIBED, lambda _: None),
    "architecture empty": (DESCRIBED, lambda _: b""),
    "architecture not JSON": (DESCRIBED, lambda _: b"{"),
    "architecture too deep": (DESCRIBED, lambda _: b"[" * 100_000),
    "family unknown": (DESCRIBED, lambda _: b'{"format": 1, "family": "nosuch"}'),
    "field wrong": (DESCRIBED, lambda text: text.replace(b'"embed": 16', b'"embed": "wide"')),
    "other widths": (DESCRIBED, lambda _: json.dumps(architecture_to_json(OTHER)).encode()),
}


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("weights missing", r"weights\.safetensors: no such file"),
        ("weights empty", r"weights\.safetensors: the file is empty"),
        ("weights cut", r"weights\.safetensors: cut off"),
        ("weights are something else", r"weights\.safetensors: cut off, damaged, or not"),
        ("architecture missing", r"architecture\.json: no such file"),
        ("architecture empty", r"architecture\.json: the file is empty"),
        ("architecture not JSON", r"architecture\.json: "),
        ("architecture too deep", r"architecture\.json: "),
        ("family unknown", r"architecture\.json: no tracker family named 'nosuch'; choose"),
        ("field wrong", r"architecture\.json: Architecture\.embed: expected int, got 'wide'"),
        (
            "other widths",
            r"3 of another shape \('backbone\.blocks\.0\.mlp\.fc1\.weight' \[32, 16\]",
        ),
    ],
)
def test_a_spoilt_tracker_is_an_error_that_names_the_file(
    what: str, reason: str, tmp_path: Path
) -> None:
    save_tracker(tmp_path, TINY, fresh_network())
    name, spoil = SPOILT[what]
    spoilt = spoil((tmp_path / name).read_bytes())
    (tmp_path / name).unlink() if spoilt is None else (tmp_path / name).write_bytes(spoilt)
    with pytest.raises(CheckpointError, match=reason) as raised:
        load_tracker(tmp_path)
    assert str(tmp_path) in str(raised.value)
    assert len(str(raised.value)) < 600


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere: no such folder"):
        load_tracker(tmp_path / "nowhere")


@pytest.mark.parametrize("family", names())
@pytest.mark.parametrize("zipped", [True, False])
def test_a_published_file_becomes_afresh_network(family: str, zipped: bool, tmp_path: Path) -> None:
    architecture = load(family).PRESETS[f"{family}-tiny"]
    network = fresh_network(architecture)
    path = tmp_path / "published.pth"
    content = {"net": {f"module.{name}": t for name, t in network.state_dict().items()}, "epoch": 3}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    imported = import_checkpoint(path, architecture)
    assert weights_sha256(imported.state_dict()) == weights_sha256(network.state_dict())
    assert not imported.training


def test_a_published_file_of_another_network_is_compared_with_the_presets(tmp_path: Path) -> None:
    path = tmp_path / "published.pth"
    weights = fresh_network(load("siamrpn").PRESETS["siamrpn-tiny"]).state_dict()
    torch.save(weights, path)
    with pytest.raises(CheckpointError, match=r"They fit preset 'siamrpn-tiny' of siamrpn") as fits:
        import_checkpoint(path, TINY)
    assert len(str(fits.value)) < 800
    torch.save({"foo": torch.ones(3)}, path)
    with pytest.raises(CheckpointError, match="No preset of any family comes near"):
        import_checkpoint(path, TINY)
    lacking = dict(fresh_network().state_dict())
    del lacking["backbone.norm.bias"]
    torch.save({**lacking, "extra\x1b[2J" * 50: torch.ones(1)}, path)
    with pytest.raises(CheckpointError) as near:
        import_checkpoint(path, TINY)
    assert "1 missing ('backbone.norm.bias')" in str(near.value)
    assert "1 unexpected ('extra\\x1b[2J" in str(near.value)
    assert "nearest is preset 'ostrack-tiny' of ostrack" in str(near.value)
    assert len(str(near.value)) < 800


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "preset", "keys"), [("ostrack", "ostrack-256", 242), ("siamrpn", "siamrpn-r50", 458)]
)
def test_a_file_of_published_size_loads_strictly_both_ways(
    family: str, preset: str, keys: int, tmp_path: Path
) -> None:
    architecture = load(family).PRESETS[preset]
    weights = fresh_network(architecture).state_dict()
    path = tmp_path / "published.pth.tar"
    torch.save({"net": weights, "settings": ArchitectureError}, path)
    assert len(read_foreign(path)) == keys
    imported = import_checkpoint(path, architecture)
    assert_same(dict(imported.state_dict()), dict(weights))
