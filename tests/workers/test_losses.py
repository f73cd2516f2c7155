"""What training minimises: known values, and that right answers cost least."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import TrackerNetwork, load
from workers.losses import (
    LossWeights,
    centre_heat,
    focal,
    gaussian_radius,
    giou_loss,
    iou,
    tracking_loss,
)

BOX = st.tuples(st.floats(0, 90), st.floats(0, 90), st.floats(1, 60), st.floats(1, 60))


def test_iou_and_giou_of_known_boxes() -> None:
    a = torch.tensor([[5.0, 5, 10, 10]])
    half = torch.tensor([[10.0, 5, 10, 10]])
    apart = torch.tensor([[25.0, 5, 10, 10]])

    assert torch.allclose(iou(a, half), torch.tensor([50 / 150]))
    assert torch.allclose(giou_loss(a, a), torch.zeros(1))
    assert torch.allclose(giou_loss(a, apart), torch.tensor([1 - (0 - 100 / 300)]))


@given(BOX, BOX)
def test_giou_loss_lies_between_0_and_2_and_does_not_care_who_is_who(
    a: tuple[float, ...], b: tuple[float, ...]
) -> None:
    one, two = torch.tensor([a]), torch.tensor([b])
    loss = giou_loss(one, two)
    assert -1e-4 <= float(loss) <= 2
    assert torch.allclose(loss, giou_loss(two, one), atol=1e-5)


def test_the_heat_is_one_in_the_cell_of_the_target_and_falls_around_it() -> None:
    target = torch.tensor([[52.0, 20.0, 40.0, 40.0]])

    heat, cell = centre_heat(target, side=12, size=96)

    assert cell.tolist() == [2 * 12 + 6]
    assert float(heat[0, cell[0]]) == 1
    assert int((heat == 1).sum()) == 1
    assert 0 < float(heat[0, cell[0] + 1]) < 1
    assert float(heat[0, 0]) == 0


def test_a_target_at_the_border_still_has_a_cell() -> None:
    heat, cell = centre_heat(torch.tensor([[96.0, -3.0, 20.0, 20.0]]), side=12, size=96)
    assert cell.tolist() == [11]
    assert float(heat.max()) == 1


def test_a_larger_target_has_a_larger_radius() -> None:
    sizes = torch.tensor([2.0, 5.0, 20.0])
    radius = gaussian_radius(sizes, sizes)
    assert (radius.diff() > 0).all()


def test_focal_prefers_the_right_cell() -> None:
    heat = torch.zeros(1, 9)
    heat[0, 4] = 1
    right, wrong = torch.full((1, 9), 0.1), torch.full((1, 9), 0.1)
    right[0, 4], wrong[0, 0] = 0.9, 0.9
    assert focal(right, heat) < focal(wrong, heat)


def anchored() -> tuple[TrackerNetwork, int]:
    architecture = load("siamrpn").PRESETS["siamrpn-tiny"]
    return load("siamrpn").build(architecture), architecture.search_size


def answer(network: TrackerNetwork, anchor: int | None) -> tuple[torch.Tensor, ...]:
    """Maps that are sure of one anchor, or of none."""
    anchors = network.anchors()
    assert anchors is not None
    cells = len(anchors) // 3
    side = round(cells**0.5)
    logits = torch.full((1, 2, len(anchors)), -2.0)
    logits[:, 0] = 2.0
    if anchor is not None:
        logits[0, :, anchor] = torch.tensor([-2.0, 2.0])
    return logits.view(1, 6, side, side), torch.zeros(1, 12, side, side)


@pytest.mark.parametrize("kind", ["focal", "balanced"])
def test_anchors_are_scored_for_their_overlap(kind: str) -> None:
    network, size = anchored()
    anchors = network.anchors()
    assert anchors is not None
    target = anchors[100:101].clone()
    boxes = torch.cat([target[:, :2] - target[:, 2:] / 2, target[:, 2:]], dim=1)

    def score(anchor: int | None, same: bool) -> float:
        loss = tracking_loss(
            network, answer(network, anchor), boxes, torch.tensor([same]), size,
            LossWeights(anchors=kind),  # type: ignore[arg-type]
        )  # fmt: skip
        return float(loss.terms["score"].detach())

    assert score(100, same=True) < score(20, same=True)
    assert score(100, same=True) < score(None, same=True)
    assert score(None, same=False) < score(100, same=False)


def test_an_anchor_on_the_target_costs_nothing_for_its_box() -> None:
    network, size = anchored()
    anchors = network.anchors()
    assert anchors is not None
    target = anchors[100:101]
    boxes = torch.cat([target[:, :2] - target[:, 2:] / 2, target[:, 2:]], dim=1)
    loss = tracking_loss(
        network, answer(network, 100), boxes, torch.tensor([True]), size, LossWeights()
    )
    others = tracking_loss(
        network, answer(network, 100), boxes, torch.tensor([False]), size, LossWeights()
    )
    assert float(loss.terms["l1"]) < 1.5  # neighbours with IoU over .4 are a little off
    assert float(others.terms["giou"]) == 0


def test_training_on_one_pair_brings_every_family_to_its_box() -> None:
    for preset in ("siamrpn-tiny", "ostrack-tiny"):
        family = load(preset.split("-")[0])
        architecture = family.PRESETS[preset]
        geometry = family.geometry(architecture)
        torch.manual_seed(0)
        network = family.build(architecture).train()
        template = torch.rand(2, 3, geometry.template_size, geometry.template_size)
        search = torch.rand(2, 3, geometry.search_size, geometry.search_size)
        boxes = torch.tensor([[20.0, 22, 18, 14], [26.0, 24, 24, 24]])
        same = torch.ones(2, dtype=torch.bool)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
        for _ in range(150):
            loss = tracking_loss(
                network, network(template, search), boxes, same, geometry.search_size,
                LossWeights(),
            )  # fmt: skip
            optimizer.zero_grad()
            loss.total.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        scores, found = network.decode(network(template, search))
        best = found[torch.arange(2), scores.argmax(1)]
        centred = torch.cat([boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]], dim=1)
        assert float(iou(best, centred).min().detach()) > 0.6, preset
