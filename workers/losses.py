"""What training minimises: focal + GIoU + L1, for centre heads and for anchors.

The centre head's terms and weights are OSTrack's (CenterNet's focal loss on a Gaussian around the
target); anchors are labelled by overlap, and SiamRPN++'s balanced cross-entropy is a choice.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from search_spaces import TrackerNetwork


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Published: score 1, giou 2, l1 5 (OSTrack); score 1, giou 0, l1 1.2 on deltas (SiamRPN++).

    ``anchors`` is how anchors are scored: SiamRPN++'s cross-entropy, balanced between target and
    background, or focal. Balanced, a distractor counts no more than any other background anchor.
    """

    score: float = 1.0
    giou: float = 2.0
    l1: float = 5.0
    anchors: Literal["focal", "balanced"] = "focal"


@dataclass(frozen=True)
class Loss:
    """The sum that is minimised and its unweighted terms, for the curve."""

    total: Tensor
    terms: dict[str, Tensor]


def tracking_loss(
    network: TrackerNetwork,
    maps: tuple[Tensor, ...],
    boxes: Tensor,
    same: Tensor,
    search_size: int,
    weights: LossWeights,
) -> Loss:
    """``boxes`` (batch, 4) as (x, y, w, h) in pixels of the search crop.

    Where ``same`` is False the template shows another target, and nothing is to be found.
    """
    target = torch.cat([boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]], dim=1)
    anchors = network.anchors()
    if anchors is None:
        terms = _centre_terms(network, maps, target, same, search_size)
    else:
        terms = _anchor_terms(
            network, maps, target, same, search_size, anchors.to(boxes.device), weights
        )
    total = weights.score * terms["score"] + weights.giou * terms["giou"] + weights.l1 * terms["l1"]
    return Loss(total, terms)


def _centre_terms(
    network: TrackerNetwork, maps: tuple[Tensor, ...], target: Tensor, same: Tensor, size: int
) -> dict[str, Tensor]:
    score = maps[0].flatten(1)  # (batch, cells), after the sigmoid
    side = maps[0].shape[-1]
    _, predicted = network.decode(maps)  # (batch, cells, 4)
    heat, cell = centre_heat(target, side, size)
    heat = heat * same.float()[:, None]
    chosen = predicted[torch.arange(len(cell), device=cell.device), cell]
    positive = same.float()
    return {
        "score": focal(score, heat),
        "giou": _mean(giou_loss(chosen, target), positive),
        "l1": _mean((chosen - target).abs().mean(1) / size, positive),
    }


def centre_heat(target: Tensor, side: int, size: int) -> tuple[Tensor, Tensor]:
    """CenterNet's Gaussian (1 at the target's cell) and the number of that cell."""
    centre = target[:, :2] / size * side
    extent = (target[:, 2:] / size * side).clamp(min=1e-3)
    column_row = centre.floor().clamp(0, side - 1)
    radius = gaussian_radius(extent[:, 0], extent[:, 1])
    reach = radius.floor().clamp(min=0)[:, None, None]
    sigma = (2 * reach + 1) / 6
    line = torch.arange(side, device=target.device, dtype=target.dtype)
    dx = (line[None, :] - column_row[:, 0:1])[:, None, :]  # (batch, 1, side)
    dy = (line[None, :] - column_row[:, 1:2])[:, :, None]
    heat = torch.exp(-(dy**2 + dx**2) / (2 * sigma**2))
    heat = heat * ((dx.abs() <= reach) & (dy.abs() <= reach))
    cell = (column_row[:, 1] * side + column_row[:, 0]).long()
    return heat.flatten(1), cell


def gaussian_radius(width: Tensor, height: Tensor, overlap: float = 0.7) -> Tensor:
    """How far a box may be shifted and still overlap so much (CenterNet's three cases).

    The published code divides by 2 instead of by 2a in two of the cases; weights were trained so.
    """
    total, area = width + height, width * height
    c1 = area * (1 - overlap) / (1 + overlap)
    r1 = (total + (total**2 - 4 * c1).clamp(min=0).sqrt()) / 2
    b2, c2 = 2 * total, (1 - overlap) * area
    r2 = (b2 + (b2**2 - 16 * c2).clamp(min=0).sqrt()) / 2
    a3, b3, c3 = 4 * overlap, -2 * overlap * total, (overlap - 1) * area
    r3 = (b3 + (b3**2 - 4 * a3 * c3).clamp(min=0).sqrt()) / 2
    return torch.minimum(torch.minimum(r1, r2), r3)


def focal(score: Tensor, heat: Tensor) -> Tensor:
    """CenterNet's focal loss (alpha 2, beta 4), a sum over cells, over the number of targets."""
    score = score.clamp(1e-4, 1 - 1e-4)
    positive = (heat == 1).float()
    found = positive * (1 - score) ** 2 * score.log()
    background = (1 - positive) * (1 - heat) ** 4 * score**2 * (1 - score).log()
    return -(found.sum() + background.sum()) / positive.sum().clamp(min=1)


def _anchor_terms(
    network: TrackerNetwork,
    maps: tuple[Tensor, ...],
    target: Tensor,
    same: Tensor,
    size: int,
    anchors: Tensor,
    weights: LossWeights,
) -> dict[str, Tensor]:
    batch = len(target)
    logits = maps[0].view(batch, 2, -1)  # (batch, 2, n)
    _, predicted = network.decode(maps)  # (batch, n, 4)
    overlap = iou(anchors[None], target[:, None])  # (batch, n)
    positive = _matching(overlap, 0.6) & same[:, None]
    if weights.anchors == "focal":
        heat = torch.where(positive, 1.0, overlap * same[:, None])
        score = focal(logits.softmax(dim=1)[:, 1], heat)
        # An anchor that is hardly held down near the target may win: its box must be right too.
        fitted = _matching(overlap, 0.4) & same[:, None]
    else:
        negative = ((overlap < 0.3) | ~same[:, None]) & ~positive
        score = _balanced(logits, positive, negative)
        fitted = positive
    each = fitted.float() / fitted.sum(1, keepdim=True).clamp(min=1)  # a target counts once
    wanted = _deltas(anchors[None], target[:, None])
    got = maps[1].view(batch, 4, -1).transpose(1, 2)
    overlap_loss = giou_loss(predicted, target[:, None].expand_as(predicted))
    count = same.float().sum().clamp(min=1)
    return {
        "score": score,
        "giou": (overlap_loss * each).sum() / count,
        "l1": ((got - wanted).abs().sum(-1) * each).sum() / count,
    }


def _matching(overlap: Tensor, least: float) -> Tensor:
    """Anchors that overlap with the target by more than this, and always the best one."""
    best = overlap >= overlap.max(dim=1, keepdim=True).values.clamp(min=1e-6)
    return (overlap > least) | best


def _balanced(logits: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """SiamRPN++'s cross-entropy: half for the positive anchors, half for the negative ones."""
    log_probability = F.log_softmax(logits, dim=1)
    found = _mean(-log_probability[:, 1], positive.float())
    background = _mean(-log_probability[:, 0], negative.float())
    return 0.5 * found + 0.5 * background


def _deltas(anchors: Tensor, target: Tensor) -> Tensor:
    centre = (target[..., :2] - anchors[..., :2]) / anchors[..., 2:]
    size = (target[..., 2:].clamp(min=1e-3) / anchors[..., 2:]).log()
    return torch.cat([centre, size], dim=-1)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.sum().clamp(min=1)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Of boxes (..., 4) as (cx, cy, w, h)."""
    shared, union, _ = _areas(a, b)
    return shared / union.clamp(min=1e-6)


def giou_loss(a: Tensor, b: Tensor) -> Tensor:
    """1 - GIoU of boxes (..., 4) as (cx, cy, w, h)."""
    shared, union, hull = _areas(a, b)
    union, hull = union.clamp(min=1e-6), hull.clamp(min=1e-6)
    return 1 - (shared / union - (hull - union) / hull)


def _areas(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    a_low, a_high = a[..., :2] - a[..., 2:] / 2, a[..., :2] + a[..., 2:] / 2
    b_low, b_high = b[..., :2] - b[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2
    inner = (torch.minimum(a_high, b_high) - torch.maximum(a_low, b_low)).clamp(min=0)
    outer = torch.maximum(a_high, b_high) - torch.minimum(a_low, b_low)
    shared = inner.prod(-1)
    union = a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - shared
    return shared, union, outer.prod(-1)
