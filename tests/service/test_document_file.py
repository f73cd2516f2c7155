"""Files that users write: YAML says what its readers think it says."""

from pathlib import Path
from typing import Any

import pytest

from search_spaces import ParetrackError
from service.commands._job_words import JobWords, job_document
from service.document_file import read_object
from service.job import Job, job_from_json

SPEC = """\
teacher: siamrpn-synthetic
limits: [step_ms.onnx_runtime<=2]
steps: 20
budget: {trials: 30, plateau: 12}
space:
  channels: {least: 0.25}
data: {judged_count: 8}
"""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3), ("1E3", 1e3), (".5", 0.5), ("5.", 5.0), ("-2.5e+1", -25.0), ("12", 12),
        ("true", True), ("on", "on"), ("No", "No"), ("e", "e"), ("1.2.3", "1.2.3"),
        ("null", None), ("'1e-3'", "1e-3"),
    ],
)  # fmt: skip
def test_a_scalar_is_what_it_looks_like(tmp_path: Path, text: str, value: Any) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(f"here: {text}")
    found = read_object(path, "a job")["here"]
    assert (found, type(found)) == (value, type(value))


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    path = tmp_path / "spec.yml"
    path.write_text("here: !!python/object/apply:os.getcwd []")
    with pytest.raises(ParetrackError, match="could not determine a constructor"):
        read_object(path, "a job")


def asked_for(what: object, **words: Any) -> Job:
    return job_from_json(job_document(str(what), JobWords(**words)))


def test_a_job_is_what_its_file_says_but_for_the_options_given(tmp_path: Path) -> None:
    path = tmp_path / "street.yaml"
    path.write_text(SPEC)
    job = asked_for(path, steps=None, seed=3, trials=5, plateau=None)

    assert (job.name, job.seed, job.steps) == ("street", 3, 20)
    assert (job.budget.trials, job.budget.plateau) == (5, 12)
    assert (job.limits, job.data.judged_count) == (("step_ms.onnx_runtime<=2",), 8)
    assert job.space == {"channels": {"least": 0.25}}
    assert asked_for(path, name="night").name == "night"


def test_a_name_is_no_file(tmp_path: Path) -> None:
    job = asked_for("street", trials=None)
    assert (job.name, job.budget.trials) == ("street", 40)
