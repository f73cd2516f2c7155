"""One command at a time in a folder of outcomes."""

import subprocess
import sys
from pathlib import Path

import pytest

from search_spaces import ParetrackError
from service.commands._alone import alone_in
from service.commands.evaluate import evaluate

HOLDER = """
import sys
from pathlib import Path
from service.commands._alone import alone_in
with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_told_until_the_first_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(ParetrackError, match=r"another paretrack.*--out"), alone_in(tmp_path):
            pass
        first.kill()
    with alone_in(tmp_path), alone_in(tmp_path / "another"):
        assert (tmp_path / "another").is_dir()


def test_evaluate_does_not_write_where_another_does(tmp_path: Path) -> None:
    # No data are generated for this: the folder's own data set is named.
    picture = tmp_path / "walk"
    picture.mkdir()
    with alone_in(tmp_path / "mine"), pytest.raises(ParetrackError, match="mine is being"):
        evaluate(dataset="folder", root=picture, steps=0, out=tmp_path / "mine")


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ParetrackError, match=r"cannot be written.*--out"),
        alone_in(tmp_path / "file"),
    ):
        pass
