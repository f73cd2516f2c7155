"""A path takes the methods that the OpenAPI document says, and no route of another path answers."""

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.staticfiles import StaticFiles
from starlette.routing import Match

from service import dashboard
from service.database import embedded_url
from service.routes._methods import METHODS, Template, templates
from service.routes.problems import install
from service.settings import Settings
from tests.service.asking import ask
from tests.service.searched import API, made

HIDING = {  # what is written out and fits a pattern as well
    f"{API}/jobs/compare", f"{API}/jobs/preview", f"{API}/schedules/preview", f"{API}/tokens/me",
    "/jobs/new", "/jobs/tune",
}  # fmt: skip


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, prepared_sqlite: Path) -> Iterator[FastAPI]:
    home = tmp_path_factory.mktemp("methods")
    shutil.copy(prepared_sqlite, home / "paretrack.db")
    with made(Settings(home=home, database_url=embedded_url(home / "paretrack.db"))) as app:
        yield app


def documented(app: FastAPI) -> Mapping[str, set[str]]:
    found = {path: {m.upper() for m in said} for path, said in app.openapi()["paths"].items()}
    pages = {path: {"GET"} for path in dashboard.PAGES}
    return {**found, **pages, "/openapi.json": {"GET", "HEAD"}}


def filled(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "7", path)


def test_every_path_takes_what_is_documented_and_names_it_to_who_asks_for_more(
    app: FastAPI,
) -> None:
    paths = documented(app)
    assert set(paths) >= HIDING
    for path, methods in paths.items():
        for method in METHODS:
            answer = ask(app, method, filled(path))
            assert (answer.status_code == 405) == (method not in methods), (method, path)
            if method not in methods:
                allowed = answer.headers["Allow"]
                assert set(allowed.split(", ")) == methods, (method, path)
                if method != "HEAD":
                    told = answer.json()
                    assert told["code"] == "method_not_allowed"
                    assert told["detail"].endswith(f"allowed: {allowed}")


def test_what_is_documented_is_answered_by_the_route_of_the_path(app: FastAPI) -> None:
    """Also where a pattern has the same method: it would be asked only after."""
    known, hiding = templates(app.routes), set()
    for template in known:
        fits = [each for each in known if each.has(scope("GET", template))]
        assert fits[0] is template
        hiding |= {template.path} if len(fits) > 1 else set()
        for method in template.methods:
            asked = scope(method, template)
            taken = next(
                route
                for route in iter_route_contexts(app.routes)
                if route.matches(asked)[0] is Match.FULL
            )
            assert taken.path in {route.path for route in template.routes}, (method, template.path)
    assert hiding == HIDING


def scope(method: str, template: Template) -> dict[str, str]:
    return {"type": "http", "method": method, "path": filled(template.path)}


def test_parameters_may_have_other_names_and_what_is_mounted_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "style.css").write_text("body {}")
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    install(app)
    app.mount("/static", StaticFiles(directory=tmp_path))

    def done() -> str:
        return "done"

    app.get("/things/{one}")(done)
    app.delete("/things/{other}")(done)
    app.post("/things/all")(done)
    app.put("/names/{name:path}")(done)
    app.get("/names/{name}/first")(done)

    assert ask(app, "PUT", "/things/7").headers["Allow"] == "GET, DELETE"
    assert ask(app, "GET", "/things/all").headers["Allow"] == "POST"
    assert ask(app, "POST", "/things/all").status_code == 200
    assert ask(app, "PUT", "/names/a/first").headers["Allow"] == "GET"
    assert ask(app, "GET", "/names/a/b").headers["Allow"] == "PUT"
    assert ask(app, "GET", "/static/style.css").text == "body {}"
    assert ask(app, "GET", "/nothing").status_code == 404
