"""What commands say and how: tables and bars for people, one JSON document for programs."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from workers.documents import document as as_document
from workers.documents import plain


class Terminal:
    """Standard output carries the answer; progress and remarks go to standard error.

    A program that reads the answer as JSON finds nothing on standard error but an error as JSON.
    """

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._out = Console(markup=False)
        self._err = Console(stderr=True, markup=False, quiet=as_json and not sys.stderr.isatty())

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
            sys.stdout.write(as_document(document))
        elif text is not None:
            self._out.print(text, highlight=False)
        else:
            self._out.print_json(data=plain(document))

    @contextmanager
    def bar(self, title: str) -> Iterator["Bar"]:
        """A progress bar on standard error while the block runs."""
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        with _Shown(*columns, console=self._err, transient=False) as progress:
            yield Bar(progress, progress.add_task(title, total=1, note=""))
            progress.below = []


class _Shown(Progress):
    """A bar, and tables below it while it moves."""

    below: Sequence[Table] = ()

    def get_renderables(self) -> Iterator[RenderableType]:
        yield from super().get_renderables()
        yield from self.below


class Bar:
    """One line of progress, and what a command shows below it."""

    def __init__(self, progress: _Shown, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def below(self, *tables: Table) -> None:
        """Shown until the bar ends, to people at a terminal."""
        self._progress.below = tables if self._progress.console.is_terminal else ()

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
        made.add_row(*(Text(cell) for cell in row))
    return made
