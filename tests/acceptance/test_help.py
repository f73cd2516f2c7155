"""Every command explains itself, with an example."""

import typer
from typer.testing import CliRunner

from service.cli import app
from workers.accuracy import RULES


def commands(group: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command below a group, as the words that call it."""
    below = getattr(group, "commands", None)
    if below is None:
        return [path]
    return [found for name, child in below.items() for found in commands(child, (*path, name))]


def test_the_rules_of_accuracy_are_all_in_the_help() -> None:
    found = CliRunner().invoke(app, ["evaluate", "--help"], terminal_width=300).output
    words = " ".join(found.replace("│", " ").split())
    for name in RULES:
        toolkit, _, rest = name.partition("-")
        assert name in words or (f"{toolkit}-" in words and rest in words), name
    assert "--rules" in words


SERVERS = {("up",), ("api",), ("controller",)}  # they log, and answer nothing


def test_every_command_has_help_with_an_example_and_json() -> None:
    found = commands(typer.main.get_command(app))
    assert len(found) >= 11
    for words in found:
        shown = CliRunner().invoke(app, [*words, "--help"], terminal_width=200)
        assert shown.exit_code == 0
        assert f"paretrack {' '.join(words)}" in " ".join(shown.output.split()), words
        assert "Example" in shown.output, words
        assert ("--json" in shown.output) != (words in SERVERS), words
