"""What forms are filled in with: every name that code has, each with a sentence, without torch."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator

import search_spaces
from search_spaces import default_space, load, space_from_json, space_to_json
from service import catalogue
from service.catalogue import _first_sentence
from service.lever_schema import levers
from service.samplers import SAMPLERS
from tests.service.asking import ask
from tests.service.jobs import SPACE, TINY, Bench
from tests.service.kept import Kept, headers_of, kept
from tests.service.searched import API, made
from workers.datasets import DATASETS
from workers.documents import plain
from workers.latency import PROBES
from workers.metrics import METRICS
from workers.pruning import METHODS
from workers.recovery import RECOVERIES


@pytest.fixture
def place(prepared_sqlite: Path, here: Bench) -> Iterator[Kept]:
    found = kept(prepared_sqlite, here, owner="ada")
    yield found
    found.engine.dispose()


@pytest.fixture
def app(place: Kept) -> Iterator[FastAPI]:
    with made(place.settings, needs_tokens=True) as app:
        yield app


@pytest.fixture
def ada(place: Kept) -> dict[str, str]:
    return headers_of(place.engine, "ada")


def rules() -> Mapping[str, Any]:
    from service.early_stopping import RULES

    return RULES


TABLES: Mapping[str, tuple[Mapping[str, Any], str | None]] = {
    "datasets": (DATASETS, "synthetic"),
    "samplers": (SAMPLERS, "nsga2"),
    "early-stopping": (rules(), "mo_asha"),
    "pruning-methods": (METHODS, "magnitude"),
    "recoveries": (RECOVERIES, "finetune"),
    "probes": (PROBES, None),
}


def test_every_name_is_listed_with_a_sentence(app: FastAPI, ada: dict[str, str]) -> None:
    for path, (table, usual) in TABLES.items():
        answer = ask(app, "GET", f"{API}/{path}", headers=ada)
        assert answer.status_code == 200, answer.text
        items = {one["name"]: one for one in answer.json()["items"]}
        assert set(items) == set(table), path
        for one in items.values():
            assert len(one["about"]) > 20 and one["about"].endswith("."), one
            assert "``" not in one["about"] and "\n" not in one["about"]
        assert [one["name"] for one in items.values() if one["is_default"]] == [usual] * bool(usual)


def test_the_splits_of_a_dataset_are_its_own() -> None:
    for one in catalogue.datasets():
        assert one.splits == tuple(DATASETS[one.name].SPLITS)


def test_families_have_their_presets_and_say_what_they_are() -> None:
    found = {one.name: one for one in catalogue.families()}
    assert set(found) == set(search_spaces.names())
    for name, one in found.items():
        assert one.presets == tuple(load(name).PRESETS)
        assert one.about.endswith(".")


def test_objectives_say_what_a_job_may_use_them_for(app: FastAPI, ada: dict[str, str]) -> None:
    items = ask(app, "GET", f"{API}/objectives", headers=ada).json()["items"]
    found = {one["name"]: one for one in items}
    assert list(found) == list(METRICS)
    assert found["average_overlap"]["uses"] == ["accuracy", "limits"]
    assert found["pair_loss"]["uses"] == ["costs", "rung_accuracy", "limits"]
    assert found["step_ms.onnx_runtime"]["unit"] == "ms"


def test_recipes_are_those_beside_the_teachers(app: FastAPI, ada: dict[str, str]) -> None:
    from workers.training import recipe_from_json

    items = ask(app, "GET", f"{API}/recipes", headers=ada).json()["items"]
    assert {(one["teacher"], one["purpose"]) for one in items} == {
        (teacher, purpose)
        for teacher in ("ostrack-synthetic", "siamrpn-synthetic")
        for purpose in ("training", "recovery")
    }
    for one in items:
        recipe_from_json(one["recipe"])


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("One. Two.", "One."),
        ("over two\nlines. More.\n\nAnother paragraph.", "Over two lines."),
        ("``none``: everybody goes on.", "Everybody goes on."),
        ("``torch`` as it is.", "Torch as it is."),
        ("", ""),
    ],
)
def test_the_first_sentence_of_a_docstring(docstring: str, sentence: str) -> None:
    assert _first_sentence(docstring) == sentence


def test_nothing_of_it_takes_torch() -> None:
    code = (
        "import sys; from service import catalogue as c, app; c.families(); c.datasets(); "
        "c.samplers(); c.early_stopping(); c.pruning_methods(); c.recoveries(); c.probes(); "
        "c.recipes(); c.objectives(); "
        "assert not {'torch', 'ray', 'matplotlib', 'cv2', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# --- levers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", search_spaces.names())
def test_the_levers_of_every_preset_describe_its_spaces(family: str) -> None:
    for whole in load(family).PRESETS.values():
        from service.lever_schema import schema

        usual = default_space(whole)
        found = schema(whole, usual, "this")
        Draft202012Validator.check_schema(found)
        assert Draft202012Validator(found).is_valid(plain(space_to_json(usual)))
        units = load(family).units(whole)
        assert {one.name for one in units} <= set(found["properties"])
        assert space_from_json(whole, found["default"]) == usual


@pytest.mark.parametrize(
    "space",
    [
        SPACE,
        {"channels": {"least": 1, "most": 0.5, "step": 2}, "round_to": 2},
        {"channels": {}, "layer3.1.conv1": 4, "neck3": 0.5},
        {"channels": {"least": 0.1}, "layers": {"kept_only": [0]}},
    ],
)
def test_a_space_that_is_read_is_one_that_the_schema_allows(
    teacher: Path, space: dict[str, Any]
) -> None:
    space_from_json(TINY, space)
    assert Draft202012Validator(levers("siamrpn", str(teacher))).is_valid(space)


@pytest.mark.parametrize(
    "space",
    [
        {"chanels": 0.5},
        {"channels": -1},
        {"channels": {"least": 0.1, "choices": 3, "step": 2}},
        {"channels": {"choices": 1}},
        {"channels": {"lest": 1}},
        {"layers": {"least": 1, "kept_only": [0]}},
        {"layers": {"least": 99}},
        {"round_to": 0},
        {"round_to": "4"},
    ],
)
def test_a_space_that_is_refused_is_one_that_the_schema_forbids(
    teacher: Path, space: dict[str, Any]
) -> None:
    with pytest.raises(search_spaces.ParetrackError):
        space_from_json(TINY, space)
    assert not Draft202012Validator(levers("siamrpn", str(teacher))).is_valid(space)


def test_levers_are_those_of_the_teacher_that_is_named(
    place: Kept, app: FastAPI, ada: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(family: str, teacher: str | None = None, status: int = 200, **more: Any) -> Any:
        params = {} if teacher is None else {"teacher": teacher}
        headers = more.get("headers", ada)
        answer = ask(app, "GET", f"{API}/spaces/{family}", params=params, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json()

    assert asked("siamrpn")["title"] == "Levers of siamrpn-synthetic (siamrpn)"
    trial = f"{place.job.id}/3"
    of_trial = asked("siamrpn", trial)
    assert of_trial == json.loads(json.dumps(levers("siamrpn", str(place.folder))))
    monkeypatch.setattr(app.state.service.beside, "ask", None)  # it is known by now
    assert asked("siamrpn", trial) == of_trial
    assert asked("yolo", status=404)["code"] == "not_found"
    assert "of the family siamrpn, not of ostrack" in asked("ostrack", trial, 422)["detail"]
    assert "/trackers lists those" in asked("siamrpn", "nobody", 422)["detail"]
    assert "STOPPED" in asked("siamrpn", f"{place.job.id}/4", 422)["detail"]
    eve = headers_of(place.engine, "eve")
    assert "/trackers lists those" in asked("siamrpn", trial, 422, headers=eve)["detail"]
    assert asked("siamrpn", "../../etc", 422)["errors"][0]["parameter"] == "teacher"


def test_many_may_ask_first_at_the_same_moment() -> None:
    """Python 3.11 cannot parse in two threads at once, and a new service may be asked so."""
    asks = (
        "from concurrent.futures import ThreadPoolExecutor; from service import catalogue as c; "
        "every = [c.families, c.datasets, c.samplers, c.early_stopping, c.pruning_methods, "
        "c.recoveries, c.probes]; pool = ThreadPoolExecutor(21); "
        "print(len([f.result() for f in [pool.submit(one) for one in every * 3]]))"
    )
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True)
        assert (done.returncode, done.stdout.strip()) == (0, "21"), done.stderr[-2000:]
