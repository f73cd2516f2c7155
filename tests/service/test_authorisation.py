"""Who may do what: every route has a line here, and does what its line says.

To add a route, add its line to ``TABLE``: the least role that may use it ('open': nobody needs a
token), the method, the path. If things of an owner are named in its path, say in ``THEIRS`` which
one of Bea's stands for the parameter, and in ``SAYS`` what a request needs beside the path.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from sqlalchemy import Engine, Table, insert, select

from service import dashboard, jobs, tokens, webhooks
from service._device_figures import Told
from service._schedule_rows import Schedule, Terms, new_id, put_new
from service._timings import JOB_DEVICES
from service.calendar import Calendar
from service.callers import Caller, Role, role_from_word
from service.database import writing
from service.deliveries import DELIVERIES
from service.jobs import NewJob
from service.tables import TeacherRow
from tests.service.asking import ask
from tests.service.tokened import API, Tokened

TABLE = """
open       GET     /openapi.json
open       GET     /api/v1/health/live
open       GET     /api/v1/health/ready
operator   GET     /api/v1/metrics

viewer     GET     /api/v1/jobs
viewer     GET     /api/v1/jobs/compare
submitter  POST    /api/v1/jobs
viewer     POST    /api/v1/jobs/preview
viewer     GET     /api/v1/jobs/{job_id}
submitter  PATCH   /api/v1/jobs/{job_id}
submitter  DELETE  /api/v1/jobs/{job_id}
submitter  POST    /api/v1/jobs/{job_id}/pause
submitter  POST    /api/v1/jobs/{job_id}/resume
submitter  POST    /api/v1/jobs/{job_id}/stop
submitter  POST    /api/v1/jobs/{job_id}/cancel
viewer     GET     /api/v1/jobs/{job_id}/events
viewer     GET     /api/v1/jobs/{job_id}/front
viewer     GET     /api/v1/jobs/{job_id}/gates
viewer     GET     /api/v1/jobs/{job_id}/hypervolume
viewer     GET     /api/v1/jobs/{job_id}/points
viewer     GET     /api/v1/jobs/{job_id}/importances
viewer     GET     /api/v1/jobs/{job_id}/recipe
viewer     GET     /api/v1/jobs/{job_id}/trials
viewer     GET     /api/v1/jobs/{job_id}/trials/{number}
viewer     GET     /api/v1/jobs/{job_id}/trials/{number}/artefacts
viewer     GET     /api/v1/jobs/{job_id}/trials/{number}/artefacts/{name}
viewer     HEAD    /api/v1/jobs/{job_id}/trials/{number}/artefacts/{name}
submitter  POST    /api/v1/jobs/{job_id}/trials/{number}/export
viewer     GET     /api/v1/jobs/{job_id}/trials/{number}/layers
viewer     GET     /api/v1/jobs/{job_id}/trials/{number}/replays
submitter  POST    /api/v1/jobs/{job_id}/trials/{number}/replays
viewer     GET     /api/v1/jobs/{job_id}/trials/{number}/replays/{sequence}
viewer     GET     /api/v1/jobs/{job_id}/trials/{number}/replays/{sequence}/frames

viewer     GET     /api/v1/schedules
submitter  POST    /api/v1/schedules
viewer     POST    /api/v1/schedules/preview
viewer     GET     /api/v1/schedules/{schedule_id}
submitter  PATCH   /api/v1/schedules/{schedule_id}
submitter  DELETE  /api/v1/schedules/{schedule_id}
viewer     GET     /api/v1/schedules/{schedule_id}/next
viewer     GET     /api/v1/schedules/{schedule_id}/ticks
submitter  POST    /api/v1/schedules/{schedule_id}/pause
submitter  POST    /api/v1/schedules/{schedule_id}/resume
submitter  POST    /api/v1/schedules/{schedule_id}/trigger

viewer     GET     /api/v1/trackers
viewer     GET     /api/v1/trackers/{name}
submitter  PUT     /api/v1/trackers/{name}
submitter  DELETE  /api/v1/trackers/{name}
viewer     GET     /api/v1/devices
viewer     GET     /api/v1/devices/{device_id}
viewer     GET     /api/v1/datasets
viewer     GET     /api/v1/early-stopping
viewer     GET     /api/v1/objectives
viewer     GET     /api/v1/probes
viewer     GET     /api/v1/pruning-methods
viewer     GET     /api/v1/recipes
viewer     GET     /api/v1/recoveries
viewer     GET     /api/v1/samplers
viewer     GET     /api/v1/spaces/{family}

submitter  GET     /api/v1/webhooks
submitter  POST    /api/v1/webhooks
submitter  GET     /api/v1/webhooks/{webhook_id}
submitter  PATCH   /api/v1/webhooks/{webhook_id}
submitter  DELETE  /api/v1/webhooks/{webhook_id}
submitter  POST    /api/v1/webhooks/{webhook_id}/ping
submitter  GET     /api/v1/webhooks/{webhook_id}/deliveries
submitter  GET     /api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}
submitter  POST    /api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/replay

viewer     GET     /api/v1/tokens
operator   POST    /api/v1/tokens
viewer     GET     /api/v1/tokens/me
viewer     GET     /api/v1/tokens/{token_id}
viewer     DELETE  /api/v1/tokens/{token_id}
operator   GET     /api/v1/owners
operator   PATCH   /api/v1/owners/{name}
operator   GET     /api/v1/audit
"""

Route = tuple[str, str]  # method, path
LEAST: Mapping[Route, Role | None] = {  # None: nobody needs a token
    (method, path): None if word == "open" else role_from_word(word)
    for word, method, path in (line.split() for line in TABLE.splitlines() if line)
}

# The dashboard is the same for everybody, and asks the API as the caller that it is shown to.
PAGES: set[Route] = {("GET", path) for path in (*dashboard.PAGES, "/static/{digest}/{path}")}

# Path up to a parameter -> the thing of Bea's that stands for it.
THEIRS: Mapping[str, str] = {
    "/api/v1/jobs/{job_id}": "job",
    "/api/v1/schedules/{schedule_id}": "schedule",
    "/api/v1/trackers/{name}": "tracker",
    "/api/v1/devices/{device_id}": "device",
    "/api/v1/webhooks/{webhook_id}": "webhook",
    "/api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}": "delivery",
    "/api/v1/tokens/{token_id}": "token",
}
# Parameters of nobody.
OTHER: Mapping[str, str] = {"number": "0", "name": "report.json", "sequence": "val-0001"}
# A name is given once, whosever it is: who uploads under a taken one must hear of that.
TOLD_THAT_IT_IS_TAKEN: set[Route] = {("PUT", "/api/v1/trackers/{name}")}

_CHANGE: Mapping[str, Any] = {"json": {}, "headers": {"If-Match": "*"}}
SAYS: Mapping[Route, Mapping[str, Any]] = {
    ("PATCH", "/api/v1/jobs/{job_id}"): _CHANGE,
    ("PATCH", "/api/v1/schedules/{schedule_id}"): _CHANGE,
    ("PATCH", "/api/v1/webhooks/{webhook_id}"): _CHANGE,
}


def routes(app: FastAPI) -> set[Route]:
    """All there are; HEAD where it is no shadow of a GET."""
    found: set[Route] = set()
    for route in iter_route_contexts(app.routes):
        path = re.sub(r":\w+}", "}", str(route.path))
        methods = set(getattr(route, "methods", None) or {"*"})
        found |= {(method, path) for method in methods - ({"HEAD"} if "GET" in methods else set())}
    return found


@pytest.fixture
def site(engine: Engine, tmp_path: Path) -> Iterator[Tokened]:
    found = Tokened(engine, tmp_path)
    yield found
    found.close()


@pytest.fixture
def beas(engine: Engine) -> dict[str, str]:
    """One of everything that belongs to somebody, by what it is."""
    bea = Caller(owner="bea", role=Role.SUBMITTER)
    now = datetime.now(UTC)
    with writing(engine) as connection:
        hook, _ = webhooks.create(connection, bea, url="https://bea.example/", kinds=["state"])
        asked = NewJob(name="beas search", spec={}, owner="bea", tracker="siamrpn")
        job = jobs.create(connection, asked, "bea")
        schedule = put_new(connection, _schedule(now))
        delivery = connection.execute(select(DELIVERIES.c.id)).scalar_one()
        teacher = {
            "name": "beas-tracker", "owner": "bea", "project": None, "family": "siamrpn",
            "sha256": "0" * 64, "bytes": 1, "folder": "nowhere", "note": "", "created_at": now,
            "archived_at": None,
        }  # fmt: skip
        connection.execute(insert(cast(Table, TeacherRow.__table__)), teacher)
        device = {
            "job_id": job.id, "device_id": "0123456789abcdef", "name": "beas device",
            "machine": "", "cores": "", "trials": 1, "first_at": now, "last_at": now,
            "told_json": Told().to_text(),
        }  # fmt: skip
        connection.execute(insert(JOB_DEVICES), device)
    token, _ = tokens.create(engine, name="beas", owner="bea", role=Role.VIEWER, by="test")
    return {
        "job": job.id, "schedule": schedule.id, "tracker": "beas-tracker", "webhook": hook.id,
        "delivery": delivery, "token": token.id, "device": "0123456789abcdef",
    }  # fmt: skip


def _schedule(now: datetime) -> Schedule:
    terms = Terms(name="beas nights", calendar=Calendar("0 3 * * *", "UTC"), spec={})
    return Schedule(
        id=new_id(terms.name), owner="bea", project=None, terms=terms, tracker="siamrpn",
        paused=False, paused_why="", failures=0, decided_until=now, next_at=None, version=1,
        created_at=now, updated_at=now, archived_at=None,
    )  # fmt: skip


def filled(path: str, things: Mapping[str, str]) -> str:
    """The path with a thing for each parameter; one that nobody has where there is none."""
    for match in reversed(list(re.finditer(r"{(\w+)}", path))):
        thing = THEIRS.get(path[: match.end()])
        value = OTHER.get(match[1], "nobodys") if thing is None else things.get(thing, "nobodys")
        path = path[: match.start()] + value + path[match.end() :]
    return path


def asked(
    site: Tokened, route: Route, role: Role | None, things: Mapping[str, str] | None = None
) -> httpx.Response:
    """The answer to Ann, or to somebody without a token."""
    method, path = route
    said = dict(SAYS.get(route, {}))
    headers = dict(said.pop("headers", {}))
    if role is not None:
        headers["Authorization"] = f"Bearer {site.token('ann', role)}"
    return ask(site.app, method, filled(path, things or {}), headers=headers, **said)


def code(answer: httpx.Response) -> str:
    """The code of a problem; a HEAD has none."""
    is_problem = answer.headers.get("content-type") == "application/problem+json"
    return str(answer.json()["code"]) if is_problem and answer.content else ""


def test_every_route_has_a_line_in_the_table_and_every_line_a_route(site: Tokened) -> None:
    there = routes(site.app)
    assert sorted(there - set(LEAST) - PAGES) == [], "routes without a line: who may use them?"
    assert sorted(set(LEAST) - there) == [], "lines without a route"


def test_a_page_is_the_same_for_everybody(site: Tokened) -> None:
    for route in sorted(PAGES):
        method, path = route[0], filled(route[1], {})
        path = path.replace("/static/nobodys/nobodys", f"/static/{dashboard.digest()}/style.css")
        headers = {"Authorization": f"Bearer {site.token('ann', Role.OPERATOR)}"}
        open_to_all, hers = (
            ask(site.app, method, path),
            ask(site.app, method, path, headers=headers),
        )
        assert (open_to_all.status_code, open_to_all.content) == (200, hers.content), path


def test_every_path_of_the_document_is_one_of_these(site: Tokened) -> None:
    document = ask(site.app, "GET", "/openapi.json").json()
    told = {(m.upper(), p) for p, methods in document["paths"].items() for m in methods}
    assert told == set(LEAST) - {("GET", "/openapi.json")}


def test_without_a_token_only_what_is_open_answers(site: Tokened) -> None:
    wrong = {}
    for route, least in LEAST.items():
        answer = asked(site, route, None)
        expected = 200 if least is None else 401
        if answer.status_code != expected or (expected == 401 and "WWW-Authenticate" not in (
            answer.headers
        )):  # fmt: skip
            wrong[route] = answer.status_code
    assert wrong == {}


def test_a_token_that_nobody_made_opens_nothing(site: Tokened) -> None:
    headers = {"Authorization": f"Bearer pt_{'0' * 16}_{'A' * 43}"}
    closed = [route for route, least in LEAST.items() if least is not None]
    answers = {r: ask(site.app, r[0], filled(r[1], {}), headers=headers) for r in closed}
    assert {r: a.status_code for r, a in answers.items() if a.status_code != 401} == {}


def test_a_lesser_role_is_forbidden(site: Tokened) -> None:
    wrong = {}
    for route, least in LEAST.items():
        for role in (each for each in Role if least is not None and each < least):
            answer = asked(site, route, role)
            if (answer.status_code, code(answer)) != (403, "forbidden"):
                wrong[route, role.word] = answer.status_code
    assert wrong == {}


def test_the_least_role_and_those_above_may(site: Tokened) -> None:
    wrong = {}
    for route, least in LEAST.items():
        for role in (each for each in Role if least is not None and each >= least):
            answer = asked(site, route, role)
            if answer.status_code in (401, 403) or answer.status_code >= 500:
                wrong[route, role.word] = answer.status_code
    assert wrong == {}


def test_what_is_somebody_elses_is_not_there_for_others(
    site: Tokened, beas: Mapping[str, str]
) -> None:
    """Whether Bea has it or nobody has: the answer is the same."""
    wrong = {}
    for route, least in _of_owners():
        for role in (each for each in (Role.VIEWER, Role.SUBMITTER) if each >= least):
            hers, nobodys = asked(site, route, role, beas), asked(site, route, role)
            if (hers.status_code, nobodys.status_code) != (404, 404):
                wrong[route, role.word] = (hers.status_code, nobodys.status_code, hers.text[:200])
            elif code(hers) != code(nobodys):
                wrong[route, role.word] = (code(hers), code(nobodys), "")
    assert wrong == {}


def _of_owners() -> list[tuple[Route, Role]]:
    return [
        ((method, path), least)
        for (method, path), least in LEAST.items()
        if least is not None
        and any(path.startswith(theirs) for theirs in THEIRS)
        and (method, path) not in TOLD_THAT_IT_IS_TAKEN
    ]


def test_every_parameter_of_a_path_is_a_thing_of_owners_or_known_to_be_nobodys() -> None:
    for _, path in LEAST:
        for match in re.finditer(r"{(\w+)}", path):
            known = path[: match.end()] in THEIRS or match[1] in OTHER or match[1] == "family"
            assert known, f"{path}: whose is {match[0]}? Add it to THEIRS, or to OTHER"


def test_an_operator_finds_each_of_these_things(site: Tokened, beas: Mapping[str, str]) -> None:
    """So that the 404s above are for their owner's sake."""
    for path, thing in THEIRS.items():
        answer = asked(site, ("GET", path), Role.OPERATOR, beas)
        assert answer.status_code == 200, answer.text
        assert beas[thing] in answer.text


def test_lists_show_nothing_that_is_somebody_elses(site: Tokened, beas: Mapping[str, str]) -> None:
    leaks = set()
    for (method, path), least in LEAST.items():
        if method != "GET" or "{" in path or least in (None, Role.OPERATOR):
            continue
        answer = asked(site, (method, path), Role.SUBMITTER)
        leaks |= {(path, what) for what, name in beas.items() if name in answer.text}
        if '"bea"' in answer.text:
            leaks.add((path, "owner"))
    assert leaks == set()


def test_searches_of_others_cannot_be_compared(site: Tokened, beas: Mapping[str, str]) -> None:
    with writing(site.engine) as connection:
        said = NewJob(name="anns", spec={}, owner="ann", tracker="siamrpn")
        mine = jobs.create(connection, said, "ann")
    query = {"jobs": f"{mine.id},{beas['job']}"}
    answer = site.ask("GET", "/jobs/compare", params=query)
    assert (answer.status_code, code(answer)) == (404, "not_found")


def test_what_is_shared_with_a_project_is_seen_by_its_members(site: Tokened) -> None:
    with writing(site.engine) as connection:
        said = NewJob(name="ours", spec={}, owner="bea", project="drones", tracker="siamrpn")
        job = jobs.create(connection, said, "bea")
    path = f"/jobs/{job.id}"
    assert site.ask("GET", path, "ann", Role.VIEWER, "drones").status_code == 200
    assert site.ask("GET", path, "ann", Role.VIEWER, "cars").status_code == 404
    assert site.ask("POST", f"{path}/pause", "ann", Role.VIEWER, "drones").status_code == 403
    assert site.ask("POST", f"{path}/pause", "ann", Role.SUBMITTER, "drones").status_code == 200


def test_the_api_begins_with_its_version(site: Tokened) -> None:
    assert {path for _, path in LEAST if not path.startswith(API)} == {"/openapi.json"}
