"""The habits of the field's toolkits as values: which frames count, what the others are worth.

Read in the code of the toolkits of GOT-10k, pysot and pytracking, and of OSTrack's copy of the
last, which differs in one habit. A data set that is not named here is treated by its toolkit as
the named one that the comment beside it gives.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np

from search_spaces import ParetrackError

Verdict = Literal["judged", "missed", "hit", "dropped"]

STEPS_21 = tuple(np.linspace(0, 1, 21).tolist())
STEPS_101 = tuple(np.linspace(0, 1, 101).tolist())
# torch.arange fills a row in blocks of four, which moves 0.65 and 0.75 up by one bit
STEPS_21_IN_FOURS = tuple(0.05 * (i - i % 4) + 0.05 * (i % 4) for i in range(21))
HUNDREDTHS = tuple(i / 100 for i in range(51))
# not the same floats as HUNDREDTHS at 0.35, 0.41 and 0.47
HALF_IN_FIFTY = tuple(np.linspace(0, 0.5, 51).tolist())


@dataclass(frozen=True, kw_only=True)
class Treatment:
    """What becomes of a kind of frame in each measure; a dropped one leaves the denominator too."""

    overlap: Verdict = "missed"
    centre: Verdict = "missed"
    normalised: Verdict = "missed"


JUDGED = Treatment(overlap="judged", centre="judged", normalised="judged")
MISSED = Treatment()
DROPPED = Treatment(overlap="dropped", centre="dropped", normalised="dropped")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The habits of one toolkit on one data set."""

    name: str
    first_frame: Literal["excluded", "as written", "the truth"]
    absent: Treatment  # frames whose target the data set flags as not visible
    absent_by: Literal["flag", "cover"] = "flag"
    usable: Literal["annotated", "positive size", "positive corner and size"]
    # in place of the above for the two errors: the centre of the truth lies beyond (0, 0)
    centre_usable: Literal["as overlap", "positive centre"] = "as overlap"
    unusable: Treatment  # frames whose annotated box is not usable
    # the corner of both boxes is moved into the image, then what sticks out is cut off
    into_image: bool = False
    empty_prediction: Literal["as written", "previous box"] = "as written"
    negative_prediction: Literal["as written", "refused"] = "as written"
    corners: Literal["continuous", "last pixel"]  # the same overlap but for its rounding
    union_epsilon: float = 0.0
    normalised_by: Literal["size", "size + 1e-16", "size of at least a pixel"]
    success_steps: tuple[float, ...] = STEPS_21
    normalised_steps: tuple[float, ...] = HUNDREDTHS
    normalised_score: Literal["at 0.2", "mean of the curve"] = "at 0.2"
    mean_over: Literal["sequences", "frames"] = "sequences"


GOT10K_TOOLKIT_LASOT = Rules(  # also UAV123
    name="got10k-toolkit-lasot",
    first_frame="the truth",
    absent=JUDGED,
    usable="annotated",
    unusable=DROPPED,
    corners="continuous",
    union_epsilon=float(np.finfo(np.float64).eps),
    normalised_by="size of at least a pixel",
    normalised_steps=HALF_IN_FIFTY,
    normalised_score="mean of the curve",
)
GOT10K_TOOLKIT_OTB = replace(  # also NfS, TrackingNet, DTB70, TColor128
    GOT10K_TOOLKIT_LASOT, name="got10k-toolkit-otb", unusable=MISSED
)
GOT10K = replace(
    GOT10K_TOOLKIT_LASOT,
    name="got10k",
    first_frame="excluded",
    absent=DROPPED,
    absent_by="cover",
    into_image=True,
    success_steps=STEPS_101,
    mean_over="frames",
)
PYSOT_LASOT = Rules(
    name="pysot-lasot",
    first_frame="as written",
    absent=MISSED,
    usable="positive size",
    centre_usable="positive centre",
    unusable=Treatment(centre="hit", normalised="hit"),
    corners="continuous",
    normalised_by="size + 1e-16",
)
PYSOT_OTB = replace(PYSOT_LASOT, name="pysot-otb", absent=JUDGED)  # also UAV123, NfS
PYTRACKING_LASOT = Rules(
    name="pytracking-lasot",
    first_frame="the truth",
    absent=MISSED,
    usable="positive corner and size",
    unusable=Treatment(normalised="hit"),
    empty_prediction="previous box",
    negative_prediction="refused",
    corners="last pixel",
    normalised_by="size",
    success_steps=STEPS_21_IN_FOURS,
)
PYTRACKING_LASOT_EXTENSION = replace(  # also AVisT
    PYTRACKING_LASOT, name="pytracking-lasot-extension", absent=Treatment(normalised="hit")
)
PYTRACKING_OTB = replace(  # also NfS, TrackingNet
    PYTRACKING_LASOT, name="pytracking-otb", absent=JUDGED
)
PYTRACKING_UAV = replace(
    PYTRACKING_OTB, name="pytracking-uav", unusable=Treatment(centre="hit", normalised="hit")
)


def _ostrack(rules: Rules) -> Rules:
    name = rules.name.replace("pytracking", "ostrack")
    return replace(rules, name=name, usable="positive size")


OSTRACK_LASOT = _ostrack(PYTRACKING_LASOT)
OSTRACK_LASOT_EXTENSION = _ostrack(PYTRACKING_LASOT_EXTENSION)
OSTRACK_OTB = _ostrack(PYTRACKING_OTB)  # also NfS, TrackingNet, TNL2K, ITB
OSTRACK_UAV = _ostrack(PYTRACKING_UAV)

_ALL = (
    GOT10K,
    GOT10K_TOOLKIT_LASOT,
    GOT10K_TOOLKIT_OTB,
    PYSOT_LASOT,
    PYSOT_OTB,
    PYTRACKING_LASOT,
    PYTRACKING_LASOT_EXTENSION,
    PYTRACKING_OTB,
    PYTRACKING_UAV,
    OSTRACK_LASOT,
    OSTRACK_LASOT_EXTENSION,
    OSTRACK_OTB,
    OSTRACK_UAV,
)
RULES: Mapping[str, Rules] = MappingProxyType({rules.name: rules for rules in _ALL})


def rules_named(name: str) -> Rules:
    """The rules called ``name``."""
    if name not in RULES:
        raise ParetrackError(f"no accuracy rules named {name!r}; choose one of {', '.join(RULES)}")
    return RULES[name]
