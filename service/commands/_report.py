"""What people see of candidates: the bar while they are judged, their measurements as tables."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from service.terminal import Bar, table

if TYPE_CHECKING:
    from rich.table import Table

    from workers.accuracy import Interval
    from workers.candidate import Measurement
    from workers.evaluation import Watch


def watching(bar: Bar, name: str = "candidate") -> "Watch":
    """Shows on a bar what a candidate is going through."""
    from workers.evaluation import Happening

    def watch(happening: Happening) -> None:
        note = ""
        if happening.moment is not None:
            moment = happening.moment
            note = f"loss {moment.loss:.3f}  {moment.pairs_per_second:.0f} pairs/s"
        bar.show(happening.done, happening.total, note, f"{name}: {happening.step}")

    return watch


def summary(measurements: dict[str, "Measurement"]) -> "Table":
    """Measurements side by side: a row a figure that any of them has."""
    rows = [[label, *(text(m) for m in measurements.values())] for label, text in _FIGURES.items()]
    return table(("", *measurements), [row for row in rows if set(row[1:]) != {_NOTHING}])


def by_attribute(judged: dict[str, "Measurement"]) -> "Table":
    """AO where it is hard, for everybody."""
    found = {name: m.accuracy.by_attribute for name, m in judged.items() if m.accuracy}
    attributes = sorted(next(iter(found.values()), {}))
    rows = [
        [
            f"{attribute} ({next(iter(found.values()))[attribute].sequences})",
            *(_range(by[attribute].interval) for by in found.values()),
        ]
        for attribute in attributes
    ]
    return table(("AO by attribute (sequences)", *found), rows)


_NOTHING = "-"


def _range(interval: "Interval") -> str:
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _rules(measurement: "Measurement") -> str:
    return _NOTHING if measurement.accuracy is None else measurement.accuracy.rules


def _interval(measurement: "Measurement", name: str) -> str:
    found = getattr(measurement.accuracy, name, None)
    return _NOTHING if found is None else _range(found)


def _cost(measurement: "Measurement", name: str, unit: float) -> str:
    return _NOTHING if measurement.cost is None else f"{getattr(measurement.cost, name) / unit:.2f}"


def _pairs(measurement: "Measurement", stage: str) -> str:
    found = getattr(measurement, stage)
    return _NOTHING if found is None else f"{found.one_step_iou:.3f}"


def _relative(measurement: "Measurement", probe: str) -> str:
    found = measurement.latency.get(probe)
    return _NOTHING if found is None else f"{found.relative:.2f}" + (" (noisy)" * found.noisy)


def _latency(measurement: "Measurement", probe: str, what: str) -> str:
    found = measurement.latency.get(probe)
    timing = getattr(found, what, None)
    if timing is None:
        return _NOTHING
    return f"{timing.median_ms:.2f} [{timing.p10_ms:.2f}, {timing.p90_ms:.2f}]"


_FIGURES: dict[str, Callable[["Measurement"], str]] = {
    "accuracy by the rules": _rules,
    "AO [95 %]": lambda m: _interval(m, "average_overlap"),
    "SR 0.5 [95 %]": lambda m: _interval(m, "success_rate_50"),
    "SR 0.75 [95 %]": lambda m: _interval(m, "success_rate_75"),
    "success, AUC [95 %]": lambda m: _interval(m, "success"),
    "precision [95 %]": lambda m: _interval(m, "precision"),
    "normalised precision [95 %]": lambda m: _interval(m, "normalised_precision"),
    "one-step IoU, inherited": lambda m: _pairs(m, "inherited"),
    "one-step IoU, recovered": lambda m: _pairs(m, "recovered"),
    "million MACs a frame": lambda m: _cost(m, "macs_frame", 1e6),
    "million MACs, template": lambda m: _cost(m, "macs_template", 1e6),
    "thousand parameters": lambda m: _cost(m, "parameters", 1e3),
    "peak activations, MB": lambda m: _cost(m, "peak_memory_frame", 1e6),
    "eager: network, ms [p10, p90]": lambda m: _latency(m, "eager", "step"),
    "eager: whole frame, ms": lambda m: _latency(m, "eager", "track"),
    "ONNX Runtime: network, ms": lambda m: _latency(m, "onnx_runtime", "step"),
    "ONNX Runtime: whole frame, ms": lambda m: _latency(m, "onnx_runtime", "track"),
    "ONNX Runtime / reference net": lambda m: _relative(m, "onnx_runtime"),
}
