"""A trial in a worker: from rung to rung of one recovery; what was reached is on record."""

import copy
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from search_spaces import Geometry, ParetrackError, TrackerNetwork, load
from workers import _kept_pairs, datasets
from workers.candidate import Candidate
from workers.checkpoints import load_state, load_tracker, save_state
from workers.evaluation import INHERITED, sequences
from workers.judge import pair_accuracy
from workers.machine import use_threads
from workers.pairs import Pairs
from workers.recovery import RECOVERIES
from workers.training import Recipe, Saving
from workers.tuning.ranges import with_values
from workers.tuning.records import (
    Rung,
    Takeover,
    TrialRecord,
    reached,
    read_end,
    read_record,
    trial_folder,
    write_record,
)
from workers.tuning.request import START, Tuning, rungs

_STATE, _DONOR = "recovery.state", "donor"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all trials share, opened once in a process."""

    tuning: Tuning
    start: TrackerNetwork  # cut and refitted, not trained
    teacher: TrackerNetwork
    geometry: Geometry
    learnt_from: list[datasets.Sequence]
    judged_on: list[Pairs]


def opened(tuning: Tuning) -> Bench:
    """The cut and refitted network that every trial begins with, and the data."""
    use_threads(tuning.threads)
    candidate, data = tuning.candidate, tuning.candidate.data
    geometry = load(candidate.architecture.family).geometry(candidate.architecture)
    judged = _kept_pairs.shown(sequences(data, data.judged_on, data.judged_count))
    return Bench(
        tuning=tuning,
        start=load_tracker(tuning.folder / START / INHERITED)[1],
        teacher=load_tracker(candidate.teacher)[1],
        geometry=geometry,
        learnt_from=sequences(data, data.train, data.train_count),
        judged_on=_kept_pairs.to_judge_on(judged, geometry),
    )


def recipe_of(candidate: Candidate, values: Mapping[str, Any]) -> Recipe:
    """How a trial with these hyper-parameters trains."""
    assert candidate.recipe is not None
    return replace(with_values(candidate.recipe, values), seed=candidate.seed)


class Trial:
    """One recipe on the bench. ``values`` beat those on record: PBT has changed them."""

    def __init__(self, bench: Bench, number: int, values: Mapping[str, Any]) -> None:
        self._bench = bench
        self._folder = trial_folder(bench.tuning.folder, number)
        self._values = dict(values)
        self.record = read_record(bench.tuning.folder, number, values)
        self._ended = read_end(bench.tuning.folder, number) is not None
        # Said again to a Tune that begins anew. A population only has to know where we stand.
        known = self.record.rungs
        self._known = list(known[-1:] if bench.tuning.scheduler == "pbt" else known)

    @property
    def done(self) -> bool:
        over = self._ended or self.record.failed is not None
        return not self._known and (over or self.record.step >= self._steps)

    def advance(self) -> Rung | None:
        """The next rung: from the record where it was reached before. None: the recipe fails."""
        if self._known:
            return self._known.pop(0)
        if not self.done:
            try:
                self._train()
            except datasets.DatasetError:
                raise  # nothing that the recipe could help
            except ParetrackError as error:
                self.record = replace(self.record, failed=str(error))
            write_record(self._bench.tuning.folder, self.record)
        return None if self.record.failed is not None else self.record.rungs[-1]

    def keep(self, folder: Path) -> None:
        """What another trial needs to go on from here."""
        path = self._state_path(self.record)
        if path.exists():
            shutil.copyfile(path, folder / _STATE)
        note = f"{self.record.number} {self.record.step}"
        (folder / _DONOR).write_text(note, encoding="utf-8")

    def take_over(self, folder: Path) -> None:
        """Go on with another trial's weights; with our own there is nothing to do."""
        number, step = map(int, (folder / _DONOR).read_text(encoding="utf-8").split())
        self._known = []
        if number == self.record.number:
            return
        taken = Takeover(step=step, trial=number)
        record = replace(
            self.record,
            values=self._values,
            step=step,
            takeovers=(*self.record.takeovers, taken),
        )
        state = load_state(folder / _STATE)
        recipe = recipe_of(self._bench.tuning.candidate, self._values)
        if recipe.ema is not None:
            state.setdefault("average", state["network"])
        # The state first, under a name of its own: until the record is written, it is nobody's.
        self._folder.mkdir(parents=True, exist_ok=True)
        save_state(self._state_path(record), {**state, "recipe": asdict(recipe)})
        self._state_path(self.record).unlink(missing_ok=True)
        self.record = record
        write_record(self._bench.tuning.folder, record)

    @property
    def _steps(self) -> int:
        return recipe_of(self._bench.tuning.candidate, {}).steps

    def _state_path(self, record: TrialRecord) -> Path:
        return self._folder / f"recovery-{len(record.takeovers)}.state"

    def _train(self) -> None:
        bench, candidate = self._bench, self._bench.tuning.candidate
        began = time.monotonic()
        until = next(step for step in rungs(bench.tuning) if step > self.record.step)
        recipe = recipe_of(candidate, self._values)
        network = copy.deepcopy(bench.start)
        curve = RECOVERIES[candidate.recovery](
            network,
            bench.teacher,
            bench.geometry,
            bench.learnt_from,
            recipe,
            device=bench.tuning.device,
            saving=Saving(
                path=self._state_path(self.record),
                identity=bench.tuning.identity,
                every=max(10, recipe.steps // 20),
            ),
            until=until,
        )
        found = pair_accuracy(network, bench.geometry, bench.judged_on, device=bench.tuning.device)
        if not (math.isfinite(found.loss) and math.isfinite(found.one_step_iou)):
            raise ParetrackError(
                f"the network's answers are no numbers after step {curve[-1].step}: lower the "
                f"learning rate ({recipe.learning_rate})"
            )
        rung = Rung(
            step=curve[-1].step,
            one_step_iou=found.one_step_iou,
            pair_loss=found.loss,
            seconds=time.monotonic() - began,
        )
        self.record = reached(replace(self.record, values=self._values), rung)
