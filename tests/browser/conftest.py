"""A real browser before a real service. Needs Chromium, and npm for axe-core, which looks for
barriers: Debian: ``apt-get install chromium npm``."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    ViewportSize,
    expect,
    sync_playwright,
)
from sqlalchemy import Engine

from service.app import create_app
from service.database import embedded_url, open_database
from service.settings import Settings
from tests.service.served import serving

HERE = Path(__file__).parent
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# A browser asks for news of itself otherwise, and nothing but ours may be asked for.
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
    "--disable-component-update", "--no-first-run", "--disable-dev-shm-usage",
)  # fmt: skip
DESKTOP: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
WAIT = 120_000.0  # ms; a machine may be busy, and how quick a page is these tests do not ask


def _missing(what: str) -> None:
    """Where everything must be tested, what cannot be is a failure."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of one file of tests: while it is open, its thread has an event loop of its own."""
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        _missing(f"no browser here ({', '.join(PROGRAMS)}): apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(QUIET))
        expect.set_options(timeout=WAIT)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, in the version of package-lock.json."""
    file = HERE / "node_modules/axe-core/axe.min.js"
    if not file.exists():
        if shutil.which("npm") is None:
            _missing("no npm here, so that axe-core cannot be fetched: apt-get install npm")
        subprocess.run(["npm", "ci", "--silent"], cwd=HERE, check=True, timeout=300)
    return file.read_text(encoding="utf-8")


@dataclass
class Watched:
    """A page, and everything that was wrong while it was open."""

    page: Page
    origin: str
    errors: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        self.page.goto(self.origin + path)
        return self.page

    def check(self) -> None:
        """Nothing was asked of anybody else, nothing was refused by the policy, no bug."""
        assert self.elsewhere == []
        assert self.errors == []


def watched(context: BrowserContext, origin: str) -> Watched:
    """A new page before a service."""
    found = Watched(context.new_page(), origin)
    found.page.set_default_timeout(WAIT)

    def said(message: ConsoleMessage) -> None:
        # What a page asks for and is refused is in its own words on the page.
        if message.type == "error" and "Failed to load resource" not in message.text:
            found.errors.append(message.text)

    found.page.on("console", said)
    found.page.on("pageerror", lambda error: found.errors.append(str(error)))
    found.page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((origin, "blob:"))
            else found.elsewhere.append(request.url)
        ),
    )
    return found


def barriers(page: Page, axe: str) -> list[dict[str, Any]]:
    """What axe-core calls serious or critical."""
    # Not as a script element: the policy of the page forbids what is not its own.
    page.evaluate(axe)
    found = page.evaluate("async () => (await axe.run(document)).violations")
    return [
        {"id": one["id"], "help": one["help"], "at": [n["html"][:200] for n in one["nodes"][:4]]}
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


@dataclass(frozen=True)
class Shown:
    """A service that is shown in a browser, and its database."""

    engine: Engine
    url: str


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """A service of which nobody has asked anything yet."""
    root = tmp_path_factory.mktemp("shown")
    url = embedded_url(root / "paretrack.db")
    engine = open_database(url)
    app = create_app(Settings(home=root, database_url=url), needs_tokens=False)
    with serving(app) as served:
        yield Shown(engine, served.url)
    engine.dispose()
