"""How a job's candidates fared at the tests on their way: how many came to each, how many fell
there and why, and what it cost. The cheapest test is the first one, so that is a funnel.

It is read from what trials keep (state, reason, rung, seconds by the name of the gate). An ended
trial stays as it is, so an API process keeps what it has counted and adds those that ended since.
"""

import json
import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, func, select

from service import _optuna_tables as optuna_tables
from service._studies import find_study
from service._trial_summaries import SUMMARIES
from service.job import Job
from service.jobs import StoredJob
from service.spending import MEASURED_BEFORE

# Stages that are no gates of a measurement.
KNOWN = "known before"  # another job has measured the same candidate
LIMITS = "limits on accuracy"
LOST = "lost"  # with its worker, or its controllers
UNRECORDED = "unrecorded"
_FIRST = ("cost", "latency", "build", "refit", "inherited accuracy")
_LAST = ("recovery", "accuracy")
_LOST = ("lost:", "begun ")  # how a reason begins
_ENDED = ("COMPLETE", "INFEASIBLE", "STOPPED", "FAILED")
_KEPT = 20  # jobs; 50,000 trials take about 3 MB
_AT_ONCE = 500  # numbers in a query, or texts that are parsed at once
_ALL = 5_000  # so many new ones, and all rows are read in one go
_REASONS = 12  # of a stage that are told apart
_ROWS = SUMMARIES.c

Seconds = Mapping[str, float]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Fell:
    """Candidates that came no further, for the same reason."""

    state: str
    reason: str  # without what differs from trial to trial
    count: int
    example: int  # the last of these trials


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One test, or the comparison at a rung."""

    name: str
    steps: int | None  # of recovery, at a rung
    came: int
    fell: tuple[Fell, ...]  # the most frequent first
    seconds: float | None  # all together; None: it takes no time of its own
    median: float | None


@dataclass(frozen=True, kw_only=True)
class Funnel:
    """All stages in their order."""

    asked: int
    states: Mapping[str, int]
    stages: tuple[Stage, ...]


@dataclass
class _Counted:
    """Of one job, what its ended trials tell."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    events: int = -1
    numbers: Numbers = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    ways: Counter[tuple[str, ...]] = field(default_factory=Counter)  # the stages that they came to
    came: Counter[str] = field(default_factory=Counter)
    fell: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # stage, state, reason
    example: dict[tuple[str, str, str], int] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    funnel: Funnel | None = None

    def add(self, row: Row[Any], seconds: Seconds, rungs: Sequence[int]) -> None:
        """One more trial that has ended."""
        known = row.reason.startswith(MEASURED_BEFORE)
        fate = (row.state, row.holds, row.rung, known, row.reason.startswith(_LOST))
        came, fell = _way(*fate, tuple(seconds), tuple(rungs))
        self.ways[came] += 1
        if fell is not None:
            key = (fell, row.state, _kind(row.state, row.reason))
            self.fell[key] += 1
            self.example[key] = max(row.number, self.example.get(key, 0))
        if not known:  # it was spent then, not now
            for name, value in seconds.items():
                self.seconds.setdefault(name, []).append(value)


class KnownGates:
    """Of the jobs that were asked for last; any thread may ask."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, _Counted] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, connection: Connection, job: StoredJob) -> Funnel:
        """``job`` was read in the same transaction."""
        with self._lock:
            counted = self._jobs.setdefault(job.id, _Counted())
            self._jobs.move_to_end(job.id)
            if len(self._jobs) > _KEPT:
                self._jobs.popitem(last=False)
        with counted.lock:
            if counted.funnel is None or counted.events < job.events:
                rungs = tuple(job.spec.get("rungs") or Job.rungs)
                _catch_up(connection, job.id, counted, rungs)
                counted.funnel = _funnel(connection, job.id, counted, rungs)
                counted.events = job.events
            return counted.funnel


def _catch_up(connection: Connection, job_id: str, counted: _Counted, rungs: Sequence[int]) -> None:
    query = select(_ROWS.number).where(_ROWS.job_id == job_id, _ROWS.state.in_(_ENDED))
    ended = np.fromiter(connection.execute(query).scalars(), dtype=np.int64)
    new = np.setdiff1d(ended, counted.numbers)
    study = find_study(connection, job_id)
    parts = [None] if len(new) > _ALL else _parts(new)  # None: whatever there is
    for some in parts:
        rows = {row.number: row for row in _rows(connection, job_id, some)}
        if some is None and counted.numbers.size:
            rows = {number: rows[number] for number in new.tolist()}
        for number, seconds in _seconds(connection, study, some):
            if number in rows:
                counted.add(rows.pop(number), seconds, rungs)
        for row in rows.values():
            counted.add(row, {}, rungs)
    counted.numbers = np.union1d(ended, counted.numbers)
    counted.came = Counter()
    for way, count in counted.ways.items():
        counted.came.update(dict.fromkeys(way, count))


def _parts(numbers: Numbers) -> Iterator[list[int]]:
    """A few hundred at a time."""
    for i in range(0, len(numbers), _AT_ONCE):
        yield numbers[i : i + _AT_ONCE].tolist()


def _rows(connection: Connection, job_id: str, numbers: Sequence[int] | None) -> Sequence[Any]:
    columns = (_ROWS.number, _ROWS.state, _ROWS.holds, _ROWS.rung, _ROWS.reason)
    query = select(*columns).where(_ROWS.job_id == job_id)
    which = _ROWS.state.in_(_ENDED) if numbers is None else _ROWS.number.in_(numbers)
    return connection.execute(query.where(which)).all()


def _seconds(
    connection: Connection, study: int | None, numbers: Sequence[int] | None
) -> Iterator[tuple[int, Seconds]]:
    """With the number of a trial, what each gate took."""
    trials, attrs = optuna_tables.TRIALS, optuna_tables.USER_ATTRS
    query = (
        select(trials.c.number, attrs.c.value_json)
        .join_from(trials, attrs, attrs.c.trial_id == trials.c.trial_id)
        .where(trials.c.study_id == study, attrs.c.key == "seconds")
    )
    if numbers is not None:
        query = query.where(trials.c.number.in_(numbers))
    for rows in connection.execute(query).partitions(_AT_ONCE):
        told = json.loads(f"[{','.join(text for _, text in rows)}]")
        yield from zip((number for number, _ in rows), told, strict=True)


# --- one trial -----------------------------------------------------------------------------------


@lru_cache(10_000)  # most of 50,000 trials have gone one of a few ways
def _way(
    state: str,
    holds: bool,
    rung: int | None,
    known: bool,
    lost: bool,
    took: tuple[str, ...],
    rungs: tuple[int, ...],
) -> tuple[tuple[str, ...], str | None]:
    """The stages that a trial came to, and the one at which it fell, if it did."""
    ended_well = state == "COMPLETE"
    if known:
        return (KNOWN,), None if ended_well and holds else KNOWN
    gates = tuple(sorted(took, key=_place))
    reached = 0 if rung is None else min(rung + 1, len(rungs))
    came = (*gates, *(rung_name(i) for i in range(reached)))
    if ended_well:
        return ((*came, LIMITS), LIMITS) if not holds else (came, None)
    if state == "STOPPED" and reached:
        return came, rung_name(reached - 1)
    if lost:
        return (*came, LOST), LOST
    return (came, gates[-1]) if gates else ((*came, UNRECORDED), UNRECORDED)


def rung_name(rung: int) -> str:
    return f"rung {rung}"


def _place(gate: str) -> int:
    """Where a gate of a measurement comes."""
    name = gate.split(",")[0]
    order = (*_FIRST, *_LAST)
    return order.index(name) if name in order else len(order)


_WHY = (  # what early stopping says, without places and numbers of trials
    ("dominated by", "dominated by others"),
    ("not dominated, but", "not dominated, but others add more to the front"),
    ("less accurate than the median", "less accurate than the median of those that cost no more"),
)
_NUMBER = re.compile(r"\d[\d.,]*(?:e[+-]?\d+)?(?=\W|[kMGTm]?\b|$)")


@lru_cache(10_000)
def _kind(state: str, reason: str) -> str:
    """A reason without what differs from trial to trial."""
    said = reason.removeprefix(f"{MEASURED_BEFORE}; ")
    if state == "INFEASIBLE" and "limit " in said:
        return f"limit {said.rpartition('limit ')[2]}"
    said = re.sub(r"^stopped at rung \d+: ", "", said)
    found = next((kind for begins, kind in _WHY if said.startswith(begins)), None)
    return found or _NUMBER.sub("…", said)[:200]


# --- all together --------------------------------------------------------------------------------


def _funnel(connection: Connection, job_id: str, counted: _Counted, rungs: Sequence[int]) -> Funnel:
    states = select(_ROWS.state, func.count()).where(_ROWS.job_id == job_id).group_by(_ROWS.state)
    counts: dict[str, int] = {row[0]: row[1] for row in connection.execute(states)}
    return Funnel(
        asked=sum(counts.values()),
        states=counts,
        stages=tuple(_stage(name, counted, rungs) for name in _order(counted, rungs)),
    )


def _order(counted: _Counted, rungs: Sequence[int]) -> list[str]:
    """The stages to which any candidate came. A rung without recovery comes before that."""
    begun = [rung_name(i) for i, steps in enumerate(rungs) if steps == 0]
    later = [rung_name(i) for i, steps in enumerate(rungs) if steps > 0]
    ends = (KNOWN, LIMITS, LOST, UNRECORDED, *begun, *later)
    gates = sorted((name for name in counted.came if name not in ends), key=_place)
    first = [name for name in gates if _place(name) < len(_FIRST)]
    recovery = [name for name in gates if name == "recovery"]
    last = [name for name in gates if name not in (*first, *recovery)]
    found = [KNOWN, *first, *begun, *recovery, *later, *last, LIMITS, LOST, UNRECORDED]
    return [name for name in found if counted.came[name]]


def _stage(name: str, counted: _Counted, rungs: Sequence[int]) -> Stage:
    fell = [
        Fell(state=key[1], reason=key[2], count=count, example=counted.example[key])
        for key, count in counted.fell.most_common()
        if key[0] == name
    ]
    named = [i for i in range(len(rungs)) if rung_name(i) == name]
    took = counted.seconds.get(name)
    return Stage(
        name=name,
        steps=rungs[named[0]] if named else None,
        came=counted.came[name],
        fell=tuple(_few(fell)),
        seconds=None if took is None else float(np.sum(took)),
        median=None if took is None else float(np.median(took)),
    )


def _few(fell: Sequence[Fell]) -> list[Fell]:
    """The most frequent, and by state how many others there are."""
    shown, rest = list(fell[:_REASONS]), fell[_REASONS:]
    for state in dict.fromkeys(one.state for one in rest):
        of_it = [one for one in rest if one.state == state]
        count, example = sum(one.count for one in of_it), max(one.example for one in of_it)
        shown.append(Fell(state=state, reason="other reasons", count=count, example=example))
    return shown
