"""The whole OpenAPI document against the real service, with requests that nobody would write.

``make fuzz FUZZ=60`` asks more, as every role; by itself it asks a little, as an operator.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine

from service import jobs, tokens
from service.app import create_app
from service.callers import Role
from service.database import open_database
from service.settings import Settings
from tests.postgres import Server
from tests.service.jobs import bench
from tests.service.searched import searched
from tests.service.served import serving

FUZZ = int(os.environ.get("FUZZ", "1"))  # examples of an operation
ROLES = ("operator", "submitter", "viewer", "nobody") if FUZZ > 1 else ("operator",)
# The example in the document: so the job that is asked for is there.
EXAMPLE_JOB = "ostrack-under-8-ms-3f9c0a17be"
LEFT_OUT = (
    "positive_data_acceptance",  # what a cursor, a cron line, a teacher's name is, no schema says
)
ENDLESS = r"/events$"  # of a job that has not ended


@dataclass(frozen=True)
class Target:
    """A service with something in it, and who may call it."""

    url: str
    tokens: dict[str, str]


@pytest.fixture(scope="module")
def target(
    tmp_path_factory: pytest.TempPathFactory,
    postgres: Server,
    prepared_postgres: str,
    teacher: Path,
) -> Iterator[Target]:
    here = bench(tmp_path_factory.mktemp("fuzz"), teacher)
    url = postgres.new_database(prepared_postgres)
    engine = open_database(url)
    few = {"budget": {"trials": 6}, "early_stopping": "none"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "new_id", lambda name: EXAMPLE_JOB)
        searched(engine, here, owner="ada", name="done", **few)
    app = create_app(Settings(home=here.home, database_url=url), needs_tokens=True, limited=False)
    with serving(app) as served:
        yield Target(served.url, {role.word: made(engine, role) for role in Role})
    engine.dispose()


def made(engine: Engine, role: Role) -> str:
    return tokens.create(engine, name=role.word, owner="ada", role=role, by="test")[1]


@pytest.mark.slow
@pytest.mark.parametrize("role", ROLES)
def test_nothing_that_can_be_asked_breaks_it(target: Target, role: str, tmp_path: Path) -> None:
    command = [
        str(Path(sys.executable).parent / "st"), "run", f"{target.url}/openapi.json",
        "--checks", "all", "--exclude-checks", ",".join(LEFT_OUT), "--exclude-path-regex", ENDLESS,
        "--max-examples", str(FUZZ), "--continue-on-failure", "--warnings", "off",
        "--phases", "examples,coverage,fuzzing,stateful" if FUZZ > 1 else "examples,fuzzing",
        "--suppress-health-check", "all", "--request-timeout", "120",
    ]  # fmt: skip
    if FUZZ == 1:  # the suite asks the same each time; `make fuzz` looks for what is new
        command += ["--seed", "1"]
    if role in target.tokens:
        command += ["--header", f"Authorization: Bearer {target.tokens[role]}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    whole = done.stdout.splitlines() + done.stderr.splitlines()
    said = "\n".join(line[:300] for line in whole)[-8000:]
    found = re.search(r"(\d+) generated", said)
    print(f"{role}: {found[0] if found else said[-500:]}")  # noqa: T201 - the figure of a long run
    assert done.returncode == 0, said
