"""A tuning at a service as the terminal shows it."""

from typing import TYPE_CHECKING, Any

from service.terminal import table

if TYPE_CHECKING:
    from rich.table import Table

    from service.client import Event, TunedRecipe

SHOWN = 4  # best trials in the table, as after a tuning on this machine


def recipe_table(found: "TunedRecipe") -> "Table":
    """The starting recipe beside the best, with what is varied."""
    shown = found.trials[: 1 + SHOWN]
    columns = ["", *(f"trial {t.number}" if t.number else "start" for t in shown)]
    rows = [
        ["state", *(t.state.lower() for t in shown)],
        ["steps", *(f"{t.step} of {found.steps}" for t in shown)],
        [(found.metric or "").replace("_", " "), *(_figure(t.figure) for t in shown)],
        ["training, s", *(f"{t.seconds:.1f}" for t in shown)],
    ]
    names = shown[0].values if shown else ()
    rows += [[name, *(_told(t.values.get(name)) for t in shown)] for name in names]
    return table(columns, rows, found.name)


def recipe_line(event: "Event") -> str:
    """What happened to a tuning, for a log."""
    said = event.data
    if event.kind == "recipe_rung":
        score = said.get("score")
        figure = "its recipe fails" if score is None else f"{abs(score):.4f}"
        return f"trial {said.get('number')} at step {said.get('step')}: {figure}"
    if event.kind == "recipe_trial_ended":
        return f"trial {said.get('number')} {said.get('end')}"
    return ""


def _figure(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.4f}"


def _told(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
