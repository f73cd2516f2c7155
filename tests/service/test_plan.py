"""A job is looked through before anything runs: one clear error for each thing that cannot be."""

from typing import Any

import pytest

from search_spaces import ParetrackError, Sampled, largest
from service.front import hypervolume
from tests.service.jobs import Bench
from tests.service.table_pool import judged


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"teacher": "nobody"}, "nobody"),
        ({"accuracy": "average_overlop"}, "no metric 'average_overlop'"),
        ({"costs": ["macs"]}, "no metric 'macs'"),
        ({"accuracy": "macs_frame"}, "accuracy: macs_frame is a cost"),
        ({"accuracy": "pair_loss"}, "accuracy: pair_loss is a cost"),
        ({"costs": ["success"]}, "costs: success is better when it is higher"),
        ({"costs": ["macs_frame", "macs_frame"]}, "twice"),
        ({"costs": ["step_ms.sundial"]}, "no metric 'step_ms.sundial'"),
        ({"rung_accuracy": "average_overlap"}, "rung_accuracy"),
        ({"probes": ["sundial"]}, "no probe named 'sundial'"),
        ({"sampler": "dice"}, "no sampler named 'dice'"),
        ({"sampler": "grid", "space": None}, "grid tries every candidate"),
        ({"early_stopping": "whim"}, "no early stopping named 'whim'"),
        ({"pruning": "luck"}, "no pruning method named 'luck'"),
        ({"recovery": "luck"}, "no recovery named 'luck'"),
        ({"limits": ["macs_frame<8"], "name": "x"}, "a limit is a metric"),
        ({"limits": ["macs_frame<=1M", "macs_frame>=2M"]}, "contradict each other"),
        ({"limits": ["average_overlap>=60"]}, "between 0 and 1"),
        ({"space": {"wheels": {}}}, "wheels"),
        ({"space": {"channels": {"leest": 0.5}}}, "leest"),
        ({"first": [{"width.stem": 3}]}, "width"),
        ({"recipe": {"stops": 3}}, "stops"),
        ({"data": {"dataset": "photos"}}, "photos"),
        ({"data": {"dataset": "otb"}}, "data.root"),
    ],
)
def test_what_cannot_be_is_said_before_anything_runs(
    here: Bench, words: dict[str, Any], said: str
) -> None:
    with pytest.raises(ParetrackError, match=said):
        here.plan(**words)


def test_probes_are_those_that_limits_and_costs_need_and_those_asked_for(here: Bench) -> None:
    made = here.plan(
        costs=["step_ms.onnx_runtime"], limits=["step_ms.eager<=8"], probes=["onnx_runtime"]
    )

    assert made.probes == ("onnx_runtime", "eager")
    assert made.directions == ["maximize", "minimize"]


def test_the_teacher_is_neither_cut_nor_trained_nor_forbidden(here: Bench) -> None:
    made = here.plan(limits=["macs_frame<=1k"])
    teacher = made.the_teacher()

    assert (teacher.architecture, teacher.recipe, teacher.limits) == (made.space.whole, None, ())
    assert teacher.refit == 0
    assert made.the_smallest().limits == ()
    assert made.the_smallest().refit > 0
    assert made.the_smallest().architecture != made.space.whole
    assert made.candidate(largest(made.space)).limits == made.limits


def test_rungs_are_steps_and_the_last_is_the_end(here: Bench) -> None:
    made = here.plan(steps=80, rungs=[0, 20])
    candidate = made.candidate(largest(made.space))

    assert [made.until(rung) for rung in range(3)] == [0, 20, None]
    assert made.assignment("5:1", 5, candidate, 1).until == 20
    assert made.assignment("5:1", 5, candidate, 1).folder.endswith("jobs/night/trials/5")
    assert candidate.recipe is not None
    assert candidate.recipe.steps == 80


def test_constraints_are_shares_of_their_bounds_and_only_of_what_is_known(here: Bench) -> None:
    made = here.plan(limits=["parameters<=6126", "average_overlap>=0.5"])
    whole = judged(made.the_teacher(), "gates").to_json()

    assert made.constraints(whole) == {"parameters<=6126": pytest.approx(1.0)}
    complete = judged(made.the_teacher(), None).to_json()
    assert set(made.constraints(complete)) == {"parameters<=6126", "average_overlap>=0.5"}


def test_an_earlier_measurement_serves_if_it_says_all_that_is_asked_and_of_such_a_machine(
    here: Bench,
) -> None:
    made = here.plan()
    whole = made.the_teacher()
    measured, now = judged(whole, None).to_json(), judged(whole, "gates").to_json()

    assert made.says_all(measured, now)
    assert not made.says_all(judged(whole, 0).to_json(), now)
    assert not made.says_all(measured, {**now, "environment": {"device": "another"}})
    assert not here.plan(limits=["step_ms.eager<=8"]).says_all(measured, now)


def test_a_perfect_tracker_at_no_cost_fills_the_hypervolume(here: Bench) -> None:
    made = here.plan(costs=["macs_frame", "parameters"])
    whole = judged(made.the_teacher(), None).to_json()
    perfect = made.minimised({"average_overlap": 1.0, "macs_frame": 0.0, "parameters": 0.0})

    assert hypervolume([perfect], made.reference(whole)) == made.everything(whole) > 0


def test_fewer_macs_without_less_latency_are_flagged(here: Bench) -> None:
    made = here.plan(probes=["eager"])

    def measured(macs: float, milliseconds: float) -> dict[str, Any]:
        step = {"median_ms": milliseconds}
        return {"cost": {"macs_frame": macs}, "latency": {"eager": {"step": step}}}

    assert "50% fewer MACs but 2% less latency (eager)" in made.flag(
        measured(50, 9.8), measured(100, 10)
    )
    assert made.flag(measured(50, 8), measured(100, 10)) == ""
    assert made.flag(measured(90, 10), measured(100, 10)) == ""


def test_the_digest_does_not_depend_on_limits_but_on_the_seed(here: Bench) -> None:
    point = Sampled(here.plan().space.whole, None)

    def digest(**words: Any) -> str:
        made = here.plan(**words)
        return made.digest(made.candidate(point))

    assert digest() == digest(limits=["parameters<=6k"], costs=["parameters"])
    assert digest() != digest(seed=1)
    assert digest() != digest(steps=90)


def test_points_are_smaller_where_they_are_better(here: Bench) -> None:
    made = here.plan()

    assert made.point([0.5, 100.0]) == (-0.5, 100.0)
    whole = judged(made.the_teacher(), None).to_json()
    assert made.reference(whole) == (0.0, made.values(whole)["macs_frame"])
    assert made.guessed(-0.25, whole)[0] == 0.25
    assert made.guessed(None, whole)[0] is None
