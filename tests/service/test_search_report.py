"""What a search shows while it runs."""

import io

from rich.console import Console
from rich.table import Table

from service.commands._search_report import NEWEST, _Seen
from service.events import Event
from workers.evaluation import Happening


def shown(table: Table) -> list[list[str]]:
    """The rows of a table, cell by cell."""
    told = io.StringIO()
    Console(file=told, width=200).print(table)
    rows = [line.strip("│\n").split("│") for line in told.getvalue().splitlines() if "│" in line]
    return [[cell.strip() for cell in row] for row in rows]


def complete(number: int, overlap: float, macs: float) -> Event:
    values = {"average_overlap": overlap, "macs_frame": macs}
    return Event("finished", number, "COMPLETE", "", values)


def test_the_front_is_of_what_is_complete_and_not_dominated() -> None:
    seen = _Seen()
    for event in (complete(0, 0.5, 2e6), complete(1, 0.4, 3e6), complete(2, 0.3, 1e6)):
        seen.hear(event)
    seen.hear(Event("finished", 3, "STOPPED", "dominated by trial 0"))

    assert [row[0] for row in shown(seen.front())] == ["2", "0"]
    assert seen.note == "3 complete, 1 stopped"


def test_a_trial_is_followed_from_its_beginning_to_its_end() -> None:
    seen = _Seen()

    def row() -> list[str]:
        return shown(seen.newest())[-1]

    seen.hear(Event("asked", 7))
    assert row() == ["7", "runs", "", ""]
    seen.hear(Event("progress", 7, happening=Happening("recovery", 3, 100)))
    assert row() == ["7", "runs", "", "recovery 3/100"]
    seen.hear(Event("progress", 7, happening=Happening("build", 0, 0)))
    assert row() == ["7", "runs", "", "build"]
    seen.hear(Event("rung", 7, "wait", "2nd of 2", {"one_step_iou": 0.25}))
    assert row() == ["7", "waits", "one_step_iou 0.250", "2nd of 2"]
    seen.hear(Event("rung", 7, "go_on", "1st of 3"))
    assert row() == ["7", "runs", "one_step_iou 0.250", "1st of 3"]
    seen.hear(Event("finished", 7, "INFEASIBLE", "parameters is 9, the limit is less"))
    assert row()[1:] == ["infeasible", "one_step_iou 0.250", "parameters is 9, the limit is less"]
    assert seen.feasible == 0


def test_only_the_newest_are_shown() -> None:
    seen = _Seen()
    for number in range(NEWEST + 5):
        seen.hear(Event("asked", number))
    seen.hear(Event("rung", 5, "wait"))
    numbers = [row[0] for row in shown(seen.newest())]
    assert len(numbers) == NEWEST and "5" in numbers and "4" not in numbers
