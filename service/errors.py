"""What a caller of the API can be told: RFC 9457 problems, each with a code that does not change.

A code is a promise to programs, the title and the detail are for people. To refuse something,
raise ``Problem(code, detail)``; ``service.routes.problems`` turns every error into one of these.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from search_spaces import ParetrackError

MEDIA_TYPE = "application/problem+json"

# Code -> status and title. Codes are only ever added.
CODES: Mapping[str, tuple[int, str]] = {
    "malformed": (400, "The request cannot be read"),
    "unauthenticated": (401, "Say who you are"),
    "forbidden": (403, "Your role may not do this"),
    "not_found": (404, "There is no such thing, or it is not yours to see"),
    "method_not_allowed": (405, "This cannot be done to it"),
    "not_acceptable": (406, "It does not come in that form"),
    "conflict": (409, "It is not in a state for that"),
    "in_flight": (409, "The same request is being worked on"),
    "changed_meanwhile": (412, "Somebody has changed it since you read it"),
    "too_large": (413, "The request is too large"),
    "unsupported_media_type": (415, "It cannot be sent in that form"),
    "range_not_satisfiable": (416, "It has no such part"),
    "invalid": (422, "Something in the request cannot be"),
    "unreachable_limit": (422, "No candidate can hold this limit"),
    "other_body": (422, "The key was used for another request"),
    "precondition_required": (428, "Say which version you have read"),
    "too_many_requests": (429, "Too many requests"),
    "internal": (500, "Something is wrong on our side"),
    "unavailable": (503, "Something that this needs is not there now"),
}


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, and where: a JSON pointer into the body, or a parameter's name."""

    detail: str
    pointer: str | None = None  # "/spec/steps"
    parameter: str | None = None  # of the query, the path or a header

    def to_json(self) -> dict[str, str]:
        said = {"detail": self.detail, "pointer": self.pointer, "parameter": self.parameter}
        return {name: text for name, text in said.items() if text is not None}


@dataclass(eq=False)
class Problem(ParetrackError):  # noqa: N818 - RFC 9457's word
    """An answer that is not what was asked for."""

    code: str
    detail: str
    faults: Sequence[Fault] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(self.detail)

    def __str__(self) -> str:
        return self.detail

    @property
    def status(self) -> int:
        return CODES[self.code][0]

    def to_json(self, instance: str, request_id: str) -> dict[str, Any]:
        status, title = CODES[self.code]
        return {
            "type": f"urn:paretrack:problem:{self.code}",
            "title": title,
            "status": status,
            "code": self.code,
            "detail": self.detail,
            "instance": instance,
            "request_id": request_id,
            "errors": [fault.to_json() for fault in self.faults],
        }


def not_found(what: str, name: str) -> Problem:
    return Problem("not_found", f"no {what} {name!r} that you may see")
