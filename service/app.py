"""The API: ``create_app`` is the one place where its parts meet. Nothing here imports torch."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from importlib.metadata import version

from fastapi import APIRouter, FastAPI

from service import edge
from service.database import embedded_url, open_database
from service.figures import Counted
from service.rates import Buckets
from service.routes import (
    artefacts,
    audit,
    catalogue,
    devices,
    events,
    fronts,
    gates,
    health,
    jobs,
    layers,
    owners,
    pages,
    points,
    problems,
    recipes,
    replays,
    schedules,
    tokens,
    trackers,
    trials,
    webhooks,
)
from service.serving import Service
from service.settings import Settings
from service.tokens import KnownTokens

PREFIX = "/api/v1"
RATE, BURST = 50.0, 200  # requests of one token a second in the long run, and at once
STRANGERS_RATE, STRANGERS_BURST = 5.0, 50  # of one address without a (good) token
UPLOAD_LIMIT = 2 << 30  # bytes of a teacher's weights


def create_app(
    settings: Settings,
    *,
    needs_tokens: bool,
    hosts: Sequence[str] | None = (),
    limited: bool = True,
) -> FastAPI:
    """``needs_tokens``: else whoever reaches it is its one user. ``hosts``: names that it answers
    to beside those of loopback; None: any, for a service whose callers have tokens. ``limited``:
    whether callers have to keep to a rate."""
    engine = open_database(settings.database_url or embedded_url(settings.home / "paretrack.db"))
    service = Service(settings, engine, KnownTokens(engine) if needs_tokens else None)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        service.beside.close()
        service.errands.close()
        engine.dispose()

    app = FastAPI(
        title="Paretrack",
        version=version("paretrack"),
        summary="Searches light-weight versions of visual object trackers.",
        lifespan=lifespan,
        redoc_url=None,
        docs_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,  # it would be built from the Host header
    )
    app.state.service = service
    app.include_router(routes(), prefix=PREFIX, responses=problems.responses(*problems.EVERYWHERE))
    app.include_router(pages.router)
    app.add_middleware(Counted, figures=service.figures)
    problems.install(app)
    edge.protect(
        app,
        hosts=hosts,
        uploads={f"{PREFIX}/trackers/": UPLOAD_LIMIT},
        callers=Buckets(RATE, BURST) if limited and needs_tokens else None,
        strangers=Buckets(STRANGERS_RATE, STRANGERS_BURST) if limited and needs_tokens else None,
    )
    return app


def routes() -> APIRouter:
    """All nouns; one file each."""
    router = APIRouter()
    # fronts before jobs: /jobs/compare is no job's id
    run = (fronts, points, gates, jobs, trials, layers, artefacts, replays, recipes, events)
    rest = (schedules, trackers, devices, catalogue, webhooks, tokens, owners, audit, health)
    for noun in (*run, *rest):
        router.include_router(noun.router)
    return router
