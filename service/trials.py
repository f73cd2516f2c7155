"""The durable record of a job: an ordinary Optuna study, written in one transaction per event.

``optuna.load_study`` and optuna-dashboard open it like any other. Only the holder of the job's
lease writes: each transaction checks the token of the lease first. An event that was not
acknowledged, because the process died, is there wholly or not at all. While the database is away
an event is said again, and what an earlier attempt did after all is recognised: it counts once.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import Connection, Engine

from search_spaces._errors import ParetrackError
from service import _optuna_tables as tables
from service import _postgres_events
from service._frozen_trials import load_trials
from service._kept import (
    ReachedRung,
    find_measurement,
    load_rungs,
    put_measurement,
    put_rung,
)
from service._studies import (
    check_objectives,
    create_study,
    find_study,
    known_study,
    no_job,
    put_attrs,
    read_attrs,
)
from service._trial_rows import (
    Beside,
    TrialRow,
    end_trial,
    find_begun,
    find_trial,
    first_distribution,
    insert_trial,
    next_number,
    put_beside,
    rows_of_begin,
    rows_of_end,
)
from service._upserts import put
from service.database import reading, writing
from service.leases import Lease, fence
from service.outages import Patience

T = TypeVar("T")

__all__ = ["ReachedRung", "Record", "TrialFinished", "read_rungs", "read_trials"]


class TrialFinished(ParetrackError):  # noqa: N818 - says what happened
    """A trial ends once: what comes later is refused and changes nothing."""


class Record:
    """What happened in one job. Each method that writes is one transaction of the lease's holder;
    LeaseLost and TrialFinished leave everything as it was."""

    def __init__(
        self,
        engine: Engine,
        lease: Lease,
        name: str,
        study_id: int,
        objectives: int,
        patience: Patience,
    ) -> None:
        self._engine = engine
        self._lease = lease
        self._patience = patience
        self._name = name
        self._study_id = study_id
        self._objectives = objectives
        self._ids: dict[int, int] = {}  # of the trials that this process began, by number
        self._last_id = 0  # of the last trial that this process began
        self._distributions: dict[str, BaseDistribution] = {}

    @classmethod
    def open(
        cls,
        engine: Engine,
        name: str,
        *,
        directions: Sequence[str | StudyDirection],
        metric_names: Sequence[str],
        attrs: Mapping[str, Any],
        lease: Lease,
        patience: Patience = Patience(),  # noqa: B008 - frozen
    ) -> "Record":
        """Create the study, or go on with it if it has the same objectives; ``attrs`` are set."""
        wanted = [
            d if isinstance(d, StudyDirection) else StudyDirection[d.upper()] for d in directions
        ]
        if len(metric_names) != len(wanted):
            raise ValueError(f"{len(wanted)} directions but metric names {list(metric_names)}")

        def make(connection: Connection) -> int:
            study_id = find_study(connection, name)
            if study_id is None:
                study_id = create_study(connection, name, wanted, metric_names)
            else:
                check_objectives(connection, name, study_id, wanted, metric_names)
            put_attrs(connection, tables.STUDY_USER_ATTRS, "study_id", study_id, attrs)
            return study_id

        study_id = _written(engine, lease, patience, make)
        return cls(engine, lease, name, study_id, len(wanted), patience)

    def trials(self) -> list[FrozenTrial]:
        """All trials by number, as Optuna would read them."""
        return self._read(lambda connection: load_trials(connection, self._study_id))

    def rungs(self) -> list[ReachedRung]:
        """What was decided at rungs, in the order of the decisions."""
        return self._read(lambda connection: load_rungs(connection, self._study_id))

    def study_attrs(self) -> dict[str, Any]:
        table = tables.STUDY_USER_ATTRS
        return self._read(lambda connection: read_attrs(connection, table, self._study_id))

    def set_study_attrs(self, attrs: Mapping[str, Any]) -> None:
        table, study = tables.STUDY_USER_ATTRS, self._study_id
        self._write(lambda connection: put_attrs(connection, table, "study_id", study, attrs))

    def begin(
        self,
        params: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        user_attrs: Mapping[str, Any],
        system_attrs: Mapping[str, Any],
    ) -> int:
        """A new trial that runs; its number."""
        # Optuna's own checks: the names agree, the values lie in their distributions.
        create_trial(
            state=TrialState.RUNNING, params=dict(params), distributions=dict(distributions)
        )
        start = tables.utc_now()
        tried: list[bool] = []  # whether it was said before, and may have been kept

        def rows(trial_id: int) -> Beside:
            return rows_of_begin(trial_id, params, distributions, user_attrs, system_attrs)

        def at_once(connection: Connection) -> tuple[int, int] | None:
            if not self._last_id or not self._distributions.keys() >= distributions.keys():
                return None  # the first trial of this process finds out
            self._check_distributions(connection, distributions)
            tried.append(True)
            known = self._study_id, self._last_id, start
            return _postgres_events.begin(connection, self._lease, *known, rows(0))

        def write(connection: Connection) -> tuple[int, int]:
            if tried:
                begun = find_begun(connection, self._study_id, self._last_id, start)
                if begun is not None:
                    return begun
            self._check_distributions(connection, distributions)
            number = next_number(connection, self._study_id, self._last_id)
            if number is None:
                raise no_job(self._engine, connection, self._name)
            tried.append(True)
            trial_id = insert_trial(connection, self._study_id, number, start)
            put_beside(connection, rows(trial_id))
            return number, trial_id

        number, trial_id = self._write(write, at_once)
        self._ids[number] = trial_id
        self._last_id = trial_id
        self._distributions.update(distributions)
        return number

    def rung(
        self,
        number: int,
        rung: int,
        steps: int,
        values: Mapping[str, float],
        verdict: str,
        note: str,
        measurement: Mapping[str, Any] | None = None,
    ) -> None:
        """What a running trial reached, and the verdict; said again, the last verdict counts, and
        a measurement that was given stays. Optuna sees the first of the values as the
        intermediate value at ``steps``."""
        reached = ReachedRung(
            number=number,
            rung=rung,
            steps=steps,
            values=values,
            verdict=verdict,
            note=note,
            measurement=measurement,
        )

        def write(connection: Connection) -> None:
            trial_id = self._running(connection, number)
            put_rung(connection, trial_id, reached)
            for value in list(values.values())[:1]:
                step = tables.intermediate_row(trial_id, steps, value)
                put(connection, tables.INTERMEDIATE, [step], "trial_id", "step")

        self._write(write)

    def finish(
        self,
        number: int,
        state: TrialState,
        values: Sequence[float] | None,
        constraints: Mapping[str, float],
        user_attrs: Mapping[str, Any],
    ) -> None:
        """The end of a running trial, once and for all; a constraint holds where it is <= 0."""
        _check_end(state, values, constraints, self._objectives)
        end = tables.utc_now()

        def at_once(connection: Connection) -> bool | None:
            trial_id = self._ids.get(number)
            if trial_id is None:
                return None
            rows = rows_of_end(trial_id, values, constraints, user_attrs)
            return _postgres_events.finish(connection, self._lease, trial_id, state, end, rows)

        def write(connection: Connection) -> bool:
            trial_id = self._ids.get(number) or self._found(connection, number).trial_id
            if not end_trial(connection, trial_id, state, end):
                if self._found(connection, number) == TrialRow(trial_id, state, end):
                    return True  # by an attempt whose answer was lost
                self._running(connection, number)  # says why it cannot end
            put_beside(connection, rows_of_end(trial_id, values, constraints, user_attrs))
            return True

        self._write(write, at_once)
        self._ids.pop(number, None)

    def remember(
        self, digest: str, steps: int, tracked: bool, measurement: Mapping[str, Any]
    ) -> None:
        """Keep a measurement for every job; the first one of a candidate stays."""
        self._write(
            lambda connection: put_measurement(
                connection, self._name, digest, steps, tracked, measurement
            )
        )

    def remembered(self, digest: str, steps: int | None = None) -> dict[str, Any] | None:
        """What any job measured of a candidate: after exactly ``steps``, before it was tracked; or,
        without ``steps``, the most that is known: tracked rather than not, then the most steps."""
        return self._read(lambda connection: find_measurement(connection, digest, steps))

    def _write(
        self,
        event: Callable[[Connection], T],
        at_once: Callable[[Connection], T | None] | None = None,
    ) -> T:
        return _written(self._engine, self._lease, self._patience, event, at_once)

    def _read(self, query: Callable[[Connection], T]) -> T:
        def once() -> T:
            with reading(self._engine) as connection:
                return query(connection)

        return self._patience.outlast(once)

    def _found(self, connection: Connection, number: int) -> TrialRow:
        found = find_trial(connection, self._study_id, number, self._ids.get(number))
        if found is None:
            raise ParetrackError(f"job {self._name!r} has no trial {number}")
        return found

    def _running(self, connection: Connection, number: int) -> int:
        """The id of a trial that runs."""
        found = self._found(connection, number)
        if found.state != TrialState.RUNNING:
            raise TrialFinished(
                f"trial {number} of job {self._name!r} does not run: it is {found.state.name}; "
                "nothing was changed"
            )
        return found.trial_id

    def _check_distributions(
        self, connection: Connection, distributions: Mapping[str, BaseDistribution]
    ) -> None:
        """What Optuna refuses as well: a parameter that changes its kind or its choices."""
        for name, distribution in distributions.items():
            before = self._distributions.get(name)
            if before is None:
                before = first_distribution(connection, self._study_id, name) or distribution
            if before is distribution:
                continue
            try:
                check_distribution_compatibility(before, distribution)
            except ValueError as error:
                raise ParetrackError(
                    f"parameter {name!r} of job {self._name!r} was {before} in its first trial and "
                    f"is {distribution} now; give a search over another space another name"
                ) from error


def _written(
    engine: Engine,
    lease: Lease,
    patience: Patience,
    event: Callable[[Connection], T],
    at_once: Callable[[Connection], T | None] | None = None,
) -> T:
    """One transaction of the lease's holder. Who says it again waits at the fence for what is
    left of the attempt before, and then sees what became of it. ``at_once``: the same on PostgreSQL
    in one message, or nothing at all."""

    def once() -> T:
        with writing(engine) as connection:
            done = at_once(connection) if at_once and engine.dialect.name == "postgresql" else None
            if done:
                return done
            fence(connection, lease)
            return event(connection)

    return patience.outlast(once)


def read_trials(engine: Engine, name: str) -> list[FrozenTrial]:
    """All trials of a job by number; nothing is written, so no lease is needed."""
    with reading(engine) as connection:
        return load_trials(connection, known_study(engine, connection, name))


def read_rungs(engine: Engine, name: str) -> list[ReachedRung]:
    """What was decided at the rungs of a job, in the order of the decisions."""
    with reading(engine) as connection:
        return load_rungs(connection, known_study(engine, connection, name))


def _check_end(
    state: TrialState,
    values: Sequence[float] | None,
    constraints: Mapping[str, float],
    objectives: int,
) -> None:
    if not state.is_finished():
        raise ValueError(f"a trial cannot end as {state.name}")
    if (values is None) if state == TrialState.COMPLETE else (values and state == TrialState.FAIL):
        raise ValueError(f"a trial that is {state.name} cannot have the values {values}")
    if values is not None and len(values) != objectives:
        raise ValueError(f"{len(values)} values for {objectives} objectives")
    if any(math.isnan(number) for number in (*(values or ()), *constraints.values())):
        raise ValueError(f"not a number among the values {values} or constraints {constraints}")
