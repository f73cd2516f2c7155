"""What commands say and how: tables and bars for people, one JSON document for programs."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table


class Terminal:
    """Standard output carries the answer; progress and remarks go to standard error."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._out = Console()
        self._err = Console(stderr=True)

    def say(self, text: str | Table) -> None:
        """A remark for people."""
        self._err.print(text, highlight=False)

    def remark(self, text: str | Table) -> None:
        """Part of the answer that only people read."""
        if not self.as_json:
            self._out.print(text, highlight=False)

    def answer(self, document: Any, text: str | Table | None = None) -> None:
        """The outcome: ``document`` with --json, else ``text`` (or the document, indented)."""
        if self.as_json:
            sys.stdout.write(json.dumps(plain(document), indent=1) + "\n")
        elif text is not None:
            self._out.print(text, highlight=False)
        else:
            self._out.print_json(data=plain(document))

    @contextmanager
    def bar(self, title: str) -> Iterator["Bar"]:
        """A progress bar on standard error while the block runs."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self._err, transient=False) as progress:
            yield Bar(progress, progress.add_task(title, total=1, note=""))


class Bar:
    """One line of progress."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def show(self, done: float, total: float, note: str = "", title: str | None = None) -> None:
        """Where things stand; ``title`` renames the line when the work moves on."""
        fields: dict[str, Any] = {"completed": done, "total": max(total, 1), "note": note}
        if title is not None:
            fields["description"] = title
        self._progress.update(self._task, **fields)

    def __call__(self, done: int, total: int) -> None:
        self.show(done, total)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> Table:
    """First column left, numbers right."""
    made = Table(title=title, title_justify="left")
    for index, name in enumerate(columns):
        made.add_column(name, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def plain(value: Any) -> Any:
    """Anything of ours as JSON knows it. Infinities and NaN become null."""
    if is_dataclass(value) and not isinstance(value, type):
        value = value.to_json() if hasattr(value, "to_json") else asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [
            plain(item)
            for item in (sorted(value) if isinstance(value, (set, frozenset)) else value)
        ]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
