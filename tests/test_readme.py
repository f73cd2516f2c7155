"""The README's promises: the files it names exist, the tables of "To add a ..." are real."""

import re
from pathlib import Path

from typer.testing import CliRunner

from service.cli import app

README = Path("README.md").read_text()


def test_every_file_that_the_readme_names_is_there() -> None:
    named = set(re.findall(r"`((?:workers|service|search_spaces|tests|docs)/[\w./-]*)`", README))
    assert len(named) > 8
    assert not [name for name in named if not Path(name).exists()]


def test_every_table_that_a_newcomer_is_sent_to_exists() -> None:
    rows = re.findall(r"`([A-Z]+)` of `([\w/.]+)`", README)
    assert len(rows) >= 4
    for table, file in rows:
        assert re.search(rf"^{table}\b", Path(file).read_text(), re.MULTILINE), (table, file)


def test_every_command_that_the_readme_shows_exists() -> None:
    shown = set(re.findall(r"paretrack ((?:dataset |checkpoint )?[a-z]+)", README))
    assert len(shown) > 3
    for command in shown:
        done = CliRunner().invoke(app, [*command.split(), "--help"])
        assert done.exit_code == 0, command
