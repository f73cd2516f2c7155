"""How a webhook's receiver knows that a delivery is ours, and not an old one said again.

    from service.signatures import verify

    verify(secret, request.headers, request.body)  # raises BadSignature
    event = json.loads(request.body)

The signature is HMAC-SHA256, with the webhook's secret, over the timestamp, a full stop and the
body as it came, byte by byte.
"""

import hashlib
import hmac
import re
import time
from collections.abc import Mapping

from search_spaces._errors import ParetrackError

EVENT, DELIVERY = "Paretrack-Event", "Paretrack-Delivery"
TIMESTAMP, SIGNATURE = "Paretrack-Timestamp", "Paretrack-Signature"
TOLERANCE = 300.0  # seconds between two clocks, and on the way


class BadSignature(ParetrackError):  # noqa: N818 - says what happened
    """This delivery is not from who has the secret, or it is an old one."""


def signed(secret: str, timestamp: int, body: bytes) -> Mapping[str, str]:
    """The headers that prove who sends this body, and when."""
    return {TIMESTAMP: str(timestamp), SIGNATURE: f"v1={_digest(secret, str(timestamp), body)}"}


def verify(
    secret: str,
    headers: Mapping[str, str],
    body: bytes,
    tolerance: float = TOLERANCE,
    now: float | None = None,
) -> None:
    """Nothing, or BadSignature. ``now``: seconds since 1970, if not the clock's."""
    said = {name.lower(): value for name, value in headers.items()}
    timestamp, signature = said.get(TIMESTAMP.lower(), ""), said.get(SIGNATURE.lower(), "")
    if not re.fullmatch("[0-9]{1,12}", timestamp):
        raise BadSignature(f"no {TIMESTAMP} in seconds since 1970: is this a delivery at all?")
    right = f"v1={_digest(secret, timestamp, body)}"
    if not hmac.compare_digest(right.encode(), signature.encode(errors="replace")):
        raise BadSignature(
            f"{SIGNATURE} is not that of this body: use the secret of this webhook, and the body "
            "as it came, before it is parsed"
        )
    late = (time.time() if now is None else now) - int(timestamp)
    if abs(late) > tolerance:
        raise BadSignature(f"it was signed {late:.0f} s ago, more than {tolerance:g} s: set the "
                           "clock, or somebody says an old delivery again")  # fmt: skip


def _digest(secret: str, timestamp: str, body: bytes) -> str:
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
