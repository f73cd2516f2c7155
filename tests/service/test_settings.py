"""What the environment decides."""

from pathlib import Path

import pytest

from search_spaces import ParetrackError
from service.settings import read_settings


def test_the_users_folder_is_found_where_no_shell_has_expanded_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_settings({"PARETRACK_HOME": "~/x"}).home == tmp_path / "x"
    assert read_settings({"PARETRACK_HOME": "~/x"}).data == tmp_path / "x" / "data"
    assert read_settings({}).home == tmp_path / ".paretrack"
    assert read_settings({"PARETRACK_HOME": "/some/~where"}).home == Path("/some/~where")


def test_a_user_whom_nobody_knows_is_an_error_that_names_the_variable() -> None:
    with pytest.raises(ParetrackError, match=r"PARETRACK_HOME.*nobody-of-this-name"):
        read_settings({"PARETRACK_HOME": "~nobody-of-this-name/x"})


def test_a_database_and_a_cluster_are_our_own_unless_somebody_names_one() -> None:
    named = {"PARETRACK_DATABASE_URL": "postgresql://h/d", "PARETRACK_RAY_ADDRESS": "ray:6379"}
    told = read_settings(named)
    assert (told.database_url, told.ray_address) == ("postgresql://h/d", "ray:6379")
    alone = read_settings(dict.fromkeys(named, ""))
    assert (alone.database_url, alone.ray_address) == (None, None)
