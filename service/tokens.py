"""Bearer tokens: shown once, kept as a SHA-256, looked up by their visible part.

``pt_<id>_<secret>``: the secret is 256 random bits, so that a plain hash of it cannot be guessed
back and a slow one would win nothing. What is wrong with a token is said only to who has it.
"""

import hashlib
import hmac
import logging
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Connection, Engine, Row, Table, and_, insert, or_, select, update

from search_spaces import ParetrackError
from service import audit
from service.callers import Caller, Role, role_from_word
from service.database import DatabaseError, database_now, reading, writing
from service.errors import Problem, not_found
from service.tables import TokenRow

_TOKENS = cast(Table, TokenRow.__table__)
_TEXT = re.compile(r"pt_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_HEADER = re.compile(r"bearer +(\S+) *", re.IGNORECASE)
_REALM = 'Bearer realm="paretrack"'
_NOBODY = hashlib.sha256(b"").hexdigest()  # compared with when there is no such id
_NOTED_EVERY = timedelta(minutes=1)  # how exact ``last_used_at`` is
_warn = logging.getLogger("paretrack.tokens").warning


@dataclass(frozen=True, kw_only=True)
class Token:
    """What may be shown of a token."""

    id: str
    name: str
    owner: str
    project: str | None
    role: Role
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None  # to the minute
    revoked_at: datetime | None


def create(
    engine: Engine,
    *,
    name: str,
    owner: str,
    role: Role,
    by: str,
    project: str | None = None,
    expires_at: datetime | None = None,
    why: str = "",
) -> tuple[Token, str]:
    """A new token, and its text: nobody can be told it again."""
    _check_names(name=name, owner=owner, project=project)
    token_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    with writing(engine) as connection:
        now = database_now(connection)
        _check_expiry(expires_at, now)
        row = {
            "id": token_id,
            "name": name,
            "owner": owner,
            "project": project,
            "role": role.word,
            "secret_sha256": _digest(secret),
            "created_by": by[:200],
            "created_at": now,
            "expires_at": expires_at,
            "last_used_at": None,
            "revoked_at": None,
        }
        connection.execute(insert(_TOKENS), row)
        said = {"name": name, "owner": owner, "project": project, "role": role.word}
        audit.record(connection, by, "token create", f"token {token_id}", why, **said)
        token = _found(connection, token_id, None)
    return token, f"pt_{token_id}_{secret}"


def revoke(
    engine: Engine, token_id: str, *, by: str, why: str = "", owner: str | None = None
) -> Token:
    """The token, of no use from now on (but see ``KnownTokens``); revoking it again is no error."""
    with writing(engine) as connection:
        token = _found(connection, token_id, owner)
        of_use = (_TOKENS.c.id == token_id) & _TOKENS.c.revoked_at.is_(None)
        now = database_now(connection)
        if connection.execute(update(_TOKENS).where(of_use).values(revoked_at=now)).rowcount:
            audit.record(connection, by, "token revoke", f"token {token_id}", why, name=token.name)
        return _found(connection, token_id, owner)


def read(engine: Engine, token_id: str, *, owner: str | None = None) -> Token:
    """One token; with an ``owner``, only if it is theirs."""
    with reading(engine) as connection:
        return _found(connection, token_id, owner)


def list_tokens(
    engine: Engine,
    *,
    owner: str | None = None,
    after: tuple[datetime, str] | None = None,
    limit: int = 100,
) -> list[Token]:
    """The newest first, behind the one with this ``created_at`` and ``id``."""
    newest = (_TOKENS.c.created_at.desc(), _TOKENS.c.id.desc())
    query = select(_TOKENS).order_by(*newest).limit(limit)
    if owner is not None:
        query = query.where(_TOKENS.c.owner == owner)
    if after is not None:
        at, token_id = after
        earlier = _TOKENS.c.created_at < at
        query = query.where(or_(earlier, and_(_TOKENS.c.created_at == at, _TOKENS.c.id < token_id)))
    with reading(engine) as connection:
        return [_token(row) for row in connection.execute(query)]


def bearer(authorization: str | None) -> str:
    """The token in an Authorization header."""
    if authorization is None:
        raise _unauthenticated("this needs a token: send the header 'Authorization: Bearer pt_...'")
    match = _HEADER.fullmatch(authorization)
    if match is None:
        raise _unauthenticated(
            "the Authorization header is not 'Bearer pt_...': that word, a space, the token"
        )
    return match[1]


def authenticate(engine: Engine, text: str, now: datetime | None = None) -> Caller:
    """Who has this token. ``now`` is the database's time if it is not said."""
    return _authenticated(engine, text, now)[0]


class KnownTokens:
    """Tokens that were good a moment ago, so that not every request asks the database.

    A revoked token is refused after ``seconds`` at the latest in each API process, at once in one
    that was told to ``forget`` it. One that expires is refused in time.
    """

    def __init__(
        self,
        engine: Engine,
        seconds: float = 5.0,
        most: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._seconds, self._most, self._clock = engine, seconds, most, clock
        self._known: OrderedDict[str, tuple[float, Caller]] = OrderedDict()
        self._forgotten = 0  # how often: what was asked before must not be kept after
        self._lock = threading.Lock()

    def caller(self, text: str) -> Caller:
        """As ``authenticate``."""
        digest, began = _digest(text), self._clock()
        with self._lock:
            until, caller = self._known.get(digest, (began, None))
            forgotten = self._forgotten
        if caller is not None and began < until:
            return caller
        caller, left = _authenticated(self._engine, text, None)
        with self._lock:
            if forgotten == self._forgotten:
                self._known[digest] = (began + min(self._seconds, left), caller)
                self._known.move_to_end(digest)
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        return caller

    def forget(self, token_id: str) -> None:
        """To be called by who revokes."""
        with self._lock:
            self._forgotten += 1
            of_it = [key for key, (_, caller) in self._known.items() if caller.token_id == token_id]
            for key in of_it:
                del self._known[key]


def _authenticated(engine: Engine, text: str, now: datetime | None) -> tuple[Caller, float]:
    """The caller, and for how many seconds the token is good as far as its expiry goes."""
    match = _TEXT.fullmatch(text)
    token_id, secret = match.groups() if match else ("", "")
    with reading(engine) as connection:
        row = connection.execute(select(_TOKENS).where(_TOKENS.c.id == token_id)).one_or_none()
        now = now or database_now(connection)
    # Done in every case and always alike: neither answer nor time tells whether the id is known.
    right = hmac.compare_digest(_NOBODY if row is None else row.secret_sha256, _digest(secret))
    if match is None or row is None or not right:
        raise _unauthenticated("this token is not known", "unknown")
    if row.revoked_at is not None:
        raise _unauthenticated(f"this token ({row.name}) was revoked; ask for a new one", "revoked")
    if row.expires_at is not None and row.expires_at <= now:
        raise _unauthenticated(f"this token ({row.name}) has expired; ask for a new one", "expired")
    _note_use(engine, row, now)
    left = float("inf") if row.expires_at is None else (row.expires_at - now).total_seconds()
    return _caller(row), left


def _note_use(engine: Engine, row: Row[Any], now: datetime) -> None:
    if row.last_used_at is not None and now - row.last_used_at < _NOTED_EVERY:
        return
    this = _TOKENS.c.id == row.id
    try:
        with writing(engine) as connection:
            connection.execute(update(_TOKENS).where(this).values(last_used_at=now))
    except DatabaseError as error:
        # A database that can only be read now can still say who calls.
        _warn("the use of token %s was not noted: %s", row.id, error)


def _found(connection: Connection, token_id: str, owner: str | None) -> Token:
    row = connection.execute(select(_TOKENS).where(_TOKENS.c.id == token_id)).one_or_none()
    if row is None or owner not in (None, row.owner):
        raise not_found("token", token_id)
    return _token(row)


def _check_names(**names: str | None) -> None:
    for what, name in names.items():
        if name is not None and not (0 < len(name) <= 200 and name.isprintable()):
            raise ParetrackError(
                f"not a token's {what}: {name[:60]!r}; expected 1 to 200 printable characters"
            )


def _check_expiry(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is None:
        return
    if expires_at.tzinfo is None:
        raise ParetrackError(
            f"expires_at {expires_at.isoformat()} says no time zone; add one, as in "
            f"{expires_at.isoformat()}+00:00"
        )
    if expires_at <= now:
        raise ParetrackError(
            f"a token that has expired already: expires_at is {expires_at.isoformat()}, now is "
            f"{now.isoformat(timespec='seconds')}; give a later time, or none"
        )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _unauthenticated(detail: str, reason: str | None = None) -> Problem:
    says = (
        _REALM
        if reason is None
        else f'{_REALM}, error="invalid_token", error_description="{reason}"'
    )
    return Problem("unauthenticated", detail, headers={"WWW-Authenticate": says})


def _caller(row: Row[Any]) -> Caller:
    return Caller(
        owner=row.owner,
        role=role_from_word(row.role),
        project=row.project,
        token_id=row.id,
        token_name=row.name,
    )


def _token(row: Row[Any]) -> Token:
    known = {name: value for name, value in row._mapping.items() if name != "secret_sha256"}
    return Token(**{**known, "role": role_from_word(row.role)})
