"""How far latencies have drifted on the device since last night: the same trackers, timed again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from service.recorded import Figures, RecordedJob
from service.spending import MEASURED_BEFORE
from workers.metrics import METRICS


@dataclass(frozen=True, kw_only=True)
class Drift:
    """One latency of one tracker on both nights; the teacher has no trial."""

    metric: str
    trial: int | None  # tonight's
    last_trial: int | None
    last: float
    tonight: float
    change: float  # a share of last night's


def drifts(tonight: RecordedJob, last: RecordedJob) -> tuple[Drift, ...]:
    """Of the teacher and of what was on last night's front, where tonight has timed it again."""
    timed = {t.digest: t for t in tonight.trials if not t.reason.startswith(MEASURED_BEFORE)}
    found = []
    # Equal to the last digit: that is a figure which was remembered, and not one that was measured.
    for name, before, now in _latencies(last.teacher, tonight.teacher):
        if now != before:
            found.append(_drift(name, None, None, before, now))
    for trial in last.front:
        again = timed.get(trial.digest) if trial.digest else None
        if again is not None:
            for name, before, now in _latencies(trial.figures, again.figures):
                found.append(_drift(name, again.number, trial.number, before, now))
    return tuple(found)


def in_words(found: Sequence[Drift]) -> str:
    """By metric; '' where nothing was timed on both nights."""
    said = []
    for name in dict.fromkeys(one.metric for one in found):
        mine = [one for one in found if one.metric == name]
        changes = [one.change for one in mine if one.trial is not None]
        teacher = [f"the teacher {one.change:+.1%}" for one in mine if one.trial is None]
        trackers = []
        if changes:
            between = f", {min(changes):+.1%} to {max(changes):+.1%}" if len(changes) > 1 else ""
            count = f"{len(changes)} of last night's front"
            trackers = [f"{count} {median(changes):+.1%}{between}"]
        said.append(f"{name} measured again: {'; '.join([*trackers, *teacher])}")
    return "; ".join(said)


def _latencies(before: Figures, now: Figures) -> Iterator[tuple[str, float, float]]:
    for name, figure in before.items():
        known = METRICS.get(name)  # a teacher's figures have ranges beside them
        if known and known.path[0] == "latency" and name in now and figure > 0:
            yield name, figure, now[name]


def _drift(name: str, trial: int | None, last_trial: int | None, last: float, now: float) -> Drift:
    return Drift(
        metric=name,
        trial=trial,
        last_trial=last_trial,
        last=last,
        tonight=now,
        change=now / last - 1.0,
    )
