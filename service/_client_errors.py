"""What a client tells of a request that came to nothing: what the service said, or that nothing
did."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from search_spaces._errors import ParetrackError

NO_ANSWER, NOT_PARETRACK, WAITED = "no_answer", "not_paretrack", "waited"
_MOST_FAULTS = 8  # that a message lists


@dataclass(eq=False)  # an exception is itself alone
class ClientError(ParetrackError):
    """A request that was not done. ``code`` is the service's own (see service/errors.py), or
    ``no_answer``, ``not_paretrack``, ``waited``; ``unsure``: it may have been done all the same."""

    code: str
    detail: str
    status: int | None = None  # None: there was no answer
    faults: tuple[Mapping[str, str], ...] = ()  # what is wrong, with a pointer or a parameter
    request_id: str = ""  # under which the service's logs tell more
    document: Mapping[str, Any] | None = None
    unsure: bool = False
    after: float | None = None  # seconds that the service asks to wait

    def __post_init__(self) -> None:
        super().__init__(self.detail)

    def __str__(self) -> str:
        lines = [self.detail]
        if len(self.faults) > 1:  # a single one is in the detail
            lines += [f"- {_where(fault)}{fault['detail']}" for fault in self.faults[:_MOST_FAULTS]]
        if self.status is not None and self.status >= 500 and self.request_id:
            lines.append(f"(request {self.request_id})")
        return "\n".join(lines)


def _where(fault: Mapping[str, str]) -> str:
    place = fault.get("pointer") or fault.get("parameter")
    return f"{place}: " if place else ""


@dataclass(frozen=True)
class Address:
    """Where the service is said to be, and by whom."""

    url: str
    said_by: str  # "PARETRACK_URL", "the default", "as given"

    def __str__(self) -> str:
        return f"{self.url} ({self.said_by})"


def of_response(response: httpx.Response, address: Address, has_token: bool) -> ClientError:
    """The problem that an answer is; its body has been read."""
    document = _document(response)
    if document is None:
        return foreign(response, address)
    detail = str(document.get("detail") or document.get("title") or response.status_code)
    if response.status_code == 401:
        detail += (
            "; the token in PARETRACK_TOKEN is not accepted" if has_token
            else "; put yours into PARETRACK_TOKEN (an operator makes one: paretrack token create)"
        )  # fmt: skip
    faults = document.get("errors")
    return ClientError(
        code=str(document.get("code", "")),
        detail=detail,
        status=response.status_code,
        faults=tuple(_fault(f) for f in faults) if isinstance(faults, list) else (),
        request_id=str(document.get("request_id", "")),
        document=document,
        unsure=response.status_code >= 500,
    )


def _fault(said: Any) -> Mapping[str, str]:
    known = said if isinstance(said, dict) else {"detail": said}
    return {"detail": "", **{str(k): str(v) for k, v in known.items() if v is not None}}


def _document(response: httpx.Response) -> Mapping[str, Any] | None:
    if not response.headers.get("content-type", "").startswith("application/problem+json"):
        return None
    try:
        found = response.json()
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def foreign(response: httpx.Response, address: Address) -> ClientError:
    """Something else listens there, or stands between."""
    if response.is_redirect:
        target = response.headers.get("location", "")[:200]
        detail = (
            f"{address} sends on to {target!r}, which is not followed: if that is your service, "
            "put its address into PARETRACK_URL"
        )
    else:
        kind = response.headers.get("content-type", "nothing").partition(";")[0]
        detail = (
            f"{address} answers {response.status_code} with {kind}, as no Paretrack does: is this "
            "its address, and does whatever stands before it let it answer?"
        )
    status = response.status_code
    return ClientError(NOT_PARETRACK, detail, status, unsure=status >= 500)


def no_answer(error: Exception, address: Address) -> ClientError:
    """Nobody was there, or they went away before they had answered."""
    if is_refused(error):
        detail = (
            f"nothing answers at {address}: is `paretrack up` running? PARETRACK_URL says where "
            f"the service is ({_plain(error)})"
        )
    else:
        detail = f"{address} did not answer: {_plain(error)}"
    return ClientError(NO_ANSWER, detail, unsure=not is_unsent(error))


def is_refused(error: Exception) -> bool:
    return isinstance(error, httpx.ConnectError) and not is_untrusted(error)


def is_untrusted(error: BaseException | None) -> bool:
    """Whether its certificate was refused: trying again will not help."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def is_unsent(error: Exception) -> bool:
    """Whether the request cannot have reached anybody."""
    return isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)


def _plain(error: Exception) -> str:
    said = str(error).strip()
    name = type(error).__name__
    return f"{name}: {said}" if said and not said.startswith("[Errno") else said or name
