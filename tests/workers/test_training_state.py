"""Training states on disk: what goes in comes out, and nothing else does."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import TrackerNetwork
from tests.workers.test_checkpoints import TINY, assert_same, fresh_network
from workers.checkpoints import (
    CheckpointError,
    load_state,
    save_state,
    save_tracker,
    weights_sha256,
)

Values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.floats(width=32), max_size=4).map(torch.tensor)
    | st.integers(-5, 5).map(torch.tensor),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(state=st.dictionaries(st.text(max_size=3), Values))
def test_a_state_comes_back_as_it_was(
    state: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "state"
    save_state(path, state)
    assert_same(load_state(path), state)


def test_an_optimizer_goes_on_from_its_state(tmp_path: Path) -> None:
    def stepped(network: TrackerNetwork, optimizer: torch.optim.Optimizer, steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            sum(p.square().sum() for p in network.parameters()).backward()  # type: ignore[union-attr]
            optimizer.step()

    whole = fresh_network()
    stepped(whole, torch.optim.AdamW(whole.parameters()), 4)
    half = fresh_network()
    optimizer = torch.optim.AdamW(half.parameters())
    stepped(half, optimizer, 2)
    entries = {str(i): entry for i, entry in optimizer.state_dict()["state"].items()}
    save_state(tmp_path / "state", {"network": half.state_dict(), "optimizer": entries})
    state = load_state(tmp_path / "state")
    resumed = fresh_network(seed=9)
    resumed.load_state_dict(state["network"])
    optimizer = torch.optim.AdamW(resumed.parameters())
    groups = optimizer.state_dict()["param_groups"]
    entries = {int(i): entry for i, entry in state["optimizer"].items()}
    optimizer.load_state_dict({"state": entries, "param_groups": groups})
    stepped(resumed, optimizer, 2)
    assert weights_sha256(resumed.state_dict()) == weights_sha256(whole.state_dict())


@pytest.mark.parametrize("wrong", [{"a": {1: 2}}, {"a": [object()]}, {"a": {"b": {3}}}])
def test_a_state_of_other_things_is_refused_by_its_path(
    wrong: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="state/a"):
        save_state(tmp_path / "state", wrong)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_state_is_refused(tmp_path: Path) -> None:
    save_tracker(tmp_path, TINY, fresh_network())
    with pytest.raises(CheckpointError, match="not a training state"):
        load_state(tmp_path / "weights.safetensors")
    (tmp_path / "empty").touch()
    with pytest.raises(CheckpointError, match="empty"):
        load_state(tmp_path / "empty")


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_damaged_state_is_read_or_refused_but_nothing_else(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged"
    save_state(path, {"a": torch.ones(3), "b": [1, {"c": "d"}]})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        assert isinstance(load_state(path), dict)
    except CheckpointError as error:
        assert str(path) in str(error)
