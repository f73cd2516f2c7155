"""How much faster many sequences in lock-step are than one at a time. Printed, not asserted."""

import os

import pytest
import torch

from search_spaces import load
from tests.workers.test_tracking import moving_square
from workers.checkpoints import load_tracker
from workers.predictor import TorchPredictor
from workers.teachers import find, names
from workers.tracking import track, track_many


@pytest.mark.benchmark
@pytest.mark.parametrize("teacher", names())
def test_frames_per_second_of_64_sequences_in_lock_step(teacher: str) -> None:
    torch.set_num_threads(1)
    architecture, network = load_tracker(find(teacher))
    geometry = load(architecture.family).geometry(architecture)
    predictor = TorchPredictor(network, geometry)
    sequences = [moving_square(20, 1 + n % 3, n) for n in range(64)]
    ratios = []
    for _ in range(3):
        alone = [track(predictor, iter(s.frames), s.boxes[0], geometry) for s in sequences]
        together = track_many(predictor, sequences, geometry, batch=64)
        seconds = [sum(float(t.seconds.sum()) for t in tracks) for tracks in (alone, together)]
        ratios.append(seconds[0] / seconds[1])
        frames = sum(len(t.boxes) for t in together)
        print(  # noqa: T201 - a benchmark speaks
            f"{teacher}: {frames / seconds[0]:.0f} frames/s one at a time, "
            f"{frames / seconds[1]:.0f} in lock-step, ratio {ratios[-1]:.2f}, "
            f"load {os.getloadavg()[0]:.1f}"
        )
    assert len(ratios) == 3
