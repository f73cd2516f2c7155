import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from optuna.trial import FixedTrial

from search_spaces import (
    Layers,
    Range,
    Space,
    SpaceError,
    Units,
    build,
    default_space,
    largest,
    load,
    ostrack,
    sample,
    siamrpn,
    size,
    smallest,
    space_from_json,
    space_to_json,
)
from search_spaces._levers import grid
from workers.cost import measure_cost

SMALL = siamrpn.PRESETS["siamrpn-small"]
VIT = ostrack.PRESETS["ostrack-small"]
MLP = "backbone.blocks.1.mlp"


def widths(lever: Any, whole: int, round_to: int = 1, kind: str = "channels") -> list[int]:
    units = Units(name="some", layer="some", width=whole, kind=kind)  # type: ignore[arg-type]
    found = grid(units, lever, round_to)
    return [found.width(asked) for asked in range(found.low, found.high + 1, found.step)]


def test_importing_spaces_takes_no_torch() -> None:
    code = (
        "import sys, search_spaces as s; s.Range(least=0.5), s.SpaceError, s.sample; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("lever", "whole", "round_to", "expected"),
    [
        (Range(least=8, most=48, step=8), 64, 1, [8, 16, 24, 32, 40, 48]),
        (Range(least=0.1, choices=8), 64, 4, [8, 16, 24, 32, 40, 48, 56, 64]),
        (Range(least=0.1, choices=8), 48, 4, [8, 16, 24, 32, 40, 48]),
        (Range(least=0.1, most=0.5, choices=8), 48, 4, [8, 12, 16, 20, 24]),
        (Range(least=0.25), 7, 4, [4, 7]),  # the teacher's own width is no multiple
        (Range(step=3), 8, 1, [2, 5, 8]),
        (Range(least=0.07, step=1), 100, 1, [*range(7, 101)]),  # 0.07 * 100 > 7 in floats
        (Range(least=0.1), 12, 1, [*range(2, 13)]),
        (Range(most=1, least=2), 4, 1, [2, 3, 4]),  # 1.0 from a writer that drops the point
        (Range(), 3, 8, [3]),  # too narrow to be rounded: stays
        (Range(least=5, most=7), 20, 4, [7]),  # no multiple of 4 between
        (Range(least=40), 24, 1, [24]),
        (16, 64, 1, [16]),
        (16, 12, 4, [12]),
        (0.5, 32, 8, [16]),
        (1, 24, 8, [1]),
        (None, 24, 8, [24]),
    ],
)
def test_widths_that_a_lever_leaves(
    lever: Any, whole: int, round_to: int, expected: list[int]
) -> None:
    assert widths(lever, whole, round_to) == expected


def test_heads_are_not_rounded() -> None:
    assert widths(Range(), 6, 4, "heads") == [1, 2, 3, 4, 5, 6]


@given(
    whole=st.integers(1, 3000),
    round_to=st.sampled_from([1, 2, 4, 8, 16]),
    least=st.one_of(st.integers(1, 64), st.floats(0.01, 1)),
    most=st.one_of(st.just(1.0), st.integers(64, 4000)),
    choices=st.one_of(st.none(), st.integers(2, 20)),
)
@example(whole=2048, round_to=4, least=0.1, most=1.0, choices=8)
def test_widths_are_few_multiples_within_the_range_with_the_widest_among_them(
    whole: int, round_to: int, least: float, most: float, choices: int | None
) -> None:
    found = widths(Range(least=least, most=most, choices=choices), whole, round_to)
    bound = min(whole, whole if most == 1.0 else most)
    assert found == sorted(set(found))
    assert len(found) <= (choices or 16)
    assert found[0] >= 1 and found[-1] <= bound
    if bound == whole:
        assert found[-1] == whole
    if len(found) > 1:
        assert all(width % round_to == 0 for width in found if width != whole)
        assert found[0] >= (least * whole if isinstance(least, float) else least) - 1e-6


@given(whole=st.integers(40, 4000), choices=st.integers(6, 16))
def test_the_narrowest_width_lies_close_to_the_least(whole: int, choices: int) -> None:
    found = widths(Range(least=0.1, choices=choices), whole)
    assert found[0] <= 0.1 * whole + 0.2 * whole + 1


def test_a_lever_on_one_unit_stands_instead_of_that_of_its_kind() -> None:
    space = space_from_json(
        VIT,
        {"channels": {"least": 0.5, "choices": 2}, MLP: {"least": 8, "most": 16, "step": 8}},
    )
    found = {one.units.name: (one.low, one.high) for one in space.free_grids}
    assert found[MLP] == (8, 16)
    assert found["backbone.blocks.0.mlp"] == (64, 128)
    assert not any("head" in name and "box_head" not in name for name in found)


def test_parameters_have_the_names_of_the_teachers_parts() -> None:
    space = space_from_json(VIT, {"layers": {"least": 2}, MLP: {"least": 16, "step": 16}})
    params = {f"keep.backbone.blocks.{i}": i in (1, 3) for i in range(4)} | {f"width.{MLP}": 32}
    trial = FixedTrial(params)
    found = sample(space, trial)
    assert [*trial.distributions] == [*params]
    assert found.kept_layers == (1, 3)
    assert isinstance(found.architecture, ostrack.Architecture)
    assert [block.mlp for block in found.architecture.blocks] == [32, 128]
    small = space_from_json(SMALL, {"layers": {}, "layer2.0.conv1": {"least": 8}})
    trial = FixedTrial({"keep.backbone.layer2.1": True, "width.layer2.0.conv1": 48})
    assert sample(small, trial).architecture is SMALL


def test_too_few_layers_are_filled_up_from_the_first_one_on() -> None:
    space = space_from_json(VIT, {"layers": {"least": 3}})
    for kept, expected in (
        ((), (0, 1, 2)),
        ((3,), (0, 1, 3)),
        ((1, 2), (0, 1, 2)),
        ((1, 2, 3), (1, 2, 3)),
        ((0, 1, 2, 3), None),
    ):
        params = {f"keep.backbone.blocks.{i}": i in kept for i in range(4)}
        assert sample(space, FixedTrial(params)).kept_layers == expected
    assert size(space) == 5


def test_layers_that_were_fixed_are_not_asked_for_nor_the_widths_of_those_left_out() -> None:
    space = space_from_json(VIT, {"layers": {"kept_only": [0, 2]}, "heads": {}})
    trial = FixedTrial({"width.backbone.blocks.0.heads": 1, "width.backbone.blocks.2.heads": 2})
    found = sample(space, trial)
    assert [*trial.params] == [*trial.distributions]
    assert found.kept_layers == (0, 2)
    assert isinstance(found.architecture, ostrack.Architecture)
    assert [block.heads for block in found.architecture.blocks] == [1, 2]
    assert size(space) == 4


def test_the_smallest_keeps_the_layers_that_cost_least() -> None:
    """A block that eliminates tokens makes all that follow cheaper."""
    whole = replace(
        ostrack.PRESETS["ostrack-tiny"],
        blocks=ostrack.PRESETS["ostrack-tiny"].blocks * 3,
        elimination=ostrack.Elimination(blocks=(2, 4), keep=0.5),
    )
    space = space_from_json(whole, {"layers": {"least": 2}, "backbone.blocks.5.mlp": 4})

    def macs(architecture: Any) -> int:
        with torch.device("meta"):
            network = build(architecture)
        return measure_cost(network, ostrack.geometry(architecture)).macs_frame

    def with_blocks(kept: tuple[int, ...]) -> Any:
        params = {f"keep.backbone.blocks.{i}": i in kept for i in range(6)}
        return sample(space, FixedTrial(params)).architecture

    subsets = [kept for count in (2, 3, 6) for kept in combinations(range(6), count)]
    cheapest = min(macs(with_blocks(kept)) for kept in subsets)
    assert macs(smallest(space, macs).architecture) == cheapest
    assert macs(smallest(space).architecture) > cheapest  # the first ones, their cost unknown


def test_a_space_of_a_pruned_teacher_starts_at_its_widths() -> None:
    pruned = siamrpn.with_widths(SMALL, {"layer1": 13, "neck2": 5})
    space = default_space(pruned)
    assert space.round_to == 1
    assert largest(space).architecture == pruned
    assert {g.units.name: g.high for g in space.grids}["layer1"] == 13


def test_the_default_space_rounds_where_all_widths_allow_it() -> None:
    space = default_space(SMALL)
    assert space == Space(
        whole=SMALL,
        levers={"layers": Layers(), "channels": Range(least=0.1, choices=8)},
        round_to=4,
    )
    narrowest = {unit.width for unit in siamrpn.units(smallest(space).architecture)}
    assert narrowest == {4, 8}


def test_a_written_space_says_only_what_was_chosen() -> None:
    data = {"round_to": 4, "layers": {"least": 2}, "heads": 1, MLP: {"least": 8, "most": 0.5}}
    space = space_from_json(VIT, data)
    assert space_to_json(space) == data
    assert space_to_json(space_from_json(VIT, {"layers": {"kept_only": [0]}, "heads": {}})) == {
        "round_to": 1,
        "layers": {"kept_only": [0]},
        "heads": {"least": 1, "most": 1.0},
    }


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "an object of levers"),
        ({}, "nothing is left to choose"),
        ({"round_to": 4}, "nothing is left to choose"),
        ({"channels": 0.5, "layers": {"kept_only": [0]}}, "nothing is left to choose"),
        ({"chanels": {}}, "no lever 'chanels'; did you mean 'channels'.*heads.*box_head"),
        ({"backbone.blocks.9.mlp": 8}, "no lever 'backbone.blocks.9.mlp'"),
        ({"channels": {"leats": 2}}, "lever 'channels': expected an object with any of least"),
        ({"channels": "all"}, "lever 'channels': expected an object"),
        ({"channels": None}, "lever 'channels': expected an object"),
        ({"channels": True}, "lever 'channels': width: expected .* got True"),
        ({"channels": {"least": "2"}}, "lever 'channels': Range.least: expected .*, got '2'"),
        ({"channels": {"least": 0}}, "least: expected a whole number .* got 0"),
        ({"channels": {"most": 1.5}}, "most: expected .* a share over 0 and up to 1.0, got 1.5"),
        ({"channels": {"least": 0.5, "most": 0.2}}, "least 0.5 is more than most 0.2"),
        ({"channels": {"least": 30, "most": 20}}, "least 30 is more than most 20"),
        ({"channels": {"choices": 1}}, "choices: expected at least 2, got 1"),
        ({"channels": {"step": 0}}, "step: expected at least 1 unit, got 0"),
        ({"channels": {"choices": 3, "step": 2}}, "'choices' or 'step', not both"),
        ({"channels": {"least": 1.0}}, "'channels' leaves one choice only: of 24 to 128 units"),
        ({"channels": {"least": 200}}, "'channels' leaves one choice only"),
        ({MLP: {"least": 128}}, f"'{MLP}' leaves one choice only: of 128 units"),
        ({MLP: {"least": 8, "most": 200}}, "there are 128 units, got 200"),
        ({MLP: 129}, "there are 128 units, got 129"),
        ({"round_to": 4096, "channels": {}}, "leaves one choice only.*multiples of 4096"),
        ({"round_to": 0, "channels": {}}, "round_to: expected at least 1, got 0"),
        ({"round_to": "4", "channels": {}}, "round_to: expected a whole number of units, got '4'"),
        ({"round_to": 4, "channels": {"step": 6}}, "step 6 is no multiple of round_to 4"),
        ({"layers": 2}, "lever 'layers': expected an object with any of least, kept_only"),
        ({"layers": {"least": 0}}, "least: expected a number from 1 to 3, got 0.*blocks.3"),
        ({"layers": {"least": 4}}, "least: expected a number from 1 to 3, got 4"),
        ({"layers": {"least": 2, "kept_only": [1]}}, "'least' or 'kept_only', not both"),
        ({"layers": {"kept_only": [1, 0]}, "heads": {}}, "kept_only: layers to keep: .*rising"),
        ({"layers": {"kept_only": [0]}, MLP: {}}, "leaves its layer out"),
    ],
)
def test_what_a_user_can_get_wrong_is_said_clearly(data: Any, said: str) -> None:
    with pytest.raises(SpaceError, match=said):
        space_from_json(VIT, data)


def test_levers_made_in_code_are_checked_like_written_ones() -> None:
    with pytest.raises(SpaceError, match="is for layers"):
        Space(whole=VIT, levers={"channels": Layers()})
    with pytest.raises(SpaceError, match="is for units"):
        Space(whole=VIT, levers={"layers": Range()})
    with pytest.raises(SpaceError, match="lever 'heads': expected a whole number"):
        Space(whole=VIT, levers={"heads": 0, "channels": Range()})


def test_layers_of_a_network_that_needs_none_of_them_may_all_go() -> None:
    space = space_from_json(SMALL, {"layers": {}})
    assert size(space) == 2
    assert smallest(space).kept_layers == ()
    assert len(load("siamrpn").layers(smallest(space).architecture)) == 0
