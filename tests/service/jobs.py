"""Small jobs for tests, with a real teacher that is never trained."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial
from sqlalchemy import Engine

from search_spaces import load
from service import controller
from service.controller import Finished
from service.front import front
from service.job import Job, job_from_json
from service.plan import Plan, plan
from service.settings import Settings
from service.trials import read_trials
from tests.service.table_pool import TablePool
from workers.checkpoints import save_tracker
from workers.training import fresh_network

TINY = load("siamrpn").PRESETS["siamrpn-tiny"]
# 1 + 2 * 3 points of a layer that may be left out, times 4.
SPACE: dict[str, Any] = {
    "layers": {"least": 1},
    "layer3.1.conv1": {"least": 0.5, "choices": 3},
    "neck3": {"least": 0.1, "choices": 5},
    "layer3": {"least": 0.1, "choices": 4},
}


@dataclass(frozen=True)
class Bench:
    """Where jobs of a test run."""

    home: Path
    teacher: Path

    @property
    def settings(self) -> Settings:
        return Settings(home=self.home, database_url=None)

    def job(self, name: str = "night", **words: Any) -> Job:
        asked = {
            "name": name,
            "teacher": str(self.teacher),
            "space": SPACE,
            "data": {"dataset": "folder", "root": str(self.home)},
            "budget": {"trials": 12},
            "sampler": "random",
            "rungs": [0, 25],
            **words,
        }
        return job_from_json(asked)

    def plan(self, **words: Any) -> Plan:
        return plan(self.job(**words), self.settings)

    def run(self, engine: Engine, pool: TablePool, job: Job, **words: Any) -> Finished:
        return controller.run_job(job, self.settings, engine, pool, **words)


def make_teacher(folder: Path) -> Path:
    save_tracker(folder, TINY, fresh_network(TINY, seed=0))
    return folder


def bench(tmp_path: Path, teacher: Path) -> Bench:
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    return Bench(home, Path(shutil.copytree(teacher, tmp_path / "teacher")))


def brute_front(trials: list[FrozenTrial], plan: Plan) -> set[int]:
    """From the record alone: complete, no limit broken, dominated by nobody."""
    good = [
        t
        for t in trials
        if t.state.name == "COMPLETE" and all(v <= 0 for v in t.constraints.values())
    ]
    if not good:
        return set()
    return {good[i].number for i in front([plan.point(t.values) for t in good]).tolist()}


def said(engine: Engine, name: str = "night") -> dict[int, tuple[str, str]]:
    """State and digest of each trial."""
    return {
        t.number: (t.user_attrs.get("state", "RUNNING"), t.user_attrs["digest"])
        for t in read_trials(engine, name)
    }
