"""What timings on a device come to, as values that can be added: sets, and counts of figures.

A figure is counted by its first two digits, so that however many trials there were the counts stay
few, those of several jobs can be put together, and the median of all is still known to 5 %.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

TIMED = "timed"  # the attribute of a trial with what its probes found
_ON_THE_PROCESSOR = " (CPUExecutionProvider)"  # what a probe says behind the processor's name
_ELSEWHERE = ("machine", "cores", "threads", "device")  # in an environment, and no version
_NEWEST = 20  # versions of one package, and numbers of threads, that are kept


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where something was timed. Two machines that say the same of themselves are one."""

    name: str
    machine: str
    cores: str

    @property
    def id(self) -> str:
        said = json.dumps([self.name, self.machine, self.cores])
        return hashlib.sha256(said.encode()).hexdigest()[:16]


@dataclass
class ProbeTold:
    """Of one probe: how often each figure was met, to two digits."""

    names: list[str] = field(default_factory=list)  # by which it calls the device
    interval: Counter[float] = field(default_factory=Counter)  # p90 - p10, of the median
    spread: Counter[float] = field(default_factory=Counter)  # of the rounds' medians
    change: Counter[float] = field(default_factory=Counter)  # measured again, to 0.1 %

    @property
    def measured(self) -> int:
        return self.interval.total()


@dataclass
class Told:
    """What a job, or several, have found out about a device."""

    threads: list[int] = field(default_factory=list)
    versions: dict[str, list[str]] = field(default_factory=dict)  # the newest last
    probes: dict[str, ProbeTold] = field(default_factory=dict)

    def saw(self, probe: str, name: str, threads: int, versions: Mapping[str, str]) -> None:
        """What is said with a timing, and can be said again."""
        _keep(self.threads, threads)
        _keep(self.probes.setdefault(probe, ProbeTold()).names, name)
        for package, version in versions.items():
            _keep(self.versions.setdefault(package, []), version)

    def count(self, row: Mapping[str, Any]) -> None:
        """One more timing, as its row has it."""
        probe = self.probes.setdefault(row["probe"], ProbeTold())
        if row["median_ms"] > 0:
            wide = (row["p90_ms"] - row["p10_ms"]) / row["median_ms"]
            probe.interval[two_digits(wide)] += 1
        if row["spread"] is not None:
            probe.spread[two_digits(row["spread"])] += 1
        if row["change"] is not None:
            probe.change[round(row["change"], 3)] += 1

    def add(self, other: "Told") -> None:
        """What another job has found out, later than this."""
        for threads in other.threads:
            _keep(self.threads, threads)
        for package, versions in other.versions.items():
            for version in versions:
                _keep(self.versions.setdefault(package, []), version)
        for name, probe in other.probes.items():
            mine = self.probes.setdefault(name, ProbeTold())
            for said in probe.names:
                _keep(mine.names, said)
            mine.interval.update(probe.interval)
            mine.spread.update(probe.spread)
            mine.change.update(probe.change)

    def forget_counts(self) -> None:
        """So that they can be counted anew."""
        for name, probe in self.probes.items():
            self.probes[name] = ProbeTold(names=probe.names)

    def to_text(self) -> str:
        return json.dumps(
            {
                "threads": self.threads,
                "versions": self.versions,
                "probes": {name: vars(probe) for name, probe in self.probes.items()},
            },
            separators=(",", ":"),
        )


def told_from_text(text: str) -> Told:
    """What ``to_text`` has written."""
    said = json.loads(text)
    return Told(
        threads=said["threads"],
        versions=said["versions"],
        probes={
            name: ProbeTold(
                names=probe["names"],
                interval=_counter(probe["interval"]),
                spread=_counter(probe["spread"]),
                change=_counter(probe["change"]),
            )
            for name, probe in said["probes"].items()
        },
    )


def middle(counted: Mapping[float, int]) -> float | None:
    """The median of what was counted; of two in the middle the lower."""
    left = (sum(counted.values()) + 1) // 2
    for figure in sorted(counted):
        left -= counted[figure]
        if left <= 0:
            return figure
    return None


def two_digits(figure: float) -> float:
    return float(f"{max(figure, 0.0):.1e}")


def timed(measurement: Mapping[str, Any]) -> dict[str, Any]:
    """What a trial keeps of its latencies, by probe; without the device it says nothing."""
    return {
        probe: {
            "device": one["device"],
            "threads": one["threads"],
            "versions": one["versions"],
            **{name: one["step"].get(name) for name in ("median_ms", "p10_ms", "p90_ms", "spread")},
        }
        for probe, one in (measurement.get("latency") or {}).items()
        if one.get("device")
    }


def place_of(device: str, environment: Mapping[str, str]) -> Place:
    """Where a timing was made, by what its probe and its environment say."""
    name = device.removesuffix(_ON_THE_PROCESSOR)
    said = {each: str(environment.get(each, "")) for each in ("machine", "cores")}
    return Place(name=name, **said)


def versions_of(one: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    """All that is known of the software; what the probe itself says counts most."""
    known = {k: str(v) for k, v in environment.items() if k not in _ELSEWHERE}
    return {**known, **one.get("versions", {})}


def _keep(values: list[Any], value: Any) -> None:
    """As the newest of them."""
    if value in values:
        values.remove(value)
    values.append(value)
    del values[:-_NEWEST]


def _counter(said: Mapping[str, int]) -> Counter[float]:
    return Counter({float(figure): count for figure, count in said.items()})


def together(all_told: Iterable[Told]) -> Told:
    """Several, the oldest first."""
    found = Told()
    for each in all_told:
        found.add(each)
    return found
