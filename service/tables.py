"""The tables of the service: jobs and what is told of them, schedules, tokens, webhooks, teachers.

What a search writes for itself (leases, rungs, measurements) is in service/database.py. Lists and
documents are JSON in a text column: nothing searches in them but Paretrack itself.
"""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, ForeignKeyConstraint, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base

_NAME = String(200)


class JobRow(Base):
    """One search that somebody submitted. Its ``id`` names the study, the lease and the folder."""

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(String(80), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(_NAME)
    owner: Mapped[str] = mapped_column(_NAME)
    project: Mapped[str | None] = mapped_column(_NAME)
    tracker: Mapped[str] = mapped_column(_NAME)  # the family of its teacher
    priority: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str]  # why it is in this state, for people
    spec_json: Mapped[str]
    summary_json: Mapped[str]  # counts, budget, best point and front, as of the last batch
    version: Mapped[int]  # rises with every change that a client can see
    events: Mapped[int]  # the number of the last event
    attempts: Mapped[int]  # how often it was begun
    not_before: Mapped[datetime | None]  # a retry waits until then
    queued_at: Mapped[datetime]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    archived_at: Mapped[datetime | None]
    schedule_id: Mapped[str | None] = mapped_column(
        String(32), ForeignKey("schedules.id", name="fk_jobs_schedule_id")
    )
    __table_args__ = (
        Index("ix_jobs_created", "created_at", "id"),
        Index("ix_jobs_state", "state", "queued_at"),
        Index("ix_jobs_owner", "owner", "created_at"),
        Index("ix_jobs_schedule", "schedule_id", "created_at"),
    )


class JobLabelRow(Base):
    """A word by which jobs are found."""

    __tablename__ = "job_labels"
    job_id: Mapped[str] = mapped_column(
        String(80),
        ForeignKey("jobs.id", name="fk_job_labels_job_id", ondelete="CASCADE"),
        primary_key=True,
    )
    label: Mapped[str] = mapped_column(_NAME, primary_key=True)
    __table_args__ = (Index("ix_job_labels_label", "label", "job_id"),)


class JobEventRow(Base):
    """What happened to a job, numbered without a gap: the row of the job is locked to write it."""

    __tablename__ = "job_events"
    job_id: Mapped[str] = mapped_column(
        String(80),
        ForeignKey("jobs.id", name="fk_job_events_job_id", ondelete="CASCADE"),
        primary_key=True,
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(32))
    data_json: Mapped[str]


class TrialSummaryRow(Base):
    """A trial as it is listed and drawn. Optuna's rows are the record; these are made from them,
    in batches, so that 50,000 trials can be read page by page."""

    __tablename__ = "trial_summaries"
    job_id: Mapped[str] = mapped_column(String(80), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    state: Mapped[str] = mapped_column(String(16))
    holds: Mapped[bool]  # every hard limit that it was measured for
    value0: Mapped[float | None]  # the objectives in their order, accuracy first
    value1: Mapped[float | None]
    value2: Mapped[float | None]
    on_front: Mapped[bool]
    hypervolume: Mapped[float | None]  # of the front after it had ended
    moved: Mapped[bool]  # the front, when it ended
    began_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    rung: Mapped[int | None]
    reason: Mapped[str]
    flag: Mapped[str]
    digest: Mapped[str] = mapped_column(String(128))
    tracker: Mapped[str]  # its folder, or ''
    params_json: Mapped[str]
    figures_json: Mapped[str]  # by the name of the metric
    ranges_json: Mapped[str]  # between what they lie, where that is known
    __table_args__ = (
        ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_trial_summaries_job_id", ondelete="CASCADE"
        ),
        Index("ix_trial_summaries_value0", "job_id", "value0", "number"),
        Index("ix_trial_summaries_value1", "job_id", "value1", "number"),
        Index("ix_trial_summaries_value2", "job_id", "value2", "number"),
        Index("ix_trial_summaries_state", "job_id", "state", "number"),
        Index("ix_trial_summaries_front", "job_id", "on_front", "number"),
        Index("ix_trial_summaries_moved", "job_id", "moved", "number"),
    )


class TimingRow(Base):
    """What a probe measured of a trial, where a trial was really timed; made from the record with
    its row above."""

    __tablename__ = "timings"
    job_id: Mapped[str] = mapped_column(String(80), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    probe: Mapped[str] = mapped_column(_NAME, primary_key=True)
    device_id: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime]  # when its trial ended
    digest: Mapped[str] = mapped_column(String(128))  # of its candidate
    threads: Mapped[int]
    median_ms: Mapped[float]  # of a step
    p10_ms: Mapped[float]
    p90_ms: Mapped[float]
    spread: Mapped[float | None]  # of the rounds' medians
    before_job: Mapped[str | None] = mapped_column(String(80))  # the last that timed the same there
    before_number: Mapped[int | None]
    change: Mapped[float | None]  # since then, a share of what it was
    __table_args__ = (
        ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_timings_job_id", ondelete="CASCADE"),
        Index("ix_timings_device", "job_id", "device_id", "at"),
        Index("ix_timings_digest", "digest", "device_id", "at"),
    )


class JobDeviceRow(Base):
    """What all timings of a job on one device come to: so a list of devices reads few rows, however
    many trials there are, and only those of jobs that its reader may see."""

    __tablename__ = "job_devices"
    job_id: Mapped[str] = mapped_column(String(80), primary_key=True)
    device_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str]  # as probes report it
    machine: Mapped[str]
    cores: Mapped[str]
    trials: Mapped[int]
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
    told_json: Mapped[str]  # threads, versions; by probe how many, and how they are spread
    __table_args__ = (
        ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_job_devices_job_id", ondelete="CASCADE"
        ),
        Index("ix_job_devices_device", "device_id", "last_at"),
    )


class OwnerRow(Base):
    """Who jobs belong to, and how much of the queue may be theirs."""

    __tablename__ = "owners"
    name: Mapped[str] = mapped_column(_NAME, primary_key=True)
    most_running: Mapped[int | None]  # None: as many as there are controllers for
    weight: Mapped[float]  # of their jobs, where several share the workers
    created_at: Mapped[datetime]


class AuditRow(Base):
    """Who did what, and why; only ever added to."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    at: Mapped[datetime]
    who: Mapped[str] = mapped_column(_NAME)  # a token's owner and name, or a process
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(_NAME)  # "job abc"
    why: Mapped[str]
    detail_json: Mapped[str]
    __table_args__ = (Index("ix_audit_subject", "subject", "id"),)


class IdempotencyRow(Base):
    """A request that may be said again. Without a job it is still being worked on."""

    __tablename__ = "idempotency_keys"
    owner: Mapped[str] = mapped_column(_NAME, primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    body_sha256: Mapped[str] = mapped_column(String(64))
    job_id: Mapped[str | None] = mapped_column(String(80))
    created_at: Mapped[datetime]


class TokenRow(Base):
    """Who may call. Of the token itself only its SHA-256 is kept: it is 256 random bits."""

    __tablename__ = "tokens"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)  # the visible part of the token
    name: Mapped[str] = mapped_column(_NAME)
    owner: Mapped[str] = mapped_column(_NAME)
    project: Mapped[str | None] = mapped_column(_NAME)
    role: Mapped[str] = mapped_column(String(16))
    secret_sha256: Mapped[str] = mapped_column(String(64))
    created_by: Mapped[str] = mapped_column(_NAME)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    __table_args__ = (Index("ix_tokens_owner", "owner", "created_at"),)


class ScheduleRow(Base):
    """A search that begins again and again."""

    __tablename__ = "schedules"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(_NAME)
    owner: Mapped[str] = mapped_column(_NAME)
    project: Mapped[str | None] = mapped_column(_NAME)
    job_json: Mapped[str]  # the body that would submit it: spec, labels, priority
    cron: Mapped[str] = mapped_column(_NAME)
    timezone: Mapped[str] = mapped_column(String(64))
    gap: Mapped[str] = mapped_column(String(16))  # of a time that does not exist: shift, skip
    fold: Mapped[str] = mapped_column(String(16))  # of a time that comes twice: first, last, both
    overlap: Mapped[str] = mapped_column(String(16))
    catch_up_seconds: Mapped[int]
    jitter_seconds: Mapped[int]
    continues: Mapped[bool]  # from the front of the night before
    paused: Mapped[bool]
    paused_why: Mapped[str]
    pause_after_failures: Mapped[int | None]
    failures: Mapped[int]  # in a row
    decided_until: Mapped[datetime]  # every tick up to here has its row
    next_at: Mapped[datetime | None]  # the next tick after it
    version: Mapped[int]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    archived_at: Mapped[datetime | None]
    __table_args__ = (
        Index("ix_schedules_next", "next_at"),
        Index("ix_schedules_created", "created_at", "id"),
    )


class TickRow(Base):
    """What was decided for one instant of a schedule: at most one job, whoever looked at it."""

    __tablename__ = "schedule_ticks"
    schedule_id: Mapped[str] = mapped_column(
        String(32),
        ForeignKey("schedules.id", name="fk_schedule_ticks_schedule_id", ondelete="CASCADE"),
        primary_key=True,
    )
    at: Mapped[datetime] = mapped_column(primary_key=True)
    decision: Mapped[str] = mapped_column(String(16))  # started, skipped, buffered, missed
    note: Mapped[str]
    job_id: Mapped[str | None] = mapped_column(String(80))
    by_hand: Mapped[bool]
    decided_at: Mapped[datetime]
    comparison_json: Mapped[str | None]  # with the night before, once it has ended


class WebhookRow(Base):
    """Where to say what happens. The secret signs, so it is kept as it is, and never shown."""

    __tablename__ = "webhooks"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    owner: Mapped[str] = mapped_column(_NAME)
    project: Mapped[str | None] = mapped_column(_NAME)
    url: Mapped[str]
    secret: Mapped[str]
    kinds_json: Mapped[str]  # of events
    active: Mapped[bool]
    failures: Mapped[int]  # in a row
    version: Mapped[int]
    created_at: Mapped[datetime]
    archived_at: Mapped[datetime | None]
    __table_args__ = (Index("ix_webhooks_owner", "owner", "created_at"),)


class DeliveryRow(Base):
    """One event on its way to one webhook, and how the attempts went."""

    __tablename__ = "webhook_deliveries"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    webhook_id: Mapped[str] = mapped_column(
        String(32), ForeignKey("webhooks.id", name="fk_webhook_deliveries_webhook_id")
    )
    event_id: Mapped[str] = mapped_column(_NAME)  # the same for a replay
    kind: Mapped[str] = mapped_column(String(32))
    body_json: Mapped[str]
    state: Mapped[str] = mapped_column(String(16))  # PENDING, DELIVERED, GIVEN_UP
    attempts: Mapped[int]
    next_at: Mapped[datetime | None]
    last_status: Mapped[int | None]
    last_error: Mapped[str]
    created_at: Mapped[datetime]
    delivered_at: Mapped[datetime | None]
    __table_args__ = (
        Index("ix_webhook_deliveries_next", "state", "next_at"),
        Index("ix_webhook_deliveries_webhook", "webhook_id", "created_at"),
    )


class TeacherRow(Base):
    """A tracker that somebody uploaded to start searches from."""

    __tablename__ = "teachers"
    name: Mapped[str] = mapped_column(_NAME, primary_key=True)
    owner: Mapped[str] = mapped_column(_NAME)
    project: Mapped[str | None] = mapped_column(_NAME)
    family: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64))  # of what was uploaded
    bytes: Mapped[int] = mapped_column(BigInteger)
    folder: Mapped[str]
    note: Mapped[str]
    created_at: Mapped[datetime]
    archived_at: Mapped[datetime | None]
