"""A tuning as a controller runs it: told of while it goes on, its outcome in the job's summary.

What was trained lies in the job's folder: begun again, by whichever controller, it goes on there.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from search_spaces import ParetrackError
from service.events import BY_REQUEST, Wish
from service.journal import Journal
from service.recipe_job import RecipeJob, request_of
from service.recipe_tuning import (
    TunedRecipe,
    TuneRequest,
    concluded,
    outcome_text,
    planned,
    tune_recipe,
)
from service.settings import Settings
from workers.documents import plain

if TYPE_CHECKING:
    from workers.tuning import Happening, Tuning

SHOWN = 10  # best trials in a summary, beside the starting recipe


class _Wanted(ParetrackError):  # noqa: N818 - says what happened
    """Somebody wants the tuning to end, or to pause."""

    def __init__(self, wish: Wish) -> None:
        super().__init__(BY_REQUEST[wish])
        self.wish = wish


def run_recipe_job(
    job: RecipeJob,
    settings: Settings,
    journal: Journal,
    wish: Callable[[], Wish],
    say: Callable[[str], None],
) -> tuple[Wish, str]:
    """Tune until it has come to its end ("go_on": by itself), and why that was."""
    request, tuning = _placed(job, settings)
    journal.happened(**_so_far(tuning))

    def turn() -> None:
        if (wanted := wish()) != "go_on":
            raise _Wanted(wanted)

    try:
        tuned = tune_recipe(
            request, settings, lambda it: _hear(it, tuning, journal), hear=say, turn=turn
        )
    except _Wanted as error:
        if error.wish == "stop":
            return error.wish, _stopped(request, settings, journal)
        return error.wish, str(error)
    _conclude(tuned, journal)
    return "go_on", outcome_text(tuned)


def _placed(job: RecipeJob, settings: Settings) -> "tuple[TuneRequest, Tuning]":
    """In a folder for this machine: another kind of machine trains to other figures, so that what
    it has found cannot be gone on with here."""
    folder = settings.home / "recipes" / job.name
    identity = planned(request_of(job, folder), settings).identity
    request = request_of(job, folder / identity[:12])
    return request, planned(request, settings)


def _hear(happening: "Happening", tuning: "Tuning", journal: Journal) -> None:
    from workers.tuning import Ended, Reached, Stage

    match happening:
        case Stage(name):
            journal.prepares(0, len(tuning.values), name)
        case Reached(number, step, score):
            told = {"number": number, "step": step, "score": score}
            journal.happened("recipe_rung", told, **_so_far(tuning))
        case Ended(number, end):
            ended = {"number": number, "end": end}
            journal.happened("recipe_trial_ended", ended, **_so_far(tuning))


def _so_far(tuning: "Tuning") -> dict[str, Any]:
    """What the records of a tuning say, for a summary."""
    from workers.tuning.records import ranked, read_all, read_end

    records = read_all(tuning.folder, tuning.values)
    ends = [read_end(tuning.folder, record.number) for record in records]
    begun = [(end or "running").upper() for end, r in zip(ends, records, strict=True) if r.rungs]
    best = [record for record in ranked(records, tuning.metric) if record.number][:SHOWN]
    trials = [
        {
            "number": record.number,
            "step": record.step,
            "state": (ends[record.number] or "running").upper(),
            "figure": getattr(record.rungs[-1], tuning.metric) if record.rungs else None,
            "seconds": round(record.seconds, 1),
            "values": dict(record.values),
        }
        for record in (records[0], *best)
    ]
    return {
        "asked": len(begun),
        "states": dict(Counter(begun)),
        "budget": {"trials": len(records)},
        "metric": tuning.metric,
        "steps": tuning.steps,
        "trials": plain(trials),
    }


def _conclude(tuned: TunedRecipe, journal: Journal) -> None:
    winner = tuned.found.winner
    told = {
        "holds": tuned.holds,
        "winner": None if winner is None or not tuned.holds else winner.number,
        "gains": [{**asdict(gain), "better": gain.better} for gain in tuned.gains],
        "recipe": plain(tuned.recipe),
    }
    journal.happened("recipe", told, **_so_far(tuned.tuning), **told)


def _stopped(request: TuneRequest, settings: Settings, journal: Journal) -> str:
    """Nothing was compared with another seed, so that the starting recipe is what there is."""
    try:
        _conclude(concluded(request, settings), journal)
    except ParetrackError as error:
        return f"{BY_REQUEST['stop']}: {error}"
    return f"{BY_REQUEST['stop']}; the starting recipe stays"
