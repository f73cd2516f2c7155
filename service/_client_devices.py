"""Devices on which a service's searches have measured latencies, as a client sees them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from service._client_errors import ClientError
from service._client_job import pages
from service._client_transport import Transport
from service._client_values import read


@dataclass(frozen=True, kw_only=True)
class Again:
    """How much slower candidates were that were timed again there: shares of the time before."""

    timings: int
    median: float
    lowest: float
    highest: float


@dataclass(frozen=True, kw_only=True)
class ProbeThere:
    """What a probe has found there, and how repeatable that is."""

    probe: str
    names: tuple[str, ...]  # by which it calls the device
    timings: int
    interval: float | None  # 10th to 90th percentile, a share of the median; the median of trials
    spread: float | None  # of a trial's rounds; likewise
    again: Again | None


@dataclass(frozen=True, kw_only=True)
class JobThere:
    """A search that has timed candidates there."""

    id: str
    name: str
    state: str
    trials: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, kw_only=True)
class Device:
    """Where latencies were measured, as far as the caller's searches know."""

    id: str
    name: str
    machine: str
    cores: str
    threads: tuple[int, ...]
    versions: Mapping[str, list[str]]  # the newest used first
    probes: tuple[ProbeThere, ...]
    trials: int
    first_at: datetime
    last_at: datetime
    job_count: int
    jobs: tuple[JobThere, ...]  # some, the last that timed first


@dataclass(frozen=True, kw_only=True)
class TimingThere:
    """What one probe has found of one trial."""

    job: str
    job_name: str
    number: int
    at: datetime
    probe: str
    threads: int
    median_ms: float
    p10_ms: float
    p90_ms: float
    spread: float | None
    before_job: str | None  # the search that timed the same candidate before
    before_number: int | None
    change: float | None  # since then


@dataclass(frozen=True, kw_only=True)
class WholeDevice(Device):
    """A device, and what was timed there last."""

    timings: tuple[TimingThere, ...]


_Several = list[Device]


class Devices:
    """Those of a service."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, job: str | None = None, page: int = 50) -> Iterator[Device]:
        """The last used first, page by page as they are needed; ``job``: by this search alone."""
        for item in pages(self._transport, "/devices", {"limit": page, "job": job}):
            yield read(Device, item)

    def get(self, name: str, *, trials: int = 20) -> WholeDevice:
        """The device with this id, or the only one with this name; with its newest trials."""
        found = [*self.list()]
        chosen = [one for one in found if one.id == name] or [d for d in found if d.name == name]
        if len(chosen) != 1:
            code = "invalid" if chosen else "not_found"
            raise ClientError(code, self._why(name, chosen, found))
        path = f"/devices/{quote(chosen[0].id, safe='')}"
        return read(WholeDevice, self._transport.get(path, trials=trials))

    def _why(self, name: str, chosen: _Several, found: _Several) -> str:
        said, there = repr(name[:100]), self._transport.address.url
        if chosen:
            which = " or ".join(one.id for one in chosen)
            return f"{len(chosen)} devices at {there} are called {said}: say {which}"
        known = ", ".join(f"{one.id} ({one.name})" for one in found[:5]) or "none yet"
        return (
            f"no device {said} at {there} on which a search that you may see has measured "
            f"anything; there are: {known}"
        )
