"""What was cut of a trial, over HTTP: sums are what was counted, and dropped layers are named."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, insert

from search_spaces import default_space, load, sample
from search_spaces._space import Sampled
from service._trial_summaries import SUMMARIES
from service.database import database_now, writing
from service.jobs import StoredJob
from service.recorded import read_job
from service.settings import Settings
from service.trial_layers import Cut, cut
from tests.service.asking import ask
from tests.service.jobs import Bench
from tests.service.searched import API, Night, made, searched
from workers.cost import cost_of


@pytest.fixture(scope="module")
def app(night: Night) -> Iterator[FastAPI]:
    with made(night.settings) as app:
        yield app


def get(app: FastAPI, job: StoredJob, number: int, status: int = 200) -> dict[str, Any]:
    answer: httpx.Response = ask(app, "GET", f"{API}/jobs/{job.id}/trials/{number}/layers")
    assert answer.status_code == status, answer.text[:2000]
    found: dict[str, Any] = answer.json()
    return found


def test_layers_of_a_trial_add_up_to_what_was_measured(night: Night, app: FastAPI) -> None:
    for trial in night.recorded(night.stopped).trials[:4]:
        found = get(app, night.stopped, trial.number)
        assert found["macs_left"] == trial.figures["macs_frame"]
        for name in ("macs", "macs_left", "parameters", "parameters_left"):
            assert sum(part[name] for part in found["parts"]) == found[name]
        kept = [one["kept"] for one in found["layers"]]
        asked = [trial.params[f"keep.{one['path']}"] for one in found["layers"]]
        assert kept == asked


def test_one_that_broke_a_limit_is_shown_though_nothing_of_it_was_kept(
    engine: Engine, here: Bench, database_url: str
) -> None:
    job = searched(engine, here, limits=["macs_frame<=850k"])
    broken = [t for t in read_job(engine, job.id).trials if t.state == "INFEASIBLE"]
    with made(Settings(home=here.home, database_url=database_url)) as app:
        shown = ask(app, "GET", f"{API}/jobs/{job.id}/trials/{broken[0].number}").json()
        assert shown["architecture"] is None
        assert get(app, job, broken[0].number)["macs_left"] > 850_000


def test_the_teachers_measurement_stands_beside(night: Night, app: FastAPI) -> None:
    found = get(app, night.stopped, 0)
    assert found["teacher"]["cost"]["macs_frame"] == found["macs"]
    assert str(night.settings.home) not in str(found)


def test_the_same_candidate_is_built_once(night: Night, app: FastAPI) -> None:
    first = get(app, night.whole, 1)
    beside = app.state.service.beside
    asked: list[str] = []
    was = beside.ask
    beside.ask = lambda kind, **words: asked.append(kind) or was(kind, **words)
    assert get(app, night.whole, 1) == first
    assert asked == []


def test_what_cannot_be_shown_says_why(night: Night, app: FastAPI) -> None:
    assert "none" in get(app, night.big, 0, 409)["detail"], "its teacher is not there"
    get(app, night.whole, 9999, 404)
    row = {
        "job_id": night.whole.id, "number": 7_000, "state": "FAILED", "holds": True,
        "on_front": False, "moved": False, "reason": "", "flag": "", "digest": "none",
        "tracker": "", "params_json": '{"width.neck3": 1}', "figures_json": "{}",
        "ranges_json": "{}",
    }  # fmt: skip
    with writing(night.engine) as connection:
        connection.execute(insert(SUMMARIES), {**row, "began_at": database_now(connection)})
    try:
        assert "what was cut cannot be shown" in get(app, night.whole, 7_000, 409)["detail"]
    finally:
        with writing(night.engine) as connection:
            connection.execute(SUMMARIES.delete().where(SUMMARIES.c.number == 7_000))


# --- the cut itself ------------------------------------------------------------------------------


class Asked:
    """A trial that narrows everything by half and leaves out some layers."""

    def __init__(self, gone: tuple[int, ...]) -> None:
        self.gone = {f"keep.backbone.blocks.{i}" for i in gone}

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return name not in self.gone

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        return low + (high - low) // 2 // step * step


def cut_of(name: str, gone: tuple[int, ...]) -> tuple[Sampled, Cut]:
    whole = load("ostrack").PRESETS[name]
    found = sample(default_space(whole), Asked(gone))
    return found, cut(whole, found.architecture, found.kept_layers, "")


def test_layers_after_one_that_is_gone_are_compared_with_themselves() -> None:
    sampled, found = cut_of("ostrack-small", (1,))
    assert [one.kept for one in found.layers] == [True, False, True, True]
    assert found.macs_left == cost_of(sampled.architecture).macs_frame
    assert found.parameters_left == cost_of(sampled.architecture).parameters
    assert sum(part.macs_left for part in found.parts) == found.macs_left
    assert sum(part.parameters_left for part in found.parts) == found.parameters_left
    for one in found.widths:
        assert (one.left == 0) == one.layer.startswith("backbone.blocks.1."), one.name
    assert {one.kind for one in found.widths} == {"channels", "heads", "head_dims"}


def test_tokens_are_those_that_leave_each_block() -> None:
    whole = replace(load("ostrack").PRESETS["ostrack-tiny"], elimination=None)
    found = cut(whole, whole, None, "")
    tokens = {one.tokens for one in found.layers}
    assert tokens == {(64 // 16) ** 2 + (32 // 16) ** 2}
    assert [one.tokens_left for one in found.layers] == [one.tokens for one in found.layers]
    assert (found.macs, found.parameters) == (found.macs_left, found.parameters_left)
