"""The command ``paretrack``: one file a command, in service/commands/.

Exit codes: 0 done; 1 done, and the answer is no (problems found, a gate or a candidate failed);
2 the request is wrong (a file, a value, a name): the message says what to do; 130 interrupted.
With --json such a message is one object on standard error: {"error": {"kind": ..., "message": ...}}
"""

import json
import shutil
import sys

import typer
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from search_spaces._errors import ParetrackError
from service.commands import (
    api,
    checkpoint,
    controller,
    dataset,
    db,
    demo,
    devices,
    doctor,
    download,
    evaluate,
    export,
    front,
    jobs,
    preview,
    recipe,
    schedule,
    search,
    spec_schema,
    submit,
    token,
    track,
    tracker,
    train,
    trials,
    tune_recipe,
    up,
    verbs,
    watch,
)

app = typer.Typer(
    help="Make visual object trackers light: cut, recover, measure, compare.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command("demo")(demo.demo)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("search")(search.search)
app.command("tune-recipe")(tune_recipe.tune_recipe)
app.command("recipe")(recipe.recipe)
app.command("front")(front.front)
app.command("track")(track.track)
app.command("export")(export.export)
app.command("doctor")(doctor.doctor)
app.command("submit")(submit.submit)
app.command("preview")(preview.preview)
app.command("jobs")(jobs.jobs)
app.command("watch")(watch.watch)
app.command("trials")(trials.trials)
app.command("pause")(verbs.pause)
app.command("resume")(verbs.resume)
app.command("stop")(verbs.stop)
app.command("cancel")(verbs.cancel)
app.command("download")(download.download)
app.command("devices")(devices.devices)
app.command("spec-schema")(spec_schema.spec_schema)
app.command("up")(up.up)
app.command("api")(api.api)
app.command("controller")(controller.controller)
app.add_typer(schedule.app, name="schedule")
app.add_typer(tracker.app, name="tracker")
app.add_typer(token.app, name="token")
app.add_typer(db.app, name="db")
app.add_typer(dataset.app, name="dataset")
app.add_typer(checkpoint.app, name="checkpoint")


def main() -> None:
    """Run a command; what a user got wrong is one message, a bug keeps its traceback."""
    for_a_program = "--json" in sys.argv
    try:
        code = app(standalone_mode=not for_a_program)
        sys.exit(code if isinstance(code, int) else 0)
    except typer.TyperException as error:  # wrong words; for people Typer shows it itself
        _tell_program(type(error).__name__, error.format_message())
        sys.exit(error.exit_code)
    except ParetrackError as error:
        if for_a_program:
            _tell_program(type(error).__name__, str(error))
        else:
            _show(str(error))
        sys.exit(2)


def _tell_program(kind: str, message: str) -> None:
    sys.stderr.write(json.dumps({"error": {"kind": kind, "message": message}}) + "\n")


def _show(message: str) -> None:
    if not sys.stderr.isatty():
        sys.stderr.write(f"paretrack: {message}\n")
    else:
        width = min(100, shutil.get_terminal_size().columns)
        Console(stderr=True, width=width).print(
            Panel(Text(message), title="paretrack", style="red")
        )


if __name__ == "__main__":
    main()
