"""How a network is trained and how a candidate is recovered, unless somebody says otherwise."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces._errors import ParetrackError
from service.document_file import read_object

if TYPE_CHECKING:
    from workers.training import Recipe

# Beside a teacher's weights: how it was trained, and what recovers a cut of it best.
TRAINED_BY = "recipe.json"
RECOVERED_BY = "recovery.json"


def chosen_recipe(path: Path | None, **given: Any) -> "Recipe":
    """The recipe of a file, or the usual one, with what was given beside it."""
    from workers.training import Recipe, recipe_from_json

    changes = {name: value for name, value in given.items() if value is not None}
    if path is None:
        if "steps" not in changes:
            raise ParetrackError("say how long to train: --steps N, or --recipe FILE")
        return Recipe(**changes)
    return replace(recipe_from_json(read_object(path, "a recipe")), **changes)


def recovery_recipe(
    teacher: Path,
    path: Path | None = None,
    steps: int | None = None,
    learning_rate: float | None = None,
) -> "Recipe":
    """A recipe given; else what the teacher says of its cuts; else how it was trained, briefly."""
    given = {"steps": steps, "learning_rate": learning_rate}
    if path is not None:
        return chosen_recipe(path, **given)
    if (teacher / RECOVERED_BY).exists():
        return chosen_recipe(teacher / RECOVERED_BY, **given)
    short = {**given, "steps": 100 if steps is None else steps}
    if (teacher / TRAINED_BY).exists():
        return chosen_recipe(teacher / TRAINED_BY, **short)
    usual = {"learning_rate": 4e-4, "backbone_rate": 0.1, "schedule": "drop", "clip": 0.1}
    return chosen_recipe(None, **{**usual, **{k: v for k, v in short.items() if v is not None}})
