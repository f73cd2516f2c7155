"""The front of a job as a picture: accuracy against one cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial

from service.plan import Plan

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Told apart by shape as well as by colour.
_LOOKS: Mapping[str, Mapping[str, Any]] = {
    "front": {"marker": "o", "color": "#0b5fa5", "s": 42, "zorder": 4},
    "dominated": {"marker": "o", "facecolors": "none", "edgecolors": "#7a7a7a", "s": 26},
    "breaks a limit": {"marker": "x", "color": "#b3261e", "s": 26},
    "stopped early": {"marker": "|", "color": "#9a7d0a", "s": 60},
}


def draw_front(
    plan: Plan,
    teacher: Mapping[str, Any],
    trials: Sequence[FrozenTrial],
    front: Sequence[int],
    path: Path,
) -> None:
    """Every trial that was judged, the front joined, the teacher and the limits on the cost."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    accuracy, cost = plan.objectives[0], plan.objectives[1]
    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    groups = _groups(plan, trials, front)
    scale, unit = _scale(cost.unit)
    for name, points in groups.items():
        if points:
            x, y = [p[0] / scale for p in points], [p[1] for p in points]
            # Those without an accuracy stand on the axis: what they cost is known.
            where = axes.get_xaxis_transform() if name == "stopped early" else axes.transData
            label = f"{name} ({len(points)})"
            axes.scatter(x, y, label=label, transform=where, clip_on=False, **_LOOKS[name])
    steps = [(x / scale, y) for x, y in sorted(groups["front"])]
    axes.step([p[0] for p in steps], [p[1] for p in steps], where="post", color="#0b5fa5", lw=1)
    whole = plan.values(teacher)
    axes.scatter(
        [whole[cost.name] / scale], [whole[accuracy.name]], marker="*", s=130, color="black",
        label="teacher",
    )  # fmt: skip
    # The marks on the axis do not widen it by themselves.
    costs = [whole[cost.name] / scale, *(x / scale for each in groups.values() for x, _ in each)]
    margin = 0.03 * (max(costs) - min(costs)) or 1.0
    axes.set_xlim(min(costs) - margin, max(costs) + margin)
    _draw_limits(plan, axes, scale)
    axes.set_xlabel(f"{cost.label} [{unit}]")
    axes.set_ylabel(accuracy.label)
    axes.set_title(plan.job.name)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, loc="best")
    figure.savefig(path, dpi=120, metadata={"Software": None})
    pyplot.close(figure)


def _groups(
    plan: Plan, trials: Sequence[FrozenTrial], front: Sequence[int]
) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in _LOOKS}
    cost = plan.objectives[1].name
    for trial in trials:
        known = trial.user_attrs
        if trial.number in front:
            found["front"].append((trial.values[1], trial.values[0]))
        elif known.get("state") == "COMPLETE":
            broken = any(v > 0 for v in trial.constraints.values())
            group = "breaks a limit" if broken else "dominated"
            found[group].append((trial.values[1], trial.values[0]))
        elif known.get("state") == "STOPPED" and cost in known:
            found["stopped early"].append((known[cost], 0.0))
    return found


def _scale(unit: str) -> tuple[float, str]:
    """Counts are drawn in millions."""
    return (1.0, unit) if unit in ("ms", "share", "loss") else (1e6, f"million {unit}")


def _draw_limits(plan: Plan, axes: "Axes", scale: float) -> None:
    for limit in plan.limits:
        if limit.metric == plan.objectives[1].name and limit.at_most is not None:
            axes.axvline(
                limit.at_most / scale, color="#b3261e", ls="--", lw=1, label=f"limit {limit}"
            )
        if limit.metric == plan.objectives[0].name and limit.at_least is not None:
            axes.axhline(limit.at_least, color="#b3261e", ls="--", lw=1, label=f"limit {limit}")
