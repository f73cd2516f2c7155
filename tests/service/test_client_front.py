"""The front of a client's job, where only what a client needs is installed."""

import subprocess
import sys
from pathlib import Path

from tests.service.house import House, house

__all__ = ["house"]  # a fixture

DRAWN = """
import sys
from service.client import Client
with Client({url!r}) as client:
    client.job({job!r}).front().plot({path!r}, client.job({job!r}).front())
heavy = {{"torch", "optuna", "sqlalchemy", "fastapi", "ray", "alembic"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert "matplotlib" in sys.modules
"""


def test_it_is_drawn_without_torch_a_database_or_optuna(house: House, tmp_path: Path) -> None:
    path = tmp_path / "front.svg"
    code = DRAWN.format(url=house.url, job=house.done.id, path=str(path))
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    drawn = path.read_text()
    assert "<svg" in drawn and house.done.id in drawn
