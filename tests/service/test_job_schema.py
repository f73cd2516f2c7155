"""The JSON Schema of job documents: it lets through what a job can be, and nothing that has a
typing error in it."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import ParetrackError, names
from service import early_stopping, samplers
from service.commands._job_words import JobWords, job_document
from service.document_file import read_object
from service.job import job_from_json
from service.job_schema import ABOUT, job_schema, names_in
from service.routes.jobs import EXAMPLE_SPEC
from tests.service.jobs import SPACE, Bench
from workers import datasets, latency, pruning, recovery
from workers.documents import plain

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = jsonschema_rs.Draft202012Validator(job_schema())
OF_A_FILE = jsonschema_rs.Draft202012Validator(job_schema(in_a_file=True))


def test_it_is_a_schema_and_plain_json() -> None:
    jsonschema_rs.meta.validate(job_schema())
    assert json.loads(json.dumps(job_schema())) == job_schema()


@pytest.mark.parametrize("kind", list(ABOUT), ids=lambda kind: kind.__name__)
def test_every_field_is_explained_and_nothing_else(kind: type[Any]) -> None:
    assert list(ABOUT[kind]) == [field.name for field in fields(kind)]
    assert all(text[0].isupper() and text.endswith(".") for text in ABOUT[kind].values())


def test_defaults_are_those_of_a_job() -> None:
    said = {
        name: about["default"]
        for name, about in job_schema()["properties"].items()
        if "default" in about
    }
    job = plain(job_from_json({"name": "x", "teacher": "y"}))
    assert said == {name: job[name] for name in said}
    assert {"sampler", "steps", "costs", "rungs"} <= said.keys()


def test_names_on_offer_are_those_of_the_tables() -> None:
    tables: dict[tuple[str, str], Any] = {
        ("service.samplers", "SAMPLERS"): samplers.SAMPLERS,
        ("service.early_stopping", "RULES"): early_stopping.RULES,
        ("workers.pruning", "METHODS"): pruning.METHODS,
        ("workers.recovery", "RECOVERIES"): recovery.RECOVERIES,
        ("workers.latency", "PROBES"): latency.PROBES,
        ("workers.datasets", "DATASETS"): datasets.DATASETS,
    }
    for (module, table), known in tables.items():
        assert names_in(module, table) == list(known), module


def test_the_examples_of_the_documents_are_jobs() -> None:
    found = 0
    for page in DOCS.glob("*.md"):
        for text in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL):
            OF_A_FILE.validate(yaml.safe_load(text))
            found += 1
    assert found
    levers = re.search(r"```json\n(.*?)```", (DOCS / "searching.md").read_text(), re.DOTALL)
    assert levers is not None
    SCHEMA.validate({"name": "x", "teacher": "y", "space": json.loads(levers[1])})
    SCHEMA.validate(EXAMPLE_SPEC)


def test_the_jobs_of_the_tests_are_jobs(here: Bench) -> None:
    words: list[dict[str, Any]] = [
        {},
        {"limits": ["macs_frame<=900k", " step_ms.eager ≤ 8 ms"], "early_stopping": "none"},
        {"costs": ["macs_frame", "parameters"], "budget": {"trials": 8, "asked": 16}},
        {
            "first": [{"width.neck3": 4}, "night-3f9c0a17be/12"],
            "warm_start": ["a"],
            "fronts": ["b"],
            "at_once": 2,
        },
        {"recipe": {"steps": 2, "batch": 2}, "rungs": [0, 1], "steps": 2, "sampler": "grid"},
        {"space": {"layers": {"kept_only": [0, 2]}, "neck2": 32, "channels": 0.5, "round_to": 4}},
        {"space": None, "recipe": None, "budget": {"seconds": 60, "hypervolume": 0.5}},
        {"data": {"dataset": "lasot", "root": "/x", "rules": "pysot-lasot"}, "probes": ["eager"]},
    ]
    for each in words:
        job = here.job(**each)
        SCHEMA.validate(plain(job))
        SCHEMA.validate({"name": "x", "teacher": "y", **each})
    path = here.home / "street.yaml"
    path.write_text("limits: [step_ms.onnx_runtime<=2]\nspace: {channels: {least: 0.25}}\n")
    OF_A_FILE.validate(read_object(path, "a job"))
    SCHEMA.validate(job_document(str(path), JobWords(minutes=2, seed=3, trials=5)))


@pytest.mark.parametrize(
    ("words", "where"),
    [
        ({"limitz": []}, []),
        ({"sampler": "dice"}, ["sampler"]),
        ({"steps": -1}, ["steps"]),
        ({"steps": "100"}, ["steps"]),
        ({"costs": []}, ["costs"]),
        ({"costs": ["average_overlap"]}, ["costs", 0]),
        ({"accuracy": "macs_frame"}, ["accuracy"]),
        ({"limits": ["beauty<=1"]}, ["limits", 0]),
        ({"limits": "macs_frame<=1"}, ["limits"]),
        ({"budget": {"trials": 0}}, ["budget", "trials"]),
        ({"budget": {"trails": 3}}, ["budget"]),
        ({"budget": {"hypervolume": 1}}, ["budget", "hypervolume"]),
        ({"data": {"rules": "mine"}}, ["data", "rules"]),
        ({"space": {"channels": {"least": 0}}}, ["space", "channels"]),
        ({"space": {"layers": 3}}, ["space", "layers"]),
        ({"name": " .. "}, ["name"]),
        ({"name": "a/b"}, ["name"]),
        ({"pruning": "random_choice"}, ["pruning"]),
        ({"first": [{}, "12"]}, ["first", 1]),
        ({"rungs": [0, 0]}, ["rungs"]),
    ],
)
def test_a_wrong_word_is_found_where_it_stands(words: dict[str, Any], where: list[Any]) -> None:
    document = {"name": "x", "teacher": "y", **words}
    found = [list(error.instance_path) for error in SCHEMA.iter_errors(document)]
    assert where in found


def test_the_service_wants_a_name_and_a_teacher_and_a_file_need_not() -> None:
    assert not SCHEMA.is_valid({"name": "x"})
    assert not SCHEMA.is_valid({"teacher": "x"})
    assert OF_A_FILE.is_valid({})


NAMES = st.sampled_from(
    ["", ".", "..", " ", "...", "a", "a b", "é", "a/b", "\\", "a\0", ". .", "x" * 9]
)
DOCUMENTS = st.fixed_dictionaries(
    {"name": NAMES, "teacher": st.text(max_size=5)},
    optional={
        "steps": st.integers(-2, 300),
        "rungs": st.lists(st.integers(-1, 4), max_size=3),
        "opening": st.integers(-2, 3),
        "at_once": st.none() | st.integers(-1, 3),
        "costs": st.lists(st.sampled_from(["macs_frame", "parameters"]), max_size=2, unique=True),
        "sampler": st.sampled_from(list(samplers.SAMPLERS)),
        "space": st.none() | st.just(SPACE),
        "budget": st.fixed_dictionaries(
            {"trials": st.integers(-1, 5)},
            optional={
                "asked": st.none() | st.integers(5, 9),
                "seconds": st.none() | st.integers(-1, 5) | st.floats(-1, 5),
                "hypervolume": st.none() | st.floats(-0.5, 1.5),
                "plateau": st.none() | st.integers(-1, 3),
            },
        ),
    },
)


@given(DOCUMENTS)
@settings(max_examples=300, deadline=None)
def test_what_is_a_job_is_one_by_the_schema(document: dict[str, Any]) -> None:
    """What the schema cannot say (rungs rise, and lie below the steps) it lets through."""
    try:
        job_from_json(document)
    except ParetrackError:
        if not SCHEMA.is_valid(document):
            return
        rungs, steps = document.get("rungs", [0]), document.get("steps", 100)
        assert rungs != sorted(rungs) or any(rung >= max(steps, 1) for rung in rungs)
    else:
        SCHEMA.validate(document)


def test_every_teacher_that_ships_is_proposed() -> None:
    from workers import teachers

    offered = job_schema()["properties"]["teacher"]["anyOf"][0]["enum"]
    assert offered == teachers.names()
    assert {name.partition("-")[0] for name in offered} <= set(names())
