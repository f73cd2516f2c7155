"""A schedule changed by the command and by the client, from a real server."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from service.client import Client, ClientError
from service.settings import Settings
from tests.acceptance.conftest import Ran, paretrack
from tests.service.jobs import Bench
from tests.service.scheduled import Here, spec_of
from tests.service.searched import made
from tests.service.served import serving

__all__ = ["paretrack"]  # fixture


@dataclass(frozen=True)
class Office:
    """A service with one schedule, and the command that calls it."""

    client: Client
    run: Callable[..., Ran]

    @property
    def now(self) -> Any:
        return self.client.schedules.find("every night").now

    def edit(self, *words: object) -> Any:
        ran = self.run("schedule", "edit", "every night", *words, "--json")
        assert ran.code == 0, ran.err
        return json.loads(ran.out)


@pytest.fixture
def office(
    prepared_sqlite: Path,
    here: Bench,
    paretrack: Callable[..., Ran],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Office]:
    file = here.home / "paretrack.db"
    file.write_bytes(prepared_sqlite.read_bytes())
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("PARETRACK_TOKEN", raising=False)
    with made(Settings(home=here.home, database_url=f"sqlite:///{file}")) as app:
        object.__setattr__(app.state.service, "beside", Here())
        with serving(app) as served, Client(served.url) as client:
            monkeypatch.setenv("PARETRACK_URL", served.url)
            client.schedules.create(
                "every night", spec_of(here), "30 2 * * *", "Europe/London",
                fold="last", labels=["nightly"], priority=3, pause_after_failures=2,
            )  # fmt: skip
            yield Office(client, paretrack)


def test_what_is_not_said_stays(office: Office) -> None:
    before = office.now
    changed = office.edit("--cron", "0 4 * * *", "--overlap", "buffer")
    assert changed["calendar"] == {**vars(before.calendar), "cron": "0 4 * * *"}
    after = office.now
    assert (after.overlap, after.words) == ("buffer", "At 04:00 every day, Europe/London")
    same = (
        "name",
        "job",
        "catch_up_seconds",
        "jitter_seconds",
        "continues",
        "pause_after_failures",
    )
    for name in same:
        assert getattr(after, name) == getattr(before, name), name


def test_every_term_can_be_changed_and_back(office: Office) -> None:
    office.edit(
        "--timezone", "Asia/Tokyo", "--gap", "skip", "--fold", "both", "--catch-up", 5,
        "--jitter", 30, "--anew", "--pause-after", 0, "--name", "nights", "--label", "",
    )  # fmt: skip
    now = office.client.schedules.find("nights").now
    assert vars(now.calendar) == {
        "cron": "30 2 * * *", "timezone": "Asia/Tokyo", "gap": "skip", "fold": "both",
    }  # fmt: skip
    assert (now.catch_up_seconds, now.jitter_seconds, now.continues) == (300, 30, False)
    assert (now.pause_after_failures, now.job["labels"], now.job["priority"]) == (None, [], 3)
    ran = office.run("schedule", "edit", "nights", "--continue", "--pause-after", 4)
    assert ran.code == 0 and "with the front of the night before" in ran.out
    assert "paused after 4" in ran.out


def test_its_job_is_changed_by_words_or_by_a_file(office: Office, tmp_path: Path) -> None:
    before = office.now.job
    office.edit("--trials", 7, "--label", "a", "--label", "b", "--priority", -5)
    now = office.now.job
    assert (now["labels"], now["priority"]) == (["a", "b"], -5)
    assert now["spec"]["budget"] == {**before["spec"]["budget"], "trials": 7}
    assert {**now["spec"], "budget": 0} == {**before["spec"], "budget": 0}

    file = tmp_path / "other.json"
    file.write_text(json.dumps({**before["spec"], "name": "other", "seed": 5}))
    office.edit(file, "--trials", 9)
    found = office.now.job
    assert (found["spec"]["name"], found["spec"]["seed"]) == ("other", 5)
    assert (found["spec"]["budget"]["trials"], found["labels"]) == (9, ["a", "b"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "say what is to be otherwise"),
        (("--cron", "61 2 * * *"), "cron"),
        (("--timezone", "Europe/Atlantis"), "Europe/Atlantis"),
        (("nowhere.json",), "nowhere.json is not a job"),
        (("--trials", 0), "trials"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_changed(
    office: Office, words: tuple[object, ...], said: str
) -> None:
    before = office.now
    ran = office.run("schedule", "edit", "every night", *words)
    assert (ran.code, "Traceback" in ran.err) == (2, False)
    assert said in " ".join(ran.err.split())
    assert office.now == before


def test_what_somebody_else_has_changed_meanwhile_is_not_overwritten(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = (office.client.schedules.find("every night") for _ in range(2))
    theirs.edit(jitter_seconds=7)
    with pytest.raises(ClientError) as refused:
        mine.edit(overlap="allow")
    assert refused.value.code == "changed_meanwhile"

    from service._client_schedules import ScheduleHandle

    edit = ScheduleHandle.edit

    def late(self: ScheduleHandle, **changes: Any) -> Any:
        edit(theirs, jitter_seconds=9)
        return edit(self, **changes)

    monkeypatch.setattr(ScheduleHandle, "edit", late)
    ran = office.run("schedule", "edit", "every night", "--overlap", "allow")
    assert ran.code == 2
    assert f"somebody else has changed {mine.id} at this moment" in ran.err
    now = office.now
    assert (now.overlap, now.jitter_seconds) == ("skip", 9)
