"""A Ray that belongs to this test run alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from workers.on_ray import LocalRay, RayPool


@dataclass(frozen=True)
class PrivateRay:
    """Where it listens, and the home with the token that it asks for."""

    address: str
    home: Path


@pytest.fixture(scope="session")
def private_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRay]:
    home = tmp_path_factory.mktemp("home")
    pool = RayPool(home, local=LocalRay(cpus=2, object_store_mb=100))
    yield PrivateRay(pool.address, home)
    pool.close()
