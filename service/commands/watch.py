"""paretrack watch: a job of a service as it goes on, until it has ended."""

import queue
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import typer

from service.commands._budget_words import budget_text
from service.commands._calling import JobName, figures_text, progress_text, service_client, shown
from service.commands._options import Json
from service.commands._recipe_report import recipe_line, recipe_table
from service.commands._search_report import NEWEST, front_table
from service.job import SEARCH
from service.terminal import Bar, Terminal, table

if TYPE_CHECKING:
    from rich.table import Table

    from service.client import ClientError, Event, Front, Job, JobHandle, Trial

LOOK = 2.0  # seconds after which it is looked at what runs, though nothing was told
APART = 0.5  # seconds between two looks at least
INTERRUPTED = 130


def watch(job: JobName, as_json: Json = False) -> None:
    """Follow a job: its newest trials and its front, until it has ended. Ctrl-C only looks away.

    The exit code is 0 if it ended well, else 1. Example: `paretrack watch street`
    """
    terminal = Terminal(as_json)
    with service_client() as client:
        raise typer.Exit(watched(client.job(job), terminal))


def watched(job: "JobHandle", terminal: Terminal) -> int:
    """Show a job until it has ended, and then what came of it; the exit code."""
    try:
        with terminal.bar(job.name) as bar:
            _follow(job, _View(job, bar, terminal))
    except KeyboardInterrupt:
        terminal.say(
            f"you have looked away; the job goes on. To come back: paretrack watch {job.id}"
        )
        return INTERRUPTED
    _conclude(job, terminal)
    return 0 if job.state == "SUCCEEDED" else 1


def _follow(job: "JobHandle", view: "_View") -> None:
    """Shows what happens; events come in a thread, so that what runs can be looked at meanwhile."""
    from service.client import HELD

    view.look()
    if not view.is_live:
        budget = budget_text(job.now.summary)
        said = f"{progress_text(job.now)}" + (f"; {budget}" if budget != "-" else "")
        view.terminal.say(f"{job.id} {job.state.lower()}: {said}")
    told: queue.Queue[Any] = queue.Queue()
    if job.now.has_ended or job.state == HELD:
        return
    threading.Thread(target=_tell, args=(job, job.now.events, told), daemon=True).start()
    over = False
    while not over:
        events, over = _drained(told)
        view.hear(events)
        view.look()
        over = over or job.state == HELD


def _tell(job: "JobHandle", after: int, told: "queue.Queue[Any]") -> None:
    """Everything that happens, then None; or what went wrong, to be raised where it is seen."""
    try:
        for event in job.events(after, lost=told.put):
            told.put(event)
        told.put(None)
    except Exception as error:  # a bug, too: else whoever waits for the next event waits for ever
        told.put(_Gone(error))


@dataclass(frozen=True)
class _Gone:
    """There is nothing more to hear."""

    error: Exception


def _drained(told: "queue.Queue[Any]") -> "tuple[list[Event | ClientError], bool]":
    """What was told since, and whether that was all."""
    found: list[Any] = []
    try:
        found.append(told.get(timeout=LOOK))
        time.sleep(APART)
        while found[-1] is not None:
            found.append(told.get_nowait())
    except queue.Empty:
        return _heard(found), False
    return _heard(found[:-1]), True


def _heard(found: list[Any]) -> list[Any]:
    for one in found:
        if isinstance(one, _Gone):
            raise one.error
    return found


class _View:
    """What people see: tables at a terminal, else a line for what happens."""

    def __init__(self, job: "JobHandle", bar: Bar, terminal: Terminal) -> None:
        self.job, self.bar, self.terminal = job, bar, terminal
        self.away, self.moved, self.is_live = False, False, sys.stderr.isatty()

    def hear(self, events: "Sequence[Event | ClientError]") -> None:
        from service.client import ClientError

        told = [event for event in events if not isinstance(event, ClientError)]
        if len(told) < len(events) and not self.away:
            self.terminal.say("the service is away; it is waited for")
        if events:
            self.away = isinstance(events[-1], ClientError)
        if self.is_live:
            return
        for event in told:
            if line := _line(event):
                self.terminal.say(f"{event.at:%H:%M:%S} {line}")
        self.moved = self.moved or any(event.kind == "front" for event in told)

    def _front(self) -> str:
        """In one line."""
        found = self.job.front()
        names = tuple(axis.name for axis in found.metrics)
        points = [f"{p.number}: {figures_text(p.figures, names)}" for p in found.points]
        return f"the front: {'; '.join(points)}"

    def look(self) -> None:
        """Read the job again, and what is shown of it."""
        from service.client import ClientError

        try:
            job = self.job.refresh()
            self.bar.show(*_progress(job))
            if self.is_live and job.kind == SEARCH:
                self.bar.below(*_tables(self.job))
            elif self.is_live:
                self.bar.below(recipe_table(self.job.recipe()))
            elif self.moved:
                self.terminal.say(self._front())
                self.moved = False
        except ClientError as error:
            if error.status is not None and error.status < 500:
                raise
            time.sleep(APART)  # the thread that hears events decides when it is too long


def _line(event: "Event") -> str:
    """What happened, for a log; what a table would show every moment is left out."""
    said = event.data
    if event.kind == "state":
        why = f": {said.get('why')}" if said.get("why") else ""
        return f"{str(said.get('to', '')).lower()}{why}"
    number, note = said.get("number"), said.get("note")
    more = f": {note}" if note else ""
    if event.kind == "trial_finished":
        return f"trial {number} {str(said.get('state', '')).lower()}{more}"
    if event.kind == "front":
        return f"trial {number} has moved the front"
    return recipe_line(event)


def _progress(job: "Job") -> tuple[float, float, str, str]:
    """How far, of how much, with what, under which title."""
    states = job.summary.get("states", {})
    done = sum(states.values()) - states.get("INFEASIBLE", 0) - states.get("RUNNING", 0)
    total = job.summary.get("budget", {}).get("trials") or 1
    counts = ", ".join(f"{count} {state.lower()}" for state, count in states.items())
    note = f"{counts}; {budget_text(job.summary)}" if counts else ""
    doing = [text for one in job.summary.get("now", ()) if (text := _doing(one))]
    if doing and job.summary["now"][0].get("number") is None:  # before the first trial
        note = doing[0]
    return done, total, note, f"{job.name}: {job.state.lower()}"


def _doing(now: Any) -> str:
    far = f" {now['done']}/{now['total']}" if now.get("total") else ""
    return f"{now.get('step', '')}{far}"


def _tables(job: "JobHandle") -> "list[Table]":
    newest = list(islice(job.trials(sort="-number", page=NEWEST), NEWEST))
    return [_newest(job.now, newest), _front(job.front())]


def _newest(job: "Job", found: "list[Trial]") -> "Table":
    doing = {one.get("number"): _doing(one) for one in job.summary.get("now", ())}
    rows = [
        [
            str(trial.number),
            trial.state.lower(),
            figures_text(trial.figures, job.metrics),
            doing.get(trial.number) or trial.reason or trial.flag,
        ]
        for trial in sorted(found, key=lambda trial: trial.number)
    ]
    return table(("trial", "state", "figures", "what happens"), rows)


def _front(front: "Front") -> "Table":
    names = tuple(axis.name for axis in front.metrics)
    rows = [[str(point.number), figures_text(point.figures, names)] for point in front.points]
    return table(("front", "figures"), rows)


def _conclude(job: "JobHandle", terminal: Terminal) -> None:
    """What came of it."""
    if job.refresh().kind != SEARCH:
        found = job.recipe()
        terminal.answer({"job": shown(job.now), "recipe": shown(found)}, recipe_table(found))
        terminal.say(f"{job.id} {job.state.lower()}: {job.now.reason}")
        return
    now, front = job.now, job.front()
    document = {"job": shown(now), "front": _plain(front)}
    if not front.points:
        terminal.answer(document, f"{job.id} {now.state.lower()}: {now.reason}")
        return
    terminal.answer(document, front_table(job.record()))
    terminal.say(f"{job.id} {now.state.lower()}: {now.reason}")
    best = front.points[-1]
    terminal.say(f"to take one along: paretrack download {job.id} {best.number} ./tracker")


def _plain(front: "Front") -> Any:
    return shown({name: value for name, value in vars(front).items() if name != "record"})
