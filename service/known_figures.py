"""The figures of a job's feasible trials in memory, from which fronts over any metrics are read.

An API process keeps those of the jobs that were asked for last, 8 bytes a figure: 50,000 trials of
12 metrics take 5 MB, and ``MOST_BYTES`` bounds all jobs together (a single job may be larger, it
is then the only one). What is kept is extended by what the events since tell.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, select

from service._coordinates import minimised
from service._trial_summaries import SUMMARIES
from service.front import Points, front
from service.jobs import EVENTS, StoredJob
from workers.metrics import Metric

MOST_BYTES = 64 << 20
_AT_ONCE = 500  # rows, or numbers in a query
_MOST_FRONTS = 200  # of a job that are kept
_READ_ANEW = 20_000  # events since: then all rows are read in about the same time
_ANEW = ("taken_up", "state")  # a controller has told, or may have, what another did not
_ROWS = SUMMARIES.c
_FEASIBLE = (_ROWS.state == "COMPLETE", _ROWS.holds)

Numbers = NDArray[np.int64]


@dataclass
class _Known:
    """Of one job, as of an event."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    events: int = -1
    numbers: Numbers = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    figures: dict[str, Points] = field(default_factory=dict)  # by metric; NaN where it has none
    fronts: dict[tuple[str, ...], "_Front"] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        fronts = sum(one.rows.nbytes + one.points.nbytes for one in list(self.fronts.values()))
        return self.numbers.nbytes * (1 + len(self.figures)) + fronts

    def points(self, metrics: Sequence[Metric], rows: Numbers) -> Points:
        """Coordinates of some of the trials; NaN where one lacks a metric."""
        columns = [
            minimised(m, 1.0) * self.figures[m.name][rows]
            if m.name in self.figures
            else np.full(len(rows), np.nan)
            for m in metrics
        ]
        return np.stack(columns, axis=1)

    def add(self, pieces: Sequence["_Piece"]) -> None:
        """Further trials; those that are known already are left out."""
        pieces = [piece.without(self.numbers) for piece in pieces]
        before = _Piece(self.numbers, self.figures)
        whole = [before, *(piece for piece in pieces if piece.numbers.size)]
        names = dict.fromkeys(name for piece in whole for name in piece.figures)
        self.figures = {
            name: np.concatenate([piece.column(name) for piece in whole]) for name in names
        }
        self.numbers = np.concatenate([piece.numbers for piece in whole])


@dataclass(frozen=True, kw_only=True)
class _Front:
    """Over some metrics, of the first so many trials that are known."""

    count: int
    rows: Numbers
    points: Points
    worst: Points  # in each coordinate, of all trials that have all of them

    @staticmethod
    def empty(metrics: int) -> "_Front":
        return _Front(
            count=0,
            rows=np.empty(0, dtype=np.int64),
            points=np.empty((0, metrics)),
            worst=np.full(metrics, np.nan),
        )


@dataclass(frozen=True)
class _Piece:
    """Some trials as arrays."""

    numbers: Numbers
    figures: Mapping[str, Points]

    def column(self, name: str) -> Points:
        found = self.figures.get(name)
        return np.full(len(self.numbers), np.nan) if found is None else found

    def without(self, known: Numbers) -> "_Piece":
        new = ~np.isin(self.numbers, known)
        return _Piece(self.numbers[new], {k: column[new] for k, column in self.figures.items()})


def _piece(rows: Sequence[Row[int, str]]) -> _Piece:
    """Of rows with a number and figures as JSON; a few hundred: while a text is parsed no other
    thread gets a turn."""
    read = json.loads(f"[{','.join(figures for _, figures in rows)}]")
    names = dict.fromkeys(name for one in read for name in one)
    columns = {n: np.array([one.get(n, np.nan) for one in read], dtype=np.float64) for n in names}
    return _Piece(np.array([number for number, _ in rows], dtype=np.int64), columns)


@dataclass(frozen=True, kw_only=True)
class Best:
    """The front over some metrics, and what else of all trials one needs to show it."""

    numbers: Numbers  # of those on the front
    points: Points  # their coordinates, each better where it is smaller
    worst: tuple[float, ...]  # of all trials in each coordinate; NaN without any
    measured: tuple[str, ...]  # the metrics that some trial has


class KnownFigures:
    """Of several jobs; any thread may ask."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._jobs: OrderedDict[str, _Known] = OrderedDict()
        self._lock = threading.Lock()

    def best(self, connection: Connection, job: StoredJob, metrics: Sequence[Metric]) -> Best:
        """The front of a job's feasible trials that have all of these metrics. ``job`` was read
        in the same transaction."""
        with self._lock:
            known = self._jobs.setdefault(job.id, _Known())
            self._jobs.move_to_end(job.id)
        with known.lock:
            _catch_up(connection, job, known)
            found = _best(known, metrics)
        self._forget()
        return found

    @property
    def bytes(self) -> int:
        return sum(known.bytes for known in list(self._jobs.values()))

    def _forget(self) -> None:
        """Those that nobody has asked for the longest, until the rest fits."""
        with self._lock:
            while len(self._jobs) > 1 and self.bytes > self._most:
                self._jobs.popitem(last=False)


def _catch_up(connection: Connection, job: StoredJob, known: _Known) -> None:
    if known.events >= job.events:
        return
    ended = None if known.events < 0 else _ended_since(connection, job, known.events)
    query = select(_ROWS.number, _ROWS.figures_json).where(_ROWS.job_id == job.id, *_FEASIBLE)
    if ended is None:
        known.add([_piece(rows) for rows in connection.execute(query).partitions(_AT_ONCE)])
    else:
        some = [query.where(_ROWS.number.in_(chunk)) for chunk in _chunks(ended)]
        known.add([_piece(connection.execute(one).all()) for one in some])
    known.events = job.events


def _ended_since(connection: Connection, job: StoredJob, events: int) -> list[int] | None:
    """The numbers of the trials that ended after an event; None if that is better read anew."""
    if job.events - events > _READ_ANEW:
        return None
    query = select(EVENTS.c.kind, EVENTS.c.data_json).where(
        EVENTS.c.job_id == job.id,
        EVENTS.c.number > events,
        EVENTS.c.kind.in_(("trial_finished", *_ANEW)),
    )
    rows = connection.execute(query).all()
    if any(kind in _ANEW for kind, _ in rows):
        return None
    return [json.loads(data)["number"] for _, data in rows]


def _chunks(numbers: Sequence[int]) -> Iterable[Collection[int]]:
    return (numbers[i : i + _AT_ONCE] for i in range(0, len(numbers), _AT_ONCE))


def _best(known: _Known, metrics: Sequence[Metric]) -> Best:
    """What is not on a front of some never is on one of more: only what came since is looked at."""
    names, count = tuple(m.name for m in metrics), len(known.numbers)
    before = known.fronts.pop(names, None) or _Front.empty(len(names))
    if before.count < count:
        new = np.arange(before.count, count)
        points = known.points(metrics, new)
        there = ~np.isnan(points).any(axis=1)
        both = np.concatenate([before.points, points[there]])
        best = front(both) if len(both) else np.empty(0, dtype=np.int64)
        before = _Front(
            count=count,
            rows=np.concatenate([before.rows, new[there]])[best],
            points=both[best],
            worst=np.fmax(before.worst, np.fmax.reduce(both, axis=0, initial=np.nan)),
        )
    known.fronts[names] = before  # the last in their order
    if len(known.fronts) > _MOST_FRONTS:
        del known.fronts[next(iter(known.fronts))]
    return Best(
        numbers=known.numbers[before.rows],
        points=before.points,
        worst=tuple(before.worst.tolist()),
        measured=tuple(sorted(known.figures)),
    )
