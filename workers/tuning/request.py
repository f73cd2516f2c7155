"""What is to be tuned, the steps at which trials are compared, and who wins."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from workers.candidate import Candidate, digest
from workers.documents import document
from workers.tuning.ranges import Range
from workers.tuning.records import TrialRecord, ranked

SCHEDULERS = ("asha", "pbt")
START, CHECKS = "start", "checks"  # folders of a tuning, beside its trials
THIRD = 3  # ASHA: one in so many goes on, to so many times the steps
INTERVALS = 5  # PBT: so often a population looks at itself


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """One tuning of one candidate's recipe."""

    candidate: Candidate  # with the starting recipe
    values: tuple[Mapping[str, Any], ...]  # of each trial; the first has the starting recipe's
    ranges: Mapping[str, Range]
    scheduler: Literal["asha", "pbt"] = "asha"
    metric: str = "one_step_iou"
    folder: Path  # all workers see the same there
    identity: str = ""  # of all that decides what a trial's training leads to
    device: str = "cpu"
    threads: int = 1
    parallel: int | None = None  # trials at once; None: what fits
    seconds: float | None = None  # for the trials; the last comparison comes on top of it
    seed: int = 0

    @property
    def steps(self) -> int:
        assert self.candidate.recipe is not None
        return self.candidate.recipe.steps


def winner(records: Sequence[TrialRecord], tuning: Tuning) -> TrialRecord | None:
    """The trial that is better than the starting recipe, both having come to the end."""
    best = ranked(records, tuning.metric)
    if not best or best[0].number == 0:
        return None
    ended = all(r.step == tuning.steps and not r.failed for r in (records[0], best[0]))
    return best[0] if ended else None


def identity(
    candidate: Candidate, teacher_sha256: str, dataset_version: str, environment: Mapping[str, str]
) -> str:
    """A checksum of everything that decides training, but for a trial's own recipe."""
    told = {"candidate": digest(candidate, teacher_sha256, dataset_version), **environment}
    return hashlib.sha256(document(told).encode()).hexdigest()


def rungs(tuning: Tuning) -> list[int]:
    """The steps at which trials are compared; the last is the end."""
    steps = tuning.steps
    if tuning.scheduler == "pbt":
        pause = interval(steps)
        return [*range(pause, steps, pause), steps]
    found, step = [], first_rung(steps)
    while step * 4 <= steps * 3:  # one just before the end would only cost
        found.append(step)
        step *= THIRD
    return [*found, steps]


def first_rung(steps: int) -> int:
    """ASHA's: a ninth of the whole, so that there are three."""
    return max(1, round(steps / THIRD**2))


def interval(steps: int) -> int:
    """PBT's steps between two looks at the population."""
    return max(1, -(-steps // INTERVALS))
