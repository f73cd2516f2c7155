"""Where a recovery that was killed is found again, and by whom: only by the same recovery.

The state's name holds a checksum of everything that decides the training, the machine and the
number of threads included, so that a resumed recovery ends with the weights of an unbroken one.
"""

import hashlib
from dataclasses import asdict
from pathlib import Path

from search_spaces import TrackerNetwork, architecture_to_json
from workers.candidate import Measurement
from workers.checkpoints import weights_sha256
from workers.datasets import Sequence, annotated_sha256
from workers.documents import document
from workers.training import Recipe, Saving

# The second is what a process that was killed while it saved leaves behind.
_STATES = ("recovery-*.state", ".recovery-*.state.*.tmp")


def saving(
    out: Path,
    measurement: Measurement,
    network: TrackerNetwork,
    recipe: Recipe,
    learnt_from: list[Sequence],
) -> Saving:
    """Where and how often the recovery of ``network``, not trained yet, is saved below ``out``."""
    candidate = measurement.candidate
    told = {
        "architecture": architecture_to_json(candidate.architecture),
        "weights": weights_sha256(network.state_dict()),
        "teacher": measurement.teacher_sha256,
        "recovery": candidate.recovery,
        "recipe": asdict(recipe),
        "dataset": (candidate.data.dataset, measurement.dataset_version),
        "sequences": annotated_sha256(learnt_from),
        "environment": measurement.environment,
    }
    identity = hashlib.sha256(document(told).encode()).hexdigest()
    path = out / f"recovery-{identity[:16]}.state"
    return Saving(path=path, identity=identity, every=_often(recipe.steps))


def forget(out: Path) -> None:
    """Remove every state below ``out``: the candidate that it was made for is judged."""
    for pattern in _STATES:
        for path in out.glob(pattern):
            path.unlink(missing_ok=True)


def _often(steps: int) -> int:
    """Some ten times, and with the reports, which come every ten steps: the curve has no seam."""
    return 1 if steps < 20 else min(200, max(10, steps // 100 * 10))
