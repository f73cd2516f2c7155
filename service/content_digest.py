"""Content-Digest (RFC 9530): what a sender says about the bytes of a body."""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from service.errors import Fault, Problem

LENGTHS = {"sha-256": 32, "sha-512": 64}  # bytes; other algorithms say nothing to us
_MEMBER = re.compile(r"\s*([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/=]*):\s*")


@dataclass(frozen=True)
class Expected:
    """Digests by algorithm; nothing, where nothing was said."""

    digests: Mapping[str, bytes]

    def check(self, found: Mapping[str, bytes]) -> None:
        for name, digest in self.digests.items():
            if not hmac.compare_digest(digest, found[name]):
                detail = (
                    f"Content-Digest: other bytes have come than were sent ({name}); send it again"
                )
                raise Problem("invalid", detail, [Fault(detail, parameter="Content-Digest")])


def expected(header: str | None) -> Expected:
    """What a Content-Digest header says, ``sha-256=:BASE64:``."""
    members = [] if header is None else header.split(",")
    found = {}
    for member in members:
        read = _MEMBER.fullmatch(member)
        if read is None:
            raise _unreadable()
        name, text = read.groups()
        if name in LENGTHS:
            found[name] = _digest(text, LENGTHS[name])
    return Expected(found)


def _digest(text: str, length: int) -> bytes:
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != length:
        raise _unreadable()
    return digest


def _unreadable() -> Problem:
    detail = "Content-Digest: expected sha-256=:BASE64: (RFC 9530), or leave it out"
    return Problem("malformed", detail, [Fault(detail, parameter="Content-Digest")])
