"""How much each lever of a search has to do with each objective: variance explained, by numpy.

Of a lever's values (of a lever with many of them, about equally frequent ranges; "not there" is a
value of its own) it is asked how far the means of the objective lie apart: their share of all the
variance, less what as many random groups would explain (epsilon squared, Kelley 1935). 0: it tells
nothing; 1: it decides alone. What levers do only together is not in it, so shares need not add up
to 1; nor do they tell cause from habit, where the sampler has learnt to change levers together.

At most ``MOST`` trials are looked at, evenly spread over all that ended with figures.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from service._trial_summaries import SUMMARIES
from service.front import Points
from service.jobs import StoredJob
from service.trial_reading import VALUES
from workers.metrics import Metric

MOST = 2_000  # trials
LEAST = 10  # of fewer nothing can be said
_GROUPS = 8  # ranges of a lever with more values than that
_AT_ONCE = 500  # numbers in a query
_KEPT = 100  # jobs whose answer is remembered
_ROWS = SUMMARIES.c

Groups = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Importances:
    """By the name of the metric, by the lever: the share of variance, the highest first."""

    shares: Mapping[str, Mapping[str, float]]
    looked_at: int  # trials
    of: int  # that are complete


class KnownImportances:
    """Those of the jobs that were asked for last, each as of an event."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[int, Importances]] = OrderedDict()
        self._lock = threading.Lock()

    def of(
        self, connection: Connection, job: StoredJob, objectives: Sequence[Metric]
    ) -> Importances:
        """``job`` was read in the same transaction."""
        with self._lock:
            events, found = self._known.get(job.id, (-1, None))
        if found is None or events < job.events:
            found = importances(connection, job.id, objectives)
            with self._lock:
                self._known[job.id] = (job.events, found)
                self._known.move_to_end(job.id)
                if len(self._known) > _KEPT:
                    self._known.popitem(last=False)
        return found


def importances(connection: Connection, job_id: str, objectives: Sequence[Metric]) -> Importances:
    """From a job's complete trials; no shares where they are too few."""
    query = select(_ROWS.number).where(_ROWS.job_id == job_id, _ROWS.state == "COMPLETE")
    numbers = sorted(connection.execute(query).scalars().all())  # SQLite would take far longer
    chosen = [numbers[i] for i in _spread(len(numbers))]
    objectives = objectives[:VALUES]
    values = [_ROWS[f"value{i}"] for i in range(len(objectives))]
    rows = [
        row
        for i in range(0, len(chosen), _AT_ONCE)
        for row in connection.execute(
            select(_ROWS.params_json, *values).where(
                _ROWS.job_id == job_id, _ROWS.number.in_(chosen[i : i + _AT_ONCE])
            )
        )
    ]
    shares: dict[str, dict[str, float]] = {m.name: {} for m in objectives}
    if len(rows) >= LEAST:
        levers = groups([json.loads(row.params_json) for row in rows])
        for place, one in enumerate(objectives):
            column = np.array([row[1 + place] for row in rows], dtype=np.float64)
            shares[one.name] = explained(levers, column)
    return Importances(shares=shares, looked_at=len(rows), of=len(numbers))


def _spread(count: int) -> list[int]:
    """Places in a list of so many, evenly: all, or ``MOST``."""
    places = np.linspace(0, count - 1, min(count, MOST)).round().astype(np.int64)
    return [int(place) for place in places]


def groups(params: Sequence[Mapping[str, Any]]) -> dict[str, Groups]:
    """By parameter: which of its values, or of their ranges, it has in each trial."""
    levers = dict.fromkeys(name for one in params for name in one)
    return {name: _groups([one.get(name) for one in params]) for name in levers}


def explained(levers: Mapping[str, Groups], values: Points) -> dict[str, float]:
    """The share of the variance of ``values`` that each parameter explains alone."""
    found = {name: _share(grouped, values) for name, grouped in levers.items()}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _groups(values: Sequence[Any]) -> Groups:
    kinds = {type(value) for value in values if value is not None}
    distinct = dict.fromkeys((type(value), value) for value in values)  # True is not 1
    if not kinds <= {int, float} or len(distinct) <= _GROUPS:
        place = {value: i for i, value in enumerate(distinct)}
        return np.array([place[type(value), value] for value in values], dtype=np.int64)
    numbers = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    there = numbers[~np.isnan(numbers)]
    ends = np.unique(np.quantile(there, np.arange(1, _GROUPS) / _GROUPS))
    placed = np.searchsorted(ends, numbers, side="left")
    return np.where(np.isnan(numbers), len(ends) + 1, placed).astype(np.int64)


def _share(grouped: Groups, values: Points) -> float:
    """Epsilon squared; nothing below 0."""
    centred = values - values.mean()
    whole = float(centred @ centred)
    sizes = np.bincount(grouped)
    sums = np.bincount(grouped, weights=centred)
    used = sizes > 0
    left = len(values) - int(used.sum())
    if whole <= 0 or left <= 0:
        return 0.0
    between = float((sums[used] ** 2 / sizes[used]).sum())
    within = (whole - between) / left
    return min(1.0, max(0.0, (between - (int(used.sum()) - 1) * within) / whole))
