"""paretrack front: the front of a job from its record, while the job runs or when it has ended."""

import csv
import io
import math
import os
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from search_spaces._errors import ParetrackError
from service.commands._options import Json
from service.commands._search_report import (
    front_table,
    shown_figure,
    shown_metrics,
    tracker_folders,
)
from service.settings import Settings, read_settings
from service.terminal import Terminal, table

if TYPE_CHECKING:
    from rich.table import Table
    from sqlalchemy import Engine

    from service.front import Side
    from service.recorded import RecordedJob, RecordedTrial

PATIENCE = 30.0  # seconds for which the service that PARETRACK_URL names may be away
SHORT_PATIENCE = 5.0  # seconds in which one that nobody has named must answer

Csv = Annotated[bool, typer.Option("--csv", help="Rows for a spreadsheet on standard output.")]
Plot = Annotated[
    Path | None, typer.Option("--plot", help="Draw it too: a file .png, .svg or .pdf.")
]
Against = Annotated[
    str | None, typer.Option("--against", help="Another job, to compare the two fronts.")
]
X = Annotated[str | None, typer.Option("--x", help="A recorded metric instead of the first cost.")]
Y = Annotated[str | None, typer.Option("--y", help="A recorded metric instead of the accuracy.")]


def front(
    name: Annotated[str, typer.Argument(metavar="JOB", help="That runs or has ended.")],
    x: X = None,
    y: Y = None,
    against: Against = None,
    plot: Plot = None,
    as_csv: Csv = False,
    as_json: Json = False,
) -> None:
    """Show the front of a job: what is best at each cost. Only the record is read.

    A job of the service in PARETRACK_URL goes by its id, or its name where no other has it.
    Example: `paretrack front street --plot front.svg --against last-night`
    """
    from service.front_picture import check_ending, draw_front

    if as_csv and as_json:
        raise ParetrackError("--csv and --json are two answers; ask for one of them")
    if plot is not None:
        check_ending(plot)
    terminal = Terminal(as_json or as_csv)
    job, other, is_remote = _read(name, against, x, y)
    if plot is not None:
        draw_front(job, plot, other)
    if as_csv:
        sys.stdout.write(_rows(job))
        return
    terminal.answer(_document(job, other), front_table(job))
    _say_more(terminal, job, is_remote)
    if other is not None:
        terminal.remark(_comparison_table(job, other))
    if plot is not None:
        terminal.say(f"the picture: {plot}")


def _read(
    name: str, against: str | None, x: str | None, y: str | None
) -> "tuple[RecordedJob, RecordedJob | None, bool]":
    """Both, and whether the first one is a service's."""
    from service.recorded import over

    settings = read_settings(os.environ)
    job, is_remote = _find(settings, name)
    other = None if against is None else _find(settings, against)[0]
    if x is None and y is None:
        _check_alike(job, other)
        return job, other, is_remote
    names = [y or job.objectives[0].name, x or job.objectives[1].name]
    return over(job, names), None if other is None else over(other, names), is_remote


class _NotHere(ParetrackError):  # noqa: N818 - says what is
    """The record on this machine has no such job."""


def _find(settings: Settings, name: str) -> "tuple[RecordedJob, bool]":
    """From the service, where PARETRACK_URL names one that has it; else from the record here;
    else from a service on this machine, if one answers."""
    from service.client import ClientError

    if os.environ.get("PARETRACK_URL"):
        try:
            return _of_service(name, PATIENCE), True
        except ClientError as error:
            if error.code != "not_found":
                raise
            there = error
        try:
            return _of_record(settings, name), False
        except ParetrackError as here:
            raise ParetrackError(f"{there}\n{here}") from None
    try:
        return _of_record(settings, name), False
    except _NotHere as here:
        try:
            _check_it_answers()
            return _of_service(name, 0.0), True
        except ClientError as error:
            missing = ParetrackError(f"{here}\n{error}")
            raise (error if error.code == "ambiguous" else missing) from None


def _check_it_answers() -> None:
    """Nobody has said that a service is there: what listens instead may keep silent for ever."""
    import httpx

    from service._client_errors import Address, no_answer
    from service._client_transport import PREFIX
    from service.client import DEFAULT_URL

    try:
        httpx.get(f"{DEFAULT_URL}{PREFIX}/health/live", timeout=SHORT_PATIENCE, trust_env=False)
    except httpx.TransportError as error:
        raise no_answer(error, Address(DEFAULT_URL, "the default")) from error


def _of_service(name: str, patience: float) -> "RecordedJob":
    from service.client import client_from

    with client_from(os.environ, patience=patience) as client:
        return client.job(name).record()


def _of_record(settings: Settings, name: str) -> "RecordedJob":
    from service._studies import find_study, no_job
    from service.database import reading
    from service.recorded import read_job

    engine = _open(settings, name)
    try:
        with reading(engine) as connection:
            if find_study(connection, name) is None:
                raise _NotHere(str(no_job(engine, connection, name)))
        return read_job(engine, name)
    finally:
        engine.dispose()


def _open(settings: Settings, name: str) -> "Engine":
    """The database, which must be there already: reading makes none."""
    from sqlalchemy.engine import make_url

    from service.database import embedded_url, open_database

    url = settings.database_url or embedded_url(settings.home / "paretrack.db")
    if url.startswith("sqlite"):
        file = Path(make_url(url).database or "").expanduser()
        if not file.exists():
            raise _NotHere(
                f"no job named {name!r}: there is no record at {file} yet; begin one with "
                "paretrack search, or say with PARETRACK_HOME or PARETRACK_DATABASE_URL where it is"
            )
    return open_database(url)


def _check_alike(job: "RecordedJob", other: "RecordedJob | None") -> None:
    if other is None or other.objectives == job.objectives:
        return
    mine, theirs = (", ".join(m.name for m in each.objectives) for each in (job, other))
    raise ParetrackError(
        f"{job.name!r} compares {mine}, {other.name!r} {theirs}; choose with --y and --x two "
        "metrics that both have recorded"
    )


def _say_more(terminal: Terminal, job: "RecordedJob", is_remote: bool) -> None:
    states = Counter(trial.state for trial in job.trials)
    counts = ", ".join(f"{count} {state.lower()}" for state, count in states.items())
    if not job.front:
        terminal.say("nothing is on the front yet: no candidate was judged to the end in limits")
    folder = tracker_folders(job)
    if folder is not None:
        terminal.say(f"trackers: {folder}/TRIAL")
    elif is_remote and job.front:
        terminal.say(f"trackers: paretrack download {job.name} TRIAL FOLDER")
    corner = ", ".join(
        f"{name} {shown_figure(name, figure)}" for name, figure in _reference(job).items()
    )
    terminal.say(
        f"hypervolume {job.hypervolume:.4f}: a share of what would be perfect at no cost, over "
        f"{corner}"
    )
    terminal.say(f"{job.ended or 'not ended'}: {len(job.trials)} asked ({counts or 'none'})")


def _reference(job: "RecordedJob") -> dict[str, float]:
    """As figures, not as coordinates to be minimised."""
    return _figures(job, job.reference)


def _figures(job: "RecordedJob", point: tuple[float, ...]) -> dict[str, float]:
    return {
        # Zero has no sign for a reader.
        m.name: (-v if m.better == "higher" else v) + 0.0
        for m, v in zip(job.metrics, point, strict=True)
    }


# --- against another job ----------------------------------------------------------------------


def _shared_reference(job: "RecordedJob", other: "RecordedJob") -> tuple[float, ...]:
    """The worse of the two in each objective, so that neither front is cut off."""
    return tuple(max(pair) for pair in zip(job.reference, other.reference, strict=True))


def _sides(job: "RecordedJob", other: "RecordedJob") -> "tuple[Side, Side]":
    """With hypervolumes as shares, like that of a job alone."""
    from service.front import compared

    ours, theirs = ([each.point(t.figures) for t in each.front] for each in (job, other))
    reference = _shared_reference(job, other)
    mine, other_side = compared(ours, theirs, reference)
    whole = job.everything(reference)
    return (
        replace(mine, hypervolume=mine.hypervolume / whole),
        replace(other_side, hypervolume=other_side.hypervolume / whole),
    )


def _comparison_table(job: "RecordedJob", other: "RecordedJob") -> "Table":
    mine, theirs = _sides(job, other)
    counted = {
        "points on the front": "points",
        "dominated by the other's": "dominated",
        "on both fronts": "shared",
    }
    rows = [
        [said, *(str(getattr(side, name)) for side in (mine, theirs))]
        for said, name in counted.items()
    ]
    alone = [_numbers(job, mine), _numbers(other, theirs)]
    rows.append(["nothing of the other's as good", *(str(len(each)) for each in alone)])
    rows.append(["these trials", *(", ".join(map(str, each)) or "-" for each in alone)])
    rows.append(["hypervolume", *(f"{side.hypervolume:.4f}" for side in (mine, theirs))])
    rows.append(["short of the other by (epsilon)", *(_epsilon(s.epsilon) for s in (mine, theirs))])
    corner = _figures(job, _shared_reference(job, other))
    said = ", ".join(f"{name} {shown_figure(name, v)}" for name, v in corner.items())
    return table(("", job.name, other.name), rows, title=f"Hypervolume over {said}")


def _epsilon(figure: float) -> str:
    return f"{max(figure, 0.0):.1%} of the range" if math.isfinite(figure) else "-"


def _numbers(job: "RecordedJob", side: "Side") -> list[int]:
    return [job.front[i].number for i in side.alone]


# --- for programs -----------------------------------------------------------------------------


def _document(job: "RecordedJob", other: "RecordedJob | None") -> dict[str, Any]:
    told = {
        "job": job.name,
        "ended": job.ended or None,
        "objectives": [{"metric": m.name, "better": m.better, "unit": m.unit} for m in job.metrics],
        "limits": [str(limit) for limit in job.limits],
        "states": Counter(trial.state for trial in job.trials),
        "teacher": job.teacher,
        "reference": _reference(job),
        "hypervolume": job.hypervolume,
        "hypervolumes": [{"number": n, "hypervolume": v} for n, v in job.hypervolumes],
        "knee": job.knee,
        "front": [_trial(trial) for trial in job.front],
    }
    return told if other is None else {**told, "against": _against(job, other)}


def _trial(trial: "RecordedTrial") -> dict[str, Any]:
    return {
        "number": trial.number,
        "figures": trial.figures,
        "ranges": trial.ranges,
        "params": trial.params,
        "flag": trial.flag,
        "tracker": trial.tracker,
    }


def _against(job: "RecordedJob", other: "RecordedJob") -> dict[str, Any]:
    mine, theirs = _sides(job, other)
    return {
        "job": other.name,
        "reference": _figures(job, _shared_reference(job, other)),
        "hypervolume": {"mine": mine.hypervolume, "theirs": theirs.hypervolume},
        "epsilon": {"mine": mine.epsilon, "theirs": theirs.epsilon},
        "dominated": {"mine": mine.dominated, "theirs": theirs.dominated},
        "shared": {"mine": mine.shared, "theirs": theirs.shared},
        "gained": _numbers(job, mine),
        "lost": _numbers(other, theirs),
        "front": [_trial(trial) for trial in other.front],
    }


def _rows(job: "RecordedJob") -> str:
    """The teacher and the front, a row each; figures are in their own units."""
    rows: list[dict[str, Any]] = [{"trial": "teacher", **job.teacher}]
    for trial in job.front:
        ends = {
            f"{name}.{end}": figure
            for name, pair in trial.ranges.items()
            for end, figure in zip(("low", "high"), pair, strict=True)
        }
        params = {f"params.{name}": value for name, value in trial.params.items()}
        rows.append(
            {"trial": trial.number, **trial.figures, **ends, "knee": int(trial.number == job.knee),
             "flag": trial.flag, "tracker": trial.tracker, **params}
        )  # fmt: skip
    first = ["trial", *shown_metrics(job)]
    columns = dict.fromkeys([*first, *(name for row in rows[1:] for name in row), *rows[0]])
    out = io.StringIO()
    writer = csv.DictWriter(out, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
