"""What tonight takes over from last night, and what it does not."""

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Engine

from service import schedules
from tests.service.jobs import Bench
from tests.service.scheduled import (
    DAY,
    HOUR,
    NIGHT,
    edit,
    job_of,
    jobs_of,
    make,
    move,
    spec_of,
    ticks,
    with_front,
)


def one_night(engine: Engine, made: schedules.Schedule, at: datetime, points: int = 4) -> Any:
    """A night that ends with a front of so many points; its job."""
    assert schedules.turn(engine, at) == 1
    job = job_of(engine, ticks(engine, made)[-1])
    with_front(engine, job.id, points)
    move(engine, job.id, "begin", "done")
    return job


def test_tonight_goes_on_from_the_last_front(engine: Engine, here: Bench) -> None:
    made = make(engine, here)
    first = one_night(engine, made, NIGHT)
    fruitless = one_night(engine, made, NIGHT + DAY, points=0)
    assert fruitless.spec["fronts"] == [first.id]
    third = one_night(engine, made, NIGHT + 2 * DAY)
    assert third.spec["fronts"] == third.spec["warm_start"] == [first.id]
    assert third.spec["remeasure"] is True
    assert third.spec["opening"] == 0
    assert third.spec["budget"]["trials"] == first.spec["budget"]["trials"] + 4
    seeds = {job.spec["sampler_seed"] for job in jobs_of(engine, made)}
    assert len(seeds) == 3, "no night draws what another has drawn"
    assert f"continues from {first.id}" in ticks(engine, made)[-1].note
    fourth = one_night(engine, made, NIGHT + 3 * DAY)
    assert fourth.spec["fronts"] == [third.id]
    assert fourth.spec["budget"] == third.spec["budget"], "the room is not added up"


@pytest.mark.parametrize(
    ("changed", "fronts", "learns"),
    [
        ({"seed": 3}, True, False),
        ({"budget": {"trials": 3}, "limits": ["macs_frame<=10G"]}, True, True),
        ({"space": {"layers": {"least": 1}}}, False, False),
    ],
)
def test_another_document_takes_over_what_is_true_of_it(
    engine: Engine, here: Bench, changed: dict[str, Any], fronts: bool, learns: bool
) -> None:
    made = make(engine, here)
    first = one_night(engine, made, NIGHT)
    edit(engine, here, made, NIGHT + HOUR, spec=spec_of(here, **changed))
    second = one_night(engine, made, NIGHT + DAY)
    assert second.spec["fronts"] == ([first.id] if fronts else [])
    assert second.spec["warm_start"] == ([first.id] if learns else [])
    assert second.spec["opening"] == (0 if learns else 12)
    if not fronts:
        assert "another space" in ticks(engine, made)[-1].note


def test_nights_that_stand_alone_are_all_alike(engine: Engine, here: Bench) -> None:
    made = make(engine, here, continues=False)
    first, second = (one_night(engine, made, NIGHT + day * DAY) for day in (0, 1))
    assert first.spec == second.spec == spec_of(here)
