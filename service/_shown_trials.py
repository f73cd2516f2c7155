"""Optuna's storage in memory, where trials can be hidden from the sampler and corrected."""

import copy
from collections.abc import Container, Mapping

from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState


class ShownTrials(InMemoryStorage):
    """Of a single study, so that a trial's id is its number."""

    def __init__(self) -> None:
        super().__init__()
        self._visible: dict[int, None] = {}  # a set that keeps its order
        self._corrected: dict[int, FrozenTrial] = {}

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        number = super().create_new_trial(study_id, template_trial)
        self._visible[number] = None
        return number

    def hide(self, number: int) -> None:
        self._visible.pop(number, None)
        self._corrected.pop(number, None)

    def correct(self, number: int, values: list[float], constraints: Mapping[str, float]) -> None:
        trial = copy.copy(super().get_trial(number))
        trial.system_attrs = dict(trial.system_attrs)
        trial.values = values
        for name, value in constraints.items():
            trial.set_constraint(name, value)
        self._corrected[number] = trial
        self._visible[number] = None

    def finished(self) -> list[FrozenTrial]:
        return [t for t in map(self.get_trial, self._visible) if t.state.is_finished()]

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._corrected.get(trial_id) or super().get_trial(trial_id)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        if states == (TrialState.WAITING,):
            return super().get_all_trials(study_id, deepcopy, states)
        trials = [self.get_trial(number) for number in self._visible]
        trials = [t for t in trials if states is None or t.state in states]
        return copy.deepcopy(trials) if deepcopy else trials
