"""What every trial begins with, and the last comparison; each a candidate's evaluation."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from search_spaces import ParetrackError
from workers.candidate import Candidate, Measurement, read_measurement
from workers.evaluation import MEASUREMENT, evaluate
from workers.machine import use_threads
from workers.tuning._trial import opened, recipe_of
from workers.tuning.request import CHECKS, START, Tuning


def begin(tuning: Tuning) -> str | None:
    """Cut and refit; None, or why that leads to nothing."""
    use_threads(tuning.threads)
    try:
        found = evaluate(tuning.candidate, tuning.folder / START, until=0, device=tuning.device)
        if found.state == "AT_RUNG":
            opened(tuning)  # what is wrong with the data shows once, and not in every trial
    except ParetrackError as error:
        return str(error)
    return found.reason


def check(tuning: Tuning, number: int, values: Mapping[str, Any]) -> Measurement:
    """A trial's recipe in full, tracking included, with a seed that nothing was chosen by."""
    use_threads(tuning.threads)
    candidate = to_check(tuning, values)
    folder = tuning.folder / CHECKS / str(number)
    known = judged(folder, candidate)
    return known or evaluate(candidate, folder, device=tuning.device)


def to_check(tuning: Tuning, values: Mapping[str, Any]) -> Candidate:
    """The candidate of the last comparison, by the recipe with these hyper-parameters."""
    candidate = tuning.candidate
    recipe = recipe_of(candidate, values)
    return replace(candidate, recipe=recipe, seed=(candidate.seed + 1) % 2**31)


def judged(folder: Path, candidate: Candidate) -> Measurement | None:
    """The measurement of this very candidate, if it lies there complete."""
    with suppress(OSError, ValueError, ParetrackError):  # whatever else lies there is not ours
        found = read_measurement(folder / MEASUREMENT, candidate)
        return found if found.state in ("COMPLETE", "FAILED") else None
    return None
