"""Which version of a thing a caller has read before they change it."""

from typing import Annotated

from fastapi import Header

from service.errors import Fault, Problem

IfMatch = Annotated[str | None, Header(max_length=100, description="The ETag, or * for any.")]


def etag_of(version: int) -> str:
    return f'"{version}"'


def version_read(if_match: str | None) -> int | None:
    """The version in an If-Match; None: any will do. Left out it is a problem."""
    if if_match is None:
        detail = "If-Match: send the ETag of what you have read, or * to change any version"
        raise Problem("precondition_required", detail, [Fault(detail, parameter="If-Match")])
    plain = if_match.strip().removeprefix("W/").strip('"')
    if plain == "*":
        return None
    if plain.isascii() and plain.isdigit() and len(plain) < 10:
        return int(plain)
    # In quotes it may be an ETag, though none that was ever sent; else it is none at all.
    code = "changed_meanwhile" if if_match.strip().endswith('"') else "invalid"
    detail = f'If-Match: expected an ETag such as "3", or *, got {plain[:40]!r}'
    raise Problem(code, detail, [Fault(detail, parameter="If-Match")])
