"""Every error as an RFC 9457 document: what is wrong, where, and what to do; and what OpenAPI says
of that.

``install(app)`` once; routes declare what they answer with ``responses("not_found", "conflict")``.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from sqlalchemy.exc import TimeoutError as NoConnectionLeft
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search_spaces import ParetrackError
from service.database import DatabaseError
from service.errors import CODES, MEDIA_TYPE, Fault, Problem
from service.logs import redacted, what_about
from service.routes._methods import MethodsOfPaths

# What may be answered whatever was asked for, before a route has seen it.
EVERYWHERE = (
    "malformed", "unauthenticated", "forbidden", "not_found", "method_not_allowed", "too_large",
    "invalid", "too_many_requests", "unavailable",
)  # fmt: skip
_RETRY_SECONDS = 5  # after the database did not answer
_MOST_FAULTS = 20
_logger = logging.getLogger("paretrack.api")


class FaultPublic(BaseModel):
    """One thing that is wrong, and where."""

    detail: str
    pointer: str | None = Field(
        None, description="JSON pointer into the body", examples=["/spec/steps"]
    )
    parameter: str | None = Field(None, description="of the query, the path or a header")


class ProblemPublic(BaseModel):
    """Why the answer is not what was asked for (RFC 9457)."""

    type: str = Field(examples=["urn:paretrack:problem:invalid"])
    title: str = Field(examples=[CODES["invalid"][1]])
    status: int = Field(examples=[422])
    code: str = Field(description="does not change between versions", examples=["invalid"])
    detail: str = Field(examples=["/spec/steps: Input should be greater than 0 (got -1)"])
    instance: str = Field(description="what was asked for", examples=["/api/v1/jobs"])
    request_id: str = Field(description="under which the logs tell more")
    errors: list[FaultPublic]


def install(app: FastAPI) -> None:
    """Every error of this application becomes a problem, and OpenAPI says so."""
    app.add_exception_handler(Problem, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_error)
    app.add_exception_handler(HTTPException, _answer_error)
    app.add_exception_handler(DatabaseError, _answer_error)
    app.add_exception_handler(NoConnectionLeft, _answer_error)
    app.add_exception_handler(ParetrackError, _answer_error)
    # The innermost ones, so that also these answers get the headers that the others add.
    app.user_middleware.append(Middleware(_Unforeseen))
    app.user_middleware.append(Middleware(MethodsOfPaths, routes=app.routes))
    app.add_exception_handler(Exception, _answer_error)  # of the middlewares themselves
    _document(app)


def answer(problem: Problem, scope: Scope) -> Response:
    """The response; an ASGI application by itself, for those who stand before FastAPI."""
    path = quote(scope["path"].encode(errors="replace")[:500])
    document = problem.to_json(path, str(what_about().get("request", "")))
    headers = {"Cache-Control": "no-store", **problem.headers}
    # ASCII: a text with half a surrogate pair has no other bytes.
    return Response(json.dumps(document), problem.status, headers, MEDIA_TYPE)


def responses(*codes: str) -> dict[int | str, dict[str, Any]]:
    """What a route may answer, for its ``responses=``."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        status, title = CODES[code]
        said = by_status.setdefault(status, {"description": title, "content": _content()})
        if title not in said["description"]:
            said["description"] += f"; {title[0].lower()}{title[1:]}"
        example = Problem(code, title).to_json("/api/v1/...", "7f0c2a4e9b1d")
        said["content"][MEDIA_TYPE]["examples"][code] = {"value": example}
    return by_status


def problem_of(error: Exception, scope: Scope) -> Problem:
    """What a caller is told of an error."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return _of_validation(error)
    if isinstance(error, HTTPException):
        return _of_http(error, scope)
    if isinstance(error, DatabaseError | NoConnectionLeft):
        _logger.error("the database did not answer: %s", error)  # it names hosts: not for callers
        return Problem(
            "unavailable",
            f"the database does not answer now; ask again in {_RETRY_SECONDS} s",
            headers={"Retry-After": str(_RETRY_SECONDS)},
        )
    if isinstance(error, ParetrackError):
        return Problem("invalid", redacted(str(error)))
    _logger.error("unforeseen", exc_info=error)
    return Problem(
        "internal",
        "this should not have happened; an operator finds it in the logs by the request_id",
    )


async def _answer_error(request: Request, error: Exception) -> Response:
    return answer(problem_of(error, request.scope), request.scope)


class _Unforeseen:
    """Whatever nobody has thought of is a 500 that tells nothing, and is in the logs."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, noting)
        except ClientDisconnect:
            _logger.info("the caller has gone before the answer")
        except Exception as error:
            if scope["type"] != "http" or started:
                raise
            await answer(problem_of(error, scope), scope)(scope, receive, send)


# --- what pydantic found -----------------------------------------------------------------------


def _of_validation(error: RequestValidationError) -> Problem:
    found: Sequence[Mapping[str, Any]] = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        at, why = found[0]["loc"][-1], found[0].get("ctx", {}).get("error", "")
        return Problem("malformed", f"the body is not JSON: {why} at character {at}")
    faults = [_fault(one, error.body) for one in found[:_MOST_FAULTS]]
    if len(found) > _MOST_FAULTS:
        faults.append(Fault(f"and {len(found) - _MOST_FAULTS} more"))
    first = faults[0]
    where = first.parameter if first.pointer is None else first.pointer
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return Problem("invalid", f"{where or 'the body'}: {first.detail}{more}", faults)


def _fault(one: Mapping[str, Any], body: Any) -> Fault:
    place, *rest = one["loc"] or ("body",)
    detail = _without_prefix(str(one["msg"]))
    if place == "body":
        parts = _parts_in(body, rest, missing=one["type"] == "missing")
        pointer = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)
        return Fault(detail + _got(one, pointer), pointer=pointer)
    name = ".".join(str(part) for part in rest)
    return Fault(detail + _got(one, name), parameter=name)


def _parts_in(body: Any, loc: Sequence[str | int], missing: bool) -> list[str]:
    """Of a place as pydantic says it, what is in the body: not the names of a union's members."""
    parts: list[str] = []
    for number, part in enumerate(loc):
        in_object = isinstance(body, Mapping) and part in body
        in_array = isinstance(body, list) and isinstance(part, int) and part < len(body)
        if in_object or in_array:
            body = body[part]
        elif not (missing and number == len(loc) - 1):
            continue
        parts.append(str(part))
    return parts


def _got(one: Mapping[str, Any], where: str) -> str:
    """What was sent, if it is short and cannot be a secret."""
    got, last = one.get("input"), where.rpartition("/")[2].lower()
    if one["type"] == "missing" or any(
        word in last for word in ("secret", "password", "token", "key", "authorization")
    ):
        return ""
    if isinstance(got, str):
        harmless = len(got) <= 32 and got.isprintable() and "://" not in got
        return f" (got {got!r})" if harmless and redacted(got) == got else ""
    return f" (got {got!r})" if got is None or isinstance(got, bool | int | float) else ""


def _without_prefix(message: str) -> str:
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return redacted(message if len(message) <= 300 else message[:299] + "…")


# --- what Starlette refuses --------------------------------------------------------------------

_CODE_OF_STATUS = {CODES[code][0]: code for code in reversed(list(CODES))}


def _of_http(error: HTTPException, scope: Scope) -> Problem:
    """A refusal of Starlette or FastAPI; what it says of itself is kept if it says anything."""
    unknown = "malformed" if error.status_code < 500 else "internal"
    code = _CODE_OF_STATUS.get(error.status_code, unknown)
    headers = dict(error.headers or {})
    if error.detail != _phrase(error.status_code):
        return Problem(code, redacted(str(error.detail)), headers=headers)
    detail = (
        f"there is no {scope['path'][:200]}; /openapi.json lists what there is"
        if code == "not_found"
        else ""
    )
    return Problem(code, detail or CODES[code][1], headers=headers)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


# --- what OpenAPI says -------------------------------------------------------------------------


def _content() -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/ProblemPublic"}
    return {MEDIA_TYPE: {"schema": schema, "examples": {}}}


def _document(app: FastAPI) -> None:
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _say_problems(plain())
        return plain()

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's manual says


def _say_problems(schema: dict[str, Any]) -> None:
    """FastAPI's own description of a 422 becomes ours, and the schema of problems is there."""
    ours = responses("invalid")[422]
    for path in schema.get("paths", {}).values():
        for operation in path.values():
            said = operation.get("responses", {}) if isinstance(operation, dict) else {}
            if "HTTPValidationError" in json.dumps(said.get("422", {})):
                said["422"] = ours
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    described = ProblemPublic.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(described.pop("$defs"))
    schemas["ProblemPublic"] = described
