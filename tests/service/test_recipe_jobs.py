"""Tuning a recipe as a job: asked for over HTTP, done by a controller, used by another job."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine

from service import jobs
from service.database import reading
from service.jobs import StoredJob
from service.recipe_job import RecipeJob, recipe_job_from_json
from service.settings import Settings
from tests.service.asking import ask
from tests.service.jobs import Bench
from tests.service.searched import API, Night, made
from tests.service.table_pool import TablePool
from tests.service.test_daemon import in_state, running, until
from tests.workers.test_evaluation import tiny_candidate
from workers.documents import document
from workers.on_ray import LocalRay, RayPool
from workers.training import recipe_from_json

SPEC: dict[str, Any] = {
    "name": "half",
    "teacher": "siamrpn-synthetic",
    "steps": 9,
    "trials": 3,
    "vary": {"learning_rate": {"least": 1e-4, "most": 1e-2}},
}


@pytest.fixture
def app(here: Bench, database_url: str) -> Iterator[FastAPI]:
    with made(Settings(home=here.home, database_url=database_url)) as app:
        yield app


@pytest.fixture
def of_night(night: Night) -> Iterator[FastAPI]:
    with made(night.settings) as app:
        yield app


def post(app: FastAPI, spec: dict[str, Any], status: int = 202, **more: Any) -> Any:
    body = {"kind": "tune_recipe", "spec": spec, **more}
    answer = ask(app, "POST", f"{API}/jobs", json=body)
    assert answer.status_code == status, answer.text[:2000]
    return answer.json()


def get(app: FastAPI, path: str, status: int = 200) -> Any:
    answer = ask(app, "GET", f"{API}{path}")
    assert answer.status_code == status, answer.text[:2000]
    return answer.json()


# --- asking for one -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "pointer", "said"),
    [
        ({"trials": 1}, "/spec/trials", "expected 2 to 200, got 1"),
        ({"steps": 2}, "/spec/steps", "at least 3"),
        ({"scheduler": "bohb"}, "/spec/scheduler", "asha or pbt"),
        ({"teacher": "nobody"}, "/spec/teacher", "no tracker named 'nobody'"),
        ({"vary": {"learning_rat": None}}, "/spec/vary/learning_rat", "choose from learning_rate"),
        ({"recovery": "hope"}, "/spec/recovery", "no recovery named 'hope'"),
        ({"of": "12"}, "/spec/of", "JOB/NUMBER"),
        ({"of": "nowhere/12"}, "/spec/of", "no trial nowhere/12"),
        ({"recipe": "nowhere"}, "/spec/recipe", "no job nowhere"),
        ({"costs": ["macs_frame"]}, "/spec/costs", "costs"),
    ],
)
def test_what_is_wrong_is_said_before_it_is_queued(
    app: FastAPI, wrong: dict[str, Any], pointer: str, said: str
) -> None:
    problem = post(app, {**SPEC, **wrong}, 422)
    assert said in problem["detail"].replace("'nowhere/12'", "nowhere/12").replace(
        "'nowhere'", "nowhere"
    )
    assert problem["errors"][0]["pointer"] == pointer
    assert get(app, "/jobs")["items"] == []


def test_a_tuning_waits_as_what_it_is(app: FastAPI) -> None:
    job = post(app, SPEC, labels=["night"])
    assert job["kind"] == "tune_recipe" and job["tracker"] == "siamrpn"
    assert sorted(job["links"]) == ["events", "recipe", "self"]
    assert [j["id"] for j in get(app, "/jobs?kind=tune_recipe")["items"]] == [job["id"]]
    assert get(app, "/jobs?kind=search")["items"] == []
    found = get(app, job["links"]["recipe"].removeprefix(API))
    assert found["state"] == "QUEUED" and found["recipe"] is None and found["trials"] == []
    for noun in ("front", "trials", "hypervolume", "importances", "trials/0"):
        problem = get(app, f"/jobs/{job['id']}/{noun}", 404)
        assert "tunes a recipe" in problem["detail"], noun
    search = {"name": "s", "teacher": "siamrpn-synthetic", "recipe": job["id"]}
    answer = ask(app, "POST", f"{API}/jobs", json={"spec": search})
    assert answer.status_code == 422 and "has no recipe: it is QUEUED" in answer.json()["detail"]
    warm = ask(
        app, "POST", f"{API}/jobs", json={"spec": {**search, "recipe": None, "fronts": [job["id"]]}}
    )
    assert warm.status_code == 422 and "no search" in warm.json()["detail"]
    preview = ask(app, "POST", f"{API}/jobs/preview", json={"kind": "tune_recipe", "spec": SPEC})
    assert preview.status_code == 422 and "only a search has a preview" in preview.json()["detail"]


def test_the_same_key_for_a_search_and_a_tuning_is_not_the_same(app: FastAPI) -> None:
    def keyed(**body: Any) -> int:
        headers = {"Idempotency-Key": "one"}
        return ask(app, "POST", f"{API}/jobs", json=body, headers=headers).status_code

    both = {"spec": {"name": "n", "teacher": "siamrpn-synthetic"}}
    assert keyed(**both) == 202 and keyed(**both) == 200
    assert keyed(**both, kind="tune_recipe") == 422


def test_a_search_has_no_recipe(of_night: FastAPI, night: Night) -> None:
    problem = get(of_night, f"/jobs/{night.whole.id}/recipe", 404)
    assert "is a search" in problem["detail"]


def test_a_tuning_of_a_trial_takes_its_cut_teacher_and_data(
    of_night: FastAPI, night: Night
) -> None:
    number = night.recorded(night.whole).front[0].number
    trial = get(of_night, f"/jobs/{night.whole.id}/trials/{number}")
    of = f"{night.whole.id}/{number}"
    spec = post(of_night, {"name": "again", "of": of, "refit": 0, "trials": 4})["spec"]
    assert spec["architecture"] == trial["architecture"]
    assert spec["kept_layers"] == trial["measurement"]["candidate"]["kept_layers"]
    assert spec["teacher"] == night.whole.spec["teacher"]
    assert spec["data"] == night.whole.spec["data"]
    assert (spec["refit"], spec["trials"], spec["of"]) == (0, 4, of), "what is said stands"


def test_a_document_comes_back_as_it_was() -> None:
    job = RecipeJob(name="n", teacher="t", vary={"warmup": None}, kept_layers=(0, 1), seconds=5.0)
    assert recipe_job_from_json(json.loads(document(job))) == job


# --- doing it -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rays_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ray")


@pytest.fixture(scope="module")
def one_ray(rays_home: Path) -> Iterator[RayPool]:
    pool = RayPool(rays_home, local=LocalRay(cpus=2, object_store_mb=100))
    yield pool
    pool.close()


@pytest.fixture
def ray(one_ray: RayPool, rays_home: Path, here: Bench) -> RayPool:
    """A pool's Ray, on which tunings run beside candidates."""
    shutil.copy(rays_home / "ray_token", here.home)
    return one_ray


@pytest.fixture
def half(app: FastAPI, here: Bench) -> dict[str, Any]:
    """Half of a tiny tracker, with data to learn from."""
    from search_spaces import architecture_to_json

    candidate = tiny_candidate(here.home)
    data = {"dataset": "folder", "root": str(candidate.data.root)}
    return {
        **SPEC,
        "teacher": str(candidate.teacher),
        "architecture": architecture_to_json(candidate.architecture),
        "data": {**data, "train": "all", "judged_on": "all"},
        "refit": 8,
    }


def events_of(engine: Engine, job_id: str) -> list[jobs.JobEvent]:
    with reading(engine) as connection:
        return jobs.read_events(connection, job_id, 0, 10_000)


def trained(engine: Engine, job_id: str) -> Callable[[StoredJob], bool]:
    return lambda job: any(e.kind == "recipe_rung" for e in events_of(engine, job_id))


def known(engine: Engine, job_id: str) -> StoredJob:
    with reading(engine) as connection:
        return jobs.known(connection, job_id)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_tuning_is_paused_gone_on_with_and_its_recipe_used(
    app: FastAPI, engine: Engine, here: Bench, half: dict[str, Any], ray: RayPool
) -> None:
    job = known(engine, post(app, {**half, "trials": 4, "parallel": 1})["id"])
    with_ray = {"ray_address": lambda: ray.address}
    with running(engine, here, TablePool(2), **with_ray):
        until(engine, job, trained(engine, job.id))
        assert ask(app, "POST", f"{API}/jobs/{job.id}/pause").status_code == 200
        paused = until(engine, job, in_state("PAUSED"))
        before = len([e for e in events_of(engine, job.id) if e.kind == "recipe_rung"])
        assert paused.summary["asked"] >= 1 and "recipe" not in paused.summary
        assert ask(app, "POST", f"{API}/jobs/{job.id}/resume").status_code == 200
        done = until(engine, job, in_state("SUCCEEDED", "FAILED", "HELD"))
    assert done.state == "SUCCEEDED", done.reason

    found = get(app, f"/jobs/{job.id}/recipe")
    assert recipe_from_json(found["recipe"]).steps == 9
    assert found["trials"][0]["number"] == 0 and found["trials"][0]["step"] == 9
    assert (found["winner"] is None) is (found["holds"] is False)
    events = events_of(engine, job.id)
    rungs = [(e.data["number"], e.data["step"]) for e in events if e.kind == "recipe_rung"]
    assert len(rungs) > before, "it went on"
    assert [e.kind for e in events][-2:] == ["recipe", "state"]
    folder = here.home / "recipes" / job.id
    (stored,) = folder.glob("*/recipe.json")
    assert json.loads(stored.read_text()) == found["recipe"]

    (listed,) = [r for r in get(app, "/recipes")["items"] if r["job"] is not None]
    assert (listed["job"], listed["recipe"]) == (job.id, found["recipe"])
    spec = {"name": "s", "teacher": half["teacher"], "data": half["data"], "recipe": job.id}
    search = ask(app, "POST", f"{API}/jobs", json={"spec": {**spec, "steps": 9, "rungs": [0]}})
    assert search.status_code == 202, search.text
    assert search.json()["spec"]["recipe"] == found["recipe"], "the job says by itself what it is"


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize(("verb", "end"), [("stop", "SUCCEEDED"), ("cancel", "CANCELLED")])
def test_a_tuning_is_ended_by_request_within_seconds(
    app: FastAPI,
    engine: Engine,
    here: Bench,
    half: dict[str, Any],
    ray: RayPool,
    verb: str,
    end: str,
) -> None:
    job = known(engine, post(app, {**half, "steps": 20_000, "trials": 9})["id"])
    with running(engine, here, TablePool(2), ray_address=lambda: ray.address):
        until(engine, job, lambda now: bool(now.summary.get("now")))
        time.sleep(1)
        assert ask(app, "POST", f"{API}/jobs/{job.id}/{verb}").status_code == 200
        done = until(engine, job, in_state("SUCCEEDED", "CANCELLED", "FAILED"))
    assert done.state == end and "by request" in done.reason


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_tuning_whose_teacher_has_gone_fails_and_says_so(
    app: FastAPI, engine: Engine, here: Bench, half: dict[str, Any]
) -> None:
    job = known(engine, post(app, half)["id"])
    (Path(half["teacher"]) / "weights.safetensors").unlink()
    with running(engine, here, TablePool(2)):
        done = until(engine, job, in_state("SUCCEEDED", "FAILED"))
    assert done.state == "FAILED" and "weights.safetensors" in done.reason
