"""Whether the service lives and is ready, by name; and its figures for Prometheus."""

from datetime import datetime
from typing import Any, Literal, cast

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection, Table, func, select

from service.database import DatabaseError, LeaseRow, database_now, reading
from service.jobs import JOBS, STATES
from service.presence import CONTROLLERS
from service.routes._deps import Operator, ServiceDep
from service.routes.problems import responses

router = APIRouter(tags=["health"])
_LEASES = cast(Table, LeaseRow.__table__)


class Live(BaseModel):
    """The process answers."""

    status: Literal["live"] = "live"


class Part(BaseModel):
    """One thing that the service needs."""

    name: str
    up: bool
    note: str = ""


class Ready(BaseModel):
    """What is up and what is down. ``degraded``: it answers, but jobs wait."""

    status: Literal["ready", "degraded", "down"]
    parts: list[Part] = Field(examples=[[{"name": "database", "up": True, "note": ""}]])


@router.get("/health/live")
def live() -> Live:
    """Whether this process answers at all; for a supervisor that restarts it."""
    return Live()


@router.get("/health/ready", responses={503: {"model": Ready, "description": "It cannot work."}})
def ready(service: ServiceDep, response: Response) -> Ready:
    """Whether it can work, and what is down, by name; for a load balancer."""
    try:
        with reading(service.engine) as connection:
            controllers = _controllers(connection)
    except DatabaseError:
        response.status_code = 503
        parts = [Part(name="database", up=False, note="does not answer; the logs say more")]
        return Ready(status="down", parts=parts)
    note = f"{controllers} at work" if controllers else "none has been heard of: jobs wait"
    parts = [Part(name="database", up=True), Part(name="controller", up=controllers > 0, note=note)]
    return Ready(status="ready" if controllers else "degraded", parts=parts)


def _controllers(connection: Connection) -> int:
    now = database_now(connection)
    alive = select(func.count()).where(
        _LEASES.c.name.startswith(CONTROLLERS, autoescape=True), _LEASES.c.expires_at > now
    )
    return int(connection.execute(alive).scalar_one())


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {}}, "description": "Prometheus' text format"},
        **responses("forbidden"),
    },
)
def metrics(service: ServiceDep, _caller: Operator) -> Response:
    """Figures for Prometheus: jobs by state, how long the queue is and waits, requests."""
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

    with reading(service.engine) as connection:
        counted = select(JOBS.c.state, func.count()).group_by(JOBS.c.state)
        jobs: dict[str, int] = {row[0]: row[1] for row in connection.execute(counted)}
        oldest = connection.execute(
            select(func.min(JOBS.c.queued_at)).where(JOBS.c.state == "QUEUED")
        ).scalar()
        controllers = _controllers(connection)
        now = database_now(connection)
    figures = service.figures
    for state in STATES:
        figures.jobs.labels(state=state).set(jobs.get(state, 0))
    figures.waiting.set(_seconds(now, oldest))
    figures.controllers.set(controllers)
    return Response(generate_latest(figures.registry), media_type=CONTENT_TYPE_LATEST)


def _seconds(now: datetime, then: Any) -> float:
    return 0.0 if then is None else (now - then).total_seconds()
