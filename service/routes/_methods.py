"""Which methods a path takes: those of the one path in the OpenAPI document that it belongs to.

A router goes on where a route has the path and not the method, and so would look for a job called
"preview" when somebody says GET to /jobs/preview. Here what is written out hides what is a pattern.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Problem

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")  # as Allow names them


@dataclass(frozen=True)
class Template:
    """A path as OpenAPI has it, and all that can be done there."""

    path: str
    methods: frozenset[str]
    routes: tuple[Any, ...]  # as iter_route_contexts gives them

    def has(self, scope: Scope) -> bool:
        return self.routes[0].matches(scope)[0] is not Match.NONE

    @property
    def allow(self) -> str:
        return ", ".join(method for method in METHODS if method in self.methods)


def templates(routes: Sequence[BaseRoute]) -> tuple[Template, ...]:
    """Those of an application, written-out parts before parameters: the first that has a path is
    the one that the path belongs to."""
    by_path: dict[str, list[Any]] = {}
    for route in iter_route_contexts(routes):
        if route.methods and route.path is not None:  # all but what is mounted
            by_path.setdefault(re.sub(r"\{\w+", "{", route.path), []).append(route)
    found = [
        Template(some[0].path, frozenset().union(*(route.methods for route in some)), tuple(some))
        for some in by_path.values()
    ]
    return tuple(sorted(found, key=lambda template: tuple(_vagueness(template.path))))


def _vagueness(path: str) -> Iterator[int]:
    for part in path.split("/"):
        yield 2 if ":path}" in part else int("{" in part)


class MethodsOfPaths:
    """Refuses what cannot be done to a path, before a route of another path may take it."""

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self.app, self._templates = app, templates(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            found = next((each for each in self._templates if each.has(scope)), None)
            if found is not None and scope["method"] not in found.methods:
                scope["route"] = found.routes[0].original_route  # under which it is counted
                path, allow = scope["path"][:200], found.allow
                detail = f"{scope['method']} cannot be done to {path}; allowed: {allow}"
                raise Problem("method_not_allowed", detail, headers={"Allow": allow})
        await self.app(scope, receive, send)
