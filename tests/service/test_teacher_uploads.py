"""Uploads of teachers: streamed, summed, read without being run; refused in all other cases."""

import base64
import hashlib
import io
import json
import pickle
import shutil
import socket
import struct
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import torch
from fastapi import FastAPI

from search_spaces import architecture_to_json
from service import app as app_module
from service import teacher_uploads, teachers
from service.beside import Refused
from service.callers import Caller, Role
from service.content_digest import expected
from service.database import reading
from service.errors import Problem
from service.teacher_uploads import convert
from tests.service.asking import ask
from tests.service.jobs import TINY, Bench, make_teacher
from tests.service.kept import BINARY, Kept, headers_of, kept, left, put
from tests.service.searched import API, made
from tests.service.served import Served, serving
from tests.service.unmended import unmended
from workers.checkpoints import load_tracker


@pytest.fixture
def place(prepared_sqlite: Path, here: Bench) -> Iterator[Kept]:
    found = kept(prepared_sqlite, here, owner="ada")
    yield found
    found.engine.dispose()


@pytest.fixture
def app(place: Kept) -> Iterator[FastAPI]:
    with made(place.settings, needs_tokens=True) as app:
        yield app


@pytest.fixture
def ada(place: Kept) -> dict[str, str]:
    return headers_of(place.engine, "ada")


@pytest.fixture(scope="session")
def weights(teacher: Path) -> bytes:
    """What somebody has who downloaded a model of ours."""
    return (teacher / "weights.safetensors").read_bytes()


@pytest.fixture
def not_read(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are kept as they are: for tests of what is before and behind their reading."""

    def ask(subject: str, kind: str, *, into: str, **words: Any) -> str:
        make_teacher(Path(into))
        return "siamrpn"

    monkeypatch.setattr(app.state.service.errands, "ask", ask)


# --- what is uploaded -----------------------------------------------------------------------------


def test_a_downloaded_model_is_uploaded_and_says_itself_what_it_is(
    place: Kept, app: FastAPI, ada: dict[str, str], weights: bytes, teacher: Path
) -> None:
    digest = base64.b64encode(hashlib.sha256(weights).digest()).decode()
    headers = {**ada, "Content-Digest": f"sha-256=:{digest}:"}
    shown = put(app, "my-own", weights, 201, headers=headers, params={"note": "from home"})
    assert (shown["family"], shown["owner"], shown["note"]) == ("siamrpn", "ada", "from home")
    assert shown["sha256"] == hashlib.sha256(weights).hexdigest()
    assert shown["cost"]["macs_frame"] > 0
    with reading(place.engine) as connection:
        stored = teachers.seen(connection, Caller(owner="ada", role=Role.VIEWER), "my-own")
    folder = teachers.folder_in(place.settings) / stored.folder
    architecture, network = load_tracker(folder)
    assert architecture == TINY
    expected_weights = load_tracker(teacher)[1].state_dict()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, expected_weights[name])
    assert left(place) == [stored.folder]
    # The same once more is the same; another under this name is not.
    assert put(app, "my-own", weights, 200, headers=ada)["created_at"] == shown["created_at"]
    assert put(app, "my-own", weights + b"\0", 409, headers=ada)["code"] == "conflict"
    assert left(place) == [stored.folder]


def test_a_pth_needs_to_be_told_its_network(
    app: FastAPI, ada: dict[str, str], teacher: Path, tmp_path: Path
) -> None:
    file = tmp_path / "upload.pth"
    torch.save({"net": load_tracker(teacher)[1].state_dict()}, file)
    with pytest.raises(Refused, match=r"give \?preset= \(one of .*siamrpn-r50"):
        convert(str(file), str(tmp_path / "tracker"), None, None, None)
    with pytest.raises(Refused, match="not the weights of this siamrpn"):
        convert(str(file), str(tmp_path / "tracker"), "siamrpn-r50", None, None)
    with pytest.raises(Refused, match="of the family siamrpn, not of ostrack"):
        convert(str(file), str(tmp_path / "tracker"), "siamrpn-tiny", "ostrack", None)
    asked = {"architecture": json.dumps(architecture_to_json(TINY)), "family": "siamrpn"}
    shown = put(app, "a-pth", file.read_bytes(), 201, headers=ada, params=asked)
    assert shown["family"] == "siamrpn"


class _Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return (Path.touch, (self.target,))


def _zip_bomb() -> bytes:
    """A few kilobytes that would be a gigabyte."""
    file = io.BytesIO()
    archive = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9)
    with archive, archive.open("a/data.pkl", "w", force_zip64=True) as entry:
        for _ in range(1 << 10):
            entry.write(bytes(1 << 20))
    return file.getvalue()


def _header(said: Any, length: int | None = None) -> bytes:
    text = said if isinstance(said, bytes) else json.dumps(said).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


def _tensor(shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"w": {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}}


LIES: dict[str, bytes] = {
    "a header longer than the file": _header({}, 1 << 40),
    "a header of no length": _header(b"{", 0),
    "a header that is no JSON": _header(b"{" * 50),
    "a header 100,000 deep": _header(b'{"a":' * 100_000),
    "tensors behind the end": _header(_tensor([4], 0, 16)),
    "tensors larger than their bytes": _header(_tensor([1 << 40], 0, 16)) + bytes(16),
    "sizes that overflow": _header(_tensor([1 << 62, 1 << 62], 0, 16)) + bytes(16),
    "a note that is no architecture": _header(
        {"__metadata__": {"paretrack": '{"architecture": "[]"}'}}
    ),
    "a note 100,000 deep": _header(
        {"__metadata__": {"paretrack": json.dumps({"architecture": "[" * 100_000})}}
    ),
    "a network that takes all memory": _header(
        {
            "__metadata__": {
                "paretrack": json.dumps(
                    {
                        "architecture": json.dumps(
                            {
                                **architecture_to_json(TINY),
                                "stem": {"width": 1 << 40, "kernel": 3, "padding": 1, "pool": True},
                            }
                        )
                    }
                )
            }
        }
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_safetensors_header_that_lies_is_refused(lie: str, tmp_path: Path) -> None:
    file = tmp_path / "upload.safetensors"
    file.write_bytes(LIES[lie])
    with pytest.raises(Refused) as refused:
        convert(str(file), str(tmp_path / "tracker"), None, None, None)
    assert str(tmp_path) not in str(refused.value)
    assert not (tmp_path / "tracker").exists()


def test_bombs_are_refused_and_leave_nothing(
    place: Kept, app: FastAPI, ada: dict[str, str], tmp_path: Path
) -> None:
    """Through the real process, which has no more memory than the file allows."""
    executed = tmp_path / "executed"
    bombs = {
        "pickle": pickle.dumps({"net": _Bomb(executed)}),
        "zip": _zip_bomb(),
    }
    said = {}
    for name, bomb in bombs.items():
        answer = put(app, name, bomb, 422, headers=ada, params={"preset": "siamrpn-tiny"})
        said[name] = answer["detail"]
        assert answer["code"] == "invalid"
        assert str(place.settings.home) not in answer["detail"]
    assert "compressed, which torch.save never does" in said["zip"]
    assert "nothing of it was executed" in said["pickle"]
    assert not executed.exists()
    assert left(place) == []
    with reading(place.engine) as connection:
        assert all(teachers.find(connection, name) is None for name in bombs)


def test_a_reader_that_takes_too_much_memory_or_time_is_given_up(
    place: Kept, app: FastAPI, ada: dict[str, str], weights: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher_uploads, "BASE_MEMORY", 50 << 20)
    assert "time or memory" in put(app, "much", weights, 422, headers=ada)["detail"]
    monkeypatch.setattr(teacher_uploads, "BASE_MEMORY", 1 << 30)
    monkeypatch.setattr(teacher_uploads, "CONVERT_SECONDS", 0.1)
    assert "time or memory" in put(app, "long", weights, 422, headers=ada)["detail"]
    assert left(place) == []


# --- streams --------------------------------------------------------------------------------------


@pytest.fixture
def served(place: Kept, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(app_module, "UPLOAD_LIMIT", 4 << 20)
    with made(place.settings, needs_tokens=True) as app, serving(app) as served:
        yield served


def test_ten_gigabytes_are_refused_before_they_have_come(
    place: Kept, served: Served, ada: dict[str, str]
) -> None:
    sent = 0

    def much() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(10 << 10):
            sent += 1 << 20
            yield bytes(1 << 20)

    url, headers = f"{served.url}{API}/trackers/huge", {**ada, **BINARY}
    try:
        answer = httpx.put(url, content=much(), headers=headers, timeout=60)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    except (httpx.WriteError, httpx.RemoteProtocolError):
        pass  # it has hung up in the middle of ours
    assert sent < 100 << 20
    said = {**headers, "Content-Length": str(10 << 30)}
    answer_text = _raw(served, "huge", said, b"")
    assert answer_text.startswith("HTTP/1.1 413")
    _until_nothing_is_left(place)


def _raw(served: Served, name: str, headers: dict[str, str], body: bytes, wait: bool = True) -> str:
    """As much of a request as is given, and what is answered."""
    host = urlsplit(served.url)
    lines = [f"PUT {API}/trackers/{name} HTTP/1.1", f"Host: {host.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with socket.create_connection((host.hostname, host.port), timeout=60) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        if not wait:
            return ""
        return connection.recv(1 << 16).decode()


def _until_nothing_is_left(place: Kept) -> None:
    deadline = time.monotonic() + 60
    while left(place) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert left(place) == []


def test_an_upload_that_is_cut_off_leaves_nothing(
    place: Kept, served: Served, ada: dict[str, str], weights: bytes
) -> None:
    for number in range(3):
        said = {**ada, **BINARY, "Content-Length": str(len(weights))}
        _raw(served, f"cut-{number}", said, weights[:-1000], wait=False)
    chunked = {**ada, **BINARY, "Transfer-Encoding": "chunked"}
    _raw(served, "cut-chunked", chunked, b"400\r\n" + bytes(0x400) + b"\r\n", wait=False)
    time.sleep(0.2)
    _until_nothing_is_left(place)
    with reading(place.engine) as connection:
        caller = Caller(owner="ada", role=Role.OPERATOR)
        assert teachers.page(connection, caller, archived=True, after="", limit=10) == []


@pytest.mark.parametrize(
    "name",
    [
        "../teachers",
        "..%2f..%2fparetrack.db",
        "%2e%2e%2f%2e%2e%2fx",
        "%2fetc%2fx",
        "a%00b",
        "C:%5cx",
        "..%5cx",
        "..\\x",
        "n" * 300,
        "..",
        ".hidden",
        "a%0d%0aX-Injected:%201",
        "-x",
        "caf%C3%A9",
    ],
)
def test_a_name_is_never_a_path(
    place: Kept, served: Served, ada: dict[str, str], weights: bytes, name: str
) -> None:
    for method, body in (("PUT", weights), ("GET", None), ("DELETE", None)):
        path = f"{API}/trackers/{name}"
        answer = unmended(served.url, method, path, body, {**ada, **BINARY})
        assert answer.status in (404, 405, 422), (method, answer)
        assert answer.kind == "application/problem+json"
    assert left(place) == []


# --- what is refused before anything is read ------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ({"content": b""}, 422, "the body is empty"),
        ({"headers": {"Content-Type": "application/json"}}, 415, "application/octet-stream"),
        ({"headers": {"Content-Type": "multipart/form-data"}}, 415, "multipart/form-data"),
        ({"headers": {"Content-Encoding": "gzip"}}, 415, "not compressed"),
        ({"headers": {"Content-Digest": "sha-256=:AAAA:"}}, 400, "RFC 9530"),
        ({"headers": {"Content-Digest": "md5"}}, 400, "RFC 9530"),
        ({"params": {"preset": "gpt"}}, 422, "choose one of ostrack-256"),
        ({"params": {"family": "yolo"}}, 422, "choose one of ostrack, siamrpn"),
        ({"params": {"architecture": "[" * 10_000}}, 422, "deep in each other"),
        ({"params": {"architecture": "[]"}}, 422, "expected an object"),
        ({"params": {"architecture": "{}", "preset": "siamrpn-tiny"}}, 422, "not both"),
        ({"params": {"note": "n" * 501}}, 422, "note"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(
    place: Kept, app: FastAPI, ada: dict[str, str], words: dict[str, Any], status: int, said: str
) -> None:
    headers = {**ada, **BINARY, **words.get("headers", {})}
    asked = {"content": b"{}", **words, "headers": headers}
    answer = ask(app, "PUT", f"{API}/trackers/x", **asked)
    assert (answer.status_code, said in answer.json()["detail"]) == (status, True), answer.text
    assert left(place) == []


@pytest.mark.usefixtures("not_read")
def test_other_bytes_than_were_sent_are_refused(
    place: Kept, app: FastAPI, ada: dict[str, str]
) -> None:
    digest = base64.b64encode(hashlib.sha256(b"sent").digest()).decode()
    other = base64.b64encode(hashlib.sha512(b"sent").digest()).decode()
    for header in (f"sha-256=:{digest}:", f"unknown=:AA==:, sha-512=:{other}:"):
        headers = {**ada, "Content-Digest": header}
        refused = put(app, "sent", b"came", 422, headers=headers)
        assert "other bytes have come than were sent" in refused["detail"]
    assert left(place) == []
    put(app, "sent", b"sent", 201, headers={**ada, "Content-Digest": f"sha-256=:{digest}:"})


def test_a_digest_header_is_read_as_its_standard_says() -> None:
    text = base64.b64encode(bytes(32)).decode()
    assert expected(f"md5=:AA==:,  sha-256=:{text}:").digests == {"sha-256": bytes(32)}
    assert expected(None).digests == {}
    for wrong in ("", "sha-256", f"sha-256={text}", "sha-256=:%%:", f"sha-512=:{text}:"):
        with pytest.raises(Problem, match="RFC 9530"):
            expected(wrong)


def test_a_full_disk_is_no_error_of_ours(
    place: Kept, app: FastAPI, ada: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(place.settings.home)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert "fill the disk" in put(app, "big", b"1234", 503, headers=ada)["detail"]
    teachers.folder_in(place.settings).rmdir()
    teachers.folder_in(place.settings).write_text("not a folder")
    assert put(app, "big", b"1234", 503, headers=ada)["code"] == "unavailable"


def test_uploads_that_nobody_works_on_are_swept_and_the_others_counted(
    place: Kept, app: FastAPI, ada: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = teachers.folder_in(place.settings)
    for number in range(3):
        (folder / f".incoming-{number}").mkdir(parents=True)
    (folder / ".incoming-0" / "upload").write_bytes(b"half")
    assert "is empty" in put(app, "x", b"", 422, headers=ada)["detail"]
    assert len(left(place)) == 3
    monkeypatch.setattr(teacher_uploads, "AT_ONCE", 3)
    assert "3 trackers are being uploaded" in put(app, "x", b"", 503, headers=ada)["detail"]
    monkeypatch.setattr(teacher_uploads, "_FORGOTTEN", -60.0)
    assert "is empty" in put(app, "x", b"", 422, headers=ada)["detail"]
    assert left(place) == []
