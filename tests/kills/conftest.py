"""How often everything is killed, and the table of what came of it.

``KILLS`` says how often (once, unless it says more), ``KILLS_SEED`` repeats the moments of a run.
"""

import os
import random
import secrets
import shutil
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine

from service.database import embedded_url, open_database
from tests.kills.controller_process import Orders
from tests.kills.scene import Scene
from tests.kills.stand_in import STEP_SECONDS
from tests.postgres import Server, running_postgres
from tests.service.jobs import make_teacher

KILLS = int(os.environ.get("KILLS", "1"))
# About; a rule that stops many gets more trials, so that a job takes as long under each.
STEPS_A_TRIAL = {"none": 12, "median": 7, "mo_asha": 6}
IN_ONE_JOB = 5  # kills at most
SLOTS = 2
ALONE_SECONDS, KILL_SECONDS = 8, 15  # of work in a job without a kill, and more for each
SEED = os.environ.get("KILLS_SEED")


@dataclass(frozen=True)
class Kills:
    """So many in one job, at moments by chance."""

    times: int
    chance: random.Random
    thorough: bool  # rather than quick
    tell: Callable[[str, object], None]

    def survived(self, what: str, seconds: list[float]) -> None:
        """Told at the end: only what passes every check counts."""
        self.tell("kills", (what, seconds))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kills" in metafunc.fixturenames:
        times = [min(IN_ONE_JOB, KILLS - done) for done in range(0, KILLS, IN_ONE_JOB)]
        metafunc.parametrize("kills", times, indirect=True, ids=[f"x{n}" for n in times])


@pytest.fixture
def kills(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Kills:
    seed = f"{SEED or secrets.token_hex(4)} {request.node.name}"
    print(f"KILLS_SEED={seed.split()[0]}")  # noqa: T201 - seen when the test fails
    return Kills(request.param, random.Random(seed), KILLS > 1, record_property)


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_teacher(tmp_path_factory.mktemp("kills") / "teacher")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A PostgreSQL that is killed by nobody but its own tests."""
    with running_postgres(fsync=False) as server:
        yield server


@dataclass(frozen=True)
class Stage:
    """Where scenes of one test are set up."""

    folder: Path
    teacher: Path
    kills: Kills
    stack: ExitStack
    server: Callable[[], Server]

    def scene(self, *, database: str, kinds: int = 1, **words: object) -> tuple[Scene, Engine]:
        """A job with enough work for all kills of so many kinds, in a database of its own."""
        rule = self.kills.chance.choice(sorted(STEPS_A_TRIAL))
        seconds = ALONE_SECONDS + kinds * self.kills.times * KILL_SECONDS
        steps = SLOTS * seconds / STEP_SECONDS
        home = self.folder / "home"
        home.mkdir()
        if database == "postgresql":
            url = self.server().new_database()
        else:
            url = embedded_url(self.folder / "paretrack.db")
        engine = open_database(url)
        self.stack.callback(engine.dispose)
        orders = Orders(
            url=url,
            home=str(home),
            teacher=str(shutil.copytree(self.teacher, self.folder / "teacher")),
            journal=str(self.folder / "journal.jsonl"),
            early_stopping=rule,
            trials=round(steps / STEPS_A_TRIAL[rule]),
            **words,  # type: ignore[arg-type]
        )
        scene = Scene(orders, self.kills.chance)
        self.stack.callback(scene.close)
        return scene, engine


@pytest.fixture
def stage(
    request: pytest.FixtureRequest, tmp_path: Path, teacher: Path, kills: Kills
) -> Iterator[Stage]:
    with ExitStack() as stack:
        get: Callable[[], Server] = lambda: request.getfixturevalue("server")  # noqa: E731
        yield Stage(tmp_path, teacher, kills, stack, get)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    told = defaultdict[str, list[float]](list)
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name == "kills":
                told[value[0]] += value[1]
    if KILLS > 1 and told:
        _print_table(terminalreporter, told)


def _print_table(terminal: pytest.TerminalReporter, told: dict[str, list[float]]) -> None:
    failed = len(terminal.stats.get("failed", []))
    terminal.section(f"kills ({failed} jobs failed; load {os.getloadavg()[0]:.1f})")
    row = "{:40} {:>5}  {:12}  {:13}  {:>8}  {:>7}"
    names = "killed", "times", "nothing lost", "nothing twice", "median s", "worst s"
    terminal.line(row.format(*names))
    for what, seconds in sorted(told.items()):
        times = len(seconds)
        figures = f"{statistics.median(seconds):.1f}", f"{max(seconds):.1f}"
        terminal.line(row.format(what, times, f"{times}/{times}", f"{times}/{times}", *figures))
