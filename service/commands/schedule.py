"""paretrack schedule: searches every night, or whenever a calendar says."""

from collections.abc import Mapping
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from search_spaces._errors import ParetrackError
from service.commands._calling import Why, ago, service_client, shown
from service.commands._job_words import JobWords, Teacher, Trials, What, amended, job_document
from service.commands._options import Json
from service.terminal import Terminal, table

if TYPE_CHECKING:
    from service._client_schedules import Coming, Schedule, ScheduleHandle, Tick

app = typer.Typer(
    help="Schedules: searches every night, or whenever a calendar says.", no_args_is_help=True
)
Which = Annotated[
    str,
    typer.Argument(metavar="SCHEDULE", help="Its id, or its name where no other one has it."),
]
OfCron = typer.Option("--cron", help="Minute, hour, day, month, weekday: '30 2 * * *'.")
OfZone = typer.Option("--timezone", help="Whose clock: as Europe/London.")
Cron = Annotated[str, OfCron]
Zone = Annotated[str, OfZone]
Next = Annotated[int, typer.Option("--count", "-n", min=1, max=100, help="So many.")]
Overlap = Literal["skip", "buffer", "cancel", "allow"]
Gap = Literal["shift", "skip"]
Fold = Literal["first", "last", "both"]
OfOverlap = typer.Option("--overlap", help="While the job before has not ended.")
OfGap = typer.Option("--gap", help="Of a time that does not exist.")
OfFold = typer.Option("--fold", help="Of one that comes twice.")
OfPriority = typer.Option("--priority", min=-100, max=100, help="Of its jobs.")
OfCatchUp = typer.Option("--catch-up", min=0, max=43200, help="Minutes that a job may be late.")
OfJitter = typer.Option("--jitter", min=0, max=3600, help="Seconds, to spread beginnings.")


@app.command()
def create(
    what: What,
    cron: Cron,
    timezone: Zone = "UTC",
    name: Annotated[
        str | None, typer.Option("--name", help="Of the schedule. Default: the job's.")
    ] = None,
    teacher: Teacher = None,
    trials: Trials = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="Of its jobs. Repeatable.")
    ] = None,
    priority: Annotated[int, OfPriority] = 0,
    overlap: Annotated[Overlap, OfOverlap] = "skip",
    gap: Annotated[Gap, OfGap] = "shift",
    fold: Annotated[Fold, OfFold] = "first",
    catch_up: Annotated[float, OfCatchUp] = 60.0,
    jitter: Annotated[int, OfJitter] = 0,
    anew: Annotated[
        bool, typer.Option("--anew", help="Every night from nothing, not from the last front.")
    ] = False,
    pause_after: Annotated[
        int | None,
        typer.Option("--pause-after", min=1, max=1000, help="So many failures in a row."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Search by a calendar. The job is checked now.

    Example: `paretrack schedule create street.yaml --cron '30 2 * * *' --timezone Europe/London`
    """
    from service.commands.submit import checked

    spec = checked(job_document(what, JobWords(teacher=teacher, trials=trials)))
    with service_client() as client:
        made = client.schedules.create(
            name or str(spec["name"]),
            spec,
            cron,
            timezone,
            gap=gap,
            fold=fold,
            labels=label or (),
            priority=priority,
            overlap=overlap,
            catch_up_seconds=round(60 * catch_up),
            jitter_seconds=jitter,
            continues=not anew,
            pause_after_failures=pause_after,
        )
    terminal = Terminal(as_json)
    terminal.answer(shown(made.now), made.id)
    terminal.say(f"{made.now.words}; first {_when(made.now.next_at)}")


@app.command()
def edit(
    schedule: Which,
    what: Annotated[
        Path | None, typer.Argument(metavar="[SPEC.yaml]", help="Another job, a file.")
    ] = None,
    cron: Annotated[str | None, OfCron] = None,
    timezone: Annotated[str | None, OfZone] = None,
    name: Annotated[str | None, typer.Option("--name", help="Of the schedule.")] = None,
    teacher: Teacher = None,
    trials: Trials = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="Of its jobs, instead of those it has. Repeatable; '': none."),
    ] = None,
    priority: Annotated[int | None, OfPriority] = None,
    overlap: Annotated[Overlap | None, OfOverlap] = None,
    gap: Annotated[Gap | None, OfGap] = None,
    fold: Annotated[Fold | None, OfFold] = None,
    catch_up: Annotated[float | None, OfCatchUp] = None,
    jitter: Annotated[int | None, OfJitter] = None,
    anew: Annotated[
        bool | None,
        typer.Option("--anew/--continue", help="Every night from nothing, or the last front."),
    ] = None,
    pause_after: Annotated[
        int | None,
        typer.Option("--pause-after", min=0, max=1000, help="So many failures in a row; 0: never."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Other terms from now on; what is not said stays. Refused if somebody else changes it at the
    same time.

    Example: `paretrack schedule edit every-night --cron '0 4 * * *' --label release-3`
    """
    words = JobWords(teacher=teacher, trials=trials)
    calendar = {"cron": cron, "timezone": timezone, "gap": gap, "fold": fold}
    terms = {
        "name": name,
        "overlap": overlap,
        "catch_up_seconds": None if catch_up is None else round(60 * catch_up),
        "jitter_seconds": jitter,
        "continues": None if anew is None else not anew,
    }
    changes = _said(terms)
    if pause_after is not None:
        changes["pause_after_failures"] = pause_after or None
    with service_client() as client:
        found = client.schedules.find(schedule)
        if _said(calendar):
            changes["calendar"] = {**vars(found.now.calendar), **_said(calendar)}
        job = _other_job(found.now.job, what, words, _said({"labels": label, "priority": priority}))
        changed = _edited(found, changes | job)
    terminal = Terminal(as_json)
    terminal.answer(shown(changed), table(("", ""), _described(changed)))


def _said(words: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in words.items() if value is not None}


def _other_job(
    job: Mapping[str, Any], what: Path | None, words: JobWords, beside: dict[str, Any]
) -> dict[str, Any]:
    """The job with what was typed; nothing, where that leaves it as it is."""
    from service.commands.submit import checked

    if "labels" in beside:
        beside["labels"] = [label for label in beside["labels"] if label]
    if what is not None:
        beside["spec"] = checked(job_document(str(what), words))
    elif words != JobWords():
        beside["spec"] = checked(amended(job["spec"], words))
    return {"job": {**job, **beside}} if beside else {}


def _edited(found: "ScheduleHandle", changes: Mapping[str, Any]) -> "Schedule":
    from service._client_errors import ClientError

    if not changes:
        raise ParetrackError("say what is to be otherwise, as --cron '0 4 * * *'; see --help")
    try:
        return found.edit(**changes)
    except ClientError as error:
        if error.code == "changed_meanwhile":
            raise ParetrackError(
                f"somebody else has changed {found.id} at this moment, and nothing of yours was "
                f"done; look at it (paretrack schedule show {found.id}) and say it again"
            ) from error
        raise


@app.command("list")
def list_schedules(
    text: Annotated[str | None, typer.Option("--text", help="In the name or the id.")] = None,
    archived: Annotated[bool, typer.Option("--archived", help="Archived ones, too.")] = False,
    count: Annotated[int, typer.Option("--count", min=1, help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """The schedules, the newest first. Example: `paretrack schedule list`"""
    with service_client() as client:
        listed = client.schedules.list(text=text, archived=archived)
        found = [one.now for one in islice(listed, count)]
    rows = [[s.id, s.name, s.words, _state(s), _when(s.next_at)] for s in found]
    columns = ("schedule", "name", "when", "state", "next")
    Terminal(as_json).answer(shown(found), table(columns, rows))


@app.command()
def show(schedule: Which, as_json: Json = False) -> None:
    """All of one schedule. Example: `paretrack schedule show every-night`"""
    with service_client() as client:
        now = client.schedules.find(schedule).now
    Terminal(as_json).answer(shown(now), table(("", ""), _described(now)))


@app.command()
def pause(schedule: Which, why: Why = "", as_json: Json = False) -> None:
    """Begin no job any more. Example: `paretrack schedule pause every-night --why 'holidays'`"""
    with service_client() as client:
        now = client.schedules.find(schedule).pause(why)
    Terminal(as_json).answer(shown(now), f"{now.id} is paused: {now.paused_why}")


@app.command()
def resume(schedule: Which, why: Why = "", as_json: Json = False) -> None:
    """Begin jobs again. Example: `paretrack schedule resume every-night`"""
    with service_client() as client:
        now = client.schedules.find(schedule).resume(why)
    Terminal(as_json).answer(shown(now), f"{now.id} goes on: next {_when(now.next_at)}")


@app.command()
def trigger(schedule: Which, why: Why = "", as_json: Json = False) -> None:
    """Begin a job now. Example: `paretrack schedule trigger every-night --why 'a new device'`"""
    with service_client() as client:
        tick = client.schedules.find(schedule).trigger(why)
    job = tick.job["id"] if tick.job else "no job"
    terminal = Terminal(as_json)
    terminal.answer(shown(tick), job)
    terminal.say(f"{tick.decision}; see it with: paretrack watch {job}")


@app.command()
def history(
    schedule: Which,
    count: Annotated[int, typer.Option("--count", min=1, help="At most so many.")] = 20,
    as_json: Json = False,
) -> None:
    """What became of its ticks, and how the nights went.

    Example: `paretrack schedule history every-night`
    """
    with service_client() as client:
        found = client.schedules.find(schedule)
        past = list(islice(found.history(page=min(count, 500)), count))
    rows = [[_local(t.local), t.decision, _job(t), _night(t)] for t in past]
    columns = ("tick", "decision", "job", "how it went")
    Terminal(as_json).answer(shown(past), table(columns, rows))


@app.command("next")
def next_ticks(schedule: Which, count: Next = 10, as_json: Json = False) -> None:
    """When it ticks next. Example: `paretrack schedule next every-night -n 5`"""
    with service_client() as client:
        found = client.schedules.find(schedule)
        coming = found.next(count)
    Terminal(as_json).answer(shown(coming), _coming(coming))


@app.command()
def preview(cron: Cron, timezone: Zone = "UTC", count: Next = 10, as_json: Json = False) -> None:
    """What a calendar means, before there is a schedule.

    Example: `paretrack schedule preview --cron '30 2 * * *' --timezone Europe/London`
    """
    with service_client() as client:
        seen = client.schedules.preview(cron, timezone, count)
    terminal = Terminal(as_json)
    terminal.remark(seen.words)
    terminal.answer(shown(seen), _coming(list(seen.ticks)))


@app.command()
def archive(schedule: Which, as_json: Json = False) -> None:
    """No more ticks, and out of the list. Example: `paretrack schedule archive every-night`"""
    with service_client() as client:
        now = client.schedules.find(schedule).archive()
    Terminal(as_json).answer(shown(now), f"{now.id} is archived; its jobs and its history stay")


def _described(now: "Schedule") -> list[list[str]]:
    calendar = now.calendar
    failures = f"{now.failures} in a row"
    if now.pause_after_failures is not None:
        failures += f", paused after {now.pause_after_failures}"
    said = {
        "schedule": now.id,
        "name": now.name,
        "when": now.words,
        "calendar": f"{calendar.cron} in {calendar.timezone}, gap {calendar.gap}, "
        f"fold {calendar.fold}",
        "state": _state(now),
        "next": _when(now.next_at),
        "overlap": now.overlap,
        "catch-up": f"{now.catch_up_seconds / 60:g} min",
        "jitter": f"{now.jitter_seconds} s",
        "begins": "with the front of the night before" if now.continues else "every night anew",
        "failures": failures,
        "job": str(now.job["spec"].get("name", "")),
        "labels": ", ".join(now.job["labels"]),
        "owner": now.owner,
        "made": ago(now.created_at),
    }
    return [[name, text] for name, text in said.items() if text]


def _state(now: "Schedule") -> str:
    if now.archived_at is not None:
        return "archived"
    return f"paused: {now.paused_why}" if now.paused else "on"


def _when(at: datetime | None) -> str:
    return "never" if at is None else at.strftime("%Y-%m-%d %H:%M UTC")


def _local(at: datetime) -> str:
    return at.strftime("%a %Y-%m-%d %H:%M %z")


def _job(tick: "Tick") -> str:
    return f"{tick.job['id']} ({tick.job['state'].lower()})" if tick.job else "-"


def _night(tick: "Tick") -> str:
    return str(tick.report["words"]) if tick.report else tick.note


def _coming(coming: "list[Coming]") -> Any:
    rows = [[_local(one.local), _when(one.at), _when(one.begins_at)] for one in coming]
    return table(("by the clock on the wall", "tick", "begins"), rows)
