"""A job that begins with trials of earlier searches: JOB/NUMBER in `first`."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine

from search_spaces import ParetrackError
from service import jobs
from service.database import reading
from service.first_trials import explained, filled_here
from service.job import JobError
from service.jobs import StoredJob
from service.settings import Settings
from service.trial_reading import Order, TrialLine, Which, page
from tests.service.asking import ask
from tests.service.jobs import Bench, said
from tests.service.running import run
from tests.service.scheduled import Here
from tests.service.searched import API, Night, made, read, searched
from tests.service.table_pool import TablePool
from tests.service.tokened import Tokened
from workers.documents import plain

ALONE: dict[str, Any] = {"early_stopping": "none", "budget": {"trials": 1, "asked": 1}}


@pytest.fixture
def app(night: Night) -> Iterator[FastAPI]:
    with made(night.settings) as app:
        object.__setattr__(app.state.service, "beside", Here())
        yield app


def lines(engine: Engine, job: StoredJob) -> list[TrialLine]:
    with reading(engine) as connection:
        return page(connection, job.id, Which(), Order(), None, 100)


def spec_of(job: StoredJob, **words: Any) -> dict[str, Any]:
    return {**job.spec, "name": "longer", **ALONE, **words}


def post(app: FastAPI, spec: Any, status: int = 202, path: str = "/jobs") -> Any:
    answer = ask(app, "POST", f"{API}{path}", json={"spec": spec})
    assert answer.status_code == status, answer.text[:2000]
    return answer.json()


def test_the_parameters_of_a_trial_take_the_place_of_its_name(app: FastAPI, night: Night) -> None:
    job, trials = night.whole, lines(night.engine, night.whole)
    own = dict(trials[0].params)
    first = [f"{job.id}/3", own, f"{job.id}/1"]
    spec = post(app, spec_of(job, first=first))["spec"]
    assert spec["first"] == [trials[3].params, own, trials[1].params]
    assert post(app, spec_of(job, first=spec["first"]))["spec"]["first"] == spec["first"]
    seen = post(app, spec_of(job, first=[f"{job.id}/3"]), 200, "/jobs/preview")
    assert (seen["trials"], seen["asked"], seen["first"]) == (1, 1, 1)


def test_exactly_the_named_candidate_is_trained(engine: Engine, here: Bench) -> None:
    before = searched(engine, here, early_stopping="none", budget={"trials": 6})
    trial = lines(engine, before)[4]
    url = engine.url.render_as_string(hide_password=False)
    with made(Settings(home=here.home, database_url=url)) as app:
        object.__setattr__(app.state.service, "beside", Here())
        asked = post(app, spec_of(before, first=[f"{before.id}/4"], steps=400))
    with reading(engine) as connection:
        job = jobs.known(connection, asked["id"])
    run(engine, here, job)
    (longer,) = lines(engine, job)
    assert longer.params == trial.params and longer.state == "COMPLETE"
    assert longer.digest != trial.digest, "it is trained anew, for longer"
    assert read(engine, job).summary["asked"] == 1


@pytest.mark.parametrize(
    ("first", "told"),
    [
        ("nowhere/3", "no search 'nowhere' that you may see"),
        ("{job}/99", "has no trial 99; its last one is"),
        ("{job}/9999999999", "expected JOB/NUMBER"),
        ("{job}", "expected JOB/NUMBER"),
        ("{job}/-1", "expected JOB/NUMBER"),
    ],
)
def test_a_trial_that_is_not_there_is_said(
    app: FastAPI, night: Night, first: str, told: str
) -> None:
    name = first.replace("{job}", night.whole.id)
    problem = post(app, spec_of(night.whole, first=[{}, name]), 422)
    assert told in problem["detail"]
    assert problem["errors"][0]["pointer"] == "/spec/first/1"


def test_a_trial_of_another_teacher_or_space_is_refused_with_what_differs(
    app: FastAPI, night: Night
) -> None:
    space = dict(night.whole.spec["space"])
    trials = lines(night.engine, night.whole)
    of_two = next(one.number for one in trials if one.params["width.neck3"] not in (1, 10))
    first = [f"{night.whole.id}/{of_two}"]
    cases: list[tuple[dict[str, Any], str]] = [
        ({"teacher": "siamrpn-synthetic"}, "is a cut of"),
        ({"space": {**space, "neck3": {"least": 0.1, "choices": 2}}}, "the lever 'neck3' was"),
        ({"space": {k: v for k, v in space.items() if k != "neck3"}}, "and is not there here"),
        ({"space": {**space, "stem": {"least": 0.5}}}, "the lever 'stem' was not there and is"),
        ({"space": None}, "could cut only layers"),
    ]
    for words, told in cases:
        problem = post(app, spec_of(night.whole, first=first, **words), 422)
        assert told in problem["detail"], problem["detail"]
        assert problem["errors"][0]["pointer"] == "/spec/first/0"
        assert first[0] in problem["detail"]


def test_a_wider_space_in_which_the_parameters_lie_will_do(app: FastAPI, night: Night) -> None:
    space = {**night.whole.spec["space"], "layer3": {"least": 0.1, "choices": 4, "most": 1.0}}
    spec = spec_of(night.whole, first=[f"{night.whole.id}/0"], space=space)
    assert post(app, spec)["spec"]["first"] == [lines(night.engine, night.whole)[0].params]


def test_a_trial_of_somebody_else_is_as_one_that_is_not_there(engine: Engine, here: Bench) -> None:
    theirs = searched(engine, here, owner="bea", budget={"trials": 2})
    site = Tokened(engine, here.home)
    try:
        object.__setattr__(site.app.state.service, "beside", Here())
        spec = spec_of(theirs, first=[f"{theirs.id}/0"])
        problem = site.ask("POST", "/jobs", json={"spec": spec}).json()
    finally:
        site.close()
    assert problem["detail"].startswith(f"first[0]: no search {theirs.id!r} that you may see")


# --- on this machine, without a service -----------------------------------------------------------


def test_a_search_here_begins_with_a_trial_of_its_own_record(engine: Engine, here: Bench) -> None:
    here.run(engine, TablePool(3), here.job("night", early_stopping="none"))
    with_params, named = filled_here(engine, here.job("longer", first=["night/2"], **ALONE))
    assert named[0].name == "night/2"
    finished = here.run(engine, TablePool(3), with_params)
    (trial,) = finished.trials
    assert trial.params == named[0].params
    assert len(said(engine)) >= 12

    for first, told in {"dusk/0": "no job named 'dusk'", "night/999": "its last one is"}.items():
        with pytest.raises(ParetrackError, match=told) as refused:
            filled_here(engine, here.job("longer", first=[first]))
        assert isinstance(refused.value, JobError) and refused.value.at == "/first/0"


def test_an_error_about_another_field_stays_as_it_is(engine: Engine, here: Bench) -> None:
    error = JobError("no sampler named 'dice'", "/sampler")
    assert explained(error, {}, plain(here.job())["space"]) is error
