"""Devices by the client and the command: what the API says of them, found by id or by name."""

import json
from dataclasses import fields
from typing import Any

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from service import _client_devices as values
from service.cli import app as command
from service.client import Client, ClientError
from service.commands._budget_words import budget_text, duration, nearest_text
from tests.service.house import House, client, house
from tests.service.searched import searched
from tests.service.test_devices import TIMED, NamedDevice

__all__ = ["client", "house"]  # fixtures


@pytest.fixture
def timed(house: House) -> Engine:
    """With two devices, one of which was timed again."""
    with house.engine.connect() as connection:
        there = connection.exec_driver_sql("SELECT count(*) FROM job_devices").scalar()
    if not there:
        for name, more in (("here", {}), ("there", {"seed": 3}), ("again", {"remeasure": True})):
            pool = NamedDevice("there" if name == "there" else "here", 1.1 if more else 1.0)
            searched(house.engine, house.here, name=name, pool=pool, **{**TIMED, **more})
    return house.engine


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (values.Device, "DevicePublic"),
        (values.WholeDevice, "WholeDevicePublic"),
        (values.ProbeThere, "ProbeTherePublic"),
        (values.Again, "AgainPublic"),
        (values.JobThere, "JobTherePublic"),
        (values.TimingThere, "TimingPublic"),
    ],
)
def test_what_it_reads_is_what_the_api_says_it_answers(
    house: House, kind: type[Any], schema: str
) -> None:
    schemas = house.app.openapi()["components"]["schemas"]
    assert {field.name for field in fields(kind)} == set(schemas[schema]["required"])


def test_devices_are_listed_and_found_by_id_and_by_name(timed: Engine, client: Client) -> None:
    here, there = client.devices.list(page=1)
    assert (here.name, there.name) == ("here", "there")
    assert (here.trials, here.job_count, [job.name for job in here.jobs]) == (
        12, 2, ["again", "here"],
    )  # fmt: skip
    again = here.probes[0].again
    assert again is not None and (again.timings, again.median) == (6, 0.1)
    whole = client.devices.get("here", trials=2)
    assert client.devices.get(here.id, trials=2) == whole
    assert [line.job_name for line in whole.timings] == ["again", "again"]
    assert whole.timings[0].at >= whole.timings[1].at


def test_one_that_is_not_there_says_which_are(timed: Engine, client: Client) -> None:
    with pytest.raises(ClientError, match=r"no device 'moon'.*\(here\)") as said:
        client.devices.get("moon")
    assert said.value.code == "not_found"


def test_the_command_lists_them_and_shows_one(
    timed: Engine, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARETRACK_URL", house.url)
    monkeypatch.setenv("COLUMNS", "250")

    def ran(*words: str) -> str:
        done = CliRunner().invoke(command, ["devices", *words])
        assert done.exit_code == 0, done.output
        return done.stdout

    listed = json.loads(ran("--json"))
    assert [one["name"] for one in listed] == ["here", "there"]
    text = ran()
    for words in ("x86_64 Linux", "20.0% in a trial", "+10.0%", "when 6 were timed again"):
        assert words in text, words
    one = ran("there", "--count", "3")
    assert one.count("eager") >= 4 and "here (6 trials, succeeded)" not in one
    assert json.loads(ran("there", "--json"))["timings"][0]["job_name"] == "there"
    assert json.loads(ran("--count", "1", "--json"))[0]["name"] == "here"


# --- what is used of a budget ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        ({}, "-"),
        ({"budget": {"trials": 40}, "asked": 5, "states": {"INFEASIBLE": 2}}, "3/40 trials"),
        (
            {
                "budget": {"trials": 4, "asked": 9, "seconds": 7200.0, "cpu_seconds": 90.0,
                           "gpu_seconds": 30.0, "hypervolume": 0.5, "plateau": 20},
                "spent": {"seconds": 812.4, "cpu_seconds": 45.0, "gpu_seconds": 0.0,
                          "since_gain": 3},
                "asked": 2, "hypervolume": 0.41234,
            },
            "2/4 trials, 2/9 of all kinds, 13.5 min/2 h, 45 s/1.5 min of CPUs, 0 s/30 s of GPUs, "
            "hypervolume 0.4123/0.5, 3/20 since the front moved",
        ),
        ({"budget": {"trials": 4, "cpu_seconds": 90.0, "plateau": 2}, "asked": 1},
         "1/4 trials, ?/1.5 min of CPUs, ?/2 since the front moved"),
    ],
)  # fmt: skip
def test_every_given_bound_is_told_with_what_is_used_of_it(
    summary: dict[str, Any], said: str
) -> None:
    assert budget_text(summary) == said


def test_a_list_tells_the_bound_that_is_used_up_most() -> None:
    summary = {
        "budget": {"trials": 40, "seconds": 600.0, "plateau": 20},
        "states": {"INFEASIBLE": 2},
        "asked": 22,
        "spent": {"seconds": 400.0, "since_gain": 3},
    }
    assert nearest_text(summary) == "6.67 min/10 min"
    assert nearest_text({}) == "-"


def test_times_are_told_in_the_unit_that_fits() -> None:
    said = [duration(seconds) for seconds in (0.25, 89.0, 90.0, 5399.0, 5400.0, 200_000.0)]
    assert said == ["0.25 s", "89 s", "1.5 min", "90 min", "1.5 h", "2.31 d"]
