"""A folder behind a URL: what one worker leaves there, the next one finds."""

from pathlib import Path

import fsspec  # type: ignore[import-untyped]
import pytest

from workers._shared_folder import opened

FAR = "memory://jobs/7/trial-3"
OLD = {"state": "old", "inherited/weights": "old", "forgotten": "old"}
NEW = {"state": "new", "inherited/weights": "new", "measurement": "new"}


@pytest.fixture(autouse=True)
def _nothing_there() -> None:
    memory = fsspec.filesystem("memory")
    if memory.exists("/jobs"):
        memory.rm("/jobs", recursive=True)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def far() -> dict[str, str]:
    memory = fsspec.filesystem("memory")
    return {
        name.removeprefix("/jobs/7/trial-3/"): memory.cat(name).decode()
        for name in memory.find("/jobs/7/trial-3")
    }


def test_files_go_there_and_come_back_with_their_folders() -> None:
    with opened(FAR) as folder:
        assert list(folder.path.iterdir()) == []
        write(folder.path, OLD)
    assert far() == OLD
    with opened(FAR) as folder:
        assert (folder.path / "inherited" / "weights").read_text() == "old"
        write(folder.path, NEW)
        (folder.path / "forgotten").unlink()
        (folder.path / ".state.0.tmp").write_text("half")
    assert far() == NEW
    assert not folder.path.exists()


def test_a_save_on_the_way_is_seen_by_others_and_what_fails_later_is_not() -> None:
    with pytest.raises(RuntimeError), opened(FAR) as folder:
        write(folder.path, OLD)
        folder.save()
        write(folder.path, NEW)
        raise RuntimeError
    assert far() == OLD


@pytest.mark.parametrize("copies", range(len(NEW)))
def test_a_copy_that_is_cut_off_leaves_whole_files_and_the_later_ones_old(
    copies: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(FAR) as folder:
        write(folder.path, OLD)
    memory = type(fsspec.filesystem("memory"))
    put, done = memory.put_file, []

    def put_some(self: object, local: str, remote: str) -> None:
        done.append(remote)
        put(self, local, remote)
        if len(done) > copies:  # killed when the file was there, but not under its name
            raise SystemExit

    with monkeypatch.context() as patched, pytest.raises(SystemExit), opened(FAR) as folder:
        patched.setattr(memory, "put_file", put_some)
        write(folder.path, NEW)
    left = {name: text for name, text in far().items() if not name.endswith(".tmp")}
    assert left == OLD | dict(list(NEW.items())[:copies])

    with opened(FAR) as folder:  # the next worker clears up
        pass
    assert far() == left


def test_the_scratch_folder_of_a_killed_worker_is_removed_and_a_living_ones_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    killed = tmp_path / "paretrack-scratch-killed"
    killed.mkdir()
    (killed / "lock").touch()
    with opened(FAR) as living, opened("memory://another") as other:
        assert not killed.exists()
        assert living.path.exists() and other.path.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_local_folder_is_used_as_it_is(tmp_path: Path) -> None:
    with opened(str(tmp_path / "a" / "b")) as folder:
        assert folder.path == tmp_path / "a" / "b"
        assert folder.path.is_dir()
