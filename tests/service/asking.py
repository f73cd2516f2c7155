"""One request to an application in this process."""

import asyncio
from typing import Any

import httpx
from starlette.types import ASGIApp


def ask(
    app: ASGIApp,
    method: str,
    path: str,
    *,
    base: str = "http://localhost",
    client: str = "192.0.2.1",
    **more: Any,
) -> httpx.Response:
    """The answer; an error that gets through all of the application is a plain 500."""

    async def once() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(client, 50_000))
        async with httpx.AsyncClient(transport=transport, base_url=base) as caller:
            return await caller.request(method, path, **more)

    return asyncio.run(once())


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
