"""An application whose callers have tokens, and callers of each role."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import Engine

from service import tokens
from service.app import create_app
from service.callers import Role
from service.settings import Settings
from tests.service.asking import ask

API = "/api/v1"


@dataclass
class Tokened:
    """Asks as anybody; tokens are made when they are needed first."""

    engine: Engine
    home: Path
    allow: tuple[str, ...] = ()
    _known: dict[tuple[str, Role, str | None], str] = field(default_factory=dict)

    @cached_property
    def app(self) -> FastAPI:
        url = self.engine.url.render_as_string(hide_password=False)
        settings = Settings(home=self.home, database_url=url, webhook_allow=self.allow)
        return create_app(settings, needs_tokens=True, limited=False)

    def token(self, owner: str, role: Role, project: str | None = None) -> str:
        who = (owner, role, project)
        if who not in self._known:
            said: dict[str, Any] = {"owner": owner, "role": role, "project": project}
            self._known[who] = tokens.create(self.engine, name="test", by="test", **said)[1]
        return self._known[who]

    def ask(
        self,
        method: str,
        path: str,
        owner: str = "ann",
        role: Role = Role.SUBMITTER,
        project: str | None = None,
        *,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> httpx.Response:
        bearer = {"Authorization": f"Bearer {self.token(owner, role, project)}"}
        path = path if path.startswith("/openapi") else API + path
        return ask(self.app, method, path, headers={**bearer, **(headers or {})}, **more)

    def close(self) -> None:
        if "app" in self.__dict__:
            self.app.state.service.engine.dispose()
