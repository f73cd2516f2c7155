"""What a node makes of a candidate: its own data, its own copy of the teacher."""

from dataclasses import replace
from pathlib import Path

import pytest

from search_spaces import ParetrackError
from tests.workers.small_work import TINY
from workers.candidate import Candidate, Data
from workers.on_ray._messages import Needs
from workers.on_ray._node import Packed, on_this_node, pack


@pytest.fixture
def candidate(tmp_path: Path) -> Candidate:
    teacher = tmp_path / "teacher"
    teacher.mkdir()
    (teacher / "architecture.json").write_text("{}")
    (teacher / "weights.safetensors").write_bytes(b"weights")
    (tmp_path / "data").mkdir()
    data = Data(dataset="folder", root=tmp_path / "data")
    return Candidate(teacher=teacher, architecture=TINY, data=data)


def packed(candidate: Candidate) -> tuple[str, Packed]:
    return pack(sorted(candidate.teacher.iterdir()))


def nothing() -> Packed:
    raise AssertionError("there was no need to fetch it")


def test_what_a_node_sees_is_used_where_it_lies(candidate: Candidate) -> None:
    assert on_this_node(candidate, packed(candidate)[0], nothing) == candidate
    assert on_this_node(candidate, None, nothing) == candidate


def test_a_teacher_is_fetched_once_where_the_node_sees_none_or_another(
    candidate: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARETRACK_HOME", str(tmp_path / "home"))
    checksum, files = packed(candidate)
    absent = replace(candidate, teacher=tmp_path / "absent")
    first = on_this_node(absent, checksum, lambda: files)
    assert first.teacher != absent.teacher
    assert (first.teacher / "weights.safetensors").read_bytes() == b"weights"
    (candidate.teacher / "weights.safetensors").write_bytes(b"changed")
    assert on_this_node(candidate, checksum, nothing).teacher == first.teacher


def test_data_are_looked_for_where_the_node_keeps_them(
    candidate: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = replace(candidate, data=replace(candidate.data, root=Path("/nowhere/data")))
    monkeypatch.delenv("PARETRACK_DATA", raising=False)
    with pytest.raises(ParetrackError, match=r"'folder'.*no /nowhere/data.*not set there"):
        on_this_node(elsewhere, None, nothing)
    monkeypatch.setenv("PARETRACK_DATA", str(tmp_path / "mine"))
    with pytest.raises(ParetrackError, match=r"PARETRACK_DATA is .*mine there"):
        on_this_node(elsewhere, None, nothing)
    (tmp_path / "mine").mkdir()
    assert on_this_node(elsewhere, None, nothing).data.root == tmp_path / "mine"
    (tmp_path / "mine" / "folder").mkdir()
    assert on_this_node(elsewhere, None, nothing).data.root == tmp_path / "mine" / "folder"


def test_a_candidate_is_not_spread_over_nodes_and_dead_ones_do_not_count() -> None:
    from workers.on_ray._driver import _fitting

    nodes = [
        {"Alive": True, "Resources": {"CPU": 3.0, "GPU": 1.0}},
        {"Alive": True, "Resources": {"CPU": 3.0, "phone": 1.0}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0, "phone": 8.0}},
    ]
    assert _fitting(nodes, Needs(cpus=2)) == 2
    assert _fitting(nodes, Needs(cpus=0.1)) == 60
    assert _fitting(nodes, Needs(cpus=1, gpus=0.25)) == 3
    assert _fitting(nodes, Needs(cpus=0, gpus=0.25)) == 4
    assert _fitting(nodes, Needs(cpus=1, resources={"phone": 1})) == 1
    assert _fitting(nodes, Needs(cpus=1, gpus=1, resources={"phone": 1})) == 0
