"""paretrack recipe: what the tuning of a recipe at a service has come to."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search_spaces._errors import ParetrackError
from service.commands._calling import JobName, service_client, shown
from service.commands._options import Json
from service.commands._recipe_report import recipe_table
from service.terminal import Terminal

if TYPE_CHECKING:
    from service.client import TunedRecipe


def recipe(
    job: JobName,
    out: Annotated[Path | None, typer.Argument(help="File to store the recipe in: .json.")] = None,
    as_json: Json = False,
) -> None:
    """Show a tuning of a recipe, and store the recipe for `evaluate` or `search`.

    A job at the service takes it by the id of the tuning: `recipe: ID` in its file.
    Example: `paretrack recipe recipe-for-12 twelve.json`
    """
    terminal = Terminal(as_json)
    if out is not None:
        check_name(out)
    with service_client() as client:
        found = client.job(job).recipe()
    terminal.answer(shown(found), recipe_table(found))
    if out is not None:
        store(found, out)
    terminal.say(f"{found.job} {found.state.lower()}: {found.reason}{_stored(found, out)}")


def store(found: "TunedRecipe", out: Path) -> None:
    """The recipe of a tuning that has ended, as a file."""
    if found.recipe is None:
        raise ParetrackError(
            f"{found.job} has no recipe yet: it is {found.state.lower()} ({found.reason}); wait "
            f"for it with: paretrack watch {found.job}"
        )
    check_name(out)
    out.write_text(json.dumps(dict(found.recipe), indent=1) + "\n", encoding="utf-8")


def check_name(out: Path) -> None:
    if out.suffix != ".json":
        raise ParetrackError(f"{out}: a recipe is a .json file; name one such as {out}.json")


def _stored(found: "TunedRecipe", out: Path | None) -> str:
    if out is None or found.recipe is None:
        return ""
    whose = f"the recipe of trial {found.winner}" if found.winner else "the starting recipe"
    return f". {out} holds {whose}"
