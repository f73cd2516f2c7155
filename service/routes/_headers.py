"""What a caller says in headers: in which form it wants an answer, and which one it has."""

from collections.abc import Sequence

from service.errors import Fault, Problem


def negotiated(accept: str | None, offered: Sequence[str]) -> str:
    """The media type that a caller likes best; of equals the first. RFC 9110, 12.5.1."""
    if accept is None or not accept.strip():
        return offered[0]
    asked = [_range(part) for part in accept.split(",") if part.strip()]
    liked = {kind: _liking(kind, asked) for kind in offered}
    best = max(offered, key=lambda kind: liked[kind])
    if liked[best] <= 0:
        detail = f"it comes as {' or '.join(offered)}; asked for was {accept[:200]!r}"
        raise Problem("not_acceptable", detail, [Fault(detail, parameter="Accept")])
    return best


def _range(part: str) -> tuple[str, float]:
    """A media range and how much it is liked, from 0 to 1."""
    kind, *parameters = (word.strip().lower() for word in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return kind, min(1.0, max(0.0, float(value)))
            except ValueError:
                return kind, 0.0
    return kind, 1.0


def _liking(kind: str, asked: Sequence[tuple[str, float]]) -> float:
    """What the range that says most about a media type says."""
    for wanted in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
        found = [liking for named, liking in asked if named == wanted]
        if found:
            return max(found)
    return 0.0


def names_version(if_none_match: str | None, tag: str) -> bool:
    """Whether an If-None-Match names this ETag; here a weak one is as good (RFC 9110, 13.1.2)."""
    if if_none_match is None:
        return False
    named = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return "*" in named or tag.removeprefix("W/") in named
