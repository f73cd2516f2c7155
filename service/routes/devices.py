"""Devices: where latencies were measured, and how repeatable they are there."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from service import devices
from service.database import reading
from service.devices import Device
from service.routes._deps import ServiceDep, Viewer
from service.routes._pages import Cursor, Limit, Page, from_cursor, to_cursor
from service.routes.jobs import seen_search

router = APIRouter(prefix="/devices", tags=["devices"])

_NAME = "AMD EPYC 9354 32-Core Processor"
DeviceId = Annotated[str, Path(max_length=64, examples=["3f9c0a17be52d804"])]


class AgainPublic(BaseModel):
    """Candidates that were timed again there: how much slower (over 0) they have become since the
    time before, as a share."""

    timings: int = Field(examples=[14])
    median: float = Field(examples=[0.012])
    lowest: float = Field(examples=[-0.004])
    highest: float = Field(examples=[0.031])


class ProbeTherePublic(BaseModel):
    """What a probe has found there; a step of the per-frame network."""

    probe: str = Field(examples=["onnx_runtime"])
    names: list[str] = Field(
        description="By which it calls the device.", examples=[[f"{_NAME} (CPUExecutionProvider)"]]
    )
    timings: int = Field(examples=[4120])
    interval: float | None = Field(
        description="Between the 10th and the 90th percentile of a trial's calls, as a share of "
        "its median; of all trials the median, to two digits.",
        examples=[0.13],
    )
    spread: float | None = Field(
        description="The robust coefficient of variation of a trial's rounds; likewise.",
        examples=[0.027],
    )
    again: AgainPublic | None = Field(
        description="null: no candidate was timed there in two searches of the same owner."
    )


class JobTherePublic(BaseModel):
    """A search that has timed candidates there."""

    id: str = Field(examples=["ostrack-under-8-ms-3f9c0a17be"])
    name: str = Field(examples=["ostrack under 8 ms"])
    state: str = Field(examples=["RUNNING"])
    trials: int = Field(examples=[412])
    first_at: datetime
    last_at: datetime


class DevicePublic(BaseModel):
    """Where latencies were measured, by the searches that you may see. Two machines that say the
    same of themselves are one device."""

    id: str = Field(examples=["3f9c0a17be52d804"])
    name: str = Field(description="As probes report it.", examples=[_NAME])
    machine: str = Field(description="Empty: not told.", examples=["x86_64 Linux"])
    cores: str = Field(description="Empty: not told.", examples=["64"])
    threads: list[int] = Field(description="That a candidate had.", examples=[[1, 4]])
    versions: dict[str, list[str]] = Field(
        description="Of the software, the newest used first.",
        examples=[{"python": ["3.11.7"], "torch": ["2.13.0", "2.12.1"]}],
    )
    probes: list[ProbeTherePublic]
    trials: int = Field(description="That were timed there.", examples=[4120])
    first_at: datetime
    last_at: datetime
    job_count: int = Field(examples=[12])
    jobs: list[JobTherePublic] = Field(description="Some of them, the last that timed first.")


class TimingPublic(BaseModel):
    """What one probe has found of one trial."""

    job: str
    job_name: str
    number: int = Field(description="Of the trial.")
    at: datetime = Field(description="When the trial ended.")
    probe: str
    threads: int
    median_ms: float = Field(description="Of a step.")
    p10_ms: float
    p90_ms: float
    spread: float | None
    before_job: str | None = Field(description="The search that timed the same candidate before.")
    before_number: int | None
    change: float | None = Field(description="Since then, as a share.", examples=[0.012])


class WholeDevicePublic(DevicePublic):
    """A device, and what was timed there last."""

    timings: list[TimingPublic] = Field(description="Of the newest trials, a line a probe.")


@router.get("", response_model=Page[DevicePublic])
def list_devices(
    service: ServiceDep,
    caller: Viewer,
    job: Annotated[
        str | None, Query(max_length=200, description="What this search alone has measured.")
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Any:
    """Devices on which any of your searches has measured latencies, the last used first."""
    after = None if cursor is None else _place(cursor)
    with reading(service.engine) as connection:
        if job is not None:
            seen_search(connection, caller, job)
        found = devices.list_devices(connection, caller, job)
    found.sort(key=_order)
    rest = [one for one in found if after is None or _order(one) > after]
    following = to_cursor(*_order(rest[limit - 1])) if len(rest) > limit else None
    return Page(items=[DevicePublic(**_words(one)) for one in rest[:limit]], next=following)


def _order(device: Device) -> tuple[float, str]:
    return -device.last_at.timestamp(), device.id


def _place(cursor: str) -> tuple[float, str]:
    last, device_id = from_cursor(cursor, float, str)
    return last, device_id


@router.get("/{device_id}", response_model=WholeDevicePublic)
def read_device(
    device_id: DeviceId,
    service: ServiceDep,
    caller: Viewer,
    trials: Annotated[int, Query(ge=1, le=200, description="The newest so many.")] = 20,
) -> Any:
    """One device, with the trials that were timed there last."""
    with reading(service.engine) as connection:
        found = devices.read_device(connection, caller, device_id)
        timings = devices.newest_timings(connection, caller, device_id, trials)
    lines = [TimingPublic(**vars(one)) for one in timings]
    return WholeDevicePublic(**_words(found), timings=lines)


def _words(device: Device) -> dict[str, Any]:
    probes = [
        ProbeTherePublic(
            **{**vars(one), "again": None if one.again is None else AgainPublic(**vars(one.again))}
        )
        for one in device.probes
    ]
    jobs = [JobTherePublic(**vars(one)) for one in device.jobs]
    return {**vars(device), "probes": probes, "jobs": jobs}
