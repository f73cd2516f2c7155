"""The protocol of latency with a clock of our own, and every probe on a real network."""

import gc
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from search_spaces import Geometry, TrackerNetwork, load
from workers.checkpoints import weights_sha256
from workers.latency import PROBES, Branches, Latency, LatencyError, Plan, Tracking, onnx_runtime
from workers.latency._protocol import Call, Subject, fixed_threads, measured, spread, timing
from workers.latency._reference import REFERENCE_INPUT, reference_network
from workers.predictor import network_input
from workers.tracking import Follower

PLAN = Plan(warm_up=2, rounds=6, calls=3)
QUICK = Plan(warm_up=1, rounds=2, calls=2)


class _Machine:
    """A machine on which everything takes as long as a test says, and a diary of what ran."""

    def __init__(self, slowness: Callable[[int], float] = lambda _: 1.0) -> None:
        self.now = 0.0
        self.diary: list[str] = []
        self._slowness = slowness

    def clock(self) -> float:
        return self.now

    def work(self, name: str, seconds: float) -> None:
        self.now += seconds * self._slowness(len(self.diary))
        self.diary.append(name)

    def template(self, crop: Tensor) -> tuple[Tensor, ...]:
        assert torch.is_inference_mode_enabled()
        self.work("init", 0.004)
        return (crop.mean((2, 3)),)

    def frame(self, crop: Tensor, template: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        self.work("step", 0.006)
        return crop.flatten(1), crop.new_zeros(1, 1, 4)

    def track(self, branches: Branches, inputs: torch.device) -> Call:
        assert branches is self
        return lambda: self.work("track", 0.010)

    def measure(
        self,
        plan: Plan = PLAN,
        *,
        tracked: bool = True,
        threads: int = 1,
        synchronise: Callable[[], None] = lambda: None,
    ) -> Latency:
        subject = Subject(
            probe="imagined",
            branches=self,
            reference=lambda: self.work("reference", 0.002),
            inputs=torch.device("cpu"),
            device="no device",
            versions={"torch": "1"},
            synchronise=synchronise,
        )
        track = self.track if tracked else None
        return measured(
            subject, _geometry(), threads=threads, plan=plan, track=track, clock=self.clock
        )


def _geometry(family: str = "siamrpn") -> Geometry:
    return load(family).geometry(load(family).PRESETS[f"{family}-tiny"])


def _network(family: str) -> TrackerNetwork:
    torch.manual_seed(0)
    return load(family).build(load(family).PRESETS[f"{family}-tiny"])


def test_everything_runs_in_turn_back_and_forth_after_a_warm_up() -> None:
    machine = _Machine()
    machine.measure()
    names = ["reference", "init", "step", "track"]
    once, *diary = machine.diary
    assert once == "init"  # the template's memory for the frame branch
    warm_up = [name for name in names for _ in range(2)]
    forth = [name for name in names for _ in range(3)]
    assert diary == warm_up + (forth + forth[::-1]) * 3


def test_figures_are_the_times_of_the_clock_in_milliseconds() -> None:
    latency = _Machine().measure()
    figures = (latency.reference_ms, latency.init_ms, latency.step_ms, latency.track_ms)
    assert figures == pytest.approx((2, 4, 6, 10))
    assert latency.relative == pytest.approx(3)
    assert latency.step.runs == 6 * 3
    assert latency.step.spread == pytest.approx(0)
    assert not latency.noisy
    assert latency.threads == 1
    assert latency.versions.keys() == {"python", "torch"}
    assert latency.load_average >= 0


def test_a_frame_is_only_timed_where_there_are_frames() -> None:
    latency = _Machine().measure(tracked=False)
    assert latency.track is None
    assert latency.track_ms is None


def test_a_machine_that_becomes_slow_shows_and_leaves_the_ratio_alone() -> None:
    calls = 1 + 4 * PLAN.warm_up + 4 * PLAN.calls * PLAN.rounds
    latency = _Machine(lambda done: 3.0 if done > calls / 2 else 1.0).measure()
    assert latency.noisy
    assert latency.reference.spread > 0.3
    assert latency.relative == pytest.approx(3)
    assert latency.relative_spread == pytest.approx(0)


def test_one_disturbed_round_changes_neither_median_nor_spread() -> None:
    calls = 1 + 4 * PLAN.warm_up + 4 * PLAN.calls
    latency = _Machine(lambda done: 50.0 if calls <= done < calls + 12 else 1.0).measure()
    assert latency.step_ms == pytest.approx(6)
    assert latency.step.spread == pytest.approx(0)
    assert latency.step.p90_ms > 100


def test_a_slow_network_gets_fewer_rounds_but_five() -> None:
    long = replace(PLAN, rounds=100)
    round_seconds = 3 * (0.002 + 0.004 + 0.006 + 0.010)
    half = _Machine().measure(replace(long, seconds=49.5 * round_seconds))
    assert half.step.runs == 50 * 3
    assert _Machine().measure(replace(long, seconds=1e-9)).step.runs == 5 * 3


def test_the_device_is_synchronised_before_and_after_every_timed_call() -> None:
    machine = _Machine()
    machine.measure(QUICK, tracked=False, synchronise=lambda: machine.diary.append("wait"))
    timed = machine.diary[1 + 3 * QUICK.warm_up :]
    assert timed[0::3] == timed[2::3] == ["wait"] * (3 * QUICK.rounds * QUICK.calls)
    assert "wait" not in timed[1::3]


def test_timing_says_median_quantiles_and_spread_of_rounds() -> None:
    times = np.array([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0], [3.0, 4.0, 11.0]])
    found = timing(times)
    assert found.median_ms == 3
    assert found.p10_ms == pytest.approx(np.quantile(times, 0.1))
    assert found.p90_ms == pytest.approx(np.quantile(times, 0.9))
    assert found.spread == pytest.approx(1.4826 * 1 / 3)  # medians of rounds: 2, 3, 4
    assert found.runs == 9
    assert spread(np.array([5.0, 5.0, 5.0, 100.0])) == 0


def test_threads_and_garbage_collection_are_as_before_whatever_happens() -> None:
    with fixed_threads(2):
        seen: list[tuple[int, int, bool]] = []

        def fail() -> None:
            seen.append((torch.get_num_threads(), cv2.getNumThreads(), gc.isenabled()))
            raise ArithmeticError

        machine = _Machine()
        machine.track = lambda branches, inputs: fail  # type: ignore[method-assign]
        with pytest.raises(ArithmeticError):
            machine.measure()
        assert seen == [(1, 1, False)]
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (2, 2)
        assert gc.isenabled()


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"calls": 0}, {"warm_up": 0}])
def test_a_plan_that_times_nothing_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(LatencyError, match="at least 1"):
        _Machine().measure(replace(PLAN, **wrong))  # type: ignore[arg-type]
    with pytest.raises(LatencyError, match="0 threads"):
        _Machine().measure(threads=0)


def _following(frames: int) -> Tracking:
    """What a caller with a video gives a probe: the tracker goes one frame further a call."""
    generator = np.random.default_rng(0)
    video = generator.integers(0, 255, (frames, 60, 80, 3), dtype=np.uint8)
    geometry = _geometry()

    def begin(branches: Branches, inputs: torch.device) -> Call:
        follower, turn = Follower(geometry), iter(range(10_000))
        crop = follower.begin(video[0], np.array([20.0, 20.0, 20.0, 15.0]))
        memory = branches.template(network_input(crop[None], geometry))

        def step() -> None:
            crop = follower.look(video[next(turn) % frames])
            scores, boxes = branches.frame(network_input(crop[None], geometry), memory)
            follower.settle(scores[0].numpy(), boxes[0].numpy())

        return step

    return begin


@pytest.mark.parametrize("probe", PROBES)
def test_every_probe_times_a_network_and_leaves_it_alone(probe: str) -> None:
    network = _network("siamrpn").train()
    before = weights_sha256(network.state_dict())
    generator = torch.get_rng_state()
    latency = PROBES[probe](network, _geometry(), plan=QUICK, track=_following(4))
    assert latency.probe == probe
    assert latency.step.runs == QUICK.rounds * QUICK.calls
    for found in (latency.init, latency.step, latency.track, latency.reference):
        assert found is not None
        assert 0 < found.p10_ms <= found.median_ms <= found.p90_ms
    assert latency.versions["torch"] == torch.__version__
    assert json.loads(json.dumps(asdict(latency)))["probe"] == probe
    assert all(module.training for module in network.modules())
    assert weights_sha256(network.state_dict()) == before
    assert torch.equal(torch.get_rng_state(), generator)


def test_the_eager_probe_names_the_devices_that_there_are() -> None:
    for wrong in ("cuda:99", "tpu", "cpu:x", "cpu:1"):
        with pytest.raises(LatencyError, match=f"no device '{wrong}' here; choose one of cpu"):
            PROBES["eager"](_network("siamrpn"), _geometry(), device=wrong)


def test_a_provider_that_is_not_installed_is_refused_instead_of_replaced() -> None:
    with pytest.raises(
        LatencyError, match=r"this ONNX Runtime has no NoSuchProvider; it has .*CPU"
    ):
        onnx_runtime.measure(_network("siamrpn"), _geometry(), providers=["NoSuchProvider"])
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(LatencyError, match="CUDAExecutionProvider"):
            PROBES["onnx_runtime"](_network("siamrpn"), _geometry(), device="cuda")


def test_graphs_that_were_exported_before_are_timed_with_the_threads_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("template", "frame"):
        (tmp_path / f"{name}.onnx").write_bytes(_graph_like(name))
    made: list[onnxruntime.InferenceSession] = []
    session = onnx_runtime._session

    def noting(*arguments: object) -> object:
        made.append(session(*arguments))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(onnx_runtime, "_session", noting)
    latency = onnx_runtime.measure_graphs(
        tmp_path / "template.onnx", tmp_path / "frame.onnx", _geometry(), threads=2, plan=QUICK
    )
    assert latency.threads == 2
    assert "CPUExecutionProvider" in latency.device
    assert [s.get_session_options().intra_op_num_threads for s in made] == [2, 2, 2]


def _graph_like(name: str) -> bytes:
    """A graph with the inputs and outputs of an exported branch."""
    inputs = ["crop"] if name == "template" else ["crop", "template_0"]
    outputs = ["template_0"] if name == "template" else ["scores", "boxes"]
    float32 = onnx_runtime.onnx.TensorProto.FLOAT
    helper = onnx_runtime.onnx.helper
    graph = helper.make_graph(
        [helper.make_node("Relu", [inputs[-1]], [output]) for output in outputs],
        name,
        [helper.make_tensor_value_info(each, float32, None) for each in inputs],
        [helper.make_tensor_value_info(each, float32, None) for each in outputs],
    )
    opset = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())


def test_the_reference_network_is_the_same_in_both_runtimes_and_at_all_times() -> None:
    network = reference_network()
    assert weights_sha256(network.state_dict()) == (
        "205d9b28e9d575fb1c4eac6944ded7defcd5083dee59d626346d7fbc8196761d"
    )
    picture = torch.randn(REFERENCE_INPUT, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(onnx_runtime.reference_graph())
    (answer,) = session.run(None, {"picture": picture.numpy()})
    torch.testing.assert_close(torch.from_numpy(answer), network(picture).detach())
