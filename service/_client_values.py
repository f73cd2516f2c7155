"""What a client reads, as values: a field here is a field of the API's answers, by its name.

What a newer service says beside them is left out; what an older one lacks is an error.
"""

import csv
import types
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args, get_origin, get_type_hints

from service._client_errors import NOT_PARETRACK, ClientError
from service.job import Job as Asked

if TYPE_CHECKING:
    from service.recorded import RecordedJob

Figures = Mapping[str, float]
Ranges = Mapping[str, tuple[float, float]]
T = TypeVar("T")

ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")
HELD = "HELD"  # nothing happens to it until somebody resumes it


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as it was when it was read."""

    id: str
    kind: str
    name: str
    owner: str
    project: str | None
    tracker: str
    labels: tuple[str, ...]
    priority: int
    state: str
    reason: str
    spec: Mapping[str, Any]
    summary: Mapping[str, Any] = field(repr=False)
    version: int
    events: int
    attempts: int
    created_at: datetime
    queued_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    archived_at: datetime | None
    schedule_id: str | None

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    @property
    def metrics(self) -> tuple[str, ...]:
        """What it drives up, then what it drives down."""
        costs = self.spec.get("costs", Asked.costs)
        return (str(self.spec.get("accuracy", Asked.accuracy)), *map(str, costs))


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A trial as a list has it."""

    number: int
    state: str  # RUNNING, COMPLETE, INFEASIBLE, STOPPED or FAILED
    feasible: bool
    on_front: bool
    figures: Figures
    ranges: Ranges
    params: Mapping[str, Any]
    hypervolume: float | None  # of the front when it had ended
    moved: bool
    began_at: datetime
    ended_at: datetime | None
    rung: int | None
    reason: str
    flag: str
    digest: str
    has_tracker: bool


@dataclass(frozen=True, kw_only=True)
class WholeTrial(Trial):
    """All there is of a trial."""

    architecture: Mapping[str, Any] | None = field(repr=False)
    measurement: Mapping[str, Any] | None = field(repr=False)
    decisions: tuple[Mapping[str, Any], ...]
    files: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a job."""

    number: int
    at: datetime
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """A file of a trial's tracker."""

    name: str
    bytes: int
    sha256: str
    media_type: str


@dataclass(frozen=True, kw_only=True)
class Artefacts:
    """The files of a trial."""

    items: tuple[Artefact, ...]
    exported: bool  # whether the ONNX files are among them
    note: str  # what is not there, and why; or empty


@dataclass(frozen=True, kw_only=True)
class TuningTrial:
    """A recipe that a tuning has tried; number 0 is the starting recipe."""

    number: int
    state: str
    step: int
    figure: float | None  # by the tuning's metric
    seconds: float
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Starting recipe and winner with one seed."""

    seed: int
    start: float
    winner: float
    better: float


@dataclass(frozen=True, kw_only=True)
class TunedRecipe:
    """What the tuning of a recipe has come to; until it has ended there is no recipe."""

    job: str
    name: str
    state: str
    reason: str
    teacher: str
    metric: str | None
    steps: int | None
    trials: tuple[TuningTrial, ...]  # the starting recipe and the best ten
    recipe: Mapping[str, Any] | None
    holds: bool | None  # whether it is better than the starting recipe
    winner: int | None
    gains: tuple[Gain, ...]
    ended_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What a front is over."""

    name: str
    label: str
    unit: str
    better: str  # higher or lower


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A limit of a job."""

    metric: str
    at_most: float | None
    at_least: float | None
    hard: bool


@dataclass(frozen=True, kw_only=True)
class FrontPoint:
    """A trial that no other dominates."""

    number: int
    figures: Figures
    ranges: Ranges
    flag: str
    has_tracker: bool


@dataclass(frozen=True, kw_only=True)
class FrontRead:
    """A front as the service says it; ``knee`` is the number of the trial after which more cost
    stops paying off."""

    job: str
    name: str
    metrics: tuple[Axis, ...]
    points: tuple[FrontPoint, ...]
    knee: int | None
    teacher: Figures
    limits: tuple[Bound, ...]
    reference: Figures
    hypervolume: float


@dataclass(frozen=True, kw_only=True)
class Front(FrontRead):
    """The trials of a job that no other dominates, by cost; over its own metrics, or others."""

    record: "Callable[[], RecordedJob]" = field(repr=False, compare=False)

    def plot(self, path: str | Path, against: "Front | None" = None) -> Path:
        """Draw it, with every trial that was judged: a .png, .svg or .pdf file."""
        from service.front_picture import check_ending, draw_front

        path = Path(path)
        check_ending(path)
        draw_front(self.record(), path, None if against is None else against.record())
        return path

    def to_csv(self, path: str | Path) -> Path:
        """The teacher and the points, a row each, figures in their own units."""
        path = Path(path)
        names = dict.fromkeys(
            [*(m.name for m in self.metrics), *(name for p in self.points for name in p.figures)]
        )
        ends = dict.fromkeys(f"{n}.{e}" for p in self.points for n in p.ranges for e in _ENDS)
        with path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.DictWriter(
                file, ["trial", *names, *ends, "knee", "flag"], restval="", extrasaction="ignore"
            )
            rows.writeheader()
            rows.writerow({"trial": "teacher", **self.teacher})
            rows.writerows(self._row(point) for point in self.points)
        return path

    def _row(self, point: FrontPoint) -> dict[str, Any]:
        ends = {
            f"{name}.{end}": value
            for name, pair in point.ranges.items()
            for end, value in zip(_ENDS, pair, strict=True)
        }
        said = {"knee": int(point.number == self.knee), "flag": point.flag}
        return {"trial": point.number, **point.figures, **ends, **said}


_ENDS = ("low", "high")


@dataclass(frozen=True, kw_only=True)
class Step:
    """A trial that moved the front."""

    number: int
    at: datetime
    hypervolume: float


@dataclass(frozen=True, kw_only=True)
class Growth:
    """The hypervolume as a step function of trials and of time."""

    steps: tuple[Step, ...]
    last: float
    trials: int
    began_at: datetime | None
    until: datetime


@dataclass(frozen=True, kw_only=True)
class Importances:
    """How much each lever explains of each metric: a share."""

    shares: Mapping[str, Mapping[str, float]]
    looked_at: int
    of: int


@dataclass(frozen=True, kw_only=True)
class CostRange:
    """What a cost can be over a space."""

    metric: str
    unit: str
    smallest: float
    teacher: float


@dataclass(frozen=True, kw_only=True)
class LimitSeen:
    """Whether a limit can be held; None: only a measurement can tell."""

    limit: str
    satisfiable: bool | None
    note: str


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a job would meet."""

    family: str
    teacher: Figures
    size: float
    layers_free: int
    widths_free: int
    costs: tuple[CostRange, ...]
    limits: tuple[LimitSeen, ...]
    seconds: float | None
    trials: int  # that are trained at most
    asked: int  # of all kinds at most
    first: int  # of them, those that the job names


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some of a list, and where it goes on."""

    items: tuple[Any, ...]
    next: str | None


# --- from JSON ----------------------------------------------------------------------------------


def read(kind: type[T], document: Any) -> T:
    """A value of one of these kinds from what the service has answered."""
    try:
        return kind(**{name: as_(document[name]) for name, as_ in _readers(cast(Hashable, kind))})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ClientError(
            NOT_PARETRACK,
            f"the service answers with a {kind.__name__.lower()} that this client cannot read "
            f"({type(error).__name__}: {error}): are both of the same version?",
        ) from error


@cache
def _readers(kind: Hashable) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
    known = cast(type[Any], kind)
    hints = get_type_hints(known)
    return tuple((f.name, _reader(hints[f.name])) for f in fields(known))


def _reader(hint: Any) -> Callable[[Any], Any]:
    """How a field of this type is read: times and tuples are other things in JSON."""
    inner = get_args(hint)
    if hint is datetime:
        return datetime.fromisoformat
    if get_origin(hint) is types.UnionType and types.NoneType in inner:
        one = _reader(next(each for each in inner if each is not types.NoneType))
        return lambda value: None if value is None else one(value)
    if get_origin(hint) is tuple and inner[-1] is Ellipsis:
        item = _reader(inner[0])
        return lambda values: tuple(item(value) for value in values)
    if isinstance(hint, type) and hasattr(hint, "__dataclass_fields__"):
        return lambda value: read(hint, value)
    return lambda value: value
