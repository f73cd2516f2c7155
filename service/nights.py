"""Tonight's search against last night's and against the best there was: what a schedule reports.

Hypervolumes of different nights are only comparable from one reference. It is the worst of the
nights' references in each metric, as ``paretrack front --against`` has it, so that no front is cut
off; they are shares of what would be perfect at no cost. The figures may thus differ a little
from those on the jobs' own pages.

The fronts of other nights are read as tonight's job asks: over its metrics, and without the trials
that break its hard limits, so that a limit that was tightened is no loss.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from search_spaces import ParetrackError
from service.front import Side, compared, hypervolume
from service.recorded import RecordedJob, RecordedTrial, over

TOLERANCE = 0.01  # share of last night's hypervolume that may be noise of the measurements
_ROUNDING = 1e-9
_NAMED = 10  # so many trials are named in a sentence, the others counted


class NightsError(ParetrackError):
    """Nights that cannot be compared."""


@dataclass(frozen=True, kw_only=True)
class Night:
    """One job's front, beside the others."""

    job: str
    points: int
    hypervolume: float  # a share, from the reference of the comparison


@dataclass(frozen=True, kw_only=True)
class FrontPoint:
    """A trial on a front."""

    trial: int
    figures: dict[str, float]  # by the name of the metric


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One night beside those before it; ``dataclasses.asdict`` makes JSON of it."""

    tonight: Night
    last: Night | None
    best: Night | None
    reference: dict[str, float]  # where the hypervolumes are counted from
    gained: tuple[FrontPoint, ...]  # of tonight: nothing of last night's is as good
    lost: tuple[FrontPoint, ...]  # of last night: nothing of tonight's is as good
    short_by: float | None  # what tonight's needs to be nowhere behind, of the fronts' range
    change: float | None  # of the hypervolume since last night, as a share of last night's
    change_from_best: float | None
    tolerance: float
    regressed: bool  # change is below -tolerance
    words: str


def compare(
    tonight: RecordedJob,
    last: RecordedJob | None,
    best: RecordedJob | None,
    *,
    tolerance: float = TOLERANCE,
) -> Comparison:
    """How tonight went. It regressed if last night's hypervolume, less the tolerance, is not
    reached; a first night cannot regress. Points are compared exactly, without the tolerance.

    A night that was not measured for one of tonight's metrics is refused (ParetrackError).
    """
    if not 0 <= tolerance < 1:
        raise NightsError(
            f"the tolerance is a share of last night's hypervolume: 0 or more and below 1, as in "
            f"0.01; got {tolerance:g}"
        )
    last, best = (_as_asked(tonight, job) if job else None for job in (last, best))
    jobs = [job for job in (tonight, last, best) if job is not None]
    reference = tuple(max(values) for values in zip(*(job.reference for job in jobs), strict=True))
    now = _night(tonight, reference)
    then, top = (_night(job, reference) if job else None for job in (last, best))
    ours, theirs = _sides(tonight, last, reference)
    change, from_best = _change(now, then), _change(now, top)
    said = Comparison(
        tonight=now,
        last=then,
        best=top,
        reference=_figures(tonight, reference),
        gained=_points(tonight, ours),
        lost=_points(last, theirs),
        short_by=max(ours.epsilon, 0.0) if ours and math.isfinite(ours.epsilon) else None,
        change=change,
        change_from_best=from_best,
        tolerance=tolerance,
        regressed=change is not None and change < -max(tolerance, _ROUNDING),
        words="",
    )
    return replace(said, words=_words(said))


def _as_asked(tonight: RecordedJob, other: RecordedJob) -> RecordedJob:
    """Another night over tonight's metrics, without the trials that break tonight's limits."""
    names = [m.name for m in tonight.metrics]
    if [m.name for m in other.metrics] != names:
        other = over(other, names)
    return replace(other, trials=tuple(t for t in other.trials if _holds(tonight, t.figures)))


def _holds(job: RecordedJob, figures: Mapping[str, float]) -> bool:
    hard = [limit for limit in job.limits if limit.hard and limit.metric in figures]
    return all(limit.violation(figures[limit.metric]) <= 0 for limit in hard)


def _coordinates(job: RecordedJob) -> list[tuple[float, ...]]:
    return [job.point(trial.figures) for trial in job.front]


def _night(job: RecordedJob, reference: Sequence[float]) -> Night:
    points = _coordinates(job)
    share = hypervolume(points, reference) / job.everything(reference)
    return Night(job=job.name, points=len(points), hypervolume=share)


def _sides(
    tonight: RecordedJob, last: RecordedJob | None, reference: Sequence[float]
) -> tuple[Side, Side] | tuple[None, None]:
    if last is None:
        return None, None
    return compared(_coordinates(tonight), _coordinates(last), reference)


def _points(job: RecordedJob | None, side: Side | None) -> tuple[FrontPoint, ...]:
    """Those that the other night has nothing as good for; none if there is no other night."""
    if job is None or side is None:
        return ()
    return tuple(_point(job, job.front[i]) for i in side.alone)


def _point(job: RecordedJob, trial: RecordedTrial) -> FrontPoint:
    figures = {m.name: float(trial.figures[m.name]) for m in job.metrics}
    return FrontPoint(trial=trial.number, figures=figures)


def _figures(job: RecordedJob, reference: Sequence[float]) -> dict[str, float]:
    """As figures, not as coordinates to be minimised; zero has no sign for a reader."""
    return {
        m.name: float(-v if m.better == "higher" else v) + 0.0
        for m, v in zip(job.metrics, reference, strict=True)
    }


def _change(now: Night, then: Night | None) -> float | None:
    """None without another night, and where that had found nothing to be a share of."""
    if then is None or then.hypervolume <= 0:
        return None
    return now.hypervolume / then.hypervolume - 1.0


# --- in words ---------------------------------------------------------------------------------


def _words(found: Comparison) -> str:
    """The figures as sentences."""
    against = [f"hypervolume {found.tonight.hypervolume:.4f}"]
    for night, change, called in (
        (found.last, found.change, "last night"),
        (found.best, found.change_from_best, "the best night"),
    ):
        if night is not None:
            by = "" if change is None else f" ({change:+.1%})"
            against.append(f"{called} {night.hypervolume:.4f}{by}")
    sentences = [", ".join(against)]
    if found.last is None:
        sentences.append("there is no night before to compare it with")
    else:
        sentences.append(_count(found.gained, "gained"))
        sentences.append(_count(found.lost, "lost"))
    if found.regressed:
        fall = f"{found.tolerance * 100:.3g}% of last night's hypervolume"
        sentences.insert(0, f"regressed by more than {fall}")
    return "; ".join(sentences)


def _count(points: Sequence[FrontPoint], what: str) -> str:
    if not points:
        return f"no point {what}"
    named = ", ".join(str(point.trial) for point in points[:_NAMED])
    more = f" and {len(points) - _NAMED} more" if len(points) > _NAMED else ""
    of = " of last night" if what == "lost" else ""
    plural = "s" if len(points) > 1 else ""
    return f"{len(points)} point{plural} {what} (trial{plural} {named}{more}{of})"
