"""A controller in a process of its own, that works on a job or waits until it may."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Engine

from service import controller
from service.controller import Finished
from service.database import open_database
from service.events import Event
from service.leases import LeaseHeld
from tests.kills.stand_in import RUNGS, STEPS, work
from tests.service.jobs import Bench
from workers.in_process import InProcessPool
from workers.on_ray import LocalRay, RayPool
from workers.pool import Pool
from workers.reopening import ReopeningPool

LEASE_SECONDS = 3.0  # 30 outside of tests
SPACE: dict[str, Any] = {  # some hundred candidates, about a third of them too large
    "layers": {"least": 1},
    "layer3.1.conv1": {"least": 0.5, "choices": 3},
    "neck3": {"least": 0.1, "choices": 10},
    "layer3": {"least": 0.1, "choices": 8},
}
SILENCE = 6.0  # seconds without a word from Ray; 30 outside of tests


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What a controller is told; it writes in its journal what the record has acknowledged."""

    url: str
    home: str
    teacher: str
    journal: str
    early_stopping: str
    trials: int
    pool: Literal["in_process", "ray"] = "in_process"
    cpus: int = 2

    def words(self) -> str:
        return json.dumps(asdict(self))


def main() -> None:
    orders = Orders(**json.loads(sys.argv[1]))
    engine = open_database(orders.url)
    with Path(orders.journal).open("a") as file:

        def note(kind: str, **told: Any) -> None:
            file.write(json.dumps({"time": time.time(), "kind": kind, **told}) + "\n")
            file.flush()

        with _pool(orders, note) as pool:
            finished = _work(orders, engine, pool, note)
        note("ended", reason=finished.outcome.reason)
    engine.dispose()


def _work(orders: Orders, engine: Engine, pool: Pool, note: Any) -> Finished:
    here = Bench(Path(orders.home), Path(orders.teacher))
    job = here.job(
        space=SPACE,
        early_stopping=orders.early_stopping,
        budget={"trials": orders.trials},
        limits=["macs_frame<=1M"],
        steps=STEPS,
        rungs=RUNGS,
    )

    def watch(event: Event) -> None:
        note(event.kind, number=event.number, state=event.state, values=dict(event.values))

    while True:
        try:
            return controller.run_job(
                job,
                here.settings,
                engine,
                pool,
                watch=watch,
                lease_seconds=LEASE_SECONDS,
                say=lambda said: note("said", said=said),
            )
        except LeaseHeld:
            time.sleep(0.1)


@contextmanager
def _pool(orders: Orders, note: Any) -> Iterator[Pool]:
    def open_ray() -> Pool:
        local = LocalRay(cpus=orders.cpus, object_store_mb=100)
        pool = RayPool(Path(orders.home), local=local, work=work, silence=SILENCE)
        note("ray", address=pool.address, driver=pool._driver.pid, folder=str(pool._folder))
        return pool

    pool: Pool
    if orders.pool == "ray":
        pool = ReopeningPool(open_ray, hear=lambda said: note("said", said=said))
    else:
        pool = InProcessPool(slots=orders.cpus, work=work)
    try:
        yield pool
    finally:
        pool.close()


if __name__ == "__main__":
    main()
