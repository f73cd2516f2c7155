"""Tuning a recipe as a user asks for it: a request as plain data, and what came of it."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces._errors import ParetrackError
from service.document_file import read_object
from service.job import JobError, Where
from service.settings import Settings

if TYPE_CHECKING:
    from workers.candidate import Measurement
    from workers.training import Recipe
    from workers.tuning import Tuned, Tuning, Watch

LEAST_STEPS = 3  # of a recovery whose recipe is tuned: fewer have no rungs
REQUEST = "request.json"
# What may be another when a tuning goes on: it decides how long it takes, not what is found.
_FREE = ("out", "parallel", "seconds")


class TuningError(JobError):
    """A tuning that cannot be run as it was asked for."""


@dataclass(frozen=True, kw_only=True)
class Tunable:
    """Everything that decides what a tuning finds; shared by the command and by jobs."""

    teacher: str  # a shipped teacher's name, or a tracker's folder
    architecture: Mapping[str, Any] | None = None  # of the cut; None: the teacher's own
    kept_layers: tuple[int, ...] | None = None  # of the teacher's; None: all
    pruning: str = "magnitude"
    refit: int = 128
    recovery: str = "finetune"
    recipe: Mapping[str, Any] | None = None  # to start from; None: the teacher's
    steps: int | None = None  # None: those of the recipe
    data: Where = field(default_factory=Where)
    vary: Mapping[str, Any] | None = None  # see workers.tuning.ranges; None: the usual
    trials: int = 16
    scheduler: str = "asha"
    metric: str = "one_step_iou"
    device: str = "cpu"
    threads: int = 1
    parallel: int | None = None  # None: what fits
    seconds: float | None = None
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class TuneRequest(Tunable):
    """A tuning, and where its outcome is to lie."""

    out: str  # file for the recipe; the tuning's own files lie beside it

    @property
    def folder(self) -> Path:
        return Path(self.out).absolute().with_suffix(".tuning")


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Starting recipe and winner with one seed, by the tuning's metric."""

    seed: int
    start: float
    winner: float
    higher: bool  # is better

    @property
    def better(self) -> float:
        """What the winner is better by, whichever way the metric points."""
        return self.winner - self.start if self.higher else self.start - self.winner


@dataclass(frozen=True, kw_only=True)
class TunedRecipe:
    """What a tuning has come to. ``recipe`` is stored: the winner, if its gain holds."""

    recipe: "Recipe"
    tuning: "Tuning"
    found: "Tuned"
    gains: tuple[Gain, ...]  # with the seed that chose the winner, and with another; (): none

    @property
    def is_cut_short(self) -> bool:
        """Whether the time was over before the start and the best had come to their end."""
        reached = min(self.found.ranked[0].step, self.found.records[0].step)
        return reached < self.tuning.steps

    @property
    def holds(self) -> bool:
        """Whether every run of the winner is better than every run of the starting recipe.

        One seed's chose the winner, so that it alone proves nothing; less than what another seed
        alone can do is no gain.
        """
        if len(self.gains) < 2:
            return False
        least = min if self.gains[0].higher else max
        most = max if self.gains[0].higher else min
        worst, best = least(g.winner for g in self.gains), most(g.start for g in self.gains)
        return worst > best if self.gains[0].higher else worst < best


def tune_recipe(
    request: TuneRequest,
    settings: Settings,
    watch: "Watch | None" = None,
    hear: Callable[[str], None] = lambda said: None,
    turn: Callable[[], None] = lambda: None,
) -> TunedRecipe:
    """Tune, and store the recipe. Cut off, the same request goes on where it was. ``turn`` is
    called every second or so; what it raises ends the tuning."""
    from workers._files import write_text
    from workers.documents import document
    from workers.tuning import tune

    tuning = planned(request, settings)
    _claim(request, tuning)
    cpus = None if settings.ray_address or not request.parallel else request.parallel
    found = tune(
        tuning,
        settings.home,
        address=settings.ray_address,
        cpus=None if cpus is None else cpus * request.threads,
        watch=watch,
        hear=hear,
        turn=turn,
    )
    tuned = _judged(tuning, found)
    write_text(Path(request.out), document(tuned.recipe))
    return tuned


def planned(request: TuneRequest, settings: Settings) -> "Tuning":
    """The tuning that is asked for, or an error about the first thing wrong. Writes nothing."""
    from service.tuning_words import looked_up
    from workers import datasets
    from workers.checkpoints import load_tracker, weights_sha256
    from workers.evaluation import environment
    from workers.machine import usable_device
    from workers.tuning import Tuning
    from workers.tuning.ranges import drawn
    from workers.tuning.request import identity

    candidate, ranges = looked_up(request, settings)
    _check_out(Path(request.out))
    if settings.ray_address is None:
        _check_cpus(request)
        usable_device(request.device)
    assert candidate.recipe is not None
    sha256 = weights_sha256(load_tracker(candidate.teacher)[1].state_dict())
    version = datasets.version(candidate.data.dataset)
    # The workers' number of threads is part of what decides training, not that of this process.
    theirs = {**environment(request.device), "threads": str(request.threads)}
    return Tuning(
        candidate=candidate,
        values=tuple(drawn(candidate.recipe, ranges, request.trials, request.seed)),
        ranges=ranges,
        scheduler="pbt" if request.scheduler == "pbt" else "asha",
        metric=request.metric,
        folder=request.folder,
        identity=identity(candidate, sha256, version, theirs),
        device=request.device,
        threads=request.threads,
        parallel=request.parallel,
        seconds=request.seconds,
        seed=request.seed,
    )


def concluded(request: TuneRequest, settings: Settings) -> TunedRecipe:
    """What is known of a tuning that was cut off."""
    from workers.tuning import outcome

    tuning = planned(request, settings)
    return _judged(tuning, outcome(tuning))


def _check_cpus(request: Tunable) -> None:
    """A Ray of this machine would wait in vain for more than there are."""
    cpus, wanted = os.cpu_count() or 1, (request.parallel or 1) * request.threads
    if wanted > cpus:
        raise TuningError(
            f"{request.parallel or 1} trials at once of {request.threads} threads each need "
            f"{wanted} CPUs; this machine has {cpus}"
        )


def _check_out(out: Path) -> None:
    from workers.training import recipe_from_json

    if out.suffix != ".json":
        raise TuningError(f"{out}: a recipe is a .json file; name one such as {out}.json")
    if out.exists():
        try:
            recipe_from_json(read_object(out, "a recipe"))
        except ParetrackError as error:
            raise TuningError(
                f"{out} exists and is not a recipe that could be replaced ({error}); name another"
            ) from error


def _claim(request: TuneRequest, tuning: "Tuning") -> None:
    """The folder is this tuning's; one of another request is refused rather than mixed in."""
    from workers._files import write_text
    from workers.documents import plain

    told = {k: v for k, v in plain(asdict(request)).items() if k not in _FREE}
    told |= {"identity": tuning.identity}
    path = request.folder / REQUEST
    if not path.exists():
        try:
            request.folder.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(told, indent=1) + "\n")
        except OSError as error:
            raise TuningError(f"{request.folder} cannot be written: {error}") from error
        return
    found = read_object(path, "the request of a tuning")
    other = [name for name in told if found.get(name) != told[name]]
    if other:
        name = other[0]
        raise TuningError(
            f"{request.folder} holds a tuning with another {name} ({found.get(name)!r}, not "
            f"{told[name]!r}): say what it was started with, name another file, or remove it"
        )


def _judged(tuning: "Tuning", found: "Tuned") -> TunedRecipe:
    """The winner is stored if its gain holds; else the starting recipe is."""
    from workers.tuning.ranges import with_values

    start, winner = found.records[0], found.winner
    if start.failed is not None:
        raise TuningError(f"the starting recipe fails: {start.failed}; start from another one")
    gains: list[Gain] = []
    if winner is not None:
        seed = tuning.candidate.seed
        chosen = [getattr(r.rungs[-1], tuning.metric) for r in (start, winner)]
        gains.append(_gain(tuning, seed, *chosen))
        checks = [found.checks.get(r.number) for r in (start, winner)]
        again = [_figure(check, tuning.metric) for check in checks]
        if again[0] is not None and again[1] is not None:
            gains.append(_gain(tuning, seed + 1, again[0], again[1]))
    recipe = tuning.candidate.recipe
    assert recipe is not None
    tuned = TunedRecipe(recipe=recipe, tuning=tuning, found=found, gains=tuple(gains))
    if winner is None or not tuned.holds:
        return tuned
    return replace(tuned, recipe=with_values(recipe, winner.values))


def _gain(tuning: "Tuning", seed: int, start: float, winner: float) -> Gain:
    from workers.tuning.records import METRICS

    return Gain(seed=seed, start=start, winner=winner, higher=METRICS[tuning.metric] == "higher")


def _figure(measurement: "Measurement | None", metric: str) -> float | None:
    if measurement is None or measurement.recovered is None:
        return None
    recovered = measurement.recovered
    return recovered.one_step_iou if metric == "one_step_iou" else recovered.loss


# --- in words ----------------------------------------------------------------------------------

_LABELS = {"one_step_iou": "one-step IoU", "pair_loss": "pair loss"}


def outcome_text(tuned: TunedRecipe) -> str:
    """What came of a tuning, in words."""
    label = _LABELS[tuned.tuning.metric]
    if tuned.is_cut_short:
        return "The time was over before anything could be compared to the end."
    if not tuned.gains:
        return "Nothing tried is better than the starting recipe."
    told = " and ".join(f"{gain.better:+.4f} with seed {gain.seed}" for gain in tuned.gains)
    if len(tuned.gains) < 2:
        return f"Better {label} ({told}), but the comparison with another seed failed."
    seeds = f"{label} better by {told}{_ao_gain(tuned)}."
    if tuned.holds:
        return f"The gain holds: {seeds}"
    return f"No gain that holds: {seeds} That is within what another seed alone does."


def _ao_gain(tuned: TunedRecipe) -> str:
    """What the gain is worth in what users get."""
    found = [m.accuracy for m in tuned.found.checks.values()]
    start, winner = found[0], found[-1]
    if start is None or winner is None:
        return ""
    return f", AO by {winner.average_overlap.value - start.average_overlap.value:+.3f}"
