"""A job with a trial whose tracker lies on the disk, without a search."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from sqlalchemy import Engine, insert

from service import teachers
from service._kept import put_measurement
from service._trial_summaries import SUMMARIES
from service.callers import Role
from service.database import database_now, embedded_url, open_database, writing
from service.jobs import StoredJob
from service.settings import Settings
from service.tokens import create
from tests.service.asking import ask
from tests.service.jobs import TINY, Bench
from tests.service.searched import API, submitted
from workers.cost import cost_of

DIGEST = "d1"


@dataclass(frozen=True)
class Kept:
    """Where it is."""

    engine: Engine
    settings: Settings
    job: StoredJob
    folder: Path  # of trial 3

    @property
    def path(self) -> str:
        return f"/api/v1/jobs/{self.job.id}/trials/3"


def kept(prepared: Path, here: Bench, owner: str = "ada") -> Kept:
    """Trial 3 is COMPLETE, trial 4 was STOPPED, trial 5's folder is gone."""
    file = here.home / "paretrack.db"
    shutil.copy(prepared, file)
    url = embedded_url(file)
    engine = open_database(url)
    job = submitted(engine, here, owner=owner)
    folder = here.home / "jobs" / job.id / "trials" / "3"
    shutil.copytree(here.teacher, folder)
    with writing(engine) as connection:
        put_trial(connection, job, 3, "COMPLETE", str(folder))
        put_trial(connection, job, 4, "STOPPED", "")
        put_trial(connection, job, 5, "COMPLETE", str(folder.with_name("5")))
        measured: dict[str, Any] = {
            "state": "COMPLETE",
            "cost": asdict(cost_of(TINY)),
            "accuracy": {"average_overlap": {"value": 0.6}},
            "tracker": str(folder),
            "candidate": {"teacher": str(here.teacher), "architecture": {"family": "siamrpn"}},
        }
        put_measurement(connection, job.id, DIGEST, 100, True, measured)
    return Kept(engine, Settings(home=here.home, database_url=url), job, folder)


def put_trial(connection: Any, job: StoredJob, number: int, state: str, folder: str) -> None:
    row = {
        "job_id": job.id, "number": number, "state": state, "holds": True, "on_front": False,
        "moved": False, "began_at": database_now(connection), "reason": "", "flag": "",
        "digest": DIGEST, "tracker": folder, "params_json": "{}",
        "figures_json": '{"average_overlap": 0.6}', "ranges_json": "{}",
    }  # fmt: skip
    connection.execute(insert(SUMMARIES), row)


def headers_of(engine: Engine, owner: str, role: Role = Role.SUBMITTER) -> dict[str, str]:
    """What a caller sends."""
    _, text = create(engine, name=f"of {owner}", owner=owner, role=role, by="test")
    return {"Authorization": f"Bearer {text}"}


BINARY = {"Content-Type": "application/octet-stream"}


def put(app: FastAPI, name: str, body: bytes, status: int, **more: Any) -> dict[str, Any]:
    headers = {**BINARY, **more.pop("headers", {})}
    answer = ask(app, "PUT", f"{API}/trackers/{name}", content=body, headers=headers, **more)
    assert answer.status_code == status, answer.text[:2000]
    found: dict[str, Any] = answer.json()
    return found


def left(place: Kept) -> list[str]:
    """What lies where teachers lie."""
    folder = teachers.folder_in(place.settings)
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []
