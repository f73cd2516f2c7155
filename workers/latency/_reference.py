"""The network that every latency is held against. It must never change."""

from itertools import pairwise

import torch
from torch import nn

REFERENCE_INPUT = (1, 3, 64, 64)
_WIDTHS = (3, 32, 32, 32, 32)


def reference_network() -> nn.Sequential:
    """Four convolutions, 117 million multiply-accumulates in all."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pairs = [(nn.Conv2d(a, b, 3, padding=1), nn.ReLU()) for a, b in pairwise(_WIDTHS)]
    return nn.Sequential(*(layer for pair in pairs for layer in pair)).eval()
