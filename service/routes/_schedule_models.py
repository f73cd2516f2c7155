"""What is sent and shown of schedules."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from service.calendar import Fold, Gap
from service.routes.jobs import EXAMPLE_SPEC, JobCreate
from service.schedules import MOST_COMING
from service.ticks import Overlap, Verdict

MOST_CATCH_UP, MOST_JITTER = 30 * 86400, 3600  # seconds
EXAMPLE_CALENDAR: dict[str, JsonValue] = {"cron": "30 2 * * *", "timezone": "Europe/London"}
EXAMPLE: dict[str, JsonValue] = {
    "name": "every night",
    "calendar": EXAMPLE_CALENDAR,
    "job": {"spec": EXAMPLE_SPEC, "labels": ["nightly"]},
    "overlap": "skip",
    "pause_after_failures": 3,
}
Name = Annotated[str, Field(min_length=1, max_length=200)]
CatchUp = Annotated[
    int,
    Field(
        strict=True,
        ge=0,
        le=MOST_CATCH_UP,
        description="So late a tick still begins, if no controller was there in time.",
    ),
]
Jitter = Annotated[
    int,
    Field(
        strict=True,
        ge=0,
        le=MOST_JITTER,
        description="A job begins up to so many seconds after its tick.",
    ),
]
Failures = Annotated[int, Field(strict=True, ge=1, le=1000)]


class CalendarPublic(BaseModel):
    """When a schedule ticks: cron by the clock on the wall of a time zone."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE_CALENDAR]})
    cron: str = Field(
        min_length=1,
        max_length=200,
        description="Minute, hour, day of the month, month, day of the week; L, LW, 5L, 5#2.",
        examples=["30 2 * * *"],
    )
    timezone: str = Field(
        min_length=1, max_length=64, description="Of IANA's.", examples=["Europe/London"]
    )
    gap: Gap = Field("shift", description="Of a time that does not exist.")
    fold: Fold = Field("first", description="Of a time that comes twice.")


class ScheduleCreate(BaseModel):
    """A search that is to begin again and again."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})
    name: Name
    calendar: CalendarPublic
    job: JobCreate
    overlap: Overlap = Field("skip", description="While the job before has not ended.")
    catch_up_seconds: CatchUp = 3600
    jitter_seconds: Jitter = 0
    continues: bool = Field(
        True,
        strict=True,
        description="Each night begins with the front of the night before, timed again.",
    )
    pause_after_failures: Failures | None = Field(None, description="In a row; null: never.")


class ScheduleUpdate(BaseModel):
    """Other terms of a schedule; what is left out stays."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"calendar": {**EXAMPLE_CALENDAR, "cron": "0 4 * * *"}}]},
    )
    name: Name | None = None
    calendar: CalendarPublic | None = None
    job: JobCreate | None = None
    overlap: Overlap | None = None
    catch_up_seconds: CatchUp | None = None
    jitter_seconds: Jitter | None = None
    continues: bool | None = Field(None, strict=True)
    pause_after_failures: Failures | None = Field(None, description="null: never again.")


class JobAsked(BaseModel):
    """What each tick submits."""

    spec: dict[str, JsonValue]
    labels: list[str]
    priority: int


class SchedulePublic(BaseModel):
    """A schedule as it is now."""

    id: str
    name: str
    owner: str
    project: str | None
    tracker: str = Field(description="The family of its teacher.")
    calendar: CalendarPublic
    words: str = Field(description="The calendar, for people.")
    job: JobAsked
    overlap: Overlap
    catch_up_seconds: int
    jitter_seconds: int
    continues: bool
    pause_after_failures: int | None
    paused: bool
    paused_why: str
    failures: int = Field(description="In a row.")
    next_at: datetime | None = Field(description="When its next tick's job begins; null: never.")
    version: int = Field(description="Also in the ETag; send it as If-Match to change it.")
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None
    links: dict[str, str]


class ComingPublic(BaseModel):
    """A tick that is to come."""

    at: datetime = Field(description="In UTC.")
    local: datetime = Field(description="By the clock on the wall, with its distance from UTC.")
    begins_at: datetime = Field(description="With the schedule's jitter.")


class PreviewAsked(BaseModel):
    """A calendar to be tried out."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"calendar": EXAMPLE_CALENDAR, "count": 3}]}
    )
    calendar: CalendarPublic
    count: int = Field(10, strict=True, ge=1, le=MOST_COMING)


class PreviewPublic(BaseModel):
    """A calendar in words, and its next ticks."""

    words: str
    ticks: list[ComingPublic]


class TickJob(BaseModel):
    """The job of a tick, in short."""

    id: str
    name: str
    state: str


class TickPublic(BaseModel):
    """What was decided for one instant, and how its night went."""

    at: datetime
    local: datetime
    decision: Verdict
    note: str = Field(description="Why.")
    by_hand: bool
    decided_at: datetime
    job: TickJob | None
    report: dict[str, JsonValue] | None = Field(
        description="Once its job has ended: state, words, comparison with other nights, drift."
    )
