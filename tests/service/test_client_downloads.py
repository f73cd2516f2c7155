"""Files of a trial, downloaded over lines that break."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from search_spaces import ParetrackError
from service.client import Client, ClientError, JobHandle
from service.recorded import read_job
from tests.service.house import House, broken, client, house, line
from tests.service.jobs import make_teacher
from tests.service.line import Cut, Line, line_to
from tests.service.served import Served, serving

__all__ = ["broken", "client", "house", "line"]  # fixtures


CONTENT = bytes(range(256)) * 400
LISTED = {
    "name": "model.safetensors", "bytes": len(CONTENT), "media_type": "application/octet-stream",
    "sha256": hashlib.sha256(CONTENT).hexdigest(), "links": {"self": "/elsewhere"},
}  # fmt: skip


@pytest.fixture
def shelf(house: House) -> Iterator[Served]:
    """A service that has the files of a trial."""
    from fastapi import Request, Response

    app = FastAPI()
    app.state.service = house.app.state.service
    listed = [dict(LISTED)]
    app.state.listed, app.state.ranges = listed, []
    base = f"/api/v1/jobs/{house.done.id}"

    @app.get(f"{base}/trials/3/artefacts")
    def artefacts() -> dict[str, object]:
        return {"items": listed, "exported": False, "note": ""}

    @app.get(f"{base}/trials/3/artefacts/{{name}}")
    def content(name: str, request: Request) -> Response:
        asked = request.headers.get("range", "")
        app.state.ranges.append(asked)
        if not asked:
            return Response(CONTENT)
        start = int(asked.removeprefix("bytes=").partition("-")[0])
        if start >= len(CONTENT):
            return Response(status_code=416)
        headers = {"Content-Range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"}
        return Response(CONTENT[start:], 206, headers)

    with serving(app) as served:
        served.app = app  # type: ignore[attr-defined]
        yield served


def at_shelf(house: House, client: Client, url: str) -> JobHandle:
    return JobHandle(Client(url, patience=5.0)._transport, client.job(house.done.id).now)


def test_a_broken_download_goes_on_where_it_was(
    house: House, client: Client, shelf: Served, tmp_path: Path
) -> None:
    with line_to(shelf.url, None, Cut(30_000), Cut(50_000)) as line:
        job = at_shelf(house, client, line.url)
        (one,) = job.artefacts(3).items
        seen: list[tuple[int, int]] = []
        path = job.download(3, one, tmp_path / "new" / "folder", lambda *done: seen.append(done))
        again = job.download(3, one, tmp_path / "new" / "folder")
        job._transport.close()
    assert path.read_bytes() == CONTENT and again == path
    assert [p.name for p in path.parent.iterdir()] == ["model.safetensors"]
    ranges = shelf.app.state.ranges  # type: ignore[attr-defined]
    assert ranges[0] == "" and len(ranges) == 3
    assert 0 < int(ranges[1][6:-1]) < int(ranges[2][6:-1]) < len(CONTENT)
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_a_tracker_of_the_front_comes_as_it_lies_there(
    house: House, line: Line, broken: Client, tmp_path: Path
) -> None:
    best = read_job(house.engine, house.done.id).front[-1]
    folder = make_teacher(Path(best.tracker))
    job = broken.job(house.done.id)
    offered = job.artefacts(best.number)
    assert {"model.safetensors", "architecture.json"} <= {one.name for one in offered.items}
    assert not offered.exported
    line.plans = [Cut(2000), Cut(3000)]
    paths = [job.download(best.number, one, tmp_path / "mine") for one in offered.items]
    for path, one in zip(paths, offered.items, strict=True):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == one.sha256
    weights = (folder / "weights.safetensors").read_bytes()
    assert (tmp_path / "mine" / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize("kept", [CONTENT[:100], b"x" * 100, b"x" * len(CONTENT) + b"more"])
def test_what_was_kept_of_an_earlier_download_is_not_trusted(
    house: House, client: Client, shelf: Served, tmp_path: Path, kept: bytes
) -> None:
    part = tmp_path / f".model.safetensors.{str(LISTED['sha256'])[:12]}.part"
    part.write_bytes(kept)
    job = at_shelf(house, client, shelf.url)
    path = job.download(3, job.artefacts(3).items[0], tmp_path)
    job._transport.close()
    assert path.read_bytes() == CONTENT
    assert not part.exists()


def test_other_bytes_than_were_promised_are_not_kept(
    house: House, client: Client, shelf: Served, tmp_path: Path
) -> None:
    job = at_shelf(house, client, shelf.url)
    shelf.app.state.listed[0]["sha256"] = "0" * 64  # type: ignore[attr-defined]
    with pytest.raises(ClientError, match="other bytes than the service promises"):
        job.download(3, job.artefacts(3).items[0], tmp_path)
    shelf.app.state.listed[0]["bytes"] = 10  # type: ignore[attr-defined]
    with pytest.raises(ClientError, match="longer than promised"):
        job.download(3, job.artefacts(3).items[0], tmp_path)
    job._transport.close()
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "a/b", "..", "", ".hidden", "a\\b"])
def test_a_file_stays_in_its_folder(
    house: House, client: Client, shelf: Served, tmp_path: Path, name: str
) -> None:
    job = at_shelf(house, client, shelf.url)
    shelf.app.state.listed[0]["name"] = name  # type: ignore[attr-defined]
    with pytest.raises(ParetrackError, match="which is no name of one"):
        job.download(3, job.artefacts(3).items[0], tmp_path / "folder")
    job._transport.close()
    assert [path.name for path in tmp_path.rglob("*")] == []
