"""A torch network as the tracking loop wants it: uint8 crops in, scored boxes out."""

from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from search_spaces import Geometry, Normalisation, TrackerNetwork
from workers.datasets import Sequence
from workers.latency import Branches, Tracking
from workers.tracking import Crops, Follower, Memory


class TorchPredictor:
    """Two branches that take torch tensors: a network, or a runtime that a probe has wrapped."""

    def __init__(
        self,
        network: TrackerNetwork | Branches,
        geometry: Geometry,
        device: torch.device | str = "cpu",
    ) -> None:
        if isinstance(network, TrackerNetwork):
            network = network.to(device).eval()
        self._network = network
        self._normalisation = geometry.normalisation
        self._device = torch.device(device)

    @torch.inference_mode()
    def template(self, crops: Crops) -> Memory:
        return self._network.template(self._input(crops))

    @torch.inference_mode()
    def frame(self, crops: Crops, memory: Memory) -> tuple[NDArray[Any], NDArray[Any]]:
        scores, boxes = self._network.frame(self._input(crops), memory)
        return scores.float().cpu().numpy(), boxes.float().cpu().numpy()

    def _input(self, crops: Crops) -> Tensor:
        return normalised(torch.from_numpy(crops).to(self._device), self._normalisation)


def frame_by_frame(sequence: Sequence, geometry: Geometry) -> Tracking:
    """For probes: a call takes a tracker one frame of this sequence further, round and round."""

    def tracking(branches: Branches, inputs: torch.device) -> Callable[[], object]:
        predictor, follower = TorchPredictor(branches, geometry, inputs), Follower(geometry)
        images = [sequence.frames[i] for i in range(min(len(sequence.frames), 20))]
        memory = predictor.template(follower.begin(images[0], sequence.boxes[0])[None])
        upcoming = cycle(images)

        def step() -> object:
            scores, boxes = predictor.frame(follower.look(next(upcoming))[None], memory)
            return follower.settle(scores[0], boxes[0])

        return step

    return tracking


def normalised(crops: Tensor, values: Normalisation) -> Tensor:
    """(batch, side, side, 3) RGB uint8 -> (batch, 3, side, side) float, as the network wants it."""
    planes = crops.permute(0, 3, 1, 2).float()
    if values.order == "bgr":
        planes = planes.flip(1)
    mean = torch.tensor(values.mean, device=crops.device).view(1, 3, 1, 1)
    std = torch.tensor(values.std, device=crops.device).view(1, 3, 1, 1)
    # One division less would round differently: the exported bundle computes in this order too.
    return ((planes * values.scale - mean) / std).contiguous()


def network_input(crops: NDArray[np.uint8], geometry: Geometry) -> Tensor:
    return normalised(torch.from_numpy(crops), geometry.normalisation)
