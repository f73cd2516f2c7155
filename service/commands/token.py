"""paretrack token: who may call the service. Works on the database itself, so for operators."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from service.commands._calling import shown
from service.commands._options import Json
from service.settings import read_settings
from service.terminal import Terminal, table

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from service.tokens import Token

app = typer.Typer(help="Tokens: create, list, revoke.", no_args_is_help=True)
RoleWord = Literal["viewer", "submitter", "operator"]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the token is for.")],
    role: Annotated[
        RoleWord,
        typer.Option("--role", help="A viewer looks, a submitter has jobs, an operator may all."),
    ] = "submitter",
    owner: Annotated[str, typer.Option("--owner", help="Whose jobs are theirs.")] = "me",
    project: Annotated[
        str | None, typer.Option("--project", help="Shares what it makes with this project.")
    ] = None,
    days: Annotated[float | None, typer.Option("--days", help="Until it expires.")] = None,
    as_json: Json = False,
) -> None:
    """Make a token and show it, this once.

    Example: `paretrack token create laptop --owner ada --role submitter --days 90`
    """
    from service import tokens
    from service.callers import role_from_word

    expires = None if days is None else datetime.now(UTC) + timedelta(days=days)
    with _database() as engine:
        made, text = tokens.create(
            engine,
            name=name,
            owner=owner,
            role=role_from_word(role),
            project=project,
            expires_at=expires,
            by="paretrack token create",
        )
    terminal = Terminal(as_json)
    terminal.say("The token. It is shown this once; keep it where others cannot read it:")
    terminal.answer({"id": made.id, "token": text, "role": role, "owner": owner}, text)


@app.command("list")
def list_tokens(as_json: Json = False) -> None:
    """All tokens, without their secrets. Example: `paretrack token list`"""
    from service import tokens

    with _database() as engine:
        found = tokens.list_tokens(engine, limit=500)
    rows = [[t.id, t.name, t.owner, t.role.word, _when(t.last_used_at), _state(t)] for t in found]
    columns = ("id", "name", "owner", "role", "last used", "state")
    Terminal(as_json).answer(
        [shown({**vars(t), "role": t.role.word}) for t in found], table(columns, rows)
    )


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(help="As paretrack token list shows it.")],
    why: Annotated[str, typer.Option("--why", help="For the audit.")] = "",
    as_json: Json = False,
) -> None:
    """Make a token useless, within seconds. Example: `paretrack token revoke 3f9c0a17be52d481`"""
    from service import tokens

    with _database() as engine:
        gone = tokens.revoke(engine, token_id, by="paretrack token revoke", why=why)
    Terminal(as_json).answer({"id": gone.id, "state": "revoked"}, f"{gone.name} is revoked")


@contextmanager
def _database() -> "Iterator[Engine]":
    from service.database import embedded_url, open_database

    settings = read_settings(os.environ)
    engine = open_database(settings.database_url or embedded_url(settings.home / "paretrack.db"))
    try:
        yield engine
    finally:
        engine.dispose()


def _when(at: datetime | None) -> str:
    return "never" if at is None else at.strftime("%Y-%m-%d %H:%M UTC")


def _state(token: "Token") -> str:
    if token.revoked_at is not None:
        return "revoked"
    over = token.expires_at is not None and token.expires_at <= datetime.now(UTC)
    return "expired" if over else "good"
