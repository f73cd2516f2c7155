"""The training loop: pairs in, a better network out. Teachers and recovery both go through it.

A run is a function of its recipe: the same seed gives the same weights on one machine, and a run
that was killed and resumed ends with the weights of one that was not.
"""

import copy
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import torch
from torch import Tensor, nn

from search_spaces import (
    Architecture,
    Geometry,
    ParetrackError,
    TrackerNetwork,
    build,
    value_from_json,
)
from workers.checkpoints import load_state, save_state
from workers.datasets import Sequence
from workers.losses import Loss, LossWeights, tracking_loss
from workers.pairs import Augmentation, Pairs, PairSource
from workers.predictor import network_input


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained. Everything that decides the outcome is here."""

    steps: int
    batch: int = 32
    learning_rate: float = 1e-3
    backbone_rate: float = 1.0  # the backbone's share of the learning rate; published: 0.1
    weight_decay: float = 1e-4
    warmup: float = 0.03  # share of the steps
    schedule: Literal["cosine", "drop"] = "cosine"
    drop_at: float = 0.8  # schedule "drop": where the rate falls to a tenth, as share of the steps
    clip: float | None = 1.0  # norm of the gradient; published: 0.1
    ema: float | None = None  # decay of the moving average that is kept instead of the last weights
    mixed_precision: bool = False  # on a GPU
    drop_path: float = 0.0  # stochastic depth, rising over the blocks; published (OSTrack): 0.1
    # Shares of the steps: every token is kept until the first; at the second, after a cosine, as
    # few as the architecture says. Published (OSTrack): 20/300 and 100/300. 0: from the start.
    eliminate_from: float = 0.0
    eliminate_fully_at: float = 0.0
    weights: LossWeights = field(default_factory=LossWeights)
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise ParetrackError(f"a recipe's {name} is at least 1, got {getattr(self, name)}")
        wanted = {
            "learning_rate": (self.learning_rate > 0, "over 0"),
            "warmup": (0 <= self.warmup < 1, "from 0 to less than 1"),
            "ema": (self.ema is None or 0 < self.ema < 1, "between 0 and 1, or nothing"),
            "drop_path": (0 <= self.drop_path < 1, "from 0 to less than 1"),
            "eliminate_fully_at": (0 <= self.eliminate_fully_at <= 1, "from 0 to 1"),
            "eliminate_from": (
                0 <= self.eliminate_from <= self.eliminate_fully_at,
                f"from 0 to eliminate_fully_at ({self.eliminate_fully_at})",
            ),
            "clip": (self.clip is None or self.clip > 0, "over 0, or nothing"),
            "seed": (0 <= self.seed < 2**31, f"from 0 to {2**31 - 1}"),
        }
        for name, (right, expected) in wanted.items():
            if not right:
                raise ParetrackError(f"a recipe's {name} is {expected}, got {getattr(self, name)}")


@dataclass(frozen=True)
class Moment:
    """The state of training after a step, for bars and curves.

    Speed and time left are those of training alone: validating, reporting, saving come on top.
    """

    step: int
    steps: int
    loss: float
    terms: dict[str, float]
    rate: float
    pairs_per_second: float
    seconds_left: float
    validation: dict[str, float] = field(default_factory=dict)


Report = Callable[[Moment], None]
Validate = Callable[[TrackerNetwork], dict[str, float]]


class Softens(Protocol):
    """What a network offers that can be trained softer than it is: milder at first, or at random.

    See ``OSTrack.softened``. It leaves no trace in weights, and none after its context.
    """

    def softened(self, *, elimination: float, drop_path: float) -> AbstractContextManager[None]: ...


@dataclass(frozen=True, kw_only=True)
class Saving:
    """Where a run's state lies and how often it is written.

    ``identity`` tells runs of one recipe apart: network, start, data. A state of another identity
    is refused rather than mixed in.
    """

    path: Path
    identity: str = ""
    every: int = 200


def fresh_network(architecture: Architecture, seed: int) -> TrackerNetwork:
    """Random weights that the seed decides."""
    torch.manual_seed(seed)
    return build(architecture)


def train(
    network: TrackerNetwork,
    geometry: Geometry,
    sequences: list[Sequence],
    recipe: Recipe,
    *,
    device: torch.device | str = "cpu",
    report: Report | None = None,
    report_every: int = 10,
    validate: Validate | None = None,
    validate_every: int = 500,
    saving: Saving | None = None,
    until: int | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[Moment]:
    """Train ``network`` in place; the curve. Goes on where ``saving`` says that a run was left.

    ``until``: pause after so many steps of the recipe, whose schedule stays that of the whole.
    """
    last = recipe.steps if until is None else min(until, recipe.steps)
    run = _Run(network, recipe, torch.device(device))
    curve = run.resume(saving) if saving and saving.path.exists() else []
    source = PairSource(sequences, geometry, recipe.augmentation, recipe.seed)
    batches = source.batches(recipe.batch, first=run.step)
    window = _Window(recipe)
    while run.step < last:
        began = clock()
        loss = run.advance(next(batches), geometry)
        window.add(loss, clock() - began)
        judged = validate is not None and (run.step % validate_every == 0 or run.step == last)
        if judged or run.step % report_every == 0 or run.step == last:
            validation = validate(run.averaged()) if validate and judged else {}
            curve.append(window.moment(run.step, run.rate(), validation))
            if report:
                report(curve[-1])
        if saving and (run.step % saving.every == 0 or run.step == last):
            run.save(saving, curve)
    batches.close()
    network.load_state_dict(run.averaged().state_dict())
    network.eval()
    return curve


class _Run:
    """What changes while training: weights, optimizer, average, number of the step."""

    def __init__(self, network: TrackerNetwork, recipe: Recipe, device: torch.device) -> None:
        torch.manual_seed(recipe.seed)
        self.step = 0
        self._network = network.to(device).train()
        self._recipe = recipe
        self._device = device
        self._optimizer = torch.optim.AdamW(
            _parameter_groups(network, recipe), lr=recipe.learning_rate
        )
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._amp)
        self._average = _Average(network, recipe.ema) if recipe.ema else None
        with _softened(network, recipe, 0):
            pass  # what the network cannot do shows before data is read

    @property
    def _amp(self) -> bool:
        return self._recipe.mixed_precision and self._device.type == "cuda"

    def rate(self) -> float:
        return learning_rate(self.step, self._recipe)

    def averaged(self) -> TrackerNetwork:
        return self._average.network if self._average else self._network

    def advance(self, pairs: Pairs, geometry: Geometry) -> Loss:
        for group in self._optimizer.param_groups:
            group["lr"] = self.rate() * group["share"]
        # The random numbers of a step do not depend on how the run came to it.
        torch.manual_seed(self._recipe.seed * 1_000_003 + self.step)
        self._network.train()
        with torch.autocast(self._device.type, enabled=self._amp):
            loss = self._loss(pairs, geometry)
        if not torch.isfinite(loss.total):
            raise ParetrackError(
                f"the loss became {float(loss.total.detach())} at step {self.step}: "
                f"lower the learning rate ({self._recipe.learning_rate}) or clip gradients harder"
            )
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss.total).backward()  # type: ignore[no-untyped-call]
        if self._recipe.clip is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self._network.parameters(), self._recipe.clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self.step += 1
        if self._average:
            self._average.follow(self._network, self.step)
        return loss

    def _loss(self, pairs: Pairs, geometry: Geometry) -> Loss:
        templates = network_input(pairs.templates, geometry).to(self._device)
        searches = network_input(pairs.searches, geometry).to(self._device)
        with _softened(self._network, self._recipe, self.step):
            maps = self._network(templates, searches)
        boxes = torch.from_numpy(pairs.boxes).to(self._device)
        same = torch.from_numpy(pairs.same).to(self._device)
        full = tuple(part.float() for part in maps)
        return tracking_loss(
            self._network, full, boxes, same, geometry.search_size, self._recipe.weights
        )

    def save(self, saving: Saving, curve: list[Moment]) -> None:
        optimizer = self._optimizer.state_dict()["state"]
        state: dict[str, Any] = {
            "step": self.step,
            "identity": saving.identity,
            "recipe": asdict(self._recipe),
            "network": self._network.state_dict(),
            "optimizer": {str(index): entry for index, entry in optimizer.items()},
            "scaler": self._scaler.state_dict(),
            "curve": [asdict(moment) for moment in curve],
        }
        if self._average:
            state["average"] = self._average.network.state_dict()
        save_state(saving.path, state)

    def resume(self, saving: Saving) -> list[Moment]:
        state = load_state(saving.path)
        # Read as a recipe, a state from before one of its fields was known has the field's default.
        stored = recipe_from_json(state.get("recipe"))
        wanted = {
            "recipe": (stored, self._recipe),
            "identity": (state.get("identity"), saving.identity),
        }
        for name, (found, mine) in wanted.items():
            if found != mine:
                raise ParetrackError(
                    f"{saving.path} holds a run with another {name}: {found!r}, not "
                    f"{mine!r}; say what it was started with, or choose another folder"
                )
        self._network.load_state_dict(state["network"])
        optimizer = self._optimizer.state_dict()
        optimizer["state"] = {int(index): entry for index, entry in state["optimizer"].items()}
        self._optimizer.load_state_dict(optimizer)
        self._scaler.load_state_dict(state["scaler"])
        if self._average:
            self._average.network.load_state_dict(state["average"])
        self.step = int(state["step"])
        return [Moment(**moment) for moment in state["curve"]]


class _Average:
    """An exponential moving average of weights and batch-norm statistics."""

    def __init__(self, network: TrackerNetwork, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def follow(self, network: TrackerNetwork, step: int) -> None:
        # Early on a long average would still be mostly the random start.
        decay = min(self._decay, (1 + step) / (10 + step))
        for kept, new in zip(
            self.network.state_dict().values(), network.state_dict().values(), strict=True
        ):
            if kept.dtype.is_floating_point:
                kept.lerp_(new, 1 - decay)
            else:
                kept.copy_(new)


class _Window:
    """Means since the last report, and how fast it has gone since training began or went on."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._steps, self._seconds = 0, 0.0
        self._losses: list[Loss] = []

    def add(self, loss: Loss, seconds: float) -> None:
        self._steps += 1
        self._seconds += seconds
        terms = {name: term.detach() for name, term in loss.terms.items()}
        self._losses.append(Loss(loss.total.detach(), terms))

    def moment(self, step: int, rate: float, validation: dict[str, float]) -> Moment:
        losses, self._losses = self._losses, []
        per_step = self._seconds / self._steps
        return Moment(
            step=step,
            steps=self._recipe.steps,
            loss=_mean([loss.total for loss in losses]),
            terms={name: _mean([loss.terms[name] for loss in losses]) for name in losses[0].terms},
            rate=rate,
            pairs_per_second=self._recipe.batch / max(per_step, 1e-9),
            seconds_left=per_step * (self._recipe.steps - step),
            validation=validation,
        )


def learning_rate(step: int, recipe: Recipe) -> float:
    """The rate of a step: a linear warm-up, then a cosine to zero or one drop to a tenth."""
    warmup = max(1, round(recipe.steps * recipe.warmup))
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    if recipe.schedule == "drop":
        return recipe.learning_rate * (0.1 if step >= recipe.steps * recipe.drop_at else 1.0)
    progress = (step - warmup) / max(recipe.steps - warmup, 1)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def elimination_share(step: int, recipe: Recipe) -> float:
    """The way gone, by a cosine, from keeping every token (0) to the architecture's share (1)."""
    begin, end = recipe.steps * recipe.eliminate_from, recipe.steps * recipe.eliminate_fully_at
    if step >= end:
        return 1.0
    progress = max(step - begin, 0) / (end - begin)
    return 0.5 * (1 - math.cos(math.pi * progress))


def _softened(network: TrackerNetwork, recipe: Recipe, step: int) -> AbstractContextManager[None]:
    elimination = elimination_share(step, recipe)
    if elimination == 1 and recipe.drop_path == 0:
        return nullcontext()
    if not hasattr(network, "softened"):
        family = type(network).__module__.rpartition(".")[2]
        raise ParetrackError(
            f"{family} trains neither with drop_path ({recipe.drop_path}) nor with a schedule of "
            f"elimination (eliminate_fully_at {recipe.eliminate_fully_at}): set both to 0 in the "
            "recipe, or train a family that has them"
        )
    return cast(Softens, network).softened(elimination=elimination, drop_path=recipe.drop_path)


def _parameter_groups(network: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Backbone and rest have their own rates; norms and biases do not decay."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            key = (name.startswith("backbone."), parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "share": recipe.backbone_rate if in_backbone else 1.0,
            "weight_decay": recipe.weight_decay if decays else 0.0,
        }
        for (in_backbone, decays), parameters in groups.items()
    ]


def recipe_from_json(data: Any) -> Recipe:
    """The recipe that ``asdict`` wrote; an error names the field that is not as it should be."""
    return value_from_json(Recipe, data)


def _mean(values: list[Tensor]) -> float:
    return float(torch.stack(values).mean())
