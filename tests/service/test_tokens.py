"""Tokens are shown once, tell nobody anything else, and end when they should."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, event, select, text, update

from search_spaces import ParetrackError
from service import audit, tokens
from service.callers import Caller, Role
from service.database import reading, writing
from service.errors import Problem
from service.tables import TokenRow
from tests.service.asking import Clock


def make(engine: Engine, name: str = "laptop", **more: object) -> tuple[tokens.Token, str]:
    asked = {"owner": "ann", "role": Role.SUBMITTER, "by": "root", **more}
    return tokens.create(engine, name=name, **asked)  # type: ignore[arg-type]


def refusal(engine: Engine, secret: str, now: datetime | None = None) -> Problem:
    with pytest.raises(Problem) as caught:
        tokens.authenticate(engine, secret, now)
    assert caught.value.status == 401
    return caught.value


def statements_for(engine: Engine, secret: str) -> list[str]:
    """What the database is asked before a token is refused."""
    asked: list[str] = []

    def note(*said: object) -> None:
        asked.append(str(said[2]))

    event.listen(engine, "before_cursor_execute", note)
    refusal(engine, secret)
    event.remove(engine, "before_cursor_execute", note)
    return asked


class Writes:
    """Counts the statements that change tokens."""

    def __init__(self, engine: Engine) -> None:
        self.count = 0
        event.listen(engine, "before_cursor_execute", self._seen)

    def _seen(self, _c: object, _cursor: object, statement: str, *_rest: object) -> None:
        self.count += statement.startswith("UPDATE tokens")


def test_a_new_token_says_who_calls(engine: Engine) -> None:
    token, secret = make(engine, project="drones")
    assert re.fullmatch(rf"pt_{token.id}_[A-Za-z0-9_-]{{43}}", secret)
    assert tokens.authenticate(engine, secret) == Caller(
        owner="ann",
        role=Role.SUBMITTER,
        project="drones",
        token_id=token.id,
        token_name="laptop",
    )


def test_the_secret_is_nowhere_in_the_database_nor_in_what_is_shown(engine: Engine) -> None:
    token, text_of_it = make(engine)
    secret = text_of_it.removeprefix(f"pt_{token.id}_")
    with reading(engine) as connection:
        kept = repr(connection.execute(select(TokenRow)).all())
        kept += repr(connection.execute(text("SELECT * FROM audit")).all())
    assert token.id in kept
    assert secret not in kept + repr(token) + repr(tokens.list_tokens(engine))
    assert "sha256" not in repr(token)


def test_an_unknown_id_a_wrong_secret_and_nonsense_are_told_apart_by_nobody(engine: Engine) -> None:
    _, secret = make(engine)
    flipped = secret[:-1] + ("A" if secret[-1] != "A" else "B")
    unknown = "pt_" + "0" * 16 + secret[19:]
    said = [refusal(engine, one) for one in (flipped, unknown, "pt_x_y", "", "\ud800", "pt_\0_")]
    assert len({(one.detail, *one.headers.items()) for one in said}) == 1
    assert statements_for(engine, flipped) == statements_for(engine, unknown)
    assert said[0].headers["WWW-Authenticate"].startswith('Bearer realm="paretrack", error=')


def test_only_who_has_the_secret_hears_that_a_token_has_expired_or_was_revoked(
    engine: Engine,
) -> None:
    ends = datetime.now(UTC) + timedelta(hours=1)
    expiring, secret = make(engine, expires_at=ends)
    assert tokens.authenticate(engine, secret, ends - timedelta(seconds=1)).owner == "ann"
    assert "expired" in refusal(engine, secret, ends).detail
    assert "not known" in refusal(engine, secret[:-2], ends).detail
    revoked, other = make(engine)
    tokens.revoke(engine, revoked.id, by="root")
    assert "revoked" in refusal(engine, other).detail
    assert "not known" in refusal(engine, other[:-4] + "AAAA").detail
    assert expiring.expires_at == ends


def test_a_token_that_would_never_be_good_is_not_made(engine: Engine) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    with pytest.raises(ParetrackError, match="expired already"):
        make(engine, expires_at=past)
    with pytest.raises(ParetrackError, match="says no time zone"):
        make(engine, expires_at=datetime(2030, 1, 1))
    for wrong in ("", "a" * 201, "new\nline", "nul\0"):
        with pytest.raises(ParetrackError, match="not a token's name"):
            make(engine, wrong)
    assert tokens.list_tokens(engine) == []


def test_the_header_is_read_as_the_standard_says() -> None:
    assert tokens.bearer("Bearer pt_a_b") == tokens.bearer("bearer  pt_a_b ") == "pt_a_b"
    for wrong in (None, "", "Bearer", "Basic pt_a_b", "Bearer a b", "pt_a_b"):
        with pytest.raises(Problem) as caught:
            tokens.bearer(wrong)
        assert caught.value.status == 401
        assert caught.value.headers == {"WWW-Authenticate": 'Bearer realm="paretrack"'}


def test_the_last_use_is_noted_once_a_minute(engine: Engine) -> None:
    token, secret = make(engine)
    assert tokens.read(engine, token.id).last_used_at is None
    writes, began = Writes(engine), datetime.now(UTC).replace(microsecond=0)
    for seconds in (0, 1, 30, 59):
        tokens.authenticate(engine, secret, began + timedelta(seconds=seconds))
    assert writes.count == 1
    assert tokens.read(engine, token.id).last_used_at == began
    tokens.authenticate(engine, secret, began + timedelta(seconds=60))
    assert writes.count == 2
    assert tokens.read(engine, token.id).last_used_at == began + timedelta(seconds=60)


def test_a_known_token_does_not_ask_the_database_until_its_seconds_are_over(
    engine: Engine,
) -> None:
    _, secret = make(engine)
    asked: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *said: asked.append(said[2]))
    clock = Clock()
    known = tokens.KnownTokens(engine, seconds=5, clock=clock)
    first = known.caller(secret)
    assert asked
    asked.clear()
    clock.now += 4.9
    assert known.caller(secret) == first
    assert not asked
    clock.now += 0.1
    assert known.caller(secret) == first
    assert asked


def test_a_revoked_token_is_refused_within_the_seconds_and_at_once_where_it_is_forgotten(
    engine: Engine,
) -> None:
    token, secret = make(engine)
    clock = Clock()
    here, elsewhere = (tokens.KnownTokens(engine, seconds=5, clock=clock) for _ in range(2))
    here.caller(secret)
    elsewhere.caller(secret)
    tokens.revoke(engine, token.id, by="root")
    here.forget(token.id)
    with pytest.raises(Problem, match="revoked"):
        here.caller(secret)
    clock.now += 4.99
    assert elsewhere.caller(secret).token_id == token.id
    clock.now += 0.01
    with pytest.raises(Problem, match="revoked"):
        elsewhere.caller(secret)


def test_a_token_that_is_forgotten_while_it_is_looked_up_is_not_remembered(engine: Engine) -> None:
    token, secret = make(engine)
    known = tokens.KnownTokens(engine, clock=Clock())

    def revoked_meanwhile(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        if "UPDATE tokens SET last_used_at" in statement:  # after it was read, before it is kept
            known.forget(token.id)

    event.listen(engine, "after_cursor_execute", revoked_meanwhile)
    known.caller(secret)
    tokens.revoke(engine, token.id, by="root")
    with pytest.raises(Problem, match="revoked"):
        known.caller(secret)


def test_a_known_token_is_not_good_beyond_its_expiry(engine: Engine) -> None:
    token, secret = make(engine, expires_at=datetime.now(UTC) + timedelta(seconds=60))
    clock = Clock()
    known = tokens.KnownTokens(engine, seconds=600, clock=clock)
    known.caller(secret)
    with writing(engine) as connection:  # as if that time had come
        past = datetime.now(UTC) - timedelta(seconds=1)
        connection.execute(update(TokenRow).values(expires_at=past))
    clock.now += 50
    assert known.caller(secret).token_id == token.id
    clock.now += 10
    with pytest.raises(Problem, match="expired"):
        known.caller(secret)


def test_only_so_many_tokens_are_remembered(engine: Engine) -> None:
    secrets = [make(engine, f"n{number}")[1] for number in range(4)]
    known = tokens.KnownTokens(engine, most=2, clock=Clock())
    for secret in secrets:
        known.caller(secret)
    asked: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *said: asked.append(said[2]))
    known.caller(secrets[3])
    known.caller(secrets[2])
    assert not asked
    known.caller(secrets[0])
    assert asked


def test_what_is_created_and_revoked_is_in_the_audit_once(engine: Engine) -> None:
    token, _ = make(engine, by="root (cli)", why="new laptop")
    for _ in range(2):
        revoked = tokens.revoke(engine, token.id, by="ann", why="lost")
        assert revoked.revoked_at is not None
    created, ended = audit.read(engine, f"token {token.id}")
    assert (created.who, created.action, created.why) == (
        "root (cli)",
        "token create",
        "new laptop",
    )
    assert created.detail["role"] == "submitter"
    assert (ended.who, ended.action, ended.why) == ("ann", "token revoke", "lost")


def test_a_token_of_somebody_else_is_not_there(engine: Engine) -> None:
    token, secret = make(engine)
    for attempt in (
        lambda: tokens.read(engine, token.id, owner="bob"),
        lambda: tokens.revoke(engine, token.id, by="bob", owner="bob"),
        lambda: tokens.read(engine, "0" * 16),
    ):
        with pytest.raises(Problem) as caught:
            attempt()
        assert caught.value.status == 404
    assert tokens.authenticate(engine, secret).owner == "ann"
    assert tokens.read(engine, token.id, owner="ann").id == token.id


def test_pages_of_the_list_leave_out_none_and_repeat_none(engine: Engine) -> None:
    made = [make(engine, f"n{number}", owner="ab"[number % 2])[0] for number in range(7)]
    with writing(engine) as connection:  # several at one instant
        at = datetime(2026, 1, 1, tzinfo=UTC)
        connection.execute(update(TokenRow).where(TokenRow.owner == "a").values(created_at=at))
    expected = sorted(
        (replace(one, created_at=at) if one.owner == "a" else one for one in made),
        key=lambda one: (one.created_at, one.id),
        reverse=True,
    )
    for owner in (None, "a"):
        seen: list[tokens.Token] = []
        while page := tokens.list_tokens(
            engine,
            owner=owner,
            after=(seen[-1].created_at, seen[-1].id) if seen else None,
            limit=2,
        ):
            assert len(page) <= 2
            seen += page
        assert seen == [one for one in expected if owner in (None, one.owner)]


def test_a_database_that_cannot_be_written_still_says_who_calls(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    token, secret = make(engine)
    read_only = (
        "SET default_transaction_read_only = on"
        if engine.dialect.name == "postgresql"
        else "PRAGMA query_only = on"
    )
    engine.dispose()

    def refuse_writes(connection: object, *_rest: object) -> None:
        connection.execute(read_only)  # type: ignore[attr-defined]
        if engine.dialect.name == "postgresql":
            connection.commit()  # type: ignore[attr-defined]

    event.listen(engine, "connect", refuse_writes)
    assert tokens.authenticate(engine, secret).token_id == token.id
    assert f"the use of token {token.id} was not noted" in caplog.text
