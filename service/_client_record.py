"""A job of a service as the record of a local one: so both are shown, drawn and compared alike."""

from collections.abc import Iterable, Sequence

from search_spaces._errors import ParetrackError
from service._client_values import FrontRead, Job, Trial
from service._coordinates import minimised
from service._recorded_values import RecordedJob, RecordedTrial, over
from workers.metrics import Limit, metric


def recorded(
    job: Job, front: FrontRead, trials: Iterable[Trial], axes: Sequence[str] = ()
) -> RecordedJob:
    """``front`` is the one over the job's own metrics; ``axes``: others, accuracy first."""
    teacher = job.summary.get("teacher")
    if not teacher:
        raise ParetrackError(
            f"{job.id!r} has nothing to show: its teacher is still being measured ({job.state})"
        )
    metrics = tuple(metric(axis.name) for axis in front.metrics)
    found = RecordedJob(
        name=job.id,
        objectives=metrics,
        metrics=metrics,
        limits=tuple(Limit(**vars(limit)) for limit in front.limits),
        teacher=teacher,
        trials=tuple(sorted(map(_trial, trials), key=lambda trial: trial.number)),
        ended=job.reason if job.has_ended else "",
        stored_reference=tuple(minimised(m, front.reference[m.name]) for m in metrics),
    )
    return over(found, axes) if axes else found


def _trial(trial: Trial) -> RecordedTrial:
    return RecordedTrial(
        number=trial.number,
        state=trial.state,
        holds=trial.feasible,
        figures=trial.figures,
        params=trial.params,
        ended=trial.ended_at,
        reason=trial.reason,
        flag=trial.flag,
        digest=trial.digest,
        hypervolume=trial.hypervolume,
        ranges=trial.ranges,
    )
