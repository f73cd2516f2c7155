"""The process that drives Ray Tune for one tuning.

Tune decides who goes on and who takes over whose weights; what was found lies in our own records,
from which a driver that begins anew tells Tune again what it has to know.
"""

import os
import random
import shutil
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import ASHAScheduler, PopulationBasedTraining, TrialScheduler

from workers.on_ray._connection import connect, dead, store_gone
from workers.on_ray._messages import Broken
from workers.on_ray._process import end_session, line_of_child
from workers.tuning._messages import (
    Beat,
    Ended,
    Finished,
    FromDriver,
    Reached,
    Refused,
    Setup,
    Stage,
)
from workers.tuning.ranges import Between
from workers.tuning.records import read_all, read_end, write_end
from workers.tuning.request import THIRD, Tuning, interval, rungs, winner

RETRIES = 2  # of a trial whose worker died
_TRIAL, _VALUES = "trial", "values"
_WORST = -1e9  # what a recipe scores that ends in no network
Send = Callable[[FromDriver], None]


def main() -> None:
    """Called in the child."""
    line = line_of_child()
    setup: Setup = line.recv()
    send = _sender(line)
    threading.Thread(target=_end_with, args=(line, setup.folder), daemon=True).start()
    try:
        _serve(setup, send)
    except Exception as error:  # Ray has many, and what it says is shown to the operator
        traceback.print_exc()
        send(Broken(f"{type(error).__name__}: {' '.join(str(error).split())[-300:]}"))


def _sender(line: Connection) -> Send:
    alone = threading.Lock()

    def send(message: FromDriver) -> None:
        with alone:
            line.send(message)

    return send


def _end_with(line: Connection, folder: Path) -> None:
    """Nobody is left who could use what we find: end, and all that we have begun."""
    try:
        line.recv()
    except (EOFError, OSError):
        end_session(os.getpid())
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)


def _serve(setup: Setup, send: Send) -> None:
    connect(setup.address, setup.local)
    threading.Thread(target=_beat, args=(setup, send), daemon=True).start()
    tuning = setup.tuning
    send(Stage("cut and refit"))
    reason = ray.get(_task(_begin, tuning).remote(tuning))
    if reason is not None:
        send(Refused(reason))
        return
    if any(read_end(tuning.folder, n) is None for n in range(len(tuning.values))):
        send(Stage("trials"))
        _tune(tuning, send)
    if best := winner(read_all(tuning.folder, tuning.values), tuning):
        send(Stage("last comparison"))
        both = [(0, tuning.values[0]), (best.number, best.values)]
        ray.get([_task(_checked, tuning).remote(tuning, *one) for one in both])
    send(Finished())


def _beat(setup: Setup, send: Send) -> None:
    """Say that Ray answers, as long as it does; silence is noticed elsewhere."""
    context = ray.get_runtime_context()
    node, store = context.get_node_id(), str(context.gcs_address)
    ours = setup.address is None  # that of a cluster may come back
    while True:
        problem = store_gone(store) if ours else None
        if problem is None:
            nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
            problem = dead(nodes, node)
        if problem is not None:
            send(Broken(problem))
            return
        send(Beat())
        time.sleep(setup.beat_every)


def _needs(tuning: Tuning) -> dict[str, float]:
    return {"cpu": tuning.threads, "gpu": 0 if tuning.device == "cpu" else 1}


def _task(function: Any, tuning: Tuning) -> Any:
    needs = _needs(tuning)
    return function.options(num_cpus=needs["cpu"], num_gpus=needs["gpu"], max_retries=RETRIES)


@ray.remote
def _begin(tuning: Tuning) -> str | None:
    """Cut and refit, once for all trials; what is wrong with the candidate, if anything is."""
    from workers.tuning._story import begin

    return begin(tuning)


@ray.remote
def _checked(tuning: Tuning, number: int, values: dict[str, Any]) -> None:
    """One recipe in full with another seed."""
    from workers.tuning._story import check

    check(tuning, number, values)


class _Recovery(tune.Trainable):
    """Tune's view of a trial in a worker; the network's start and the data are opened once."""

    def setup(self, config: dict[str, Any], tuning: Tuning | None = None) -> None:
        from workers.tuning import _trial

        assert tuning is not None
        self._tuning = tuning
        self._bench = _trial.opened(tuning)
        self._open(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._open(new_config)
        return True

    def _open(self, config: dict[str, Any]) -> None:
        from workers.tuning._trial import Trial

        # Not from the configuration: a population hands that on with everything in it.
        self._trial = Trial(self._bench, _number(self.trial_name), config[_TRIAL][_VALUES])

    def step(self) -> dict[str, Any]:
        rung = self._trial.advance()
        record = self._trial.record
        known = None if rung is None else replace(record, rungs=(rung,))
        score = None if known is None else known.score(self._tuning.metric)
        return {
            "step": record.step if rung is None else rung.step,
            "score": _WORST if score is None else score,
            "failed": record.failed,
            "done": self._trial.done,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        self._trial.keep(Path(checkpoint_dir))

    def load_checkpoint(self, checkpoint: Any) -> None:
        self._trial.take_over(Path(checkpoint))


class _Asha(ASHAScheduler):
    """Lets the starting recipe go on to its end: everything is compared with it."""

    def on_trial_result(
        self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]
    ) -> Any:
        decision = super().on_trial_result(tune_controller, trial, result)
        if _number(str(trial)) == 0 and result["step"] < self._max_t:
            return TrialScheduler.CONTINUE
        return decision


class _Pbt(PopulationBasedTraining):
    """Others may take over from the starting recipe, but it takes over from nobody."""

    def _checkpoint_or_exploit(
        self, trial: TuneTrial, tune_controller: Any, upper_quantile: Any, lower_quantile: Any
    ) -> None:
        others = [t for t in lower_quantile if _number(str(t)) != 0]
        super()._checkpoint_or_exploit(trial, tune_controller, upper_quantile, others)


class _Hear(tune.Callback):
    """Tells what happens, and writes down who has ended."""

    def __init__(self, tuning: Tuning, send: Send) -> None:
        self._tuning, self._send = tuning, send
        self._began = time.monotonic()

    def __getstate__(self) -> dict[str, Any]:
        """Tune stores its callbacks for a restore that we do without; a line cannot be stored."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: Any, trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        score = None if result["failed"] else float(result["score"])
        self._send(Reached(_number(str(trial)), int(result["step"]), score))

    def on_trial_complete(self, iteration: int, trials: Any, trial: TuneTrial, **info: Any) -> None:
        result = trial.last_result or {}
        if result.get("failed"):
            self._end(trial, "failed")
        elif result.get("step", 0) >= self._tuning.steps:
            self._end(trial, "complete")
        elif not self._out_of_time():
            self._end(trial, "stopped")

    def on_trial_error(self, iteration: int, trials: Any, trial: TuneTrial, **info: Any) -> None:
        self._send(Ended(_number(str(trial)), f"its worker failed {RETRIES + 1} times"))

    def _end(self, trial: TuneTrial, end: Any) -> None:
        number = _number(str(trial))
        if read_end(self._tuning.folder, number) is None:
            write_end(self._tuning.folder, number, end)
        self._send(Ended(number, end))

    def _out_of_time(self) -> bool:
        """Whoever is stopped then has not lost against anybody, and may go on another time."""
        limit = self._tuning.seconds
        return limit is not None and time.monotonic() - self._began >= limit


def _tune(tuning: Tuning, send: Send) -> None:
    storage = tuning.folder / "tune"
    shutil.rmtree(storage, ignore_errors=True)  # of a driver before us, which has ended
    random.seed(tuning.seed)  # Tune's PBT draws from there
    records = read_all(tuning.folder, tuning.values)
    told = [{"number": r.number, _VALUES: dict(r.values)} for r in records]
    found = tune.Tuner(
        tune.with_resources(tune.with_parameters(_Recovery, tuning=tuning), _needs(tuning)),
        param_space={_TRIAL: tune.grid_search(told)},
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            scheduler=_scheduler(tuning),
            # A new worker for each trial would cost a second, and that of loading torch.
            reuse_actors=True,
            max_concurrent_trials=tuning.parallel if tuning.scheduler == "asha" else None,
            time_budget_s=tuning.seconds,
            trial_name_creator=lambda trial: f"trial-{trial.config[_TRIAL]['number']}",
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(tuning.folder),
            callbacks=[_Hear(tuning, send)],
            failure_config=tune.FailureConfig(max_failures=RETRIES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    ).fit()
    for error in found.errors:
        traceback.print_exception(error)
    shutil.rmtree(storage, ignore_errors=True)


def _scheduler(tuning: Tuning) -> TrialScheduler:
    if tuning.scheduler == "asha":
        return _Asha(
            time_attr="step",
            max_t=tuning.steps,
            grace_period=rungs(tuning)[0] if tuning.steps > 1 else 1,
            reduction_factor=THIRD,
        )
    return _Pbt(
        time_attr="step",
        perturbation_interval=interval(tuning.steps),
        hyperparam_mutations={_TRIAL: {_VALUES: {n: _domain(r) for n, r in tuning.ranges.items()}}},
        custom_explore_fn=lambda config: _inside(tuning, config),
        log_config=False,
    )


def _domain(range_: Any) -> Any:
    if not isinstance(range_, Between):
        return list(range_.choices)
    draw = tune.loguniform if range_.log else tune.uniform
    return draw(range_.least, range_.most)


def _inside(tuning: Tuning, config: dict[str, Any]) -> dict[str, Any]:
    """A step of a fifth may have led out of a range."""
    values = config[_TRIAL][_VALUES]
    for name, range_ in tuning.ranges.items():
        if isinstance(range_, Between):
            values[name] = range_.nearest(values[name])
    return config


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])
