"""Files of a trial over HTTP: whole, in parts, exported, and never anything beside them."""

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from service import artefacts, beside
from service.artefacts import EXPORTED, TABLE, Checksums
from service.beside import Beside
from service.callers import Role
from service.errors import Problem
from service.routes._files import Conditions, part
from tests.service.asking import ask
from tests.service.jobs import Bench, bench
from tests.service.kept import Kept, headers_of, kept
from tests.service.searched import made
from tests.service.served import serving
from tests.service.unmended import unmended


@pytest.fixture
def trial(prepared_sqlite: Path, here: Bench) -> Iterator[Kept]:
    found = kept(prepared_sqlite, here)
    yield found
    found.engine.dispose()


@pytest.fixture
def app(trial: Kept) -> Iterator[FastAPI]:
    with made(trial.settings) as app:
        yield app


@pytest.fixture(scope="module")
def exported(
    tmp_path_factory: pytest.TempPathFactory, prepared_sqlite: Path, teacher: Path
) -> Iterator[tuple[Kept, httpx.Response]]:
    """A trial that was exported, and what the answer was."""
    found = kept(prepared_sqlite, bench(tmp_path_factory.mktemp("exported"), teacher))
    with made(found.settings) as app:
        answer = ask(app, "POST", f"{found.path}/export")
    yield found, answer
    found.engine.dispose()


def get(app: FastAPI, path: str, status: int = 200, **more: Any) -> httpx.Response:
    answer = ask(app, "GET", path, **more)
    assert answer.status_code == status, answer.text[:2000]
    return answer


# --- what there is --------------------------------------------------------------------------------


def test_a_trial_has_its_tracker_and_its_report(trial: Kept, app: FastAPI) -> None:
    listed = get(app, f"{trial.path}/artefacts").json()
    names = ["model.safetensors", "architecture.json", "report.json"]
    assert [one["name"] for one in listed["items"]] == names
    assert (listed["exported"], "POST to .../export" in listed["note"]) == (False, True)
    for one in listed["items"]:
        content = get(app, one["links"]["self"])
        assert (len(content.content), content.headers["content-type"]) == (
            one["bytes"],
            one["media_type"],
        )
        digest = hashlib.sha256(content.content)
        assert digest.hexdigest() == one["sha256"]
        assert content.headers["etag"] == f'"{one["sha256"]}"'
        said = content.headers["repr-digest"]
        assert said == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
        named = content.headers["content-disposition"]
        assert named == f'attachment; filename="{one["name"]}"'


def test_the_model_is_the_trackers_and_the_report_what_was_measured(
    trial: Kept, app: FastAPI
) -> None:
    weights = get(app, f"{trial.path}/artefacts/model.safetensors").content
    assert weights == (trial.folder / "weights.safetensors").read_bytes()
    text = get(app, f"{trial.path}/artefacts/report.json").text
    report = json.loads(text)
    assert report["measurement"]["cost"]["macs_frame"] > 0
    assert report["architecture"] == {"family": "siamrpn"}
    assert (report["job"], report["trial"]) == (trial.job.id, 3)
    assert str(trial.settings.home) not in text and str(trial.folder) not in text


@pytest.mark.parametrize(
    ("number", "name", "said"),
    [
        (3, "frame.onnx", "not exported yet"),
        (3, "template.onnx.data", "over 2 GB"),
        (3, "passwd", "no artefact 'passwd'"),
        (4, "model.safetensors", "STOPPED, and only a trial that was judged to the end"),
        (5, "model.safetensors", "gone from the disk"),
        (6, "model.safetensors", "no trial '6'"),
    ],
)
def test_what_is_not_there_says_why(
    trial: Kept, app: FastAPI, number: int, name: str, said: str
) -> None:
    path = trial.path.replace("/3", f"/{number}")
    problem = get(app, f"{path}/artefacts/{name}", 404).json()
    assert (problem["code"], said in problem["detail"]) == ("not_found", True), problem
    if number in (4, 5):
        listed = get(app, f"{path}/artefacts").json()
        assert [one["name"] for one in listed["items"]] == ["report.json"]
        assert said in listed["note"]


@pytest.mark.parametrize(
    "name",
    [
        "../teacher/weights.safetensors",
        "..%2f..%2farchitecture.json",
        "%2e%2e%2f%2e%2e%2fparetrack.db",
        "%2fetc%2fpasswd",
        "..\\..\\paretrack.db",
        "model.safetensors%00.json",
        "weights.safetensors",
        "n" * 300,
        "bundle",
        ".",
    ],
)
def test_a_name_leads_nowhere_else(trial: Kept, app: FastAPI, name: str) -> None:
    with serving(app) as served:
        answer = unmended(served.url, "GET", f"{trial.path}/artefacts/{name}")
    assert answer.status in (404, 422), answer
    assert answer.kind == "application/problem+json"


def test_no_link_is_followed_and_no_pipe_waited_for(trial: Kept, app: FastAPI) -> None:
    outside = trial.settings.home / "secret"
    outside.mkdir()
    (outside / "frame.onnx").write_text("secret")
    weights = trial.folder / "weights.safetensors"
    weights.unlink()
    weights.symlink_to(outside / "frame.onnx")
    (trial.folder / "architecture.json").unlink()
    os.mkfifo(trial.folder / "architecture.json")
    (trial.folder / "bundle").symlink_to(outside)
    for name in ("model.safetensors", "architecture.json", "frame.onnx"):
        get(app, f"{trial.path}/artefacts/{name}", 404)
    listed = get(app, f"{trial.path}/artefacts").json()
    assert [one["name"] for one in listed["items"]] == ["report.json"]


def test_others_see_nothing_of_it(trial: Kept) -> None:
    mine, other = headers_of(trial.engine, "ada"), headers_of(trial.engine, "eve")
    viewer = headers_of(trial.engine, "ada", Role.VIEWER)
    with made(trial.settings, needs_tokens=True) as app:
        for path in ("/artefacts", "/artefacts/report.json"):
            get(app, trial.path + path, 200, headers=mine)
            get(app, trial.path + path, 200, headers=viewer)
            get(app, trial.path + path, 404, headers=other)
        assert ask(app, "POST", f"{trial.path}/export", headers=other).status_code == 404
        assert ask(app, "POST", f"{trial.path}/export", headers=viewer).status_code == 403


# --- parts ----------------------------------------------------------------------------------------


def test_a_broken_download_goes_on(trial: Kept, app: FastAPI) -> None:
    """Over a real connection, bit by bit, as a client does."""
    path = f"{trial.path}/artefacts/model.safetensors"
    whole = (trial.folder / "weights.safetensors").read_bytes()
    with serving(app) as served, httpx.Client(base_url=served.url) as client:
        with client.stream("GET", path) as first:
            have = next(first.iter_bytes(1000))
        assert have == whole[:1000]
        going_on = {"Range": f"bytes={len(have)}-", "If-Range": first.headers["etag"]}
        rest = client.get(path, headers=going_on)
        assert (rest.status_code, rest.content) == (206, whole[1000:])
        said = rest.headers["content-range"]
        assert said == f"bytes 1000-{len(whole) - 1}/{len(whole)}"
        last = client.get(path, headers={"Range": "bytes=-7"})
        assert (last.status_code, last.content) == (206, whole[-7:])
        changed = client.get(path, headers={"Range": "bytes=5-", "If-Range": '"other"'})
        assert (changed.status_code, changed.content) == (200, whole)
        several = client.get(path, headers={"Range": "bytes=0-1,5-6"})
        assert (several.status_code, several.content) == (200, whole)
        behind = client.get(path, headers={"Range": f"bytes={len(whole)}-"})
        assert behind.json()["code"] == "range_not_satisfiable"
        assert behind.headers["content-range"] == f"bytes */{len(whole)}"
        head = client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(whole))
        assert head.headers["etag"] == first.headers["etag"]
        known = client.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (known.status_code, known.content) == (304, b"")


@given(st.text(max_size=20) | st.from_regex(r"bytes=\d{0,20}-\d{0,20}", fullmatch=True))
def test_any_range_is_a_part_of_the_file_or_none(said: str) -> None:
    try:
        found = part(Conditions(range=said), '"e"', 100)
    except Problem as problem:
        assert problem.code == "range_not_satisfiable"
    else:
        assert found is None or 0 <= found[0] < found[1] <= 100


def test_a_checksum_is_read_again_when_the_file_has_changed(trial: Kept, app: FastAPI) -> None:
    def asked() -> str:
        return get(app, f"{trial.path}/artefacts/architecture.json").headers["etag"]

    before = asked()
    (trial.folder / "architecture.json").write_text("{}\n\n")
    after = hashlib.sha256(b"{}\n\n").hexdigest()
    assert asked() == f'"{after}"' != before


def test_checksums_that_are_kept_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artefacts, "_KNOWN", 3)
    checksums = Checksums()
    for number in range(10):
        path = tmp_path / str(number)
        path.write_text(str(number))
        with path.open("rb") as file:
            checksums.of(path, file)
    assert len(checksums._known) == 3


# --- export ---------------------------------------------------------------------------------------


def test_an_export_brings_the_verified_graphs(exported: tuple[Kept, httpx.Response]) -> None:
    import onnxruntime

    trial, answer = exported
    assert answer.status_code == 200, answer.text
    listed = {one["name"]: one for one in answer.json()["items"]}
    assert answer.json()["exported"] is True and answer.json()["note"] == ""
    assert set(EXPORTED) <= set(listed)
    with made(trial.settings) as app:
        for name in ("template.onnx", "frame.onnx"):
            content = get(app, listed[name]["links"]["self"]).content
            assert hashlib.sha256(content).hexdigest() == listed[name]["sha256"]
            onnxruntime.InferenceSession(content)
        told = json.loads(get(app, listed["tracker.json"]["links"]["self"]).content)
    assert told["provenance"]["job"] == trial.job.id
    assert told["sha256"]["frame.onnx"] == listed["frame.onnx"]["sha256"]


def test_an_export_is_made_once(
    exported: tuple[Kept, httpx.Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, first = exported
    with made(trial.settings) as app:
        monkeypatch.setattr(app.state.service.errands, "ask", None)  # nobody is asked again
        again = ask(app, "POST", f"{trial.path}/export")
    assert again.json() == first.json()


def test_what_has_no_tracker_cannot_be_exported(trial: Kept, app: FastAPI) -> None:
    for number, said in ((4, "STOPPED"), (5, "gone from the disk")):
        path = trial.path.replace("/3", f"/{number}")
        answer = ask(app, "POST", f"{path}/export")
        assert (answer.status_code, said in answer.json()["detail"]) == (409, True)


def test_an_export_that_fails_leaves_nothing_and_tells_no_paths(trial: Kept, app: FastAPI) -> None:
    (trial.folder / "weights.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    answer = ask(app, "POST", f"{trial.path}/export")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "does not fit architecture.json" in answer.json()["detail"]
    assert str(trial.settings.home) not in answer.text
    assert not (trial.folder / "bundle").exists()


def test_the_same_export_is_not_made_twice_at_a_time(trial: Kept, app: FastAPI) -> None:
    app.state.service.errands._begun(f"export {trial.job.id}/3", Beside())
    answer = ask(app, "POST", f"{trial.path}/export")
    assert (answer.status_code, answer.json()["code"]) == (409, "in_flight")
    assert "retry-after" in answer.headers


def test_an_export_that_takes_too_long_is_given_up(
    trial: Kept, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artefacts, "EXPORT_SECONDS", 0.05)
    answer = ask(app, "POST", f"{trial.path}/export")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "retry-after" in answer.headers
    assert app.state.service.errands._running == {}


def test_only_so_much_is_exported_at_a_time(
    trial: Kept, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "_QUEUES", 0.01)
    for _ in range(beside.AT_ONCE):
        app.state.service.errands._room.acquire()
    answer = ask(app, "POST", f"{trial.path}/export")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


def test_every_file_of_the_table_lies_in_the_folder() -> None:
    for name, (place, _, about) in TABLE.items():
        assert about.endswith(".")
        assert not place.startswith("/") and ".." not in place.split("/"), name
