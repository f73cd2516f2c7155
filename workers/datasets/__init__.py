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
    annotated_sha256,
    demand_truth,
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
    "annotated_sha256",
    "dataset",
    "demand_truth",
    "first_pixel",
    "format_boxes",
    "prefetched",
    "rules",
    "version",
]

DATASETS: Mapping[str, Dataset] = {
    "folder": folder,
    "got10k": got10k,
    "lasot": lasot,
    "otb": otb,
    "synthetic": synthetic,
}

# pysot follows the toolkits of these data sets' authors; the others take GOT-10k's rules.
_RULES: Mapping[str, str] = {"lasot": "pysot-lasot", "otb": "pysot-otb"}


def rules(name: str) -> str:
    """The accuracy rules that a data set is judged by unless somebody asks for others."""
    dataset(name)  # an unknown name is an error, not GOT-10k's
    return _RULES.get(name, "got10k")


def first_pixel(name: str) -> int:
    """What the annotation files of a data set call the first pixel; boxes here start at 0."""
    return int(getattr(dataset(name), "FIRST_PIXEL", 0))


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
