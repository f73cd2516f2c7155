"""Tuning how one architecture is recovered: Ray Tune's ASHA or PBT over a recipe's numbers.

A child process drives Ray, as it does for the pool (docs/decisions/0011): neither a dead Ray nor a
dead worker takes the caller with it, and a tuning that was cut off goes on from its records.
"""

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from search_spaces import ParetrackError
from workers.candidate import Measurement, read_measurement
from workers.on_ray import LocalRay
from workers.on_ray._messages import Broken
from workers.on_ray._process import DriverProcess, environment, short_folder
from workers.pool import PoolBroken
from workers.tuning._messages import (
    Beat,
    Ended,
    Finished,
    FromDriver,
    Happening,
    Reached,
    Refused,
    Setup,
    Stage,
)
from workers.tuning.records import TrialRecord, forget_weights, ranked, read_all, read_end
from workers.tuning.request import CHECKS, SCHEDULERS, START, Tuning, winner

__all__ = ["SCHEDULERS", "Ended", "Happening", "Reached", "Stage", "Tuned", "Tuning", "tune"]

START_WITHIN = 90.0  # seconds until a Ray that does not come up is given up
TIMES = 3  # so many Rays may die one after the other without a step forward
OBJECT_STORE_MB = 100
TURN = 1.0  # seconds between two calls of whoever may want the tuning to end
Watch = Callable[[Happening], None]


class _NeverThereError(PoolBroken):
    """A Ray that did not come up: another try would find the same."""


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What a tuning has found out."""

    records: tuple[TrialRecord, ...]  # by number; 0 is the starting recipe
    ranked: tuple[TrialRecord, ...]  # the best first, without those that failed
    winner: TrialRecord | None  # better than the starting recipe at the end
    inherited: Measurement  # before any training
    checks: dict[int, Measurement]  # in full with another seed: the start and the winner


def tune(
    tuning: Tuning,
    home: Path,
    *,
    address: str | None = None,
    cpus: int | None = None,
    silence: float = 30.0,
    watch: Watch | None = None,
    hear: Callable[[str], None] = lambda said: None,
    turn: Callable[[], None] = lambda: None,
) -> Tuned:
    """Tune on the Ray at ``address``; without one, on a Ray of our own with so many CPUs.

    ``turn`` is called every second or so; what it raises ends the tuning. Called again for the same
    tuning after it was cut off, it goes on where it was. A Ray that dies is replaced by another
    one; PoolBroken, where that does not help.
    """
    died, before = 0, -1
    while not _over(tuning):
        try:
            _drive(tuning, home, address, cpus, _Ears(watch or _nobody, turn, silence))
            break
        except _NeverThereError:
            raise
        except PoolBroken as error:
            now = sum(len(r.rungs) for r in read_all(tuning.folder, tuning.values))
            died, before = (0 if now > before else died) + 1, now
            if died >= TIMES:
                raise
            hear(f"{error}; going on with another one")
    for number in range(len(tuning.values)):
        if read_end(tuning.folder, number) is not None:
            forget_weights(tuning.folder, number)
    return outcome(tuning)


def outcome(tuning: Tuning) -> Tuned:
    """What the records of a tuning say that has come to its end."""
    from workers.tuning._story import judged, to_check

    records = read_all(tuning.folder, tuning.values)
    best = ranked(records, tuning.metric)
    if not best:
        reasons = {record.failed for record in records if record.failed}
        told = "; ".join(sorted(reasons)) or "none had the time for it"
        raise ParetrackError(f"no trial has come to a rung: {told}")
    won = winner(records, tuning)
    compared = (records[0], won) if won else ()
    judgements = {
        r.number: judged(_check_folder(tuning, r), to_check(tuning, r.values)) for r in compared
    }
    checks = {number: found for number, found in judgements.items() if found is not None}
    start = tuning.folder / START / "measurement.json"
    return Tuned(
        records=tuple(records),
        ranked=tuple(best),
        winner=won,
        inherited=read_measurement(start, tuning.candidate),
        checks=checks,
    )


def _over(tuning: Tuning) -> bool:
    """Whether everything that was to be found is on record."""
    numbers = range(len(tuning.values))
    if any(read_end(tuning.folder, number) is None for number in numbers):
        return False
    won = winner(read_all(tuning.folder, tuning.values), tuning)
    return won is None or len(outcome(tuning).checks) == 2


def _check_folder(tuning: Tuning, record: TrialRecord) -> Path:
    return tuning.folder / CHECKS / str(record.number)


@dataclass(frozen=True)
class _Ears:
    """Who is told, who is asked meanwhile, and after how many seconds of silence Ray is dead."""

    watch: Watch
    turn: Callable[[], None]
    silence: float


def _drive(tuning: Tuning, home: Path, address: str | None, cpus: int | None, ears: _Ears) -> None:
    """One driver process from its beginning to its end."""
    folder = Path(tempfile.mkdtemp(prefix="pt-", dir=short_folder()))
    theirs = environment(home, None if address else folder, ears.silence)
    heard: SimpleQueue[FromDriver | None] = SimpleQueue()
    driver = DriverProcess(
        "workers.tuning._driver", {**theirs, **_TUNE}, folder / "driver.log", heard.put
    )
    try:
        driver.send(
            Setup(
                address=address,
                local=LocalRay(cpus=cpus, object_store_mb=OBJECT_STORE_MB),
                tuning=tuning,
                beat_every=min(2.0, ears.silence / 5),
                folder=folder,
            )
        )
        _listen(heard, driver, ears)
    finally:
        driver.close()
        shutil.rmtree(folder, ignore_errors=True)


def _listen(heard: "SimpleQueue[FromDriver | None]", driver: DriverProcess, ears: _Ears) -> None:
    patience = START_WITHIN
    broken: type[PoolBroken] = _NeverThereError
    while True:
        try:
            message = _next(heard, patience, ears.turn)
        except Empty:
            said = driver.last_words()
            raise broken(f"Ray Tune: no answer for {patience:.0f} s: {said}") from None
        match message:
            case Finished():
                return
            case Refused(reason):
                raise ParetrackError(f"nothing to tune: {reason}")
            case Broken(reason):
                raise broken(f"Ray Tune: {reason}")
            case None:
                raise broken(f"Ray Tune: its driver process ended: {driver.last_words()}")
            case Beat():
                patience, broken = ears.silence, PoolBroken
            case Stage() | Reached() | Ended():
                ears.watch(message)


def _next(
    heard: "SimpleQueue[FromDriver | None]", patience: float, turn: Callable[[], None]
) -> FromDriver | None:
    """What is said next; Empty after ``patience`` seconds without a word, those not counted in
    which this process itself slept: what was said meanwhile is still unread then."""
    waited = 0.0
    while True:
        turn()
        asked = time.monotonic()
        try:
            return heard.get(timeout=TURN)
        except Empty:
            waited += min(time.monotonic() - asked, 2 * TURN)
            if waited >= patience:
                raise


def _nobody(happening: Happening) -> None:
    """Nobody watches."""


# Tune would write its own logs for every trial, and let workers live in the folders of trials.
_TUNE = {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "RAY_CHDIR_TO_TRIAL_DIR": "0"}
