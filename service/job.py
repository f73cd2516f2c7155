"""A job: one search as a user asks for it. Plain data, checked when it is read."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

from search_spaces import ArchitectureError, ParetrackError, value_from_json

SEARCH = "search"  # the kind of such jobs, in the queue and in the API
OF_A_TRIAL = re.compile(r"[^/]+/\d{1,9}")  # a job's name and the number of its trial
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")  # of the way in a message, "Job.budget.trials"

T = TypeVar("T")


class JobError(ParetrackError):
    """A job that cannot be run as it was asked for. ``at``: a JSON pointer to the field of its
    document that is to blame, where one is."""

    def __init__(self, message: str, at: str = "") -> None:
        super().__init__(message)
        self.at = at


def pointer(*way: str | int) -> str:
    """The way to a field as a JSON pointer."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in way)


@contextmanager
def blamed(*way: str | int) -> Iterator[None]:
    """What is wrong inside is the fault of this field of a job, unless it knows a nearer one."""
    try:
        yield
    except JobError as error:
        error.at = error.at or pointer(*way)
        raise
    except ParetrackError as error:
        raise JobError(str(error), pointer(*way)) from error


@dataclass(frozen=True, kw_only=True)
class Where:
    """What candidates learn from and are judged on; as ``Data``, in words of the request."""

    dataset: str = "synthetic"
    root: str | None = None  # None: the usual place of the data set
    train: str = "train"
    judged_on: str = "val"
    train_count: int | None = None
    judged_count: int | None = None
    rules: str | None = None


@dataclass(frozen=True, kw_only=True)
class Budget:
    """When a search ends, whichever comes first. What is None has no bound."""

    trials: int = 40  # that pass the tests before training; infeasible ones do not use it up
    asked: int | None = None  # all, infeasible ones too; None: ten times ``trials``
    seconds: float | None = None  # that the job has run, its interruptions not counted
    cpu_seconds: float | None = None  # of workers: the time that a candidate took, times threads
    gpu_seconds: float | None = None
    hypervolume: float | None = None  # of the front, 0 to 1: that is good enough
    plateau: int | None = None  # candidates that have not moved the front

    @property
    def most_asked(self) -> int:
        return 10 * self.trials if self.asked is None else self.asked


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that decides a search."""

    name: str
    teacher: str  # a shipped teacher's name, or a tracker's folder
    space: Mapping[str, Any] | None = None  # None: everything that the family can cut
    accuracy: str = "average_overlap"
    costs: tuple[str, ...] = ("macs_frame",)
    limits: tuple[str, ...] = ()  # "step_ms.onnx_runtime<=8"
    sampler: str = "nsga2"  # with early stopping as good as any, and quick to ask
    early_stopping: str = "mo_asha"
    rungs: tuple[int, ...] = (0,)  # steps of recovery after which candidates are compared
    rung_accuracy: str = "one_step_iou"  # ranks best for its cost
    steps: int = 100  # of a whole recovery
    recipe: Mapping[str, Any] | str | None = None  # None: the teacher's; text: a job that tuned it
    pruning: str = "magnitude"
    recovery: str = "finetune"
    refit: int = 128
    probes: tuple[str, ...] = ()  # beside those that limits and costs ask for
    data: Where = field(default_factory=Where)
    budget: Budget = field(default_factory=Budget)
    warm_start: tuple[str, ...] = ()  # names of earlier jobs of the same space
    fronts: tuple[str, ...] = ()  # of these earlier jobs; what is on them is tried first
    remeasure: bool = False  # latencies that earlier jobs have measured, on the device as it is now
    # To try before all others: parameters, or JOB/NUMBER of a trial of an earlier job, whose
    # parameters stand there as soon as that is looked up.
    first: tuple[Mapping[str, Any] | str, ...] = ()
    opening: int = 12  # candidates of every size to begin with, evenly narrowed or nearly so
    at_once: int | None = None  # candidates on their way together; None: what the pool holds
    device: str = "cpu"
    seed: int = 0
    sampler_seed: int | None = None  # of what is tried alone, not of how it is judged; None: seed

    def __post_init__(self) -> None:
        check_name(self.name)
        _demand(bool(self.costs), "costs", "at least one cost", list(self.costs))
        for number, said in enumerate(self.first):
            fits = not isinstance(said, str) or OF_A_TRIAL.fullmatch(said) is not None
            _demand(fits, f"first[{number}]", "JOB/NUMBER of a trial, or its parameters", said)
        _demand(self.steps >= 0, "steps", "0 or more", self.steps)
        rising = all(a < b for a, b in zip(self.rungs, self.rungs[1:], strict=False))
        fits = all(0 <= rung < max(self.steps, 1) for rung in self.rungs)
        wanted = f"rising numbers of steps from 0 to less than steps ({self.steps})"
        _demand(rising and fits, "rungs", wanted, list(self.rungs))
        drawn = self.sampler_seed is None or self.sampler_seed >= 0
        _demand(drawn, "sampler_seed", "0 or more", self.sampler_seed)
        _demand(self.refit >= 0, "refit", "0 or more", self.refit)
        _demand(self.opening >= 0, "opening", "0 or more", self.opening)
        some = self.at_once is None or self.at_once >= 1
        _demand(some, "at_once", "at least 1", self.at_once)
        budget = self.budget
        _demand(budget.trials >= 1, "budget.trials", "at least 1", budget.trials)
        enough = f"at least budget.trials ({budget.trials})"
        _demand(budget.most_asked >= budget.trials, "budget.asked", enough, budget.asked)
        for name in ("seconds", "cpu_seconds", "gpu_seconds", "hypervolume", "plateau"):
            bound = getattr(budget, name)
            _demand(bound is None or bound > 0, f"budget.{name}", "over 0", bound)
        best = budget.hypervolume
        _demand(best is None or best < 1, "budget.hypervolume", "a share below 1", best)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Accuracy first, then the costs: the objectives, in order."""
        return (self.accuracy, *self.costs)


def check_name(name: str) -> None:
    """Whether a job may be called so."""
    plain = name.strip() not in ("", ".", "..") and not set(name) & set("/\\\0")
    _demand(plain, "name", "a text that can name a folder", name)


def job_from_json(data: Any) -> Job:
    """The job that a document describes; an error names the field in the way."""
    return read_as(Job, data)


def read_as(kind: type[T], data: Any, *way: str | int) -> T:
    """What a job's document, or the part of it at the end of ``way``, describes."""
    try:
        return value_from_json(kind, data)
    except ArchitectureError as error:  # what it calls anything that does not fit
        raise JobError(str(error), pointer(*way, *_way(kind, data, str(error)))) from error


def _way(kind: Any, data: Any, message: str) -> list[str | int]:
    """To what a message of value_from_json is about: it begins with the way to a field; where
    that has unknown or lacks known ones, the first of them is meant."""
    way = _steps(message.partition(": ")[0])
    for step in way:
        hints = get_type_hints(kind) if is_dataclass(kind) else {}
        kind = hints.get(str(step))
        data = data.get(step) if isinstance(data, Mapping) else None
    if not is_dataclass(kind) or not isinstance(data, Mapping):
        return way
    required = [f.name for f in fields(kind) if f.default is f.default_factory is MISSING]
    unknown = sorted(str(name) for name in set(data) - {f.name for f in fields(kind)})
    return [*way, *[*unknown, *sorted(set(required) - set(data))][:1]]


def _steps(way: str) -> list[str | int]:
    return [name or int(number) for name, number in _STEP.findall(way)]


def _demand(holds: bool, name: str, wanted: str, got: Any) -> None:
    if not holds:
        raise JobError(f"{name}: expected {wanted}, got {got!r}", pointer(*_steps(f".{name}")))
