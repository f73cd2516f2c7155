"""The client against a real server, over lines that break."""

import csv
import json
import logging
import re
import socket
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from search_spaces import ParetrackError
from service import _client_values as values
from service.client import Client, ClientError, client_from
from service.front_picture import draw_front
from service.recorded import read_job
from tests.service.house import House, broken, client, house, line, state_of
from tests.service.line import Cut, Deaf, Line, Says, line_to
from workers.documents import plain

__all__ = ["broken", "client", "house", "line"]  # fixtures

TOKEN = "pt_3f9c0a17be52d481_averysecretsecret"


# --- the contract ------------------------------------------------------------------------------

ANSWERS: dict[type[Any], str] = {
    values.Job: "JobPublic", values.Trial: "TrialPublic", values.WholeTrial: "WholeTrialPublic",
    values.Event: "EventPublic", values.Axis: "MetricPublic", values.Bound: "BoundPublic",
    values.FrontPoint: "FrontPointPublic", values.FrontRead: "FrontPublic",
    values.Step: "StepPublic", values.Growth: "GrowthPublic",
    values.Importances: "ImportancesPublic", values.Preview: "Preview",
    values.CostRange: "CostRangePublic", values.LimitSeen: "LimitPublic",
    values.Page: "Page_JobPublic_", values.Artefact: "ArtefactPublic",
    values.Artefacts: "Artefacts",
}  # fmt: skip


@pytest.mark.parametrize("kind", ANSWERS, ids=lambda kind: kind.__name__)
def test_what_it_reads_is_what_the_api_says_it_answers(house: House, kind: type[Any]) -> None:
    schemas = house.app.openapi()["components"]["schemas"]
    assert {field.name for field in fields(kind)} <= set(schemas[ANSWERS[kind]]["required"])


def test_what_it_asks_is_what_the_api_says_can_be_asked(house: House, line: Line) -> None:
    with Client(line.url) as client:
        client.preview(house.done.spec)
        list(client.jobs(state="SUCCEEDED", label="x", text="y", tracker="z", archived=True))
        job = client.job("done")
        job.edit(priority=1)
        list(job.trials(sort="-number", state=["COMPLETE"], feasible=True, on_front=False))
        "".join(job.trials_as_csv(state="COMPLETE"))
        job.trial(0), job.front(), job.front(x="parameters"), job.hypervolume(), job.importances()
        list(job.events()), job.wait()
        other = client.submit({**house.done.spec, "name": "asked"})
        other.pause(), other.resume(), other.cancel(), other.archive()
    paths = house.app.openapi()["paths"]
    for asked in {line.decode() for line in line.requests}:
        method, target, _ = asked.split()
        path, _, query = target.partition("?")
        shape = re.sub(r"(?<=/trials/)\d+", "{number}", path)
        shape = re.sub(r"(?<=/jobs/)(?!preview)[^/]+", "{job_id}", shape)
        operation = paths[shape][method.lower()]
        known = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"}
        assert {part.partition("=")[0] for part in query.split("&") if part} <= known, asked
    assert len({line.split()[0] for line in line.requests}) == 4


# --- what it needs, and what it keeps to itself ------------------------------------------------


def test_it_needs_no_torch_and_no_database() -> None:
    code = (
        "import sys, service.client\n"
        "heavy = {'torch', 'sqlalchemy', 'fastapi', 'optuna', 'ray', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_a_token_goes_to_the_service_and_nowhere_else(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with line_to(house.url) as elsewhere, line_to(house.url) as line:
        target = elsewhere.url.encode()
        moved = (
            b"HTTP/1.1 307 Moved\r\nContent-Length: 0\r\nLocation: %b/api/v1/jobs\r\n\r\n" % target
        )
        line.plans = [Says(moved), Says(b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"), Deaf()]
        client = Client(line.url, TOKEN, patience=0.0)
        told = [repr(client), repr(client._transport), repr(vars(client))]
        for _ in range(3):
            with pytest.raises(ClientError) as refused:
                list(client.jobs())
            told += [str(refused.value), repr(refused.value), repr(refused.value.__cause__)]
        client.close()

    assert not elsewhere.requests
    assert all(f"Bearer {TOKEN}".encode() in head for head in line.heads)
    assert "sends on to" in told[3]
    assert TOKEN not in "\n".join([*told, caplog.text])


@pytest.mark.parametrize("token", [f"{TOKEN}\n", "geheim\u2028", "two words", "tab\there"])
def test_a_token_that_cannot_be_one_is_not_shown(token: str) -> None:
    with pytest.raises(ClientError, match="copy it anew") as refused:
        Client("http://127.0.0.1:8000", token)
    assert token.strip() not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("127.0.0.1:8000", "expected an address such as http://127.0.0.1:8000"),
        ("ftp://there", "expected an address"),
        ("http://", "expected an address"),
        ("http://there?x=1", "expected an address"),
        ("http://ada:secret@there", "without a user in it"),
    ],
)
def test_an_address_that_cannot_be_one_is_said(url: str, said: str) -> None:
    with pytest.raises(ClientError, match=said) as refused:
        client_from({"PARETRACK_URL": url})
    assert "secret" not in str(refused.value)
    assert str(refused.value).startswith("PARETRACK_URL: ")


def test_where_nobody_listens_it_says_so_and_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with client_from({"PARETRACK_URL": url}) as client, pytest.raises(ClientError) as refused:
        client.job("street")
    for word in (url, "PARETRACK_URL", "is `paretrack up` running?"):
        assert word in str(refused.value)
    assert (refused.value.code, refused.value.unsure) == ("no_answer", False)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n"
        b'{"items":{}}',
        b'HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n{"items":[{}],"next":null}',
    ],
)
def test_what_is_no_paretrack_is_said(line: Line, broken: Client, answer: bytes) -> None:
    line.always = Says(answer)
    with pytest.raises(ClientError) as refused:
        list(broken.jobs())
    assert refused.value.code == "not_paretrack"


def test_a_problem_keeps_its_code_its_faults_and_its_request(client: Client, house: House) -> None:
    spec = {**house.done.spec, "steps": -1, "name": "bad"}
    with pytest.raises(ClientError) as refused:
        client.submit(spec)
    error = refused.value
    assert (error.code, error.status) == ("invalid", 422)
    assert error.faults[0]["pointer"] == "/spec/steps"
    assert error.request_id and error.document is not None
    assert "steps" in str(error)
    with pytest.raises(ClientError, match="must be JSON"):
        client.submit({"name": "x", "teacher": {1, 2}})


# --- again, where that does no harm ------------------------------------------------------------


def test_a_job_is_submitted_once_though_its_answer_is_lost(
    house: House, line: Line, broken: Client
) -> None:
    line.plans = [Deaf(), Cut(0), Cut(40), Says()]
    spec = {**house.done.spec, "name": "once"}
    job = broken.submit(spec, labels=["kept"], priority=3)

    assert [each.id for each in broken.jobs(text="once")] == [job.id]
    assert (job.state, job.now.labels, job.now.priority) == ("QUEUED", ("kept",), 3)
    assert line.asked("POST") == 5
    seen = broken.preview(spec)
    assert seen.family == "siamrpn" and seen.size > 10


def test_what_only_reads_is_asked_again(house: House, line: Line, broken: Client) -> None:
    slow = b"HTTP/1.1 429 Slow\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n"
    waited: list[float] = []
    broken._transport.sleep = waited.append
    line.plans = [Says(slow), Cut(10), Says(), None]
    assert broken.job(house.done.id).id == house.done.id
    assert (line.asked("GET"), waited[0], len(waited)) == (4, 3.0, 3)


def test_it_does_not_ask_for_ever(house: House, line: Line) -> None:
    slow = b"HTTP/1.1 503 Away\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n"
    line.always = Says(slow)
    with Client(line.url, patience=5.0) as client, pytest.raises(ClientError) as refused:
        client.job(house.done.id)
    assert (refused.value.status, line.asked("GET")) == (503, 1)


def test_a_verb_whose_answer_is_lost_is_not_said_again(
    house: House, line: Line, broken: Client
) -> None:
    job = broken.job(house.submitted("lost").id)
    line.plans = [Cut(0)]
    assert job.pause("the device is needed").state == "PAUSED"
    assert line.asked("POST") == 1
    assert job.now.reason == "the device is needed"


@pytest.mark.parametrize("plan", [Deaf(), Says()])
def test_a_verb_that_nobody_heard_is_an_error(
    house: House, line: Line, broken: Client, plan: Deaf | Says
) -> None:
    job = broken.job(house.submitted("unheard").id)
    line.plans = [plan]
    with pytest.raises(ClientError) as refused:
        job.stop()
    assert refused.value.unsure
    assert (line.asked("POST"), state_of(house.engine, job.id)) == (1, "QUEUED")


# --- jobs --------------------------------------------------------------------------------------


def test_every_job_of_a_list_comes_once_however_many_pages(house: House, client: Client) -> None:
    made = [house.submitted(f"listed {number}").id for number in range(5)]
    assert [job.id for job in client.jobs(text="listed", page=2)] == made[::-1]
    assert [job.id for job in client.jobs(state=["SUCCEEDED"], text="done")] == [house.done.id]
    labelled = client.job(made[0])
    labelled.edit(labels=["release-3"], name="Listed, the first")
    assert [job.id for job in client.jobs(label="release-3", state="QUEUED")] == [made[0]]
    assert labelled.name == "Listed, the first"


def test_a_job_can_be_paused_resumed_cancelled_and_archived(house: House, client: Client) -> None:
    job = client.job(house.submitted("moved").id)
    assert [job.pause().state, job.resume().state, job.cancel("bored").state] == [
        "PAUSED", "QUEUED", "CANCELLED",
    ]  # fmt: skip
    assert job.archive().archived_at is not None
    assert job.archive().archived_at is not None
    assert job.id not in [each.id for each in client.jobs(text="moved")]
    assert job.id in [each.id for each in client.jobs(text="moved", archived=True)]
    with pytest.raises(ClientError) as refused:
        job.resume()
    assert refused.value.code == "conflict"


def test_what_somebody_else_has_changed_is_not_overwritten(house: House, client: Client) -> None:
    mine, theirs = (client.job(house.done.id) for _ in range(2))
    theirs.edit(priority=theirs.now.priority + 1)
    with pytest.raises(ClientError) as refused:
        mine.edit(priority=0)
    assert refused.value.code == "changed_meanwhile"
    mine.refresh()
    assert mine.edit(priority=0).priority == 0


def test_a_job_goes_by_its_id_or_by_a_name_of_its_own(house: House, client: Client) -> None:
    first = house.submitted("Twice told")
    assert client.job("Twice told").id == first.id
    second = house.submitted("Twice told")
    with pytest.raises(ClientError) as refused:
        client.job("Twice told")
    assert refused.value.code == "ambiguous"
    assert first.id in str(refused.value) and second.id in str(refused.value)
    assert client.job(second.id).id == second.id
    client.job(first.id).cancel()
    client.job(first.id).archive()
    assert client.job("Twice told").id == second.id
    for wrong in ("twice tolt", "../admin", "x" * 300, ""):
        with pytest.raises(ClientError) as refused:
            client.job(wrong)
        assert refused.value.code == "not_found"
    with pytest.raises(ClientError, match="did you mean Twice told"):
        client.job("Twice tolt")


# --- trials and the front ----------------------------------------------------------------------


def test_trials_are_those_of_the_record(house: House, client: Client) -> None:
    job, record = client.job("done"), read_job(house.engine, house.done.id)
    found = list(job.trials(page=3))
    assert [t.number for t in found] == [t.number for t in record.trials]
    assert [t.figures for t in found] == [t.figures for t in record.trials]
    assert [t.params for t in found] == [t.params for t in record.trials]
    complete = list(job.trials(sort="-average_overlap", state="COMPLETE", page=2))
    best = [t.figures["average_overlap"] for t in complete]
    assert best == sorted(best, reverse=True) and {t.state for t in complete} == {"COMPLETE"}
    rows = list(csv.DictReader("".join(job.trials_as_csv(state="COMPLETE")).splitlines()))
    assert sorted(int(row["number"]) for row in rows) == sorted(t.number for t in complete)
    one = job.trial(complete[0].number)
    assert one.figures == complete[0].figures
    assert one.began_at.tzinfo is not None
    with pytest.raises(ClientError, match="no trial '9999'"):
        job.trial(9999)


def test_the_front_is_that_of_the_record(house: House, client: Client, tmp_path: Path) -> None:
    job, record = client.job("done"), read_job(house.engine, house.done.id)
    front = job.front()
    assert [p.number for p in front.points] == [t.number for t in record.front]
    assert front.knee == record.knee
    assert front.teacher == {m.name: record.teacher[m.name] for m in record.metrics}
    assert front.record().teacher == record.teacher
    assert front.hypervolume == pytest.approx(record.hypervolume)
    rows = list(csv.DictReader(front.to_csv(tmp_path / "f.csv").read_text().splitlines()))
    assert [row["trial"] for row in rows] == ["teacher", *(str(p.number) for p in front.points)]
    assert float(rows[1]["macs_frame"]) == front.points[0].figures["macs_frame"]
    # Drawn from the service it is the picture that is drawn from the record.
    draw_front(record, tmp_path / "here.png")
    assert front.plot(tmp_path / "there.png").read_bytes() == (tmp_path / "here.png").read_bytes()
    with pytest.raises(ParetrackError, match="a picture ends in"):
        front.plot("front.gif")


def test_the_front_can_be_seen_over_other_metrics(house: House, client: Client) -> None:
    job = client.job("done")
    front = job.front(x="parameters")
    assert {axis.name for axis in front.metrics} == {"average_overlap", "parameters"}
    assert {t.number for t in front.record().front} == {p.number for p in front.points}
    with pytest.raises(ClientError, match="beauty"):
        job.front(x="beauty")


def test_how_a_front_grew_and_what_it_depends_on(house: House, client: Client) -> None:
    job, record = client.job("done"), read_job(house.engine, house.done.id)
    growth = job.hypervolume()
    assert growth.last == pytest.approx(record.hypervolume)
    assert growth.trials == len(record.trials) and growth.steps[-1].hypervolume == growth.last
    assert set(job.importances().shares) <= {"average_overlap", "macs_frame"}


def test_a_spec_as_it_is_kept_can_be_submitted_again(house: House, client: Client) -> None:
    again = json.loads(json.dumps(plain(client.job("done").now.spec)))
    assert client.submit({**again, "name": "again"}).now.spec == {**again, "name": "again"}
