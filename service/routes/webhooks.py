"""Webhooks: who is told of events, what was sent to them, send it again."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue
from sqlalchemy import select

from service import callouts, webhooks
from service.callers import visible
from service.database import reading, writing
from service.deliveries import DELIVERIES, HOOKS
from service.routes._deps import ServiceDep, Submitter
from service.routes._if_match import IfMatch, etag_of, version_read
from service.routes._newest import cut, newest_first, place_of
from service.routes._pages import Cursor, Limit, Page
from service.routes.problems import responses
from service.serving import Service
from service.webhooks import Delivery, Webhook

# All for submitters: the URL of a webhook is often a secret by itself.
router = APIRouter(prefix="/webhooks", tags=["webhooks"])

WebhookId = Annotated[str, Path(max_length=32, examples=["5f0c8a1be2d34790"])]
DeliveryId = Annotated[str, Path(max_length=32, examples=["019bd2c4e8f19c27d0a4be618f35"])]
Kind = Literal["state", "front", "trial_finished", "night", "regressed", "schedule_paused"]


def _plain(url: str) -> str:
    try:
        callouts.target_of(url)
    except callouts.NotAllowed as error:
        raise ValueError(f"nothing can be sent to this URL: {error}") from error
    return url


Url = Annotated[
    str,
    AfterValidator(_plain),
    Field(
        min_length=1,
        max_length=2000,
        description="http or https, of a public host; redirects are not followed.",
        pattern="^https?://[!-~]+$",
    ),
]
Secret = Annotated[
    str,
    Field(
        min_length=16,
        max_length=200,
        description="Signs what is sent: `Paretrack-Signature: v1=` and the hexadecimal "
        "HMAC-SHA256 of `Paretrack-Timestamp`, a full stop and the body.",
        pattern="^[!-~]+$",
    ),
]


class WebhookCreate(BaseModel):
    """Where to say what happens. Without a secret one is made."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"url": "https://ci.example.com/paretrack", "kinds": ["state", "regressed"]}
            ]
        },
    )
    url: Url
    kinds: list[Kind] = Field(["state"], min_length=1, max_length=6)
    secret: Secret | None = None


class WebhookUpdate(BaseModel):
    """What is left out stays. An inactive webhook hears nothing."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"kinds": ["state"], "active": True}]}
    )
    url: Url | None = None
    kinds: list[Kind] | None = Field(None, min_length=1, max_length=6)
    active: bool | None = Field(None, strict=True)
    secret: Secret | None = None


class WebhookPublic(BaseModel):
    """A webhook, without its secret."""

    id: str
    owner: str
    project: str | None = Field(description="If any: it is theirs, and hears of their jobs only.")
    url: str
    kinds: list[Kind]
    active: bool
    failures: int = Field(description="Attempts in a row; too many set it inactive.")
    version: int = Field(description="Also in the ETag; send it as If-Match to change it.")
    created_at: datetime
    archived_at: datetime | None


class NewWebhook(WebhookPublic):
    """A webhook that has just been made."""

    secret: str = Field(description="Shown this once.")


class DeliveryPublic(BaseModel):
    """One event on its way to a webhook, and how the attempts went."""

    id: str
    webhook_id: str
    event_id: str = Field(description="Also `id` in the body; a replay has the same.")
    kind: str
    body: dict[str, JsonValue]
    state: Literal["PENDING", "DELIVERED", "GIVEN_UP"]
    attempts: int
    next_at: datetime | None = Field(description="When it is tried (again).")
    last_status: int | None = Field(description="Of the answer to the last attempt, if any came.")
    last_error: str
    created_at: datetime
    delivered_at: datetime | None


def public(hook: Webhook) -> WebhookPublic:
    """A webhook as it is shown."""
    return WebhookPublic(**{**vars(hook), "kinds": list(hook.kinds)})


def shown(delivery: Delivery) -> DeliveryPublic:
    """A delivery as it is shown."""
    return DeliveryPublic(**vars(delivery))


def _check_url(service: Service, url: str | None) -> None:
    if url is not None:
        webhooks.check_url(url, callouts.allowed_from_words(service.settings.webhook_allow))


# --- webhooks ----------------------------------------------------------------------------------


@router.post("", status_code=201, response_model=NewWebhook, responses=responses("conflict"))
def create_webhook(
    body: WebhookCreate,
    request: Request,
    response: Response,
    service: ServiceDep,
    caller: Submitter,
) -> NewWebhook:
    """Be told of what happens to your jobs, or those of your project. The secret is shown once."""
    _check_url(service, body.url)
    with writing(service.engine) as connection:
        hook, secret = webhooks.create(
            connection, caller, url=body.url, kinds=body.kinds, secret=body.secret
        )
    path = request.app.url_path_for("read_webhook", webhook_id=hook.id)
    response.headers["Location"] = str(path)
    response.headers["ETag"] = etag_of(hook.version)
    response.headers["Cache-Control"] = "no-store"
    return NewWebhook(**public(hook).model_dump(), secret=secret)


@router.get("", response_model=Page[WebhookPublic])
def list_webhooks(
    service: ServiceDep,
    caller: Submitter,
    archived: bool = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[WebhookPublic]:
    """Webhooks, the newest first."""
    query = select(HOOKS).where(visible(caller, HOOKS.c))
    if not archived:
        query = query.where(HOOKS.c.archived_at.is_(None))
    query = newest_first(query, HOOKS, place_of(cursor), limit)
    with reading(service.engine) as connection:
        found = [webhooks.webhook(row) for row in connection.execute(query)]
    page, following = cut(found, limit)
    return Page(items=[public(hook) for hook in page], next=following)


@router.get("/{webhook_id}", response_model=WebhookPublic)
def read_webhook(
    webhook_id: WebhookId, response: Response, service: ServiceDep, caller: Submitter
) -> WebhookPublic:
    """One webhook."""
    with reading(service.engine) as connection:
        hook = webhooks.found(connection, caller, webhook_id)
    response.headers["ETag"] = etag_of(hook.version)
    return public(hook)


@router.patch(
    "/{webhook_id}",
    response_model=WebhookPublic,
    responses=responses("conflict", "changed_meanwhile", "precondition_required"),
)
def edit_webhook(
    webhook_id: WebhookId,
    body: WebhookUpdate,
    response: Response,
    service: ServiceDep,
    caller: Submitter,
    if_match: IfMatch = None,
) -> WebhookPublic:
    """Another URL, other kinds, another secret; off and on."""
    version = version_read(if_match)
    with reading(service.engine) as connection:
        webhooks.found(connection, caller, webhook_id)
    _check_url(service, body.url)
    with writing(service.engine) as connection:
        hook = webhooks.edit(
            connection,
            caller,
            webhook_id,
            version=version,
            url=body.url,
            kinds=body.kinds,
            active=body.active,
            secret=body.secret,
        )
    response.headers["ETag"] = etag_of(hook.version)
    return public(hook)


@router.delete("/{webhook_id}", response_model=WebhookPublic)
def archive_webhook(webhook_id: WebhookId, service: ServiceDep, caller: Submitter) -> WebhookPublic:
    """Nothing is sent to it any more. What was sent can still be seen."""
    with writing(service.engine) as connection:
        return public(webhooks.archive(connection, caller, webhook_id))


@router.post(
    "/{webhook_id}/ping",
    status_code=202,
    response_model=DeliveryPublic,
    responses=responses("conflict"),
)
def ping_webhook(webhook_id: WebhookId, service: ServiceDep, caller: Submitter) -> DeliveryPublic:
    """Send it an event of kind `ping`, to see whether that arrives."""
    with writing(service.engine) as connection:
        return shown(webhooks.ping(connection, caller, webhook_id))


# --- deliveries --------------------------------------------------------------------------------


@router.get("/{webhook_id}/deliveries", response_model=Page[DeliveryPublic])
def list_deliveries(
    webhook_id: WebhookId,
    service: ServiceDep,
    caller: Submitter,
    state: Annotated[
        list[Literal["PENDING", "DELIVERED", "GIVEN_UP"]] | None, Query(description="One of these.")
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[DeliveryPublic]:
    """What was sent, is being sent, or was given up; the newest first. Kept for 30 days."""
    query = select(DELIVERIES).where(DELIVERIES.c.webhook_id == webhook_id)
    if state:
        query = query.where(DELIVERIES.c.state.in_(state))
    query = newest_first(query, DELIVERIES, place_of(cursor), limit)
    with reading(service.engine) as connection:
        webhooks.found(connection, caller, webhook_id)
        found = [webhooks.delivery(row) for row in connection.execute(query)]
    page, following = cut(found, limit)
    return Page(items=[shown(each) for each in page], next=following)


@router.get("/{webhook_id}/deliveries/{delivery_id}", response_model=DeliveryPublic)
def read_delivery(
    webhook_id: WebhookId, delivery_id: DeliveryId, service: ServiceDep, caller: Submitter
) -> DeliveryPublic:
    """One delivery."""
    with reading(service.engine) as connection:
        return shown(webhooks.found_delivery(connection, caller, webhook_id, delivery_id))


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/replay",
    status_code=202,
    response_model=DeliveryPublic,
    responses=responses("conflict"),
)
def replay_delivery(
    webhook_id: WebhookId, delivery_id: DeliveryId, service: ServiceDep, caller: Submitter
) -> DeliveryPublic:
    """Send the same event again, as another delivery."""
    with writing(service.engine) as connection:
        return shown(webhooks.replay(connection, caller, webhook_id, delivery_id))
