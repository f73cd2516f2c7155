"""Trackers by the client: real uploads to a real server, over lines that break."""

import hashlib
import json
import shutil
import tracemalloc
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from search_spaces import ParetrackError, architecture_to_json
from service import _client_trackers as values
from service import app as app_module
from service import teachers
from service.client import Client, ClientError
from tests.service.house import House, broken, client, house, line
from tests.service.jobs import TINY, bench, make_teacher
from tests.service.kept import headers_of, kept
from tests.service.line import Cut, Deaf, Line, Says
from tests.service.searched import made
from tests.service.served import serving

__all__ = ["broken", "client", "house", "line"]  # fixtures


@pytest.fixture
def not_read(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are kept as they are: for tests of what is before and behind their reading."""

    def ask(subject: str, kind: str, *, into: str, **words: Any) -> str:
        make_teacher(Path(into))
        return "siamrpn"

    monkeypatch.setattr(house.app.state.service.errands, "ask", ask)


@pytest.mark.parametrize(
    ("kind", "schema"), [(values.Tracker, "TrackerPublic"), (values.Family, "FamilyPublic")]
)
def test_what_it_reads_is_what_the_api_says_it_answers(
    house: House, kind: type[Any], schema: str
) -> None:
    schemas = house.app.openapi()["components"]["schemas"]
    assert {field.name for field in fields(kind)} <= set(schemas[schema]["required"])


def test_a_trackers_folder_is_uploaded_and_a_job_starts_from_it(
    house: House, client: Client, teacher: Path
) -> None:
    seen: list[tuple[int, int]] = []
    made = client.trackers.upload(
        teacher, "my-own", note="from home", progress=lambda *done: seen.append(done)
    )
    weights = (teacher / "weights.safetensors").read_bytes()
    assert (made.kind, made.family, made.note) == ("uploaded", "siamrpn", "from home")
    assert made.sha256 == hashlib.sha256(weights).hexdigest()
    assert (seen[0], seen[-1]) == ((0, len(weights)), (len(weights), len(weights)))
    assert client.trackers.get("my-own") == made
    assert client.trackers.upload(teacher, "my-own") == made, "the same once more"

    listed = [tracker.name for tracker in client.trackers.list(page=1)]
    assert listed == [*teachers.shipped_names(), "my-own"]
    job = client.submit({**house.done.spec, "name": "from mine", "teacher": "my-own"})
    assert job.now.spec["teacher"] == "my-own"

    assert client.trackers.archive("my-own").archived_at is not None
    assert "my-own" not in [tracker.name for tracker in client.trackers.list()]
    assert "my-own" in [tracker.name for tracker in client.trackers.list(archived=True)]
    with pytest.raises(ClientError, match="is archived"):
        client.submit({**house.done.spec, "name": "too late", "teacher": "my-own"})


def test_a_folder_whose_weights_say_nothing_is_told_by_its_architecture(
    client: Client, teacher: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "bare"
    folder.mkdir()
    save_file(load_file(teacher / "weights.safetensors"), folder / "model.safetensors")
    with pytest.raises(ClientError, match="does not say which network") as refused:
        client.trackers.upload(folder, "bare")
    assert refused.value.code == "invalid"
    shutil.copy(teacher / "architecture.json", folder)
    assert client.trackers.upload(folder, "bare").family == "siamrpn"
    file = folder / "model.safetensors"
    same = client.trackers.upload(file, "bare", architecture=architecture_to_json(TINY))
    assert same == client.trackers.get("bare")


def test_the_families_name_the_presets_that_an_upload_may_give(client: Client) -> None:
    presets = {family.name: family.presets for family in client.trackers.families()}
    assert "siamrpn-tiny" in presets["siamrpn"]


def test_a_broken_upload_begins_anew(
    line: Line, broken: Client, teacher: Path, not_read: None
) -> None:
    line.plans = [Deaf(), Cut(0), Says()]
    made = broken.trackers.upload(teacher, "mended")
    assert line.asked("PUT") == 4
    weights = (teacher / "weights.safetensors").read_bytes()
    assert made.sha256 == hashlib.sha256(weights).hexdigest()
    assert all(head.endswith(weights) for head in line.heads)


def test_a_file_is_never_in_memory(client: Client, tmp_path: Path, not_read: None) -> None:
    file, size = tmp_path / "large.pth", 64 << 20
    with file.open("wb") as opened:
        opened.truncate(size)
    sent: list[int] = []

    def note(done: int, total: int) -> None:
        sent.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    try:
        client.trackers.upload(file, "large", preset="siamrpn-tiny", progress=note)
    finally:
        tracemalloc.stop()
    assert len(sent) > 100
    assert max(sent) < size / 4  # the server's memory is in there, too


# --- refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "words", "said"),
    [
        ("x", None, {}, "is not there; expected a file of weights"),
        ("x", b"", {}, "is empty"),
        ("a/b", b"x", {}, "name: expected up to 64 letters"),
        ("../up", b"x", {}, "name: expected up to 64 letters"),
        ("siamrpn-synthetic", b"x", {}, "is taken"),
        ("x", b"x", {"preset": "resnet"}, "no 'resnet'; choose one of ostrack-256"),
        ("x", b"x", {"family": "resnet"}, "no 'resnet'; choose one of ostrack"),
        ("x", b"x", {"preset": "siamrpn-tiny", "architecture": {}}, "not both"),
        ("x", b"x", {"architecture": {"a": {1}}}, "architecture: it must be JSON"),
    ],
)
def test_what_cannot_be_uploaded_is_said(
    client: Client, tmp_path: Path, name: str, content: bytes | None, words: Any, said: str
) -> None:
    file = tmp_path / "weights.pth"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ParetrackError, match=said):
        client.trackers.upload(file, name, **words)


def test_a_folder_without_weights_is_no_tracker(client: Client, tmp_path: Path) -> None:
    with pytest.raises(ParetrackError, match=r"expected weights\.safetensors or model"):
        client.trackers.upload(tmp_path, "empty")


def test_another_file_under_the_name_of_one_is_refused(
    client: Client, teacher: Path, tmp_path: Path, not_read: None
) -> None:
    client.trackers.upload(teacher, "taken")
    file = tmp_path / "other.safetensors"
    file.write_bytes((teacher / "weights.safetensors").read_bytes() + b"\0")
    with pytest.raises(ClientError, match="a name is given once") as refused:
        client.trackers.upload(file, "taken")
    assert refused.value.code == "conflict"


def test_a_file_that_changes_while_it_is_sent_is_said(
    client: Client, tmp_path: Path, not_read: None
) -> None:
    file = tmp_path / "moving.pth"
    file.write_bytes(bytes(1 << 20))

    def halve(done: int, total: int) -> None:
        file.write_bytes(bytes(1 << 19))

    with pytest.raises(ParetrackError, match="has changed while it was sent"):
        client.trackers.upload(file, "moving", progress=halve)
    with pytest.raises(ClientError, match="no tracker 'moving'"):
        client.trackers.get("moving")


def test_an_unknown_name_is_answered_with_those_that_are_like_it(client: Client) -> None:
    for ask in (client.trackers.get, client.trackers.archive):
        with pytest.raises(ClientError, match="did you mean siamrpn-synthetic") as refused:
            ask("siamrpn-sinthetic")
        assert refused.value.code == "not_found"
        for wrong in ("", "../jobs", "n" * 300):
            with pytest.raises(ClientError, match="no tracker"):
                ask(wrong)
    with pytest.raises(ClientError, match="ships with Paretrack") as refused:
        client.trackers.archive("siamrpn-synthetic")


@pytest.fixture
def small_house(
    tmp_path: Path, prepared_sqlite: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, str]]:
    """A service that takes four megabytes, from those who have a token; its address and one."""
    monkeypatch.setattr(app_module, "UPLOAD_LIMIT", 4 << 20)
    found = kept(prepared_sqlite, bench(tmp_path, teacher))
    token = headers_of(found.engine, "ada")["Authorization"].removeprefix("Bearer ")
    with made(found.settings, needs_tokens=True) as app, serving(app) as served:
        yield served.url, token
    found.engine.dispose()


def test_what_is_too_large_is_refused_before_it_has_been_sent(
    small_house: tuple[str, str], tmp_path: Path
) -> None:
    url, token = small_house
    file, sent = tmp_path / "huge.pth", list[int]()
    with file.open("wb") as opened:
        opened.truncate(256 << 20)
    with Client(url, token) as client, pytest.raises(ClientError) as refused:
        client.trackers.upload(file, "huge", progress=lambda done, total: sent.append(done))
    assert refused.value.code == "too_large"
    assert f"{file} has 268,435,456 bytes: the body may have 4194304" in str(refused.value)
    assert max(sent) < 128 << 20
    with Client(url) as client, pytest.raises(ClientError, match="PARETRACK_TOKEN") as refused:
        file.write_bytes(b"x")
        client.trackers.upload(file, "huge")
    assert refused.value.status == 401


def test_a_header_of_another_kind_is_left_to_the_service(tmp_path: Path) -> None:
    file = tmp_path / "any"
    for content in (b"", b"{", b"\xff" * 20, (2).to_bytes(8, "little") + b"[]"):
        file.write_bytes(content)
        assert values._says_itself(file) is False
    header = json.dumps({"__metadata__": {"paretrack": "{}"}}).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    assert values._says_itself(file) is False
