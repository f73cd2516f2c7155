"""A tuning as a job: its document, and the request that a controller makes of it."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from service.job import JobError, check_name, read_as
from service.recipe_tuning import Tunable, TuneRequest

KIND = "tune_recipe"  # of such jobs, in the queue and in the API
MOST_TRIALS = 200


@dataclass(frozen=True, kw_only=True)
class RecipeJob(Tunable):
    """Everything that decides a tuning, as a user asks a service for it."""

    name: str
    of: str | None = None  # JOB/NUMBER: the cut of that trial, recovered as it was there

    def __post_init__(self) -> None:
        check_name(self.name)
        if not 2 <= self.trials <= MOST_TRIALS:
            raise JobError(f"trials: expected 2 to {MOST_TRIALS}, got {self.trials}", "/trials")


def recipe_job_from_json(data: Any) -> RecipeJob:
    """The tuning that a document describes; an error names the field in the way."""
    return read_as(RecipeJob, data)


def request_of(job: RecipeJob, folder: Path) -> TuneRequest:
    """The same, with its files in a folder."""
    words = {field.name: getattr(job, field.name) for field in fields(Tunable)}
    return TuneRequest(out=str(folder / "recipe.json"), **words)
