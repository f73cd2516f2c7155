"""The front of a job as a picture: accuracy against each cost, and how the front has grown."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces import ParetrackError
from service._recorded_values import Figures, RecordedJob, RecordedTrial
from workers.metrics import Metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# What makes the file the same every time, by its ending.
_METADATA: Mapping[str, Mapping[str, Any]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}
# Told apart by shape as well as by colour.
_BLUE, _RED, _OTHER = "#0b5fa5", "#b3261e", "#c2570c"
_LOOKS: Mapping[str, Mapping[str, Any]] = {
    "front": {"marker": "o", "color": _BLUE, "s": 42, "zorder": 4},
    "dominated": {"marker": "o", "facecolors": "none", "edgecolors": "#7a7a7a", "s": 26},
    "breaks a limit": {"marker": "x", "color": _RED, "s": 26},
    "stopped early": {"marker": "|", "color": "#9a7d0a", "s": 60},
}


def check_ending(path: Path) -> None:
    """That a picture of this name can be drawn; asked before the work is done."""
    if path.suffix.lower() not in _METADATA:
        raise ParetrackError(
            f"--plot {path}: a picture ends in {', '.join(_METADATA)}, not in {path.suffix!r}"
        )


def draw_front(job: RecordedJob, path: Path, against: RecordedJob | None = None) -> None:
    """Every trial that was judged, the front joined, the teacher and the limits; one field for
    each cost. ``against``: another job, whose front is drawn into the same fields."""
    import matplotlib
    from matplotlib.figure import Figure

    check_ending(path)
    accuracy, *costs = job.metrics
    figure = Figure(figsize=(1.5 + 6.5 * len(costs), 6.2), layout="constrained")
    grid = figure.add_gridspec(2, len(costs), height_ratios=(5, 1))
    for column, cost in enumerate(costs):
        axes = figure.add_subplot(grid[0, column])
        _draw_field(axes, job, accuracy, cost)
        if against is not None:
            _draw_other(axes, against, accuracy, cost)
        _fit(axes, cost, [job, *([] if against is None else [against])])
        axes.legend(fontsize=8, loc="best")
        axes.set_ylabel(_axis(accuracy))
    _draw_growth(figure.add_subplot(grid[1, :]), job, against)
    figure.suptitle(job.name if against is None else f"{job.name}, against {against.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with matplotlib.rc_context({"svg.hashsalt": "paretrack"}):
            figure.savefig(path, dpi=120, metadata=dict(_METADATA[path.suffix.lower()]))
    except OSError as error:
        raise ParetrackError(f"{path} cannot be written: {error}") from error


def _draw_field(axes: "Axes", job: RecordedJob, y: Metric, x: Metric) -> None:
    groups = _groups(job)
    for name, trials in groups.items():
        known = [t for t in trials if x.name in t.figures]
        if not known:
            continue
        places = [t.figures[x.name] / _scale(x) for t in known]
        # Those without an accuracy stand on the axis: what they cost is known.
        on_axis = name == "stopped early"
        heights = [0.0 if on_axis else t.figures[y.name] / _scale(y) for t in known]
        where = axes.get_xaxis_transform() if on_axis else axes.transData
        look = _LOOKS[name]
        axes.scatter(
            places, heights, label=f"{name} ({len(known)})", transform=where, clip_on=False, **look
        )
    _join(axes, job.front, y, x, color=_BLUE, lw=1, alone=len(job.metrics) == 2)
    _draw_ranges(axes, job.front, y, x)
    _draw_knee(axes, job, y, x)
    whole = job.teacher
    if x.name in whole and y.name in whole:
        axes.scatter(
            *_place(whole, y, x), marker="*", s=130, color="black", label="teacher", zorder=5
        )
    _draw_limits(axes, job, y, x)
    axes.set_xlabel(_axis(x))
    axes.grid(alpha=0.25)


def _groups(job: RecordedJob) -> dict[str, list[RecordedTrial]]:
    found: dict[str, list[RecordedTrial]] = {name: [] for name in _LOOKS}
    front = {trial.number for trial in job.front}
    for trial in job.trials:
        complete = all(m.name in trial.figures for m in job.metrics)
        if trial.number in front:
            found["front"].append(trial)
        elif trial.state == "COMPLETE" and complete:
            found["dominated" if trial.holds else "breaks a limit"].append(trial)
        elif trial.state == "STOPPED":
            found["stopped early"].append(trial)
    return found


def _join(
    axes: "Axes", front: list[RecordedTrial], y: Metric, x: Metric, alone: bool, **look: Any
) -> None:
    """The staircase of what can be had for a cost; more costs than one make no line."""
    if not alone:
        return
    steps = sorted(_place(trial.figures, y, x) for trial in front)
    style = "steps-post" if x.better == "lower" else "steps-pre"
    axes.plot([p[0] for p in steps], [p[1] for p in steps], drawstyle=style, **look)


def _draw_ranges(axes: "Axes", front: list[RecordedTrial], y: Metric, x: Metric) -> None:
    for trial in front:
        place, height = _place(trial.figures, y, x)
        look: dict[str, Any] = {"color": _BLUE, "lw": 0.8, "alpha": 0.5}
        if x.name in trial.ranges:
            axes.plot([end / _scale(x) for end in trial.ranges[x.name]], [height] * 2, **look)
        if y.name in trial.ranges:
            axes.plot([place] * 2, [end / _scale(y) for end in trial.ranges[y.name]], **look)


def _draw_knee(axes: "Axes", job: RecordedJob, y: Metric, x: Metric) -> None:
    for trial in job.front:
        if trial.number == job.knee:
            place, height = _place(trial.figures, y, x)
            label = f"knee: trial {trial.number}"
            axes.scatter(
                place, height, s=150, facecolors="none", edgecolors=_BLUE, zorder=4, label=label
            )


def _draw_other(axes: "Axes", other: RecordedJob, y: Metric, x: Metric) -> None:
    places = [_place(trial.figures, y, x) for trial in other.front]
    label = f"front of {other.name} ({len(places)})"
    if places:
        x_of, y_of = zip(*places, strict=True)
        axes.scatter(x_of, y_of, marker="s", s=26, color=_OTHER, label=label)
    _join(axes, other.front, y, x, color=_OTHER, lw=1, ls="--", alone=len(other.metrics) == 2)


def _draw_growth(axes: "Axes", job: RecordedJob, against: RecordedJob | None) -> None:
    """The hypervolume after each trial."""
    # Another reference is another measure: the two could not be compared.
    others = [against] if against is not None and against.reference == job.reference else []
    for each, color in zip((job, *others), (_BLUE, _OTHER), strict=False):
        grown = [volume for _, volume in each.hypervolumes]
        axes.step(range(1, len(grown) + 1), grown, where="post", color=color, lw=1)
    axes.set_ylim(bottom=0.0, top=1.08 * max(axes.get_ylim()))
    axes.set_xlabel("trials that ended")
    axes.set_ylabel("hyper-\nvolume", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)


def _fit(axes: "Axes", x: Metric, jobs: Sequence[RecordedJob]) -> None:
    """The marks on the axis do not widen it by themselves."""
    judged = ("COMPLETE", "STOPPED")
    tried = [t.figures for job in jobs for t in job.trials if t.state in judged]
    teachers = [job.teacher for job in jobs]
    costs = [each[x.name] / _scale(x) for each in (*tried, *teachers) if x.name in each]
    if costs:
        margin = 0.03 * (max(costs) - min(costs)) or 1.0
        axes.set_xlim(min(costs) - margin, max(costs) + margin)


def _draw_limits(axes: "Axes", job: RecordedJob, y: Metric, x: Metric) -> None:
    look: dict[str, Any] = {"color": _RED, "ls": "--", "lw": 1}
    for limit in job.limits:
        bound = limit.at_least if limit.at_most is None else limit.at_most
        if bound is None:
            continue
        if limit.metric == x.name:
            axes.axvline(bound / _scale(x), label=f"limit {limit}", **look)
        elif limit.metric == y.name:
            axes.axhline(bound / _scale(y), label=f"limit {limit}", **look)


def _place(figures: Figures, y: Metric, x: Metric) -> tuple[float, float]:
    return figures[x.name] / _scale(x), figures[y.name] / _scale(y)


def _axis(metric: Metric) -> str:
    if metric.unit in ("share", "loss"):
        return metric.label
    return f"{metric.label} [{'million ' if _scale(metric) > 1 else ''}{metric.unit}]"


def _scale(metric: Metric) -> float:
    """Counts are drawn in millions."""
    return 1.0 if metric.unit in ("ms", "share", "loss") else 1e6
