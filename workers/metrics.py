"""What a search may optimise or bound, read from the JSON of a measurement; no torch.

A latency is named after what is timed and the probe that times it: ``step_ms.onnx_runtime``. The
probes are those of the folder workers/latency.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Any, Literal

from search_spaces import ParetrackError

Unit = Literal["share", "loss", "MACs", "parameters", "bytes", "ms"]


class MetricError(ParetrackError):
    """A metric or a limit that nobody can make sense of."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One figure of a measurement."""

    name: str
    label: str
    unit: Unit
    better: Literal["higher", "lower"]
    path: tuple[str, ...]  # where a measurement has it
    instead: tuple[str, ...] = ()  # where it is found while it is not there


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Bounds on a metric, both included. ``hard``: what breaks them is no answer at all."""

    metric: str
    at_most: float | None = None
    at_least: float | None = None
    hard: bool = True

    def __post_init__(self) -> None:
        limited = metric(self.metric)
        bounds = [bound for bound in (self.at_most, self.at_least) if bound is not None]
        if not bounds:
            raise MetricError(f"a limit on {self.metric} needs at_most or at_least")
        for bound in bounds:
            if not 0 < bound < math.inf:
                raise MetricError(f"a limit on {self.metric} is a number over 0, got {bound:g}")
            if limited.unit == "share" and bound > 1:
                raise MetricError(
                    f"{self.metric} lies between 0 and 1, got a limit of {bound:g}; "
                    f"write {bound / 100:g} or {bound:g}%"
                )

    def violation(self, value: float) -> float:
        """How far a value is on the wrong side, as a share of the bound; 0 or less: it holds."""
        over = [] if self.at_most is None else [(value - self.at_most) / self.at_most]
        under = [] if self.at_least is None else [(self.at_least - value) / self.at_least]
        return max(over + under)

    def __str__(self) -> str:
        """As ``limit_from_text`` reads it (a limit with both bounds: as two texts)."""
        parts = [
            f"{self.metric}{sign}{repr(float(bound)).removesuffix('.0')}"
            for sign, bound in (("<=", self.at_most), (">=", self.at_least))
            if bound is not None
        ]
        return ", ".join(parts)


def metric(name: str) -> Metric:
    """The metric called ``name``; an error lists what there is, the closest first."""
    if name not in METRICS:
        close = get_close_matches(name, METRICS, n=4, cutoff=0.5)
        others = [known for known in METRICS if known not in close]
        raise MetricError(f"no metric {name!r}; choose one of {', '.join([*close, *others])}")
    return METRICS[name]


def value(measurement: Mapping[str, Any], metric: Metric) -> float | None:
    """The figure in ``Measurement.to_json()``, or None where it was not measured (yet)."""
    for path in (metric.path, metric.instead):
        found: Any = measurement if path else None
        for step in path:
            found = found.get(step) if isinstance(found, Mapping) else None
        if found is not None:
            return float(found)
    return None


def limit_from_text(text: str) -> Limit:
    """ "macs_frame<=10M", "step_ms.eager <= 8 ms", "average_overlap>=0.6" as a limit."""
    read = _LIMIT.fullmatch(text.strip())
    if read is None:
        raise MetricError(
            f"a limit is a metric, <= or >=, and a number, as in 'macs_frame<=10M' or "
            f"'step_ms.eager<=8'; got {text!r}"
        )
    name, sign, number, unit = read.groups()
    bound = float(number.replace("_", "")) * _factor(unit, metric(name))
    if sign in ("<=", "≤"):
        return Limit(metric=name, at_most=bound)
    return Limit(metric=name, at_least=bound)


def check_limits(limits: Iterable[Limit]) -> None:
    """Whether some value could hold all of them."""
    limits = list(limits)
    for name in dict.fromkeys(limit.metric for limit in limits):
        of_it = [limit for limit in limits if limit.metric == name]
        most = min((x.at_most for x in of_it if x.at_most is not None), default=math.inf)
        least = max((x.at_least for x in of_it if x.at_least is not None), default=0.0)
        if least > most:
            raise MetricError(
                f"the limits on {name} contradict each other: at least {least:,.12g} and at most "
                f"{most:,.12g} {metric(name).unit}; nothing is both"
            )


_LIMIT = re.compile(
    r"([A-Za-z_][\w.]*)\s*(<=|>=|≤|≥)\s*"
    r"([0-9][0-9_]*(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+)\s*([^\W\d_]*|%)"
)
_COUNTS: Mapping[str, float] = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9}
_UNITS: Mapping[Unit, Mapping[str, float]] = {  # in small letters, times what
    "share": {"": 1, "%": 0.01},
    "loss": {"": 1},
    "MACs": {**_COUNTS, **{f"{prefix}macs": factor for prefix, factor in _COUNTS.items()}},
    "parameters": {**_COUNTS, "b": 1e9, "parameters": 1},
    "bytes": {
        **_COUNTS,
        **{f"{prefix}b": factor for prefix, factor in _COUNTS.items()},
        "kib": 2.0**10,
        "mib": 2.0**20,
        "gib": 2.0**30,
        "bytes": 1,
    },
    "ms": {"": 1, "ms": 1, "us": 1e-3, "µs": 1e-3, "s": 1e3},
}


def _factor(written: str, metric: Metric) -> float:
    """What a number is multiplied with to be in the metric's unit."""
    known = _UNITS[metric.unit]
    if written.lower() in known:
        return known[written.lower()]
    hint = "; a MAC is two FLOPs" if "flop" in written.lower() else ""
    raise MetricError(
        f"{metric.name} is in {metric.unit}, {written!r} cannot stand after its number; "
        f"what can: {', '.join(name or 'nothing' for name in known)}{hint}"
    )


def _metrics() -> dict[str, Metric]:
    found = [
        *_accuracies(),
        *_costs(),
        *(
            Metric(
                name=f"{part}_ms.{probe}",
                label=f"{what} ({probe})",
                unit="ms",
                better="lower",
                path=("latency", probe, part, "median_ms"),
            )
            for probe in _probes()
            for part, what in _TIMED.items()
        ),
    ]
    return {one.name: one for one in found}


_TIMED = {
    "step": "Network time a frame",
    "track": "Whole time a frame",
    "init": "Template time a video",
}


def _accuracies() -> list[Metric]:
    tracking = {
        "average_overlap": "Average overlap",
        "success_rate_50": "Success rate at overlap 0.5",
        "success_rate_75": "Success rate at overlap 0.75",
        "success": "Success",
        "precision": "Precision",
        "normalised_precision": "Normalised precision",
    }
    found = [
        Metric(name=n, label=label, unit="share", better="higher", path=("accuracy", n, "value"))
        for n, label in tracking.items()
    ]
    pairs: tuple[tuple[str, str, Unit, Literal["higher", "lower"], str], ...] = (
        ("one_step_iou", "One-step IoU", "share", "higher", "one_step_iou"),
        ("pair_loss", "Pair loss", "loss", "lower", "loss"),
    )
    return found + [
        Metric(
            name=name,
            label=label,
            unit=unit,
            better=better,
            path=("recovered", field),
            instead=("inherited", field),
        )
        for name, label, unit, better, field in pairs
    ]


def _costs() -> list[Metric]:
    costs: tuple[tuple[str, str, Unit, str], ...] = (
        ("macs_frame", "MACs a frame", "MACs", "macs_frame"),
        ("macs_template", "MACs of the template", "MACs", "macs_template"),
        ("parameters", "Parameters", "parameters", "parameters"),
        ("peak_memory", "Peak memory a frame", "bytes", "peak_memory_frame"),
        ("weights_bytes", "Size of the weights", "bytes", "weights_bytes"),
    )
    return [
        Metric(name=name, label=label, unit=unit, better="lower", path=("cost", field))
        for name, label, unit, field in costs
    ]


def _probes() -> list[str]:
    """The modules of workers/latency, by the folder's listing: importing them takes torch."""
    folder = Path(__file__).with_name("latency")
    return sorted(one.name for one in iter_modules([str(folder)]) if not one.name.startswith("_"))


METRICS: Mapping[str, Metric] = MappingProxyType(_metrics())
