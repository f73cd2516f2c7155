"""Tokens: operators make them, everybody sees and revokes their own."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from service import tokens
from service.callers import Caller, Role, role_from_word
from service.routes._deps import Operator, ServiceDep, Viewer
from service.routes._newest import cut, place_of
from service.routes._pages import Cursor, Limit, Page
from service.tokens import Token

router = APIRouter(prefix="/tokens", tags=["tokens"])

TokenId = Annotated[str, Path(max_length=32, examples=["8d1f6c02ab93e457"])]
RoleWord = Literal["viewer", "submitter", "operator"]
Name = Annotated[str, Field(min_length=1, max_length=200)]
LAST_YEAR = 2999


def _not_too_far(at: datetime) -> datetime:
    if at.year > LAST_YEAR:  # some places have days behind the last one of a calendar
        raise ValueError(f"expected a year up to {LAST_YEAR}; leave it out for ever")
    return at


Expiry = Annotated[AwareDatetime, AfterValidator(_not_too_far)]


class TokenCreate(BaseModel):
    """A token for somebody."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"name": "laptop", "owner": "ada", "role": "submitter", "project": "vo"}]
        },
    )
    name: Name = Field(description="What it is for.")
    owner: Name = Field(description="Whose things are made with it.")
    role: RoleWord = Field(
        "submitter", description="A viewer looks, a submitter has jobs, an operator may all."
    )
    project: Name | None = Field(None, description="Shares what it makes with this project.")
    expires_at: Expiry | None = Field(None, description="With a time zone; null: never.")
    why: str = Field("", max_length=500, description="For the audit.")


class TokenPublic(BaseModel):
    """A token, without its secret."""

    id: str
    name: str
    owner: str
    project: str | None
    role: RoleWord
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")
    revoked_at: datetime | None


class NewToken(TokenPublic):
    """A token that has just been made."""

    token: str = Field(description="Shown this once.")


class Me(BaseModel):
    """Who calls."""

    owner: str
    role: RoleWord
    project: str | None
    token_id: str | None = Field(description="null: this service has one user, who needs none.")
    token_name: str | None
    expires_at: datetime | None


def public(token: Token) -> TokenPublic:
    """A token as it is shown."""
    return TokenPublic(**{**vars(token), "role": token.role.word})


def _whose(caller: Caller) -> str | None:
    """Only theirs; all of them for an operator."""
    return None if caller.role == Role.OPERATOR else caller.owner


@router.post("", status_code=201, response_model=NewToken)
def create_token(
    body: TokenCreate, request: Request, response: Response, service: ServiceDep, caller: Operator
) -> NewToken:
    """Make a token. Its text is shown this once."""
    token, text = tokens.create(
        service.engine,
        name=body.name,
        owner=body.owner,
        role=role_from_word(body.role),
        project=body.project,
        expires_at=body.expires_at,
        by=caller.who,
        why=body.why,
    )
    path = request.app.url_path_for("read_token", token_id=token.id)
    response.headers["Location"] = str(path)
    response.headers["Cache-Control"] = "no-store"
    return NewToken(**public(token).model_dump(), token=text)


@router.get("", response_model=Page[TokenPublic])
def list_tokens(
    service: ServiceDep,
    caller: Viewer,
    owner: Annotated[str | None, Query(max_length=200, description="For operators.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[TokenPublic]:
    """Your tokens, or all of them for an operator; the newest first."""
    found = tokens.list_tokens(
        service.engine, owner=_whose(caller) or owner, after=place_of(cursor), limit=limit + 1
    )
    page, following = cut(found, limit)
    return Page(items=[public(token) for token in page], next=following)


@router.get("/me", response_model=Me)
def who_am_i(service: ServiceDep, caller: Viewer) -> Me:
    """Who you are for this service, and what you may do."""
    token = None if caller.token_id is None else tokens.read(service.engine, caller.token_id)
    return Me(
        owner=caller.owner,
        role=caller.role.word,  # type: ignore[arg-type]  # one of the three words
        project=caller.project,
        token_id=caller.token_id,
        token_name=None if token is None else token.name,
        expires_at=None if token is None else token.expires_at,
    )


@router.get("/{token_id}", response_model=TokenPublic)
def read_token(token_id: TokenId, service: ServiceDep, caller: Viewer) -> TokenPublic:
    """One token."""
    return public(tokens.read(service.engine, token_id, owner=_whose(caller)))


@router.delete("/{token_id}", response_model=TokenPublic)
def revoke_token(
    token_id: TokenId,
    service: ServiceDep,
    caller: Viewer,
    why: Annotated[str, Query(max_length=500, description="For the audit.")] = "",
) -> TokenPublic:
    """Of no use any more: here at once, in other API processes within seconds."""
    token = tokens.revoke(service.engine, token_id, by=caller.who, why=why, owner=_whose(caller))
    if service.tokens is not None:
        service.tokens.forget(token_id)
    return public(token)
