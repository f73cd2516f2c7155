"""A job made ready: every name in it looked up, every document read. Values only, no process.

What a search needs to know of its job is asked here, so that the search itself only decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces import Sampled, Space, largest, sample, size, smallest
from service import early_stopping, samplers
from service._coordinates import minimised, perfect_hypervolume
from service._points import OutsideSpaceError
from service.job import Job, JobError, Where, blamed
from service.job_words import (
    at_rungs_of,
    check_words,
    limits_of,
    objectives_of,
    probes_of,
    recipe_of,
    space_of,
)
from service.settings import Settings
from workers.metrics import Limit, Metric, metric, value

if TYPE_CHECKING:
    from workers.candidate import Candidate, Data
    from workers.evaluation import Until
    from workers.pool import Assignment
    from workers.training import Recipe

# FLOPs are not latency: worth a flag where MACs fell by more, while the latency fell by less.
GATES = -1  # in the place of a rung, where nothing is to be trained
MACS_FELL, LATENCY_FELL = 0.20, 0.05


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A job whose names exist and whose limits do not contradict each other."""

    job: Job
    teacher: Path
    teacher_sha256: str
    dataset_version: str
    space: Space
    objectives: tuple[Metric, ...]  # accuracy first
    rung_accuracy: Metric
    limits: tuple[Limit, ...]
    recipe: "Recipe | None"
    data: "Data"
    probes: tuple[str, ...]
    folder: str  # of the job's files: a path, or a URL that all workers can open

    # --- what is tried ------------------------------------------------------------------------

    @property
    def first(self) -> list[Mapping[str, Any]]:
        """The parameters that the job names, to be tried before all others."""
        for number, said in enumerate(self.job.first):
            if isinstance(said, str):  # who has the earlier job's record has put them there
                raise JobError(
                    f"first[{number}]: {said!r} names a trial that was not looked up; give its "
                    "parameters",
                    f"/first/{number}",
                )
        return [said for said in self.job.first if not isinstance(said, str)]

    def sampled(self, trial: Any) -> Sampled:
        """The point of the space that a trial's parameters mean."""
        return sample(self.space, trial)

    def candidate(self, sampled: Sampled) -> "Candidate":
        from workers.candidate import Candidate

        cut = sampled.architecture != self.space.whole
        return Candidate(
            teacher=self.teacher,
            architecture=sampled.architecture,
            kept_layers=sampled.kept_layers,
            pruning=self.job.pruning,
            refit=self.job.refit if cut else 0,
            recovery=self.job.recovery,
            recipe=self.recipe,
            data=self.data,
            probes=self.probes,
            limits=self.limits,
            seed=self.job.seed,
        )

    def the_teacher(self) -> "Candidate":
        """The teacher as it is: nothing cut, nothing trained, nothing forbidden."""
        whole = Sampled(self.space.whole, None)
        return replace(self.candidate(whole), recipe=None, limits=())

    def the_smallest(self) -> "Candidate":
        """What bounds the costs that this space can reach from below."""
        from workers.cost import cost_of

        least = smallest(self.space, lambda a: cost_of(a).macs_frame)
        return replace(self.candidate(least), limits=())

    def digest(self, candidate: "Candidate") -> str:
        from workers.candidate import digest

        return digest(candidate, self.teacher_sha256, self.dataset_version)

    def assignment(
        self, ticket: str, number: int, candidate: "Candidate", rung: int
    ) -> "Assignment":
        return self.errand(ticket, f"trials/{number}", candidate, self.until(rung))

    def errand(
        self, ticket: str, folder: str, candidate: "Candidate", until: "Until"
    ) -> "Assignment":
        from workers.pool import Assignment

        where = f"{self.folder}/{folder}"
        return Assignment(ticket=ticket, candidate=candidate, folder=where, until=until)

    def until(self, rung: int) -> "Until":
        """The step of the recovery that a rung lies at; None: the end; "gates": before it."""
        if rung == GATES:
            return "gates"
        return self.job.rungs[rung] if rung < len(self.job.rungs) else None

    # --- what came back -----------------------------------------------------------------------

    def values(self, measurement: Mapping[str, Any], *, at_rung: bool = False) -> dict[str, float]:
        """The objectives by name; at a rung with the accuracy that is known there."""
        accuracy = self.rung_accuracy if at_rung else self.objectives[0]
        wanted = (accuracy, *self.objectives[1:])
        found = {m.name: value(measurement, m) for m in wanted}
        missing = [name for name, figure in found.items() if figure is None]
        if missing:
            raise JobError(f"a measurement without {', '.join(missing)}: nothing measures it")
        return {name: figure for name, figure in found.items() if figure is not None}

    def says_all(self, earlier: Mapping[str, Any], here: Mapping[str, Any]) -> bool:
        """Whether an earlier measurement says all that this job asks for, and of such a machine
        as the one of a measurement that was made now."""
        asked = [*self.objectives, *(metric(limit.metric) for limit in self.limits)]
        tracked = earlier.get("state") == "COMPLETE"
        same = earlier.get("environment") == here.get("environment")
        return tracked and same and all(value(earlier, m) is not None for m in asked)

    @property
    def remeasures(self) -> bool:
        """Whether what is known of a candidate is to be completed by latencies of tonight."""
        return self.job.remeasure and bool(self.probes)

    def minimised(self, values: Mapping[str, float]) -> tuple[float, ...]:
        """The objectives as points whose every coordinate is better when it is smaller."""
        return tuple(minimised(metric(n), v) for n, v in values.items())

    def point(self, values: Sequence[float]) -> tuple[float, ...]:
        """The same of the values that a trial has in the record."""
        named = zip(self.objectives, values, strict=True)
        return self.minimised({m.name: v for m, v in named})

    def guessed(self, error: float | None, measurement: Mapping[str, Any]) -> list[float | None]:
        """The objectives of a trial whose accuracy is only guessed, as something to minimise."""
        higher = self.objectives[0].better == "higher"
        accuracy = -error if error is not None and higher else error
        return [accuracy, *list(self.values(measurement, at_rung=True).values())[1:]]

    def constraints(self, measurement: Mapping[str, Any]) -> dict[str, float]:
        """How far each hard limit is broken, where it was measured; 0 or less: it holds."""
        figures = {str(x): value(measurement, metric(x.metric)) for x in self.limits if x.hard}
        hard = {str(x): x for x in self.limits if x.hard}
        return {n: hard[n].violation(f) for n, f in figures.items() if f is not None}

    def figures(self, measurement: Mapping[str, Any]) -> dict[str, float]:
        """What a reader of the study wants to see of every trial, beside its objectives."""
        names = ["one_step_iou", "macs_frame", "parameters", "peak_memory", self.job.accuracy]
        names += [f"{part}_ms.{probe}" for probe in self.probes for part in ("step", "track")]
        asked = [*names, *self.job.costs, *(limit.metric for limit in self.limits)]
        found = {name: value(measurement, metric(name)) for name in dict.fromkeys(asked)}
        return {name: figure for name, figure in found.items() if figure is not None}

    def interval(self, measurement: Mapping[str, Any]) -> dict[str, list[float]]:
        """Between what the accuracy lies with 95 % confidence, where it comes from sequences."""
        accuracy = self.objectives[0]
        found: Any = measurement
        for step in accuracy.path[:-1]:
            found = (found or {}).get(step)
        known = isinstance(found, Mapping) and {"low", "high"} <= found.keys()
        return {f"{accuracy.name}_interval": [found["low"], found["high"]]} if known else {}

    def broken(self, measurement: Mapping[str, Any]) -> str:
        """The first limit on a cost that a measurement breaks, in words; or ''."""
        for limit in self.limits:
            asked = metric(limit.metric)
            figure = value(measurement, asked)
            costs = asked.path[0] in ("cost", "latency")
            if costs and limit.hard and figure is not None and limit.violation(figure) > 0:
                return f"{limit.metric} is {figure:,.6g}, the limit {limit}"
        return ""

    def flag(self, measurement: Mapping[str, Any], teacher: Mapping[str, Any]) -> str:
        """What a reader should be warned of, or ''."""
        macs = _share_gone(metric("macs_frame"), measurement, teacher)
        for probe in self.probes:
            latency = _share_gone(metric(f"step_ms.{probe}"), measurement, teacher)
            if macs is None or latency is None:
                continue
            if macs > MACS_FELL and latency < LATENCY_FELL:
                return f"{macs:.0%} fewer MACs but {latency:.0%} less latency ({probe})"
        return ""

    def reference(self, teacher: Mapping[str, Any]) -> tuple[float, ...]:
        """Where hypervolume is counted from: no accuracy at all, at the teacher's costs."""
        whole = self.values(teacher)
        return tuple(
            0.0 if m.better == "higher" else cost
            for m, cost in zip(self.objectives, whole.values(), strict=True)
        )

    def everything(self, teacher: Mapping[str, Any]) -> float:
        """The hypervolume of a perfect accuracy at no cost, in which a front's is expressed."""
        return perfect_hypervolume(self.objectives, self.reference(teacher))

    # --- who decides --------------------------------------------------------------------------

    def view(self, done: int) -> samplers.View:
        sampler = samplers.make(
            self.job.sampler, seed=self.drawn_by, space_size=size(self.space), done=done
        )
        return samplers.View(
            sampler,
            self.directions,
            [m.name for m in self.objectives],
            constraints=[str(limit) for limit in self.limits if limit.hard],
            seed=self.drawn_by,
        )

    @property
    def drawn_by(self) -> int:
        """The seed of what is tried."""
        return self.job.seed if self.job.sampler_seed is None else self.job.sampler_seed

    def stopping(self) -> early_stopping.EarlyStopping:
        return early_stopping.make(self.job.early_stopping)

    @property
    def directions(self) -> list[str]:
        return ["maximize" if m.better == "higher" else "minimize" for m in self.objectives]


def plan(job: Job, settings: Settings, folder: str | None = None) -> Plan:
    """The job made ready, or an error about the first thing in it that cannot be."""
    from workers import datasets
    from workers.checkpoints import load_tracker, weights_sha256
    from workers.teachers import find

    with blamed("teacher"):
        teacher = find(job.teacher)
        architecture, network = load_tracker(teacher)
    limits, objectives, at_rungs = limits_of(job), objectives_of(job), at_rungs_of(job)
    data = data_of(job.data, settings)
    made = Plan(
        job=job,
        teacher=teacher,
        teacher_sha256=weights_sha256(network.state_dict()),
        dataset_version=datasets.version(job.data.dataset),
        space=space_of(job, architecture),
        objectives=objectives,
        rung_accuracy=at_rungs,
        limits=limits,
        recipe=recipe_of(job, teacher),
        data=data,
        probes=probes_of(job, objectives, limits),
        folder=folder or str(settings.home / "jobs" / job.name),
    )
    check_words(made.candidate(largest(made.space)), job.probes)
    _check_decides(made)
    return made


def _check_decides(made: Plan) -> None:
    """Whether there is who proposes and who stops, and whether what is tried first can be."""
    with blamed("early_stopping"):
        made.stopping()
    with blamed("sampler"):  # one that is not there, or a space too large for it
        view = made.view(0)
    for number, params in enumerate(made.first):
        try:
            view.enqueue([params], made.sampled)
        except OutsideSpaceError as error:
            raise JobError(f"first[{number}]: {error}", f"/first/{number}") from error


def data_of(asked: Where, settings: Settings) -> "Data":
    """What was asked for, and where it lies."""
    from workers.candidate import Data
    from workers.datasets import dataset

    with blamed("data", "dataset"):
        dataset(asked.dataset)
    if asked.root is None and asked.dataset != "synthetic":
        raise JobError(f"data.root: say where {asked.dataset} lies", "/data/root")
    return Data(
        dataset=asked.dataset,
        root=settings.data if asked.root is None else Path(asked.root),
        train=asked.train,
        judged_on=asked.judged_on,
        train_count=asked.train_count,
        judged_count=asked.judged_count,
        rules=asked.rules,
    )


def _share_gone(
    m: Metric, measurement: Mapping[str, Any], teacher: Mapping[str, Any]
) -> float | None:
    now, before = value(measurement, m), value(teacher, m)
    return None if now is None or not before else 1 - now / before
