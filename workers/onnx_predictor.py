"""The exported graphs as the tracking loop wants them: a bundle checked in the product's loop."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from search_spaces import Geometry, ParetrackError
from workers.predictor import network_input
from workers.tracking import Crops, Memory

TEMPLATE, FRAME = "template.onnx", "frame.onnx"  # the two files of an exported tracker


class OnnxPredictor:
    """The two graphs of a folder. They take one crop at a time; a batch is a loop."""

    def __init__(self, folder: Path, geometry: Geometry, threads: int = 1) -> None:
        self._geometry = geometry
        self._template = _session(folder / TEMPLATE, threads)
        self._frame = _session(folder / FRAME, threads)

    def template(self, crops: Crops) -> Memory:
        answers = [self._template.run(None, {"crop": crop}) for crop in self._inputs(crops)]
        return tuple(np.concatenate(parts) for parts in zip(*answers, strict=True))

    def frame(self, crops: Crops, memory: Memory) -> tuple[NDArray[Any], NDArray[Any]]:
        answers = []
        for i, crop in enumerate(self._inputs(crops)):
            kept = {f"template_{k}": part[i : i + 1] for k, part in enumerate(memory)}
            answers.append(self._frame.run(["scores", "boxes"], {"crop": crop, **kept}))
        scores, boxes = (np.concatenate(parts) for parts in zip(*answers, strict=True))
        return scores, boxes

    def _inputs(self, crops: Crops) -> list[NDArray[np.float32]]:
        batch = network_input(crops, self._geometry).numpy()
        return [batch[i : i + 1] for i in range(len(batch))]


def _session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """A graph on the CPU with a fixed number of threads, so that figures can be compared."""
    if not path.is_file():
        raise ParetrackError(f"{path}: there is no such graph; export the tracker to this folder")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
