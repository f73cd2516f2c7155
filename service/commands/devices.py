"""paretrack devices: where latencies were measured, and how repeatable they are there."""

from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands._calling import ago, service_client, shown
from service.commands._options import Json
from service.terminal import Terminal, table

if TYPE_CHECKING:
    from rich.table import Table

    from service.client import Device, WholeDevice

_PACKAGES = ("python", "torch", "onnxruntime")  # in the list; all of them where one is looked at


def devices(
    device: Annotated[
        str | None,
        typer.Argument(metavar="[DEVICE]", help="One: its id, or its name if no other has it."),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", min=1, max=200, help="At most so many; of one, trials.")
    ] = 20,
    as_json: Json = False,
) -> None:
    """List devices on which your searches have measured latencies, the last used first; or show one
    with what was timed there last.

    Example: `paretrack devices`, `paretrack devices 3f9c0a17be52d804`
    """
    terminal = Terminal(as_json)
    with service_client() as client:
        if device is not None:
            one = client.devices.get(device, trials=count)
            terminal.answer(shown(one), table(("", ""), _described(one)))
            terminal.remark(_timings(one))
            return
        found = list(islice(client.devices.list(page=min(count, 500)), count))
    terminal.answer(shown(found), _list(found))
    if not found:
        terminal.say("no search has measured a latency yet: a limit or a cost asks for one")


def _list(found: "list[Device]") -> "Table":
    rows = [
        [
            one.id,
            one.name,
            _machine(one),
            ", ".join(f"{p} {one.versions[p][0]}" for p in _PACKAGES if one.versions.get(p)),
            "; ".join(_repeatable(one)),
            str(one.trials),
            str(one.job_count),
            ago(one.last_at),
        ]
        for one in found
    ]
    columns = ("id", "device", "machine", "versions", "repeatable to", "trials", "jobs", "last")
    return table(columns, rows)


def _machine(one: "Device") -> str:
    threads = f"{', '.join(map(str, one.threads))} threads" if one.threads else ""
    cores = f"{one.cores} cores" if one.cores else ""
    return ", ".join(filter(None, (one.machine, cores, threads)))


def _repeatable(one: "Device") -> list[str]:
    """By probe: between what the calls of half of the trials lie, how rounds and nights differ."""
    said = []
    for probe in one.probes:
        parts = []
        if probe.interval is not None:
            parts.append(f"{probe.interval:.1%} in a trial")
        if probe.spread is not None:
            parts.append(f"{probe.spread:.1%} between rounds")
        if (again := probe.again) is not None:
            between = f"{again.lowest:+.1%} to {again.highest:+.1%}"
            parts.append(f"{again.median:+.1%} ({between}) when {again.timings} were timed again")
        said.append(f"{probe.probe}: {', '.join(parts) or 'nothing'}")
    return said


def _described(one: "WholeDevice") -> list[list[str]]:
    versions = [f"{name} {', '.join(each)}" for name, each in one.versions.items()]
    jobs = [f"{job.id} ({job.trials} trials, {job.state.lower()})" for job in one.jobs[:10]]
    more = one.job_count - len(jobs)
    said = {
        "device": one.name,
        "id": one.id,
        "machine": _machine(one),
        "versions": "\n".join(versions),
        "repeatable to": "\n".join(_repeatable(one)),
        "trials": str(one.trials),
        "first": ago(one.first_at),
        "last": ago(one.last_at),
        "jobs": "\n".join([*jobs, *([f"and {more} more"] if more > 0 else [])]),
    }
    return [[name, text] for name, text in said.items() if text]


def _timings(one: "WholeDevice") -> "Table":
    rows = [
        [
            f"{each.job}/{each.number}",
            each.probe,
            f"{each.median_ms:.3f}",
            f"{each.p10_ms:.3f} to {each.p90_ms:.3f}",
            "" if each.change is None else f"{each.change:+.1%}",
            ago(each.at),
        ]
        for each in one.timings
    ]
    return table(("trial", "probe", "ms a step", "10 to 90 %", "since before", "ended"), rows)
