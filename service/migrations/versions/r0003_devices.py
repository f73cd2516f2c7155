"""Devices: where trials were timed, and what that comes to by job.

Searches from before kept the whole latency only where they kept a measurement, so of those every
trial is told whose own job has kept one: those that were judged to the end, and those that had come
to a rung. Of the others, that broke a limit, nobody knows the device.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

from service.database import Instant

revision = "0003"
down_revision = "0002"

_AT_ONCE = 500  # rows


def upgrade() -> None:
    timings = op.create_table(
        "timings",
        sa.Column("job_id", sa.String(length=80), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("probe", sa.String(length=200), nullable=False),
        sa.Column("device_id", sa.String(length=16), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("digest", sa.String(length=128), nullable=False),
        sa.Column("threads", sa.Integer(), nullable=False),
        sa.Column("median_ms", sa.Double(), nullable=False),
        sa.Column("p10_ms", sa.Double(), nullable=False),
        sa.Column("p90_ms", sa.Double(), nullable=False),
        sa.Column("spread", sa.Double(), nullable=True),
        sa.Column("before_job", sa.String(length=80), nullable=True),
        sa.Column("before_number", sa.Integer(), nullable=True),
        sa.Column("change", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_timings_job_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "number", "probe"),
    )
    op.create_index("ix_timings_device", "timings", ["job_id", "device_id", "at"], unique=False)
    op.create_index("ix_timings_digest", "timings", ["digest", "device_id", "at"], unique=False)
    devices = op.create_table(
        "job_devices",
        sa.Column("job_id", sa.String(length=80), nullable=False),
        sa.Column("device_id", sa.String(length=16), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("cores", sa.Text(), nullable=False),
        sa.Column("trials", sa.Integer(), nullable=False),
        sa.Column("first_at", Instant(), nullable=False),
        sa.Column("last_at", Instant(), nullable=False),
        sa.Column("told_json", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_job_devices_job_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "device_id"),
    )
    op.create_index("ix_job_devices_device", "job_devices", ["device_id", "last_at"], unique=False)
    connection = op.get_bind()
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for rows in _several(_timings(connection, found)):
        connection.execute(timings.insert(), rows)
    for each in found.values():
        told = {name: each.pop(name) for name in ("threads", "versions", "probes")}
        row = {**each, "trials": len(each["trials"]), "told_json": json.dumps(told)}
        connection.execute(devices.insert(), row)


def _several(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    some: list[dict[str, Any]] = []
    for row in rows:
        some.append(row)
        if len(some) == _AT_ONCE:
            yield some
            some = []
    if some:
        yield some


def _timings(
    connection: sa.Connection, found: dict[tuple[str, str], dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """A row for every probe of every trial that is known; ``found`` gets what they come to."""
    for job_id, number, digest, at, text in _kept(connection):
        measurement = json.loads(text)
        environment = measurement.get("environment") or {}
        for probe, one in (measurement.get("latency") or {}).items():
            step = one.get("step") or {}
            if not one.get("device") or not step.get("median_ms"):
                continue
            device = _device(found, job_id, one, environment)
            row = {
                "job_id": job_id, "number": number, "probe": probe,
                "device_id": device["device_id"], "at": at, "digest": digest,
                "threads": int(one.get("threads") or 1), "median_ms": step["median_ms"],
                "p10_ms": step["p10_ms"], "p90_ms": step["p90_ms"], "spread": step.get("spread"),
            }  # fmt: skip
            _count(device, row, one["device"])
            yield row


_TRIALS = sa.table(
    "trial_summaries",
    sa.column("job_id"),
    sa.column("number"),
    sa.column("digest"),
    sa.column("reason"),
    sa.column("ended_at", Instant),
)


def _kept(connection: sa.Connection) -> Iterator[tuple[str, int, str, Any, str]]:
    """Ended trials with the measurement that their own job has made, the last that was kept."""
    told: set[tuple[str, int]] = set()
    for query in (_judged(), _at_rungs()):
        for job_id, number, digest, at, text in connection.execute(
            query, execution_options={"yield_per": _AT_ONCE}
        ):
            if text is not None and (job_id, number) not in told:
                told.add((job_id, number))
                yield job_id, number, digest, at, text


def _judged() -> Any:
    trials = _TRIALS.c
    kept = sa.table(
        "measurements",
        sa.column("digest"),
        sa.column("steps"),
        sa.column("tracked"),
        sa.column("job"),
        sa.column("measurement_json"),
    ).c
    return (
        sa.select(
            trials.job_id, trials.number, trials.digest, trials.ended_at, kept.measurement_json
        )
        .where(trials.digest == kept.digest, trials.job_id == kept.job, trials.digest != "")
        .where(*_timed_here())
        .order_by(trials.job_id, trials.number, kept.tracked.desc(), kept.steps.desc())
    )


def _at_rungs() -> Any:
    """Of those that were stopped: what the decision was made from."""
    trials = _TRIALS.c
    rungs = sa.table(
        "rungs", sa.column("trial_id"), sa.column("rung"), sa.column("measurement_json")
    ).c
    stored = sa.table("trials", sa.column("trial_id"), sa.column("number"), sa.column("study_id")).c
    studies = sa.table("studies", sa.column("study_id"), sa.column("study_name")).c
    return (
        sa.select(
            trials.job_id, trials.number, trials.digest, trials.ended_at, rungs.measurement_json
        )
        .where(rungs.trial_id == stored.trial_id, stored.study_id == studies.study_id)
        .where(studies.study_name == trials.job_id, stored.number == trials.number)
        .where(*_timed_here())
        .order_by(trials.job_id, trials.number, rungs.rung.desc())
    )


def _timed_here() -> tuple[Any, ...]:
    trials = _TRIALS.c
    known = ("measured before%", "latency measured again%")
    return (trials.ended_at.is_not(None), *(trials.reason.not_like(words) for words in known))


def _device(
    found: dict[tuple[str, str], dict[str, Any]],
    job_id: str,
    one: Mapping[str, Any],
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """As this revision tells a device from another, and what its row has beside the counts."""
    name = one["device"].removesuffix(" (CPUExecutionProvider)")
    machine, cores = (str(environment.get(each, "")) for each in ("machine", "cores"))
    said = json.dumps([name, machine, cores])
    device_id = hashlib.sha256(said.encode()).hexdigest()[:16]
    device = found.setdefault(
        (job_id, device_id),
        {
            "job_id": job_id, "device_id": device_id, "name": name, "machine": machine,
            "cores": cores, "trials": set(), "first_at": None, "last_at": None, "threads": [],
            "versions": {}, "probes": {},
        },
    )  # fmt: skip
    aside = ("machine", "cores", "threads", "device")
    known = {k: v for k, v in environment.items() if k not in aside}
    for package, version in {**known, **(one.get("versions") or {})}.items():
        versions = device["versions"].setdefault(package, [])
        versions.extend([version] if version not in versions else [])
    return device


def _count(device: dict[str, Any], row: Mapping[str, Any], name: str) -> None:
    device["trials"].add(row["number"])
    device["first_at"] = min(device["first_at"] or row["at"], row["at"])
    device["last_at"] = max(device["last_at"] or row["at"], row["at"])
    if row["threads"] not in device["threads"]:
        device["threads"].append(row["threads"])
    empty: dict[str, Any] = {"names": [], "interval": {}, "spread": {}, "change": {}}
    probe = device["probes"].setdefault(row["probe"], empty)
    if name not in probe["names"]:
        probe["names"].append(name)
    wide = (row["p90_ms"] - row["p10_ms"]) / row["median_ms"]
    for what, figure in (("interval", wide), ("spread", row["spread"])):
        if figure is not None:
            digits = str(float(f"{max(figure, 0.0):.1e}"))
            probe[what][digits] = probe[what].get(digits, 0) + 1
