"""Devices: what timings of trials come to, counted once whatever is written twice, and told to
nobody who may not see the searches."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from statistics import median_low
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, func, select, text, update

from service import _optuna_tables as optuna_tables
from service import migrations
from service._device_figures import Told, middle, together, told_from_text, two_digits
from service._studies import find_study, read_attrs
from service._timings import JOB_DEVICES, TIMINGS
from service._trial_summaries import put_rows
from service.callers import Role
from service.database import open_database, reading, writing
from service.jobs import JOBS, StoredJob
from service.routes.devices import DevicePublic, WholeDevicePublic
from tests.service.asking import ask
from tests.service.jobs import Bench
from tests.service.searched import API, searched
from tests.service.test_night_reports import Device
from tests.service.tokened import Tokened
from workers.pool import Done

EVIL = "<script>alert(1)</script>"
TIMED: dict[str, Any] = {
    "rungs": [], "early_stopping": "none", "costs": ["macs_frame"], "probes": ["eager"],
    "budget": {"trials": 6}, "opening": 6,
}  # fmt: skip
HERE = {"machine": "x86_64 Linux", "cores": "2", "torch": "2.13.0", "device": "cpu"}


class NamedDevice(Device):
    """A pool on a device with a name."""

    def __init__(self, name: str = "a processor", slower: float = 1.0) -> None:
        super().__init__(slower)
        self.name = name

    def _timed(self, assignment: Any, report: Done) -> Done:
        found = dict(super()._timed(assignment, report).measurement)
        step = found["latency"]["eager"]["step"]
        wide = {"p10_ms": 0.9 * step["median_ms"], "p90_ms": 1.1 * step["median_ms"]}
        timing = {**step, **wide, "spread": 0.021}
        one = {"device": self.name, "threads": 2, "versions": {"torch": "2.13.0+cpu"}}
        latency = {"eager": {**one, "step": timing, "track": timing, "init": timing}}
        return Done(report.ticket, {**found, "latency": latency, "environment": HERE})


def listed(app: FastAPI, **query: Any) -> list[dict[str, Any]]:
    answer = ask(app, "GET", f"{API}/devices", params=query)
    assert answer.status_code == 200, answer.text
    for item in answer.json()["items"]:
        DevicePublic(**item)
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def read(app: FastAPI, device_id: str, **query: Any) -> dict[str, Any]:
    answer = ask(app, "GET", f"{API}/devices/{device_id}", params=query)
    assert answer.status_code == 200, answer.text
    WholeDevicePublic(**answer.json())
    found: dict[str, Any] = answer.json()
    return found


def job_devices(engine: Engine) -> list[dict[str, Any]]:
    with reading(engine) as connection:
        query = select(JOB_DEVICES).order_by(JOB_DEVICES.c.job_id, JOB_DEVICES.c.device_id)
        return [dict(row) for row in connection.execute(query).mappings()]


def timings(engine: Engine) -> list[dict[str, Any]]:
    with reading(engine) as connection:
        query = select(TIMINGS).order_by(TIMINGS.c.job_id, TIMINGS.c.number)
        return [dict(row) for row in connection.execute(query).mappings()]


def told_again(engine: Engine, job: StoredJob) -> None:
    """Every row of the job once more, as after a batch of which nobody knew whether it was kept."""
    with writing(engine) as connection:
        study = find_study(connection, job.id)
        assert study is not None
        about = read_attrs(connection, optuna_tables.STUDY_USER_ATTRS, study)
        put_rows(connection, job.id, study, about, range(job.summary["asked"]))


def test_a_device_says_what_was_measured_on_it(engine: Engine, here: Bench, fresh: FastAPI) -> None:
    assert listed(fresh) == []
    one = searched(
        engine, here, name="one", pool=NamedDevice(f"{EVIL} (CPUExecutionProvider)"), **TIMED
    )
    other = {**TIMED, "seed": 5}  # judged otherwise: no candidate is known before
    two = searched(engine, here, name="two", pool=NamedDevice(), **other)
    first, second = listed(fresh)
    assert (first["name"], second["name"]) == ("a processor", EVIL)
    assert [job["id"] for job in second["jobs"]] == [one.id] and first["jobs"][0]["id"] == two.id
    assert (second["trials"], second["job_count"]) == (one.summary["asked"], 1)
    assert (second["machine"], second["cores"], second["threads"]) == ("x86_64 Linux", "2", [2])
    assert second["versions"] == {"torch": ["2.13.0+cpu"]}, "what the probe says counts most"
    (probe,) = second["probes"]
    assert probe["names"] == [f"{EVIL} (CPUExecutionProvider)"]
    assert (probe["timings"], probe["interval"], probe["spread"]) == (6, 0.2, 0.021)
    assert probe["again"] is None
    whole = read(fresh, second["id"], trials=3)
    assert {k: v for k, v in whole.items() if k != "timings"} == second
    assert [line["number"] for line in whole["timings"]] == [5, 4, 3]
    assert whole["timings"][0]["job_name"] == "one"
    assert listed(fresh, limit=1) == [first]
    assert (listed(fresh, job=one.id), listed(fresh, job=two.id)) == ([second], [first])


def test_pages_of_devices_go_on_where_the_last_one_ended(
    engine: Engine, here: Bench, fresh: FastAPI
) -> None:
    for number in range(3):
        name = f"device {number}"
        searched(engine, here, name=name, pool=NamedDevice(name), **{**TIMED, "seed": number})
    names: list[str] = []
    cursor = None
    for _ in range(3):
        query = {"limit": 1} | ({} if cursor is None else {"cursor": cursor})
        page = ask(fresh, "GET", f"{API}/devices", params=query).json()
        names += [item["name"] for item in page["items"]]
        cursor = page["next"]
    assert (names, cursor) == (["device 2", "device 1", "device 0"], None)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/devices/nobodys", 404),
        ("/devices/0123456789abcdef", 404),
        (f"/devices/{'a' * 65}", 422),
        ("/devices/a?trials=0", 422),
        ("/devices/a?trials=201", 422),
        (f"/devices/a?trials={10**30}", 422),
        ("/devices?limit=0", 422),
        ("/devices?cursor=nonsense", 422),
        ("/devices?job=nobodys", 404),
        (f"/devices?job={'a' * 201}", 422),
    ],
)
def test_what_is_not_there_or_out_of_bounds_is_a_problem(
    fresh: FastAPI, path: str, status: int
) -> None:
    answer = ask(fresh, "GET", f"{API}{path}")
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_what_is_told_twice_counts_once(engine: Engine, here: Bench) -> None:
    job = searched(engine, here, pool=NamedDevice(), **TIMED)
    before = job_devices(engine), timings(engine)
    assert before[0][0]["trials"] == 6
    told_again(engine, job)
    assert (job_devices(engine), timings(engine)) == before


def test_a_batch_that_was_never_told_is_counted_when_it_is_taken_up(
    engine: Engine, here: Bench
) -> None:
    job = searched(engine, here, pool=NamedDevice(), **TIMED)
    before = job_devices(engine)
    with writing(engine) as connection:
        connection.execute(delete(TIMINGS))
        connection.execute(delete(JOB_DEVICES))
    told_again(engine, job)
    assert job_devices(engine) == before


def test_a_trial_that_was_timed_elsewhere_after_all_moves_there(
    engine: Engine, here: Bench
) -> None:
    job = searched(engine, here, pool=NamedDevice(), **TIMED)
    attrs = optuna_tables.USER_ATTRS
    with writing(engine) as connection:
        query = select(attrs).where(attrs.c.key == "timed").order_by(attrs.c.trial_id)
        rows = list(connection.execute(query).mappings())
        for row in rows[:2]:
            other = row["value_json"].replace("a processor", "another")
            connection.execute(
                update(attrs).where(attrs.c.trial_id == row["trial_id"], attrs.c.key == "timed")
                .values(value_json=other)
            )  # fmt: skip
    told_again(engine, job)
    assert {row["name"]: row["trials"] for row in job_devices(engine)} == {
        "a processor": 4,
        "another": 2,
    }
    with writing(engine) as connection:
        connection.execute(
            update(attrs).where(attrs.c.key == "timed").values(value_json=rows[0]["value_json"])
        )
    told_again(engine, job)
    (row,) = job_devices(engine)
    assert (row["name"], row["trials"]) == ("a processor", 6)
    assert told_from_text(row["told_json"]).probes["eager"].measured == 6


def test_candidates_timed_again_say_how_the_device_has_drifted(
    engine: Engine, here: Bench, fresh: FastAPI
) -> None:
    first = searched(engine, here, name="first", pool=NamedDevice(), **TIMED)
    pool = NamedDevice(slower=1.1)
    second = searched(engine, here, name="second", pool=pool, remeasure=True, **TIMED)
    known = {row["digest"]: row for row in timings(engine) if row["job_id"] == first.id}
    again = [row for row in timings(engine) if row["job_id"] == second.id and row["before_job"]]
    assert len(again) == 6
    for row in again:
        assert (row["before_job"], row["before_number"]) == (
            first.id, known[row["digest"]]["number"],
        )  # fmt: skip
        assert row["change"] == pytest.approx(0.1)
    (device,) = listed(fresh)
    expected = {"timings": 6, "median": 0.1, "lowest": 0.1, "highest": 0.1}
    assert device["probes"][0]["again"] == expected
    assert [job["name"] for job in device["jobs"]] == ["second", "first"]
    assert read(fresh, device["id"])["timings"][0]["before_job"] == first.id


def test_what_was_known_and_not_timed_again_was_timed_once(engine: Engine, here: Bench) -> None:
    searched(engine, here, name="first", pool=NamedDevice(), **TIMED)
    second = searched(engine, here, name="second", pool=NamedDevice(), **TIMED)
    assert second.summary["states"] == {"COMPLETE": 6}
    assert {row["job_id"] for row in timings(engine)} != {second.id}
    assert len(timings(engine)) == 6


@pytest.fixture
def site(engine: Engine, here: Bench) -> Iterator[Tokened]:
    found = Tokened(engine, here.home)
    yield found
    found.close()


def test_searches_of_others_do_not_show_through_counts_or_drift(
    engine: Engine, here: Bench, site: Tokened
) -> None:
    anns = searched(engine, here, name="anns", owner="ann", pool=NamedDevice(), **TIMED)
    # Bea has timed the same candidates on the same device, later, and found them slower.
    pool = NamedDevice(slower=2.0)
    searched(engine, here, name="beas", owner="bea", pool=pool, remeasure=True, **TIMED)
    mine = site.ask("GET", "/devices", "ann", Role.VIEWER).json()["items"]
    hers = site.ask("GET", "/devices", "bea", Role.VIEWER).json()["items"]
    all_of_it = site.ask("GET", "/devices", "eve", Role.OPERATOR).json()["items"]
    nobodys = site.ask("GET", "/devices", "zoe", Role.SUBMITTER).json()["items"]
    assert [d["trials"] for d in (mine[0], hers[0], all_of_it[0])] == [6, 6, 12]
    assert nobodys == []
    assert [job["id"] for job in mine[0]["jobs"]] == [anns.id] and mine[0]["job_count"] == 1
    assert mine[0]["last_at"] < hers[0]["last_at"] == all_of_it[0]["last_at"]
    # The device is the same for both; that the other was there is nobody's business.
    assert mine[0]["id"] == hers[0]["id"]
    assert [d["probes"][0]["again"] for d in (mine[0], hers[0])] == [None, None]
    path = f"/devices/{mine[0]['id']}"
    seen = site.ask("GET", path, "ann", Role.VIEWER).json()["timings"]
    assert {line["job"] for line in seen} == {anns.id} and len(seen) == 6
    assert site.ask("GET", path, "zoe", Role.SUBMITTER).status_code == 404
    assert site.ask("GET", f"/devices?job={anns.id}", "bea", Role.VIEWER).status_code == 404
    with writing(engine) as connection:
        connection.execute(update(JOBS).where(JOBS.c.id == anns.id).values(project="drones"))
    shared = site.ask("GET", "/devices", "zoe", Role.VIEWER, "drones").json()["items"]
    assert shared == mine


def test_what_searches_had_measured_before_there_were_devices_is_told_by_the_migration(
    engine: Engine, here: Bench, database_url: str
) -> None:
    job = searched(engine, here, pool=NamedDevice(), **TIMED)
    searched(engine, here, name="knew all", pool=NamedDevice(), **TIMED)
    before = job_devices(engine), timings(engine)
    with writing(engine) as connection:
        connection.execute(text("DROP TABLE timings"))
        connection.execute(text("DROP TABLE job_devices"))
        connection.execute(text(f"UPDATE {migrations.VERSIONS} SET version_num = '0002'"))
    again = open_database(database_url)
    (now,), rows = job_devices(again), timings(again)
    (then,) = before[0]
    assert rows == before[1]
    assert now["job_id"] == job.id
    told, had = (told_from_text(row.pop("told_json")) for row in (now, then))
    assert now == then and told == had
    again.dispose()


def test_those_that_were_stopped_at_a_rung_are_told_by_the_migration_too(
    engine: Engine, here: Bench, database_url: str
) -> None:
    words = {**TIMED, "rungs": [0, 25], "early_stopping": "mo_asha", "budget": {"trials": 10}}
    job = searched(engine, here, pool=NamedDevice(), **words)
    assert job.summary["states"].keys() == {"COMPLETE", "STOPPED"}
    before = timings(engine)
    assert len(before) == 10
    with writing(engine) as connection:
        connection.execute(text("DROP TABLE timings"))
        connection.execute(text("DROP TABLE job_devices"))
        connection.execute(text(f"UPDATE {migrations.VERSIONS} SET version_num = '0002'"))
    again = open_database(database_url)
    assert timings(again) == before
    assert [row["trials"] for row in job_devices(again)] == [10]
    again.dispose()


def test_what_nobody_kept_is_left_out_by_the_migration(
    engine: Engine, here: Bench, database_url: str
) -> None:
    """Searches that timed nothing, and a measurement without the name of a device."""
    searched(engine, here, name="untimed")
    searched(engine, here, name="nameless", pool=Device(), **TIMED)
    with writing(engine) as connection:
        assert connection.execute(select(func.count()).select_from(TIMINGS)).scalar() == 0
        connection.execute(text("DROP TABLE timings"))
        connection.execute(text("DROP TABLE job_devices"))
        connection.execute(text(f"UPDATE {migrations.VERSIONS} SET version_num = '0002'"))
    again = open_database(database_url)
    assert (job_devices(again), timings(again)) == ([], [])
    again.dispose()


FIGURES = st.lists(st.floats(0.0, 3.0), min_size=1, max_size=40)


@given(FIGURES, FIGURES)
def test_figures_of_several_jobs_are_counted_as_those_of_one(
    some: list[float], others: list[float]
) -> None:
    def told(figures: list[float]) -> Told:
        found = Told()
        for figure in figures:
            row = {"probe": "eager", "median_ms": 1.0, "p10_ms": 1.0, "p90_ms": 1.0 + figure}
            found.saw("eager", "here", 1, {"torch": "2"})
            found.count({**row, "spread": figure, "change": figure})
        return found_again(found)

    def found_again(one: Told) -> Told:
        return told_from_text(one.to_text())

    both = together([told(some), told(others)])
    assert both == told([*some, *others])
    exact = median_low([*some, *others])
    assert middle(both.probes["eager"].spread) == two_digits(exact)
    assert two_digits(exact) == pytest.approx(exact, rel=0.05)


def test_a_time_is_not_taken_for_another(engine: Engine, here: Bench, fresh: FastAPI) -> None:
    job = searched(engine, here, pool=NamedDevice(), **TIMED)
    (device,) = listed(fresh)
    first, last = (datetime.fromisoformat(device[name]) for name in ("first_at", "last_at"))
    assert job.started_at is not None and job.ended_at is not None
    second = timedelta(seconds=1)
    assert job.started_at - second <= first <= last <= job.ended_at + second
