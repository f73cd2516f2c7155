"""What a search begins with: every size that the limits let pass, the same each time."""

from itertools import pairwise
from typing import Any

import pytest
from optuna.trial import FixedTrial
from sqlalchemy import Engine

from search_spaces import Architecture, default_space, load, narrowed, sample
from service.opening import opening
from service.plan import Plan
from service.reach import Reach
from tests.service.jobs import Bench
from tests.service.table_pool import TablePool, cost, judged
from workers.metrics import metric


def both_ends(plan: Plan) -> Reach:
    """With a latency that follows the MACs."""

    def measured(candidate: Any) -> dict[str, Any]:
        found = judged(candidate, "gates").to_json()
        found["latency"] = {"eager": {"step": {"median_ms": found["cost"]["macs_frame"] / 1e5}}}
        return found

    return Reach(measured(plan.the_teacher()), measured(plan.the_smallest()))


def built(plan: Plan, params: dict[str, Any]) -> Architecture:
    return sample(plan.space, FixedTrial(params)).architecture


def macs(plan: Plan, params: dict[str, Any]) -> float:
    return cost(built(plan, params)).macs_frame


@pytest.fixture
def wide(here: Bench) -> Plan:
    """A job over everything that the family can cut."""
    return here.plan(space={"layers": {}, "channels": {"least": 0.1}})


def test_it_has_networks_of_every_size_and_never_the_teacher(wide: Plan) -> None:
    reach = both_ends(wide)
    found = opening(wide, reach)
    shares = sorted(macs(wide, p) / reach.teacher["cost"]["macs_frame"] for p in found)

    assert len(found) == wide.job.opening == 12
    assert shares[0] < 0.15 and 0.7 < shares[-1] < 1
    assert max(b - a for a, b in pairwise(shares)) < 0.3
    assert opening(wide, reach) == found


def test_the_ladder_is_narrowed_evenly_and_the_rest_is_not(wide: Plan) -> None:
    units = {u.name: u.width for u in load("siamrpn").units(wide.space.whole)}

    def unevenness(params: dict[str, Any]) -> float:
        shares = [v / units[n[6:]] for n, v in params.items() if n.startswith("width.")]
        return max(shares) - min(shares)

    found = opening(wide, both_ends(wide))
    assert max(unevenness(p) for p in found[:6]) < min(unevenness(p) for p in found[6:]) + 0.2
    assert any(not v for p in found[6:] for n, v in p.items() if n.startswith("keep."))


@pytest.mark.parametrize("limit", ["macs_frame<=300k", "step_ms.eager<=3", "parameters<=5k"])
def test_it_stays_within_the_limits_as_far_as_can_be_known(here: Bench, limit: str) -> None:
    plan = here.plan(space={"channels": {"least": 0.1}}, limits=[limit])
    found = opening(plan, both_ends(plan))
    asked = metric(plan.limits[0].metric).name
    bound = plan.limits[0].at_most
    assert bound is not None
    figure = {
        "macs_frame": lambda p: macs(plan, p),
        "step_ms.eager": lambda p: macs(plan, p) / 1e5,
        "parameters": lambda p: cost(built(plan, p)).parameters,
    }[asked]
    figures = [figure(p) for p in found]

    assert sum(f <= bound for f in figures) >= len(found) - 2
    assert max(f for f in figures if f <= bound) > 0.6 * bound  # it uses what it may


def test_a_grid_and_who_wants_none_begin_with_nothing(here: Bench) -> None:
    for words in ({"sampler": "grid"}, {"opening": 0}):
        plan = here.plan(**words)
        assert opening(plan, both_ends(plan)) == []


def test_a_search_begins_with_what_the_user_names_then_with_its_opening(
    here: Bench, engine: Engine
) -> None:
    plan = here.plan()
    first = narrowed(plan.space, 0.5)
    job = here.job(first=[first], budget={"trials": 3}, opening=4)
    finished = here.run(engine, TablePool(), job)

    planned = [p for p in opening(finished.plan, finished.reach) if p != first]
    assert [t.params for t in finished.trials] == [first, *planned[:2]]


def test_an_opening_is_decided_once_whatever_is_measured_later(here: Bench, engine: Engine) -> None:
    from service.controller import _opening
    from tests.service.test_search import opened

    space = {"channels": {"least": 0.1}}
    plan = here.plan(name="night", space=space, limits=["step_ms.eager<=3"])
    reach = both_ends(plan)
    slower = both_ends(plan)
    for end in (slower.teacher, slower.smallest):
        end["latency"]["eager"]["step"]["median_ms"] *= 2  # type: ignore[index]
    record = opened(engine, here, "night")

    assert opening(plan, slower) != opening(plan, reach)
    assert _opening(plan, reach, record, []) == _opening(plan, slower, record, [])


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("name", ["siamrpn-tiny", "ostrack-tiny"])
def test_narrowed_is_a_point_of_the_space_nearest_to_the_share(name: str, share: float) -> None:
    space = default_space(load(name.partition("-")[0]).PRESETS[name])
    params = narrowed(space, share, depth=0.5)
    asked = FixedTrial(params)
    sample(space, asked)  # raises where a parameter is missing

    assert asked.params == params
    for grid in space.free_grids:
        got = params[f"width.{grid.units.name}"]
        wanted = share * grid.units.width
        others = range(grid.low, grid.high + 1, grid.step)
        assert abs(got - wanted) == min(abs(other - wanted) for other in others)
    kept = sum(v for n, v in params.items() if n.startswith("keep."))
    free = len(space.free_layers)
    assert kept == (max(space.least_layers, round(free / 2)) if free else 0)
