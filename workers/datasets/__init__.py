"""Videos with boxes, one module per data set, read alike for training and for evaluation."""

from collections.abc import Mapping

from workers.datasets import folder, got10k, lasot, otb, synthetic
from workers.datasets._boxes import format_boxes
from workers.datasets._frames import ImageFrames, prefetched
from workers.datasets._sequence import (
    Boxes,
    Dataset,
    DatasetError,
    Frames,
    Image,
    Problem,
    Sequence,
)
from workers.datasets._video import VideoFrames

__all__ = [
    "DATASETS",
    "Boxes",
    "Dataset",
    "DatasetError",
    "Frames",
    "Image",
    "ImageFrames",
    "Problem",
    "Sequence",
    "VideoFrames",
    "dataset",
    "format_boxes",
    "prefetched",
    "version",
]

DATASETS: Mapping[str, Dataset] = {
    "folder": folder,
    "got10k": got10k,
    "lasot": lasot,
    "otb": otb,
    "synthetic": synthetic,
}


def version(name: str) -> str:
    """What accuracy on a data set may be compared by: generated ones have versions."""
    return str(getattr(dataset(name), "VERSION", name))


def dataset(name: str) -> Dataset:
    """The data set called ``name``."""
    if name not in DATASETS:
        raise DatasetError(
            f"no data set named {name!r}; choose one of {', '.join(sorted(DATASETS))}"
        )
    return DATASETS[name]
