"""What the record says of a job, as values to be shown: read only, while the job runs or later.

Neither a lease nor the teacher's weights are needed, and no torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.trial import FrozenTrial
from sqlalchemy import Connection, Engine

from search_spaces import ParetrackError
from service import _optuna_tables as tables
from service._frozen_trials import load_trials
from service._kept import find_measurement
from service._recorded_values import Figures, Ranges, RecordedJob, RecordedTrial, over
from service._studies import known_study, read_attrs
from service.database import reading
from service.spending import HYPERVOLUME
from workers.metrics import METRICS, Metric, limit_from_text, metric, value

__all__ = [
    "Figures", "Ranges", "RecordedJob", "RecordedTrial", "over", "ranges_of", "read_job",
    "recorded_trial",
]  # fmt: skip


def read_job(engine: Engine, name: str) -> RecordedJob:
    """What is recorded of a job now."""
    with reading(engine) as connection:
        study = known_study(engine, connection, name)
        attrs = read_attrs(connection, tables.STUDY_USER_ATTRS, study)
        if "job" not in attrs:
            raise ParetrackError(
                f"{name!r} has nothing to show: either its teacher is still being measured, or it "
                "is a study that is not from paretrack search"
            )
        job = _job(name, attrs, load_trials(connection, study))
        ranges = {trial.number: ranges_of(connection, trial) for trial in job.front}
    trials = tuple(replace(t, ranges=ranges.get(t.number, t.ranges)) for t in job.trials)
    return replace(job, trials=trials)


def _job(name: str, attrs: Mapping[str, Any], trials: Sequence[FrozenTrial]) -> RecordedJob:
    asked = attrs["job"]
    objectives = tuple(metric(each) for each in (asked["accuracy"], *asked["costs"]))
    reference = attrs.get("reference")
    return RecordedJob(
        name=name,
        objectives=objectives,
        metrics=objectives,
        limits=tuple(limit_from_text(text) for text in asked["limits"]),
        teacher=attrs["teacher"],
        trials=tuple(recorded_trial(trial, objectives) for trial in trials),
        ended="" if any(not t.state.is_finished() for t in trials) else attrs.get("ended", ""),
        stored_reference=None if reference is None else tuple(reference),
    )


def recorded_trial(trial: FrozenTrial, objectives: Sequence[Metric]) -> RecordedTrial:
    attrs = trial.user_attrs
    figures = {name: attrs[name] for name in METRICS if isinstance(attrs.get(name), int | float)}
    if trial.state.name == "COMPLETE":
        figures |= {m.name: v for m, v in zip(objectives, trial.values, strict=True)}
    return RecordedTrial(
        number=trial.number,
        state=attrs.get("state", trial.state.name),
        holds=all(violation <= 0 for violation in trial.constraints.values()),
        figures=figures,
        params=trial.params,
        ended=trial.datetime_complete,
        reason=attrs.get("reason") or "",
        flag=attrs.get("flag") or "",
        tracker=attrs.get("tracker") or "",
        digest=attrs.get("digest") or "",
        hypervolume=attrs.get(HYPERVOLUME),
        ranges={
            name: (low, high)
            for name in figures
            for low, high in [attrs.get(f"{name}_interval") or (None, None)]
            if low is not None and high is not None
        },
    )


_ENDS = {"value": ("low", "high"), "median_ms": ("p10_ms", "p90_ms")}


def ranges_of(connection: Connection, trial: RecordedTrial) -> dict[str, tuple[float, float]]:
    """With what the measurement says, where it is the one that the trial's figures are of."""
    found = dict(trial.ranges)
    measurement = find_measurement(connection, trial.digest, None) or {}
    for name, figure in trial.figures.items():
        asked = metric(name)
        if asked.path[-1] not in _ENDS or value(measurement, asked) != figure:
            continue
        ends = [replace(asked, path=(*asked.path[:-1], end)) for end in _ENDS[asked.path[-1]]]
        low, high = (value(measurement, end) for end in ends)
        if low is not None and high is not None:
            found[name] = (low, high)
    return found
