"""Every error is one kind of document, that says what to do and gives nothing away."""

import asyncio
import json
import logging
from typing import Annotated, Any, Literal

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Header, HTTPException, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator, BaseModel, Field
from sqlalchemy.exc import TimeoutError as NoConnectionLeft
from starlette.requests import ClientDisconnect

from search_spaces import ParetrackError
from service.database import DatabaseError, DatabaseGone
from service.errors import CODES, MEDIA_TYPE, Fault, Problem, not_found
from service.routes.problems import EVERYWHERE, ProblemPublic, install, responses
from tests.service.asking import ask

ERRORS: dict[str, Exception] = {
    "missing": not_found("job", "night"),
    "held": Problem("conflict", "it has ended", headers={"X-Why": "over"}),
    "gone": DatabaseGone("the database postgresql://db.internal/x cannot be used"),
    "busy": DatabaseError("the database /var/lib/x.db cannot be used: locked"),
    "pool": NoConnectionLeft("QueuePool limit"),
    "mistake": ParetrackError("12 steps of 10; give fewer, not pt_0123456789abcdef_" + "s" * 43),
    "bug": RuntimeError("hunter2 in /srv/paretrack"),
    "teapot": HTTPException(418, "short and stout"),
    "upstream": HTTPException(502),
    "ranged": HTTPException(416, headers={"Content-Range": "bytes */12"}),
}


def decent(name: str) -> str:
    if name.startswith("x"):
        raise ValueError("a name does not begin with x; choose another")
    return name


class Limit(BaseModel):
    kind: Literal["hard"]
    most: float = Field(gt=0)


class Wish(BaseModel):
    kind: Literal["soft"]
    weight: int


class JobCreate(BaseModel, extra="forbid"):
    name: Annotated[str, AfterValidator(decent)] = "job"
    steps: int = Field(1, gt=0)
    limits: list[Annotated[Limit | Wish, Field(discriminator="kind")]] = []
    by_device: dict[str, Limit] = {}
    secret: int = 0
    size: int | list[int] = 1


@pytest.fixture(scope="module")
def app() -> FastAPI:
    """With a route for every kind of error."""
    app, jobs = FastAPI(redirect_slashes=False), APIRouter(prefix="/jobs")
    install(app)

    @app.get("/errors/{name}")
    def fail(name: str) -> None:
        raise ERRORS[name]

    @app.get("/half")
    def half() -> StreamingResponse:
        def chunks() -> Any:
            yield b"half"
            raise RuntimeError("in the middle")

        return StreamingResponse(chunks())

    @app.get("/left")
    def left() -> None:
        raise ClientDisconnect

    @jobs.post("", responses=responses("conflict", "in_flight", "invalid"))
    def create(job: JobCreate) -> str:
        return job.name

    @jobs.get("")
    def several(
        limit: Annotated[int, Query(ge=1)] = 1, if_match: Annotated[int, Header()] = 1
    ) -> list[str]:
        return []

    @jobs.delete("/{number}")
    def archive(number: int) -> str:
        return "gone"

    app.include_router(jobs)
    return app


def told(answer: httpx.Response) -> dict[str, Any]:
    """The document, which is as it must be."""
    assert answer.headers["content-type"] == MEDIA_TYPE
    document: dict[str, Any] = answer.json()
    ProblemPublic.model_validate(document, strict=True)
    assert set(document) == set(ProblemPublic.model_fields)
    assert document["status"] == answer.status_code == CODES[document["code"]][0]
    assert document["type"].endswith(document["code"])
    return document


def post(app: FastAPI, body: Any) -> dict[str, Any]:
    return told(ask(app, "POST", "/jobs", json=body))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("missing", "not_found"),
        ("held", "conflict"),
        ("gone", "unavailable"),
        ("busy", "unavailable"),
        ("pool", "unavailable"),
        ("mistake", "invalid"),
        ("bug", "internal"),
        ("teapot", "malformed"),
        ("upstream", "internal"),
        ("ranged", "range_not_satisfiable"),
    ],
)
def test_each_kind_of_error_has_its_code(app: FastAPI, name: str, code: str) -> None:
    document = told(ask(app, "GET", f"/errors/{name}"))
    assert document["code"] == code
    assert document["instance"] == f"/errors/{name}"


def test_a_problem_keeps_its_detail_and_headers(app: FastAPI) -> None:
    answer = ask(app, "GET", "/errors/held")
    assert told(answer)["detail"] == "it has ended"
    assert answer.headers["X-Why"] == "over"
    assert told(ask(app, "GET", "/errors/missing"))["detail"] == "no job 'night' that you may see"
    assert ask(app, "GET", "/errors/ranged").headers["Content-Range"] == "bytes */12"


@pytest.mark.parametrize("name", ["gone", "busy", "pool"])
def test_who_meets_a_busy_database_hears_when_to_come_again_and_not_where_it_is(
    app: FastAPI, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = ask(app, "GET", f"/errors/{name}")
    assert int(answer.headers["Retry-After"]) > 0
    assert "db.internal" not in answer.text
    assert "/var/lib" not in answer.text
    assert str(ERRORS[name]) in caplog.text


def test_what_nobody_thought_of_is_in_the_logs_and_not_in_the_answer(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    answer = ask(app, "GET", "/errors/bug")
    assert told(answer)["status"] == 500
    assert "hunter2" not in answer.text
    (record,) = [one for one in caplog.records if one.name == "paretrack.api"]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[1] is ERRORS["bug"]


def test_the_message_of_a_mistake_is_for_the_caller_without_secrets(app: FastAPI) -> None:
    detail = told(ask(app, "GET", "/errors/mistake"))["detail"]
    assert detail == "12 steps of 10; give fewer, not pt_0123456789abcdef_***"


def test_an_answer_that_breaks_in_the_middle_is_not_ended_as_if_it_were_whole(
    app: FastAPI,
) -> None:
    scope = {
        "type": "http", "method": "GET", "path": "/half", "raw_path": b"/half", "headers": [],
        "query_string": b"", "scheme": "http", "server": ("x", 1), "http_version": "1.1",
    }  # fmt: skip
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.Event().wait()  # the caller sends nothing, and stays

    async def send(message: Any) -> None:
        sent.append(message)

    with pytest.raises(RuntimeError, match="in the middle"):
        asyncio.run(app(scope, receive, send))
    assert [one.get("body") for one in sent] == [None, b"half"]
    assert sent[-1]["more_body"]


def test_a_caller_who_left_is_no_error_of_ours(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(AssertionError):  # httpx gets no answer
        ask(app, "GET", "/left")
    assert {one.levelname for one in caplog.records if one.name.startswith("paretrack")} == {"INFO"}


def test_each_fault_points_to_its_place_in_the_body(app: FastAPI) -> None:
    document = post(
        app,
        {
            "name": "xenon",
            "steps": -1,
            "limits": [{"kind": "hard", "most": 3}, {"kind": "soft"}, {"kind": "hard", "most": 0}],
            "by_device": {"a/b~c": {"kind": "hard", "most": "much"}},
            "sz": 1,
        },
    )
    assert document["code"] == "invalid"
    found = {one["pointer"]: one["detail"] for one in document["errors"]}
    assert set(found) == {
        "/name", "/steps", "/limits/1/weight", "/limits/2/most", "/by_device/a~1b~0c/most", "/sz",
    }  # fmt: skip
    assert found["/name"] == "a name does not begin with x; choose another (got 'xenon')"
    assert found["/steps"] == "Input should be greater than 0 (got -1)"
    assert found["/limits/1/weight"] == "Field required"
    assert document["detail"] == f"/name: {found['/name']} (and 5 more)"


def test_members_of_a_union_are_no_part_of_a_pointer(app: FastAPI) -> None:
    document = post(app, {"size": ["a"]})
    assert {one["pointer"] for one in document["errors"]} == {"/size", "/size/0"}
    unknown = post(app, {"limits": [{"kind": "harsh"}]})
    assert [one["pointer"] for one in unknown["errors"]] == ["/limits/0"]


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"text"', b"3"])
def test_a_body_that_is_no_object_is_pointed_to_as_a_whole(app: FastAPI, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    document = told(ask(app, "POST", "/jobs", content=body, headers=headers))
    assert document["code"] == "invalid"
    assert [one["pointer"] for one in document["errors"]] == [""]


def test_parameters_are_called_by_their_name(app: FastAPI) -> None:
    query = told(ask(app, "GET", "/jobs?limit=0", headers={"If-Match": "x"}))
    assert {one["parameter"] for one in query["errors"]} == {"limit", "if-match"}
    assert "pointer" not in query["errors"][0]
    path = told(ask(app, "DELETE", "/jobs/first"))
    assert [one["parameter"] for one in path["errors"]] == ["number"]


@pytest.mark.parametrize(
    ("body", "hidden"),
    [
        ({"secret": "hunter2"}, "hunter2"),
        ({"steps": "pt_0123456789abcdef_" + "s" * 43}, "ssss"),
        ({"steps": "https://example.com/?q=hunter2"}, "hunter2"),
        ({"steps": "l" * 100_000}, "l" * 40),
        ({"limits": [{"kind": "k" * 100_000}]}, "k" * 400),
        ({"steps": {"deep": "hunter2"}}, "hunter2"),
    ],
)
def test_neither_a_secret_nor_something_huge_is_sent_back(
    app: FastAPI, body: Any, hidden: str
) -> None:
    document = post(app, body)
    assert document["code"] == "invalid"
    assert hidden not in json.dumps(document)


def test_thousands_of_faults_are_not_all_told(app: FastAPI) -> None:
    document = post(app, {"limits": [0] * 5000})
    assert len(document["errors"]) == 21
    assert document["errors"][-1]["detail"] == "and 4980 more"


def test_half_a_surrogate_pair_does_not_break_the_answer(app: FastAPI) -> None:
    headers = {"Content-Type": "application/json"}
    body = rb'{"steps": "\ud800", "\udfff": 1}'
    assert told(ask(app, "POST", "/jobs", content=body, headers=headers))["status"] == 422


def test_a_body_that_is_no_json_is_malformed_and_says_where(app: FastAPI) -> None:
    headers = {"Content-Type": "application/json"}
    document = told(ask(app, "POST", "/jobs", content=b'{"a": }', headers=headers))
    assert document["code"] == "malformed"
    assert "at character 6" in document["detail"]


def test_an_unknown_path_says_where_the_known_ones_are(app: FastAPI) -> None:
    document = told(ask(app, "GET", "/job%20s"))
    assert document["code"] == "not_found"
    assert document["instance"] == "/job%20s"
    assert document["detail"] == "there is no /job s; /openapi.json lists what there is"


def test_a_wrong_method_names_all_right_ones(app: FastAPI) -> None:
    answer = ask(app, "PUT", "/jobs")
    assert answer.headers["Allow"] == "GET, POST"
    document = told(answer)
    assert document["code"] == "method_not_allowed"
    assert document["detail"] == "PUT cannot be done to /jobs; allowed: GET, POST"
    assert ask(app, "GET", "/jobs/1").headers["Allow"] == "DELETE"


def test_the_documentation_of_errors_is_ours_everywhere(app: FastAPI) -> None:
    schema = app.openapi()
    assert "HTTPValidationError" not in json.dumps(schema)
    assert set(ProblemPublic.model_fields) == set(
        schema["components"]["schemas"]["ProblemPublic"]["properties"]
    )
    reference = {"$ref": "#/components/schemas/ProblemPublic"}
    undeclared = schema["paths"]["/jobs/{number}"]["delete"]["responses"]["422"]
    assert undeclared["content"][MEDIA_TYPE]["schema"] == reference
    declared = schema["paths"]["/jobs"]["post"]["responses"]
    assert set(declared) == {"200", "409", "422"}
    assert set(declared["409"]["content"][MEDIA_TYPE]["examples"]) == {"conflict", "in_flight"}
    assert app.openapi() is schema


def test_every_reference_in_the_documentation_leads_somewhere(app: FastAPI) -> None:
    schema = app.openapi()
    said = json.dumps(schema)
    for name in {part.partition('"')[0] for part in said.split("#/components/schemas/")[1:]}:
        assert name in schema["components"]["schemas"]


def test_every_code_can_be_documented_with_an_example_that_is_one() -> None:
    documented = responses(*CODES)
    assert set(documented) == {status for status, _ in CODES.values()}
    for status, said in documented.items():
        for code, example in said["content"][MEDIA_TYPE]["examples"].items():
            assert ProblemPublic.model_validate(example["value"]).code == code
            assert example["value"]["status"] == status
    assert set(EVERYWHERE) <= set(CODES)


def test_a_middleware_that_breaks_is_a_problem_too() -> None:
    app = FastAPI()
    install(app)

    class Broken:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, *_message: Any) -> None:
            raise RuntimeError("hunter2")

    app.add_middleware(Broken)
    answer = ask(app, "GET", "/")
    assert told(answer)["code"] == "internal"
    assert "hunter2" not in answer.text


def test_faults_can_be_said_by_hand() -> None:
    app = FastAPI()
    install(app)

    @app.get("/")
    def fail(request: Request) -> None:
        raise Problem("unreachable_limit", "none", [Fault("least: 3 ms", pointer="/limits/0")])

    document = told(ask(app, "GET", "/"))
    assert document["errors"] == [{"detail": "least: 3 ms", "pointer": "/limits/0"}]
