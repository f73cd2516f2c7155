"""A network that remembers what it has computed: the same bits, for less work."""

import pytest
import torch
from torch import Tensor, nn

from tests.workers.test_pruning import crops, trained_like
from workers.pruning import cut_with_origins
from workers.pruning import refit as refitting
from workers.pruning._remembered import Remembered
from workers.pruning.refit import refit
from workers.pruning.widths import narrowed

ENOUGH = 1e9


class Doubling(nn.Module):
    """Counts how often it is asked."""

    asked = 0

    def forward(self, x: Tensor) -> Tensor:
        self.asked += 1
        return 2 * x


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.doubling = Doubling()
        self.layer = nn.Linear(3, 3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        said: Tensor = self.relu(self.layer(self.doubling(x)))
        return said


@pytest.mark.parametrize("preset", ["siamrpn-tiny", "ostrack-tiny"])
@pytest.mark.parametrize("limit", [ENOUGH, 200_000])
def test_a_refit_ends_with_the_bits_of_one_that_remembers_nothing(
    preset: str, limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture, teacher = trained_like(preset)
    found = []
    for most in (0.0, limit):
        monkeypatch.setattr(
            refitting, "Remembered", lambda *told, most=most: Remembered(*told[:3], most)
        )
        smaller, origins = cut_with_origins(
            teacher, architecture, narrowed(architecture, keep=0.6), None
        )
        refit(smaller, teacher, origins, *crops(architecture, 20))
        found.append(smaller.state_dict())
    assert all(torch.equal(tensor, found[1][name]) for name, tensor in found[0].items())


def test_what_was_heard_before_is_not_computed_again_but_anything_else_is() -> None:
    network, x = Small(), torch.rand(2, 3)
    remembered = Remembered(network, ["layer"], 2, ENOUGH)
    with torch.no_grad(), remembered.asked_first():
        for batch, heard in ((0, x), (0, x.clone()), (1, x), (1, x + 1)):
            remembered.begin(batch)
            assert torch.equal(network(heard), network.layer(2 * heard).relu())
    assert network.doubling.asked == 3


def test_a_layer_that_is_not_fitted_yet_is_computed_with_the_weights_that_it_has() -> None:
    network, x = Small(), torch.rand(2, 3)
    remembered = Remembered(network, ["layer"], 1, ENOUGH)
    with torch.no_grad(), remembered.asked_first():
        network(x)
        network.layer.weight.fill_(1)
        network.layer.bias.fill_(1)
        remembered.finished("layer")
        remembered.begin(0)
        expected = (2 * x).sum(1, keepdim=True).expand(-1, 3) + 1
        torch.testing.assert_close(network(x), expected)


def test_an_answer_that_somebody_has_written_into_is_computed_anew() -> None:
    network, x = Small(), torch.rand(2, 3)
    with torch.no_grad(), Remembered(network, [], 1, ENOUGH).asked_first():
        network.doubling(x).zero_()
        assert torch.equal(network.doubling(x), 2 * x)


def test_the_network_is_left_as_it_was_even_by_an_error() -> None:
    network = Small()
    with pytest.raises(RuntimeError), Remembered(network, [], 1, ENOUGH).asked_first():
        network(torch.rand(2, 4))
    assert network.relu.inplace
    assert not any("forward" in module.__dict__ for module in network.modules())
