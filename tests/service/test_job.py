"""Jobs as documents: what is asked is what is read, and an error names its field."""

from dataclasses import asdict
from typing import Any

import pytest

from service.job import JobError, job_from_json

LEAST = {"name": "night", "teacher": "siamrpn-synthetic"}


def test_a_job_comes_back_from_its_document_as_it_was() -> None:
    job = job_from_json(
        {
            **LEAST,
            "costs": ["step_ms.eager", "parameters"],
            "limits": ["macs_frame<=10M"],
            "rungs": [0, 10, 40],
            "space": {"channels": {"least": 0.5}},
            "budget": {"trials": 3, "asked": 9, "seconds": 1.5},
            "data": {"dataset": "otb", "root": "/x", "judged_count": 2},
            "first": [{"width.stem": 3}],
        }
    )

    assert job.metrics == ("average_overlap", "step_ms.eager", "parameters")
    assert (job.budget.most_asked, job.data.judged_count, job.rungs) == (9, 2, (0, 10, 40))
    assert job_from_json(asdict(job)) == job


def test_a_search_may_ask_for_ten_times_its_budget_if_nobody_says_otherwise() -> None:
    assert job_from_json({**LEAST, "budget": {"trials": 7}}).budget.most_asked == 70


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ({"trails": 3}, "trails"),
        ({"budget": {"trails": 3}}, "trails"),
        ({"data": {"split": "val"}}, "split"),
        ({"teacher": None}, "teacher"),
        ({"costs": "macs_frame"}, "costs"),
        ({"costs": []}, "costs"),
        ({"steps": "many"}, "steps"),
        ({"steps": -1}, "steps"),
        ({"rungs": [25, 0]}, "rungs"),
        ({"rungs": [0, 0]}, "rungs"),
        ({"rungs": [100]}, "rungs"),
        ({"budget": {"trials": 0}}, "budget.trials"),
        ({"budget": {"trials": 5, "asked": 4}}, "budget.asked"),
        ({"budget": {"seconds": 0}}, "budget.seconds"),
        ({"name": " "}, "name"),
        ({"name": "../elsewhere"}, "name"),
        ({"name": ".."}, "name"),
        ({"seed": 1.5}, "seed"),
    ],
)
def test_an_error_names_the_field(words: dict[str, Any], named: str) -> None:
    with pytest.raises(JobError, match=named):
        job_from_json({**LEAST, **words})


@pytest.mark.parametrize("data", [None, [], "night", {"name": "night"}])
def test_what_is_no_job_is_refused(data: Any) -> None:
    with pytest.raises(JobError):
        job_from_json(data)
