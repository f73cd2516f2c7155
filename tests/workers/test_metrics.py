"""Figures of a measurement by name, against one that an evaluation really made."""

import json
import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.test_evaluation import TINY, write_folder
from workers.candidate import Candidate, Data, Measurement
from workers.checkpoints import save_tracker
from workers.evaluation import evaluate
from workers.latency import PROBES
from workers.metrics import (
    METRICS,
    Limit,
    MetricError,
    check_limits,
    limit_from_text,
    metric,
    value,
)
from workers.pruning.widths import narrowed
from workers.training import Recipe, fresh_network


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Measurement:
    root = tmp_path_factory.mktemp("metrics")
    write_folder(root / "data", 2, 5)
    save_tracker(root / "teacher", TINY, fresh_network(TINY, seed=0))
    candidate = Candidate(
        teacher=root / "teacher",
        architecture=narrowed(TINY, keep=0.5),
        recipe=Recipe(steps=2, batch=2),
        refit=0,
        data=Data(
            dataset="folder", root=root / "data", train="all", judged_on="all", rules="pysot-otb"
        ),
        probes=("eager",),
    )
    return evaluate(candidate, root / "out")


def stored(made: Measurement) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(made.to_json()))
    return found


def test_importing_metrics_takes_no_torch() -> None:
    code = (
        "import sys; from workers.metrics import METRICS, limit_from_text; "
        "limit_from_text('step_ms.eager<=8'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_probe_has_its_three_latencies() -> None:
    timed = {name for name in METRICS if "_ms." in name}
    assert timed == {f"{part}_ms.{probe}" for part in ("step", "track", "init") for probe in PROBES}


def test_every_metric_finds_its_figure_in_a_real_measurement(made: Measurement) -> None:
    assert made.state == "COMPLETE", made.reason
    figures = {name: value(stored(made), one) for name, one in METRICS.items()}
    missing = {name for name, figure in figures.items() if figure is None}
    assert missing == {name for name in METRICS if name.endswith(".onnx_runtime")}
    assert made.cost and made.accuracy and made.recovered and made.accuracy.success
    eager = made.latency["eager"]
    assert eager.track is not None
    expected = {
        "macs_frame": made.cost.macs_frame,
        "macs_template": made.cost.macs_template,
        "parameters": made.cost.parameters,
        "peak_memory": made.cost.peak_memory_frame,
        "average_overlap": made.accuracy.average_overlap.value,
        "success": made.accuracy.success.value,
        "one_step_iou": made.recovered.one_step_iou,
        "pair_loss": made.recovered.loss,
        "step_ms.eager": eager.step.median_ms,
        "track_ms.eager": eager.track.median_ms,
        "init_ms.eager": eager.init.median_ms,
    }
    assert {name: figures[name] for name in expected} == expected


def test_before_recovery_the_pair_metrics_are_those_inherited(made: Measurement) -> None:
    inherited = {**stored(made), "recovered": None}
    assert made.inherited is not None and made.recovered != made.inherited
    assert value(inherited, metric("one_step_iou")) == made.inherited.one_step_iou
    assert value(inherited, metric("pair_loss")) == made.inherited.loss


def test_what_was_not_measured_yet_has_no_figure(made: Measurement) -> None:
    bare = {**stored(made), "latency": {}}
    for part in ("cost", "accuracy", "inherited", "recovered"):
        bare[part] = None
    assert {value(bare, one) for one in METRICS.values()} == {None}
    assert {value({}, one) for one in METRICS.values()} == {None}
    by_overlap = stored(made)
    by_overlap["accuracy"]["success"] = None  # GOT-10k's rules know no curve
    assert value(by_overlap, metric("success")) is None
    by_overlap["latency"]["eager"]["track"] = None
    assert value(by_overlap, metric("track_ms.eager")) is None


def test_better_is_higher_for_accuracy_and_lower_for_all_that_is_paid() -> None:
    higher = {name for name, one in METRICS.items() if one.better == "higher"}
    assert higher == {name for name, one in METRICS.items() if one.unit == "share"}
    assert "average_overlap" in higher and "pair_loss" not in higher


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("step_ms", "step_ms.eager"),
        ("step_ms.onnx", "step_ms.onnx_runtime"),
        ("macs", "macs_frame"),
        ("params", "parameters"),
        ("average_overlp", "average_overlap"),
    ],
)
def test_an_unknown_metric_is_answered_with_the_closest_first(name: str, first: str) -> None:
    with pytest.raises(MetricError) as error:
        metric(name)
    assert str(error.value).startswith(f"no metric {name!r}; choose one of {first}")
    assert all(known in str(error.value) for known in METRICS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("macs_frame<=10M", Limit(metric="macs_frame", at_most=10e6)),
        ("macs_frame <= 0.5 GMACs", Limit(metric="macs_frame", at_most=0.5e9)),
        ("step_ms.eager<=8", Limit(metric="step_ms.eager", at_most=8)),
        (" step_ms.onnx_runtime <= 8 ms ", Limit(metric="step_ms.onnx_runtime", at_most=8)),
        ("init_ms.eager<=0.02s", Limit(metric="init_ms.eager", at_most=20)),
        ("parameters≤300k", Limit(metric="parameters", at_most=300e3)),
        ("parameters<=1_000_000", Limit(metric="parameters", at_most=1e6)),
        ("parameters<=1e6", Limit(metric="parameters", at_most=1e6)),
        ("average_overlap>=0.6", Limit(metric="average_overlap", at_least=0.6)),
        ("average_overlap >= 60%", Limit(metric="average_overlap", at_least=0.6)),
        ("peak_memory<=2MB", Limit(metric="peak_memory", at_most=2e6)),
        ("peak_memory<=2 MiB", Limit(metric="peak_memory", at_most=2 * 2**20)),
        ("pair_loss<=.5", Limit(metric="pair_loss", at_most=0.5)),
    ],
)
def test_limits_are_read_as_people_write_them(text: str, expected: Limit) -> None:
    assert limit_from_text(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a limit is a metric"),
        ("macs_frame", "a limit is a metric"),
        ("macs_frame<10M", "<= or >="),
        ("macs_frame=10M", "<= or >="),
        ("macs_frame<=ten", "and a number"),
        ("macs_frame<=10,5M", "and a number"),
        ("step_ms.eager<=-8", "and a number"),
        ("step_ms.eager<=nan", "and a number"),
        ("step_ms.eagre<=8", "no metric 'step_ms.eagre'; choose one of step_ms.eager"),
        ("step_ms.eager<=8M", "'M' cannot stand after its number; what can: nothing, ms, us"),
        ("macs_frame<=10MFLOPs", "macs_frame is in MACs, 'MFLOPs'.*a MAC is two FLOPs"),
        ("average_overlap>=60", "between 0 and 1, got a limit of 60; write 0.6 or 60%"),
        ("step_ms.eager<=0", "a number over 0, got 0"),
        ("step_ms.eager<=1e999", "a number over 0, got inf"),
    ],
)
def test_a_limit_that_nobody_understands_is_an_error_that_teaches(text: str, said: str) -> None:
    with pytest.raises(MetricError, match=said):
        limit_from_text(text)


def test_a_limit_needs_a_bound_on_a_metric_there_is() -> None:
    with pytest.raises(MetricError, match="needs at_most or at_least"):
        Limit(metric="parameters")
    with pytest.raises(MetricError, match="no metric 'weight'"):
        Limit(metric="weight", at_most=1)
    with pytest.raises(MetricError, match="got nan"):
        Limit(metric="parameters", at_most=math.nan)


def test_violations_are_shares_of_the_bound() -> None:
    fast = limit_from_text("step_ms.eager<=8")
    assert [fast.violation(ms) for ms in (4, 8, 10, 16)] == [-0.5, 0, 0.25, 1]
    good = limit_from_text("average_overlap>=0.5")
    assert [good.violation(overlap) for overlap in (0.75, 0.5, 0.25, 0)] == [-0.5, 0, 0.5, 1]
    both = Limit(metric="parameters", at_least=100, at_most=200)
    assert [both.violation(count) for count in (50, 100, 150, 200, 300)] == [0.5, 0, -0.25, 0, 0.5]


@given(
    name=st.sampled_from(sorted(METRICS)),
    bound=st.floats(1e-9, 1, exclude_min=True) | st.integers(1, 10**15),
    most=st.booleans(),
)
def test_a_limit_reads_back_what_it_says(name: str, bound: float, most: bool) -> None:
    if metric(name).unit == "share":
        bound = min(bound, 1)
    limit = Limit(metric=name, at_most=bound) if most else Limit(metric=name, at_least=bound)
    assert limit_from_text(str(limit)) == limit


def test_limits_that_contradict_each_other_are_an_error() -> None:
    texts = ["parameters<=300k", "parameters>=200k", "step_ms.eager<=8", "parameters<=250k"]
    check_limits([limit_from_text(text) for text in texts])
    check_limits([])
    with pytest.raises(
        MetricError,
        match=r"limits on parameters .* at least 260,000 and at most 250,000 parameters",
    ):
        check_limits(limit_from_text(text) for text in [*texts, "parameters>=260k"])
    with pytest.raises(MetricError, match="contradict"):
        check_limits([Limit(metric="parameters", at_least=2, at_most=1)])


def test_the_document_in_the_folder_is_read_as_well(made: Measurement) -> None:
    """What lies in measurement.json is what the service gets."""
    assert made.tracker is not None
    document = json.loads((made.tracker / "measurement.json").read_text())
    assert value(document, metric("macs_frame")) == value(stored(made), metric("macs_frame"))
