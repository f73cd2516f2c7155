"""What was cut of a trial, over HTTP: sums are what was counted, and dropped layers are named."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Connection, Engine, Table, insert, select, update

from search_spaces import default_space, load, sample
from search_spaces._space import Sampled
from service._trial_summaries import SUMMARIES
from service.database import MeasurementRow, database_now, writing
from service.job import job_from_json
from service.jobs import StoredJob
from service.layer_times import spreads
from service.plan import plan
from service.recorded import read_job
from service.settings import Settings
from service.trial_layers import Cut, cut
from tests.service.asking import ask
from tests.service.jobs import Bench
from tests.service.searched import API, Night, made, searched
from workers.cost import cost_of

_MEASUREMENTS = cast(Table, MeasurementRow.__table__)


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


# --- milliseconds --------------------------------------------------------------------------------


SPREAD = {
    "self_ms": {"": 1.0, "backbone.conv1": 2.0},
    "profiled_ms": 4.0,
    "step_ms": 2.5,
    "runs": 9,
}
STEP = {"median_ms": 2.5}


@contextmanager
def measured_so(engine: Engine, digest: str, **words: Any) -> Iterator[None]:
    """What is stored of a candidate says this as well, for a while."""
    mine = select(_MEASUREMENTS).where(_MEASUREMENTS.c.digest == digest, _MEASUREMENTS.c.tracked)
    with writing(engine) as connection:
        row = connection.execute(mine).one()
        told = json.dumps({**json.loads(row.measurement_json), **words})
        put_text(connection, digest, told)
    try:
        yield
    finally:
        with writing(engine) as connection:
            put_text(connection, digest, row.measurement_json)


def put_text(connection: Connection, digest: str, text: str) -> None:
    columns = _MEASUREMENTS.c
    which = update(_MEASUREMENTS).where(columns.digest == digest, columns.tracked)
    connection.execute(which.values(measurement_json=text))


def test_milliseconds_of_teacher_and_trial_stand_beside_each_other(
    night: Night, app: FastAPI
) -> None:
    trial = next(t for t in night.recorded(night.whole).trials if t.state == "COMPLETE")
    plain = get(app, night.whole, trial.number)
    assert plain["spreads"] == [] and plain["parts"][0]["ms"] == {}
    spec = job_from_json({**night.whole.spec, "name": night.whole.id})
    ready = plan(spec, night.settings)
    gate = {"name": "latency by layer, onnx_runtime", "verdict": "failed", "note": "asleep"}
    latency = {"eager": {"step": STEP}, "onnx_runtime": {"step": STEP}}
    half = {**SPREAD, "self_ms": {"backbone.conv1": 0.5}}
    split, splits = {"eager": half}, {"eager": SPREAD, "onnx_runtime": SPREAD}
    with (
        measured_so(night.engine, trial.digest, latency=latency, split=split, gates=[gate]),
        measured_so(night.engine, ready.digest(ready.the_teacher()), latency=latency, split=splits),
    ):
        found = get(app, night.whole, trial.number)
    parts = {part["path"]: part for part in found["parts"]}
    assert parts["backbone.conv1"]["ms"] == {"eager": 2.0, "onnx_runtime": 2.0}
    assert parts["backbone.conv1"]["ms_left"] == {"eager": 0.5, "onnx_runtime": None}
    assert (parts[""]["ms"]["eager"], parts[""]["ms_left"]["eager"]) == (1.0, 0.0)
    assert parts.keys() - {part["path"] for part in plain["parts"]} == {""}, "for its time alone"
    eager, graph = found["spreads"]
    sums = {"parts_ms": 3.0, "profiled_ms": 4.0, "step_ms": 2.5, "runs": 9}
    assert eager == {
        "probe": "eager", "teacher": sums, "left": {**sums, "parts_ms": 0.5}, "why": None
    }  # fmt: skip
    assert graph == {"probe": "onnx_runtime", "teacher": sums, "left": None, "why": "asleep"}


def test_the_milliseconds_of_a_layer_that_is_gone_are_none_and_of_a_moved_one_its_own() -> None:
    _, found = cut_of("ostrack-small", (1,))
    parts = {part.path: part for part in found.parts}
    times = {f"backbone.blocks.{i}.mlp.fc1": float(i + 1) for i in range(4)}
    here = {"latency": {"eager": {}}, "split": {"eager": {**SPREAD, "self_ms": times}}}
    (both,) = spreads(here, here)
    said = [both.of(parts[path]) for path in times]
    assert said == [(1.0, 1.0), (2.0, 0.0), (3.0, 2.0), (4.0, 3.0)]
    (old,) = spreads({"latency": {"eager": {}}}, here)
    assert old.of(parts["backbone.blocks.2.mlp.fc1"]) == (None, 2.0)
    (young,) = spreads(here, None)
    assert young.of(parts["backbone.blocks.1.mlp.fc1"]) == (2.0, None)
    assert spreads(None, None) == []


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
