"""JSON as it comes from outside, looked at before anybody parses it.

What Python's parser, pydantic or PostgreSQL would stumble over later is refused here by name, in
time that grows with the length of the text only: no recursion, no pattern that goes back.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NoReturn

from service.errors import Problem

DEEPEST = 64  # arrays and objects inside each other
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
# All escapes but those of NUL and of half a surrogate pair; ends before the first of these.
_STORABLE = re.compile(
    rb"(?:[^\\]++"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|\\u(?!0000|[dD][89a-fA-F])"
    rb"|\\[^u])*+"
)
_PERHAPS_TOO_LARGE = re.compile(rb"\d{19}|[eE]\+?\d{3}")


def check_json(body: bytes) -> None:
    """Refuses what is no JSON (400), and JSON that this service could not keep (422)."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise _unreadable(f"byte {error.start} is not UTF-8") from None
    if _depth(body) > DEEPEST:
        raise Problem("invalid", f"arrays and objects more than {DEEPEST} deep in each other")
    storable = _STORABLE.match(body)
    end = storable.end() if storable else 0
    if body[end : end + 2] == b"\\u":
        what = "NUL character" if body[end + 2 : end + 6] == b"0000" else "half a surrogate pair"
        raise Problem("invalid", f"{what} at byte {end}: texts cannot hold it; leave it out")
    large = _PERHAPS_TOO_LARGE.search(body) is not None
    try:
        json.loads(
            text,  # not the bytes: it would take them for UTF-16 if they look like it
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_int=_integer if large else None,
            parse_float=_number if large else None,
        )
    except json.JSONDecodeError as error:
        raise _unreadable(f"{error.msg} at line {error.lineno} column {error.colno}") from None


def storable_text(text: str) -> bool:
    """Whether a database can hold it: no NUL, no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _depth(body: bytes) -> int:
    brackets = _STRING.sub(b"", body).translate(_BRACKETS, _NO_BRACKETS)
    return max(accumulate(ord("\\") - bracket for bracket in brackets), default=0)


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    known = dict(pairs)
    if len(known) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise _unreadable(f"an object has {twice[:60]!r} twice")
    return known


def _constant(word: str) -> NoReturn:
    raise _unreadable(f"{word} is no JSON; leave the number out or write null")


def _integer(digits: str) -> int:
    # Looked at as text first: to read a million digits would take long.
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**63:
        raise Problem("invalid", f"the integer {_short(digits)} has more than 64 bits")
    return int(digits)


def _number(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise Problem("invalid", f"the number {_short(digits)} is too large")
    return number


def _short(digits: str) -> str:
    return digits if len(digits) <= 30 else f"{digits[:12]}... ({len(digits)} characters)"


def _unreadable(why: str) -> Problem:
    return Problem("malformed", f"the body cannot be read as JSON: {why}")
