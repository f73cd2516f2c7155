"""Whatever is wrong in a job's document is pointed to, field by field."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from service.beside import Beside
from service.callers import EMBEDDED, Caller, Role
from service.checking import look_at, look_at_tuning
from service.database import embedded_url, open_database
from service.errors import Problem
from service.job import SEARCH
from service.recipe_job import KIND
from service.submission import checked
from tests.service.jobs import Bench
from tests.service.scheduled import spec_of

SOMEBODY = Caller(owner="ada", role=Role.SUBMITTER)


class Here(Beside):
    """Looks at jobs as the process beside the API does, without one."""

    def ask(self, kind: str, **words: Any) -> Any:
        look = {"look": look_at, "look_at_tuning": look_at_tuning}[kind]
        return json.loads(json.dumps(look(**json.loads(json.dumps(words)))))


@pytest.fixture
def engine(prepared_sqlite: Path, tmp_path: Path) -> Iterator[Engine]:
    shutil.copy(prepared_sqlite, tmp_path / "paretrack.db")
    engine = open_database(embedded_url(tmp_path / "paretrack.db"))
    yield engine
    engine.dispose()


def pointer(
    engine: Engine, here: Bench, spec: Any, kind: str = SEARCH, caller: Caller = EMBEDDED
) -> str:
    """Of the only fault that is found."""
    with pytest.raises(Problem) as refused:
        checked(engine, here.settings, Here(), caller, spec, kind)
    (fault,) = refused.value.faults
    assert refused.value.code in ("invalid", "unreachable_limit")
    assert fault.pointer is not None and fault.detail
    return fault.pointer


LEVER = {"least": 0.5, "choices": 3}
OF_A_SEARCH: list[tuple[dict[str, Any], str]] = [
    # what is no document of a job
    ({"limitz": []}, "/limitz"),
    ({"budget": {"trails": 3}}, "/budget/trails"),
    ({"budget": {"trials": "3"}}, "/budget/trials"),
    ({"budget": 3}, "/budget"),
    ({"data": {"set": "otb"}}, "/data/set"),
    ({"limits": ["macs_frame<=1M", 8]}, "/limits/1"),
    ({"rungs": [0, "a"]}, "/rungs/1"),
    ({"recipe": 3}, "/recipe"),
    # what cannot be, whatever else is said
    ({"name": "a/b"}, "/name"),
    ({"costs": []}, "/costs"),
    ({"steps": -1}, "/steps"),
    ({"rungs": [25, 0]}, "/rungs"),
    ({"refit": -1}, "/refit"),
    ({"opening": -1}, "/opening"),
    ({"at_once": 0}, "/at_once"),
    ({"sampler_seed": -1}, "/sampler_seed"),
    ({"budget": {"trials": 0}}, "/budget/trials"),
    ({"budget": {"trials": 4, "asked": 3}}, "/budget/asked"),
    ({"budget": {"hypervolume": 1}}, "/budget/hypervolume"),
    ({"budget": {"plateau": 0}}, "/budget/plateau"),
    # names that there are not
    ({"teacher": "nobody"}, "/teacher"),
    ({"accuracy": "beauty"}, "/accuracy"),
    ({"accuracy": "macs_frame"}, "/accuracy"),
    ({"costs": ["macs_frame", "beauty"]}, "/costs/1"),
    ({"costs": ["success"]}, "/costs/0"),
    ({"costs": ["macs_frame", "macs_frame"]}, "/costs/1"),
    ({"rung_accuracy": "success"}, "/rung_accuracy"),
    ({"rung_accuracy": "beauty"}, "/rung_accuracy"),
    ({"limits": ["macs_frame<=1M", "beauty<=8"]}, "/limits/1"),
    ({"limits": ["parameters<=10M", "macs_frame<=10"]}, "/limits/1"),
    ({"limits": ["macs_frame<=1M", "macs_frame>=2M"]}, "/limits"),
    ({"sampler": "dice"}, "/sampler"),
    ({"sampler": "grid", "space": None}, "/sampler"),
    ({"early_stopping": "whim"}, "/early_stopping"),
    ({"pruning": "luck"}, "/pruning"),
    ({"recovery": "luck"}, "/recovery"),
    ({"probes": ["eager", "sundial"]}, "/probes/1"),
    ({"data": {"dataset": "photos"}}, "/data/dataset"),
    ({"data": {"dataset": "otb"}}, "/data/root"),
    ({"data": {"dataset": "folder", "root": "/x", "rules": "mine"}}, "/data/rules"),
    # what may be cut
    ({"space": {"wheels": LEVER}}, "/space/wheels"),
    ({"space": {"channels": {"leest": 0.5}}}, "/space/channels"),
    ({"space": {"channels": LEVER, "layers": {"least": 99}}}, "/space/layers"),
    ({"space": {"channels": LEVER, "layer3.1.conv1": 9999}}, "/space/layer3.1.conv1"),
    ({"space": {"channels": LEVER, "round_to": 0}}, "/space/round_to"),
    ({"space": {"channels": 0.5}}, "/space"),
    # recipes, earlier jobs
    ({"recipe": {"steps": 3, "stops": 3}}, "/recipe/stops"),
    ({"recipe": {"steps": "3"}}, "/recipe/steps"),
    ({"recipe": "nowhere"}, "/recipe"),
    ({"warm_start": ["nowhere"]}, "/warm_start/0"),
    ({"fronts": ["nowhere"]}, "/fronts/0"),
    ({"first": [{"width.stem": 3}]}, "/first/0"),
    ({"first": ["nowhere/3"]}, "/first/0"),
    ({"first": ["3"]}, "/first/0"),
    ({"first": [3]}, "/first/0"),
]


@pytest.mark.parametrize(("words", "where"), OF_A_SEARCH)
def test_a_fault_of_a_search_is_pointed_to(
    engine: Engine, here: Bench, words: dict[str, Any], where: str
) -> None:
    spec = {**spec_of(here), **words}
    assert pointer(engine, here, spec) == f"/spec{where}"


@pytest.mark.parametrize("missing", ["name", "teacher"])
def test_what_is_missing_is_pointed_to(engine: Engine, here: Bench, missing: str) -> None:
    spec = {name: said for name, said in spec_of(here).items() if name != missing}
    assert pointer(engine, here, spec) == f"/spec/{missing}"


def test_where_nothing_alone_is_to_blame_the_whole_is(engine: Engine, here: Bench) -> None:
    assert pointer(engine, here, {**spec_of(here), "of": "nowhere/12"}) == "/spec/of"
    del (whole := spec_of(here))["data"]
    assert pointer(engine, here, {**whole, "data": {"dataset": "folder"}}) == "/spec/data/root"


def test_who_may_not_name_folders_is_shown_which_one(engine: Engine, here: Bench) -> None:
    spec = spec_of(here)
    assert pointer(engine, here, spec, caller=SOMEBODY) == "/spec/teacher"
    spec["teacher"] = "siamrpn-synthetic"
    assert pointer(engine, here, spec, caller=SOMEBODY) == "/spec/data/root"


OF_A_TUNING: list[tuple[dict[str, Any], str]] = [
    ({"costs": ["macs_frame"]}, "/costs"),
    ({"trials": 1}, "/trials"),
    ({"trials": 201}, "/trials"),
    ({"steps": 2}, "/steps"),
    ({"steps": "9"}, "/steps"),
    ({"refit": -1}, "/refit"),
    ({"threads": 0}, "/threads"),
    ({"parallel": 0}, "/parallel"),
    ({"seconds": 0}, "/seconds"),
    ({"name": ".."}, "/name"),
    ({"scheduler": "bohb"}, "/scheduler"),
    ({"metric": "beauty"}, "/metric"),
    ({"teacher": "nobody"}, "/teacher"),
    ({"architecture": {"wheels": 4}}, "/architecture"),
    ({"kept_layers": [99]}, "/kept_layers"),
    ({"kept_layers": []}, "/kept_layers"),
    ({"pruning": "luck"}, "/pruning"),
    ({"recovery": "hope"}, "/recovery"),
    ({"recipe": {"steps": 9, "stops": 3}}, "/recipe/stops"),
    ({"recipe": "nowhere"}, "/recipe"),
    ({"data": {"dataset": "photos"}}, "/data/dataset"),
    ({"data": {"rules": "mine"}}, "/data/rules"),
    ({"vary": {}}, "/vary"),
    ({"vary": {"learning_rat": None}}, "/vary/learning_rat"),
    ({"vary": {"warmup": None, "learning_rate": 3}}, "/vary/learning_rate"),
    ({"scheduler": "pbt", "vary": {"clip": {"least": 0.1, "most": 1}}}, "/vary/clip"),
    ({"of": "12"}, "/of"),
    ({"of": "nowhere/12"}, "/of"),
]


@pytest.mark.parametrize(("words", "where"), OF_A_TUNING)
def test_a_fault_of_a_tuning_is_pointed_to(
    engine: Engine, here: Bench, words: dict[str, Any], where: str
) -> None:
    recipe = {"steps": 9, "clip": None}
    spec = {"name": "half", "teacher": "siamrpn-synthetic", "recipe": recipe, "trials": 3, **words}
    assert pointer(engine, here, spec, KIND) == f"/spec{where}"
