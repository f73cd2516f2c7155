"""The doctor tries things: what is in the way is named with what to do about it."""

import sqlite3
from pathlib import Path

import pytest

from service.commands import doctor
from service.settings import Settings


def finding(name: str, settings: Settings) -> doctor.Finding:
    return {found.what: found for found in doctor.examine(settings)}[name]


def test_every_finding_has_the_name_it_is_asked_by_and_nothing_is_broken(tmp_path: Path) -> None:
    found = doctor.examine(Settings(home=tmp_path, database_url=None))
    assert [item.what for item in found if item.state == "broken"] == []
    assert {"torch", "gpu", "trackers", "ray", "web", "home"} <= {item.what for item in found}


def test_a_home_that_is_a_file_is_broken_with_the_setting_to_change(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    home = finding("home", Settings(home=tmp_path / "file", database_url=None))
    assert home.state == "broken"
    assert home.detail.startswith(f"{tmp_path / 'file'} cannot be written")
    assert "PARETRACK_HOME" in home.detail


def test_a_full_disk_is_broken_with_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "LEAST_FREE", 2**40)
    home = finding("home", Settings(home=tmp_path, database_url=None))
    assert home.state == "broken"
    assert f"of {2**40} GiB are free" in home.detail


@pytest.mark.parametrize(
    ("url", "state", "said"),
    [
        (None, "absent", "SQLite is used"),
        ("sqlite:///x.db", "absent", "names SQLite"),
        ("postgres://me:secret@host/x", "broken", "begins with postgres; expected postgresql://"),
        ("mysql://me:secret@host/x", "broken", "begins with mysql; expected postgresql://"),
        ("secret", "broken", "is no URL; expected postgresql://"),
        ("postgresql://me:secret@host:port/x", "broken", "is no URL; expected postgresql://"),
        ("postgresql://me:secret@127.0.0.1:1/x", "broken", "connection failed"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_without_its_password(
    tmp_path: Path, url: str | None, state: str, said: str
) -> None:
    found = finding("postgresql", Settings(home=tmp_path, database_url=url))
    assert found.state == state
    assert said in found.detail
    assert "secret" not in found.detail


def test_a_package_that_is_missing_is_broken_with_the_remedy() -> None:
    state, detail = doctor._package("torch", "no-such-package-at-all")
    assert (state, detail.split(";")[0]) == ("broken", "no-such-package-at-all is not installed")
    assert "pip install" in detail


def test_what_breaks_is_a_finding_and_not_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(sqlite3, "connect", broken)
    found = doctor.examine(Settings(home=tmp_path, database_url=None))
    states = {item.what: (item.state, item.detail) for item in found}
    assert states["sqlite"] == ("broken", "OperationalError: disk I/O error")
    assert states["postgresql"][0] == "absent"
