"""Where trials were timed, told with their rows: part of the journal's batches.

A batch that is written twice must not count twice. So what is new is counted, and where a timing is
no more what it was, all of its job on that device are counted again.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from optuna.trial import FrozenTrial
from sqlalchemy import ColumnElement, Connection, Table, and_, delete, select, update

from service._device_figures import TIMED, Place, Told, place_of, told_from_text, versions_of
from service._upserts import put
from service.spending import MEASURED_BEFORE
from service.tables import JobDeviceRow, JobRow, TimingRow

TIMINGS = cast(Table, TimingRow.__table__)
JOB_DEVICES = cast(Table, JobDeviceRow.__table__)
_JOBS = cast(Table, JobRow.__table__)
_KEY = ("job_id", "number", "probe")

Row = dict[str, Any]


def put_timings(
    connection: Connection, job_id: str, frozen: Sequence[FrozenTrial], rows: Iterable[Row]
) -> None:
    """Say where these trials were timed, if they were; ``rows`` are their summaries."""
    ended = {row["number"]: row["ended_at"] for row in rows}
    mine: list[tuple[Row, Place, Row, dict[str, str]]] = []
    for trial in frozen:
        for row, one, environment in _timings(job_id, trial):
            place = place_of(one["device"], environment)
            row |= {"device_id": place.id, "at": ended[trial.number]}
            mine.append((row, place, one, versions_of(one, environment)))
    if not mine:
        return
    timings = [row for row, *_ in mine]
    known = _known(connection, job_id, {row["number"] for row in timings})
    _compare(connection, job_id, timings)
    put(connection, TIMINGS, timings, *_KEY)
    grown: dict[str, _Grown] = {}
    for row, place, one, versions in mine:
        if (device := grown.get(row["device_id"])) is None:
            device = grown[place.id] = _Grown(connection, job_id, place)
        device.saw(row, one["device"], versions)
        if (row["number"], row["probe"]) not in known:
            device.count(row)
    for device in grown.values():
        device.write(connection)
    for device_id in _changed(timings, known):
        _recount(connection, job_id, device_id)


def _timings(job_id: str, trial: FrozenTrial) -> Iterable[tuple[Row, Row, Mapping[str, str]]]:
    """Of one trial; none of one whose latency another job has measured."""
    attrs = trial.user_attrs
    over = trial.state.is_finished() and trial.datetime_complete is not None
    if not over or (attrs.get("reason") or "").startswith(MEASURED_BEFORE):
        return
    for probe, one in (attrs.get(TIMED) or {}).items():
        row = {
            "job_id": job_id,
            "number": trial.number,
            "probe": probe,
            "digest": attrs.get("digest") or "",
            **{name: one[name] for name in ("threads", "median_ms", "p10_ms", "p90_ms", "spread")},
        }
        yield row, one, attrs.get("environment") or {}


def _known(
    connection: Connection, job_id: str, numbers: Iterable[int]
) -> dict[tuple[int, str], Row]:
    """What was told of these trials before."""
    query = select(TIMINGS).where(TIMINGS.c.job_id == job_id, TIMINGS.c.number.in_(sorted(numbers)))
    return {(r["number"], r["probe"]): dict(r) for r in connection.execute(query).mappings()}


def _compare(connection: Connection, job_id: str, rows: Sequence[Row]) -> None:
    """With the last time that a search of the same owner timed the same candidate there. Those of
    others are left out: who sees this one may not see them."""
    columns = TIMINGS.c
    digests = {row["digest"] for row in rows} - {""}
    query = select(TIMINGS).where(columns.digest.in_(digests), columns.job_id != job_id)
    found = connection.execute(query.order_by(columns.at)).mappings().all()
    mine = _of_same_owner(connection, job_id, {row["job_id"] for row in found})
    earlier: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for old in found:
        if old["job_id"] in mine:
            earlier[_same(old)].append(dict(old))
    for row in rows:
        there = [old for old in earlier[_same(row)] if old["at"] < row["at"]]
        last = there[-1] if there and there[-1]["median_ms"] > 0 else None
        row["before_job"] = last and last["job_id"]
        row["before_number"] = last and last["number"]
        row["change"] = last and row["median_ms"] / last["median_ms"] - 1.0


def _of_same_owner(connection: Connection, job_id: str, others: set[str]) -> set[str]:
    """Those jobs that everybody may see who may see this one."""
    if not others:
        return set()
    this = select(_JOBS.c.owner, _JOBS.c.project).where(_JOBS.c.id == job_id)
    owner, project = connection.execute(this).one()
    query = select(_JOBS.c.id, _JOBS.c.project).where(
        _JOBS.c.id.in_(others), _JOBS.c.owner == owner
    )
    return {row.id for row in connection.execute(query) if row.project == project}


def _same(row: Mapping[Any, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("digest", "device_id", "probe", "threads"))


def _changed(rows: Iterable[Row], known: Mapping[tuple[int, str], Row]) -> set[str]:
    """The devices of which a timing is no more what was counted."""
    found = set()
    for row in rows:
        before = known.get((row["number"], row["probe"]))
        if before is not None and before != row:
            found |= {before["device_id"], row["device_id"]}
    return found


class _Grown:
    """What the timings of a job on one device come to, and how that grows."""

    def __init__(self, connection: Connection, job_id: str, place: Place) -> None:
        self._key = {"job_id": job_id, "device_id": place.id}
        self._place, self._numbers = place, set[int]()
        here = _here(JOB_DEVICES, job_id, place.id)
        before = connection.execute(select(JOB_DEVICES).where(here)).one_or_none()
        self.told = Told() if before is None else told_from_text(before.told_json)
        self._trials = 0 if before is None else before.trials
        self._times = [] if before is None else [before.first_at, before.last_at]

    def saw(self, row: Row, name: str, versions: Mapping[str, str]) -> None:
        """What may be said again."""
        self.told.saw(row["probe"], name, row["threads"], versions)
        self._times.append(row["at"])

    def count(self, row: Row) -> None:
        self.told.count(row)
        self._numbers.add(row["number"])

    def write(self, connection: Connection) -> None:
        row = {
            **self._key,
            **vars(self._place),
            "trials": self._trials + len(self._numbers),
            "first_at": min(self._times),
            "last_at": max(self._times),
            "told_json": self.told.to_text(),
        }
        put(connection, JOB_DEVICES, [row], "job_id", "device_id")


def _recount(connection: Connection, job_id: str, device_id: str) -> None:
    """From the rows of its trials; a device that none of them was timed on any more is left out."""
    here = _here(JOB_DEVICES, job_id, device_id)
    stored = connection.execute(select(JOB_DEVICES.c.told_json).where(here)).scalar()
    query = select(TIMINGS).where(_here(TIMINGS, job_id, device_id))
    rows = [dict(row) for row in connection.execute(query).mappings()]
    if stored is None or not rows:
        connection.execute(delete(JOB_DEVICES).where(here))
        return
    told = told_from_text(stored)
    told.forget_counts()
    for row in rows:
        told.count(row)
    values = {
        "trials": len({row["number"] for row in rows}),
        "first_at": min(row["at"] for row in rows),
        "last_at": max(row["at"] for row in rows),
        "told_json": told.to_text(),
    }
    connection.execute(update(JOB_DEVICES).where(here).values(**values))


def _here(table: Table, job_id: str, device_id: str) -> ColumnElement[bool]:
    return and_(table.c.job_id == job_id, table.c.device_id == device_id)
