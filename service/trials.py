"""The durable record of a job: an ordinary Optuna study, written in one transaction per event.

``optuna.load_study`` and optuna-dashboard open it like any other. Only the holder of the job's
lease writes: each transaction checks the token of the lease first. An event that was not
acknowledged, because the process or the database died, is there wholly or not at all.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    json_to_distribution,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import Connection, Engine, bindparam, insert, select, update

from search_spaces._errors import ParetrackError
from service import _optuna_tables as tables
from service._frozen_trials import load_trials
from service._kept import (
    ReachedRung,
    find_measurement,
    forget_rungs,
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
from service._upserts import put
from service.database import reading, writing
from service.leases import Lease, fence

# Made once: SQLAlchemy compiles a statement once, but to build it anew costs as much as to run it.
_LOCK_STUDY = (
    select(tables.STUDIES.c.study_id)
    .where(tables.STUDIES.c.study_id == bindparam("study"))
    .with_for_update()
)
_LAST_NUMBER = (
    select(tables.TRIALS.c.number)
    .where(
        # Back by primary key to our last one, over a few trials of others at most; the sum keeps
        # the planner from the index on studies, with which the time grows with the trials.
        tables.TRIALS.c.study_id + 0 == bindparam("study"),
        tables.TRIALS.c.trial_id >= bindparam("last"),
    )
    .order_by(tables.TRIALS.c.trial_id.desc())
    .limit(1)
)
_FIND_TRIAL = select(tables.TRIALS.c.trial_id, tables.TRIALS.c.state).where(
    tables.TRIALS.c.study_id == bindparam("study"), tables.TRIALS.c.number == bindparam("n")
)
_FIND_STATE = select(tables.TRIALS.c.trial_id, tables.TRIALS.c.state).where(
    tables.TRIALS.c.trial_id == bindparam("id")
)
_END_TRIAL = (
    update(tables.TRIALS)
    .where(tables.TRIALS.c.trial_id == bindparam("id"), tables.TRIALS.c.state == TrialState.RUNNING)
    .values(state=bindparam("ended"), datetime_complete=bindparam("end"))
)
_FIRST_DISTRIBUTION = (
    select(tables.PARAMS.c.distribution_json)
    .join_from(tables.PARAMS, tables.TRIALS, tables.PARAMS.c.trial_id == tables.TRIALS.c.trial_id)
    .where(
        tables.TRIALS.c.study_id == bindparam("study"),
        tables.PARAMS.c.param_name == bindparam("name"),
    )
    .limit(1)
)


__all__ = ["ReachedRung", "Record", "TrialFinished", "read_rungs", "read_trials"]


class TrialFinished(ParetrackError):  # noqa: N818 - says what happened
    """A trial ends once: what comes later is refused and changes nothing."""


class Record:
    """What happened in one job. Each method that writes is one transaction of the lease's holder;
    LeaseLost and TrialFinished leave everything as it was."""

    def __init__(
        self, engine: Engine, lease: Lease, name: str, study_id: int, objectives: int
    ) -> None:
        self._engine = engine
        self._lease = lease
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
    ) -> "Record":
        """Create the study, or go on with it if it has the same objectives; ``attrs`` are set."""
        wanted = [
            d if isinstance(d, StudyDirection) else StudyDirection[d.upper()] for d in directions
        ]
        if len(metric_names) != len(wanted):
            raise ValueError(f"{len(wanted)} directions but metric names {list(metric_names)}")
        with writing(engine) as connection:
            fence(connection, lease)
            study_id = find_study(connection, name)
            if study_id is None:
                study_id = create_study(connection, name, wanted, metric_names)
            else:
                check_objectives(connection, name, study_id, wanted, metric_names)
            put_attrs(connection, tables.STUDY_USER_ATTRS, "study_id", study_id, attrs)
        return cls(engine, lease, name, study_id, len(wanted))

    def trials(self) -> list[FrozenTrial]:
        """All trials by number, as Optuna would read them."""
        with reading(self._engine) as connection:
            return load_trials(connection, self._study_id)

    def rungs(self) -> list[ReachedRung]:
        """What was decided at rungs, in the order of the decisions."""
        with reading(self._engine) as connection:
            return load_rungs(connection, self._study_id)

    def study_attrs(self) -> dict[str, Any]:
        with reading(self._engine) as connection:
            return read_attrs(connection, tables.STUDY_USER_ATTRS, self._study_id)

    def set_study_attrs(self, attrs: Mapping[str, Any]) -> None:
        with self._writing() as connection:
            put_attrs(connection, tables.STUDY_USER_ATTRS, "study_id", self._study_id, attrs)

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
        with self._writing() as connection:
            self._check_distributions(connection, distributions)
            number = self._next_number(connection)
            trial_id = self._insert_trial(connection, number)
            rows = tables.param_rows(trial_id, params, distributions)
            if rows:
                connection.execute(insert(tables.PARAMS), rows)
            put_attrs(connection, tables.USER_ATTRS, "trial_id", trial_id, user_attrs)
            put_attrs(connection, tables.SYSTEM_ATTRS, "trial_id", trial_id, system_attrs)
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
        with self._writing() as connection:
            trial_id = self._running(connection, number)
            put_rung(connection, trial_id, reached)
            for value in list(values.values())[:1]:
                step = tables.intermediate_row(trial_id, steps, value)
                put(connection, tables.INTERMEDIATE, [step], "trial_id", "step")

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
        named = {f"{tables.CONSTRAINT}{name}": float(value) for name, value in constraints.items()}
        with self._writing() as connection:
            trial_id = self._ids.get(number) or self._running(connection, number)
            end = {"id": trial_id, "ended": state, "end": tables.utc_now()}
            if connection.execute(_END_TRIAL, end).rowcount != 1:
                self._running(connection, number)  # says why it cannot end
            if values is not None:
                rows = tables.value_rows(trial_id, values)
                put(connection, tables.VALUES, rows, "trial_id", "objective")
            put_attrs(connection, tables.SYSTEM_ATTRS, "trial_id", trial_id, named)
            put_attrs(connection, tables.USER_ATTRS, "trial_id", trial_id, user_attrs)
        self._ids.pop(number, None)

    def remember(
        self, digest: str, steps: int, tracked: bool, measurement: Mapping[str, Any]
    ) -> None:
        """Keep a measurement for every job; the first one of a candidate stays."""
        with self._writing() as connection:
            put_measurement(connection, self._name, digest, steps, tracked, measurement)

    def remembered(self, digest: str, steps: int | None = None) -> dict[str, Any] | None:
        """What any job measured of a candidate: after exactly ``steps``, before it was tracked; or,
        without ``steps``, the most that is known: tracked rather than not, then the most steps."""
        with reading(self._engine) as connection:
            return find_measurement(connection, digest, steps)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with writing(self._engine) as connection:
            fence(connection, self._lease)
            yield connection

    def _next_number(self, connection: Connection) -> int:
        """One more than the last; locked as Optuna locks, should somebody add trials to the study
        with Optuna itself."""
        if connection.execute(_LOCK_STUDY, {"study": self._study_id}).first() is None:
            raise no_job(self._engine, connection, self._name)
        known = {"study": self._study_id, "last": self._last_id}
        last = connection.execute(_LAST_NUMBER, known).scalar()
        return 0 if last is None else last + 1

    def _insert_trial(self, connection: Connection, number: int) -> int:
        inserted = connection.execute(
            insert(tables.TRIALS),
            {
                "number": number,
                "study_id": self._study_id,
                "state": TrialState.RUNNING,
                "datetime_start": tables.utc_now(),
            },
        )
        (trial_id,) = inserted.inserted_primary_key or (None,)
        forget_rungs(connection, cast(int, trial_id))
        return cast(int, trial_id)

    def _running(self, connection: Connection, number: int) -> int:
        """The id of a trial that runs."""
        if number in self._ids:
            found = connection.execute(_FIND_STATE, {"id": self._ids[number]}).one_or_none()
        else:
            found = connection.execute(
                _FIND_TRIAL, {"study": self._study_id, "n": number}
            ).one_or_none()
        if found is None:
            raise ParetrackError(f"job {self._name!r} has no trial {number}")
        trial_id, state = found
        if state != TrialState.RUNNING:
            raise TrialFinished(
                f"trial {number} of job {self._name!r} does not run: it is {state.name}; "
                "nothing was changed"
            )
        return cast(int, trial_id)

    def _check_distributions(
        self, connection: Connection, distributions: Mapping[str, BaseDistribution]
    ) -> None:
        """What Optuna refuses as well: a parameter that changes its kind or its choices."""
        for name, distribution in distributions.items():
            before = self._distributions.get(name)
            if before is None:
                stored = connection.execute(
                    _FIRST_DISTRIBUTION, {"study": self._study_id, "name": name}
                ).scalar()
                before = json_to_distribution(stored) if stored is not None else distribution
            if before is distribution:
                continue
            try:
                check_distribution_compatibility(before, distribution)
            except ValueError as error:
                raise ParetrackError(
                    f"parameter {name!r} of job {self._name!r} was {before} in its first trial and "
                    f"is {distribution} now; give a search over another space another name"
                ) from error


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
