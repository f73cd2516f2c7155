"""Where a step spends its time: by a clock of our own, and in the graphs of every family."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Architecture, TrackerNetwork, load
from search_spaces.ostrack import Elimination
from workers.checkpoints import weights_sha256
from workers.cost import cost_by_layer
from workers.latency import PROBES, SPLITS, Latency, LatencyError, Plan, Split, eager, onnx_runtime
from workers.latency._graph_modules import MODULE, innermost, modules_of_nodes
from workers.latency._split import repeated

QUICK = Plan(warm_up=1, rounds=2, calls=2)
TINY = {name: load(name).PRESETS[f"{name}-tiny"] for name in ("siamrpn", "ostrack")}
ELIMINATING = replace(TINY["ostrack"], elimination=Elimination(blocks=(0,), keep=0.5))  # type: ignore[type-var]
KINDS = {**TINY, "ostrack, eliminating": ELIMINATING}


def built(architecture: Architecture) -> TrackerNetwork:
    torch.manual_seed(0)
    return load(architecture.family).build(architecture).eval()


def timed(probe: str, architecture: Architecture, keep: Path | None = None) -> Latency:
    geometry = load(architecture.family).geometry(architecture)
    return PROBES[probe](built(architecture), geometry, plan=QUICK, keep=keep)


def split(probe: str, architecture: Architecture, kept: Path | None = None) -> Split:
    geometry = load(architecture.family).geometry(architecture)
    latency = timed("eager", architecture)
    return SPLITS[probe](built(architecture), geometry, latency, kept=kept)


@pytest.mark.parametrize("probe", SPLITS)
@pytest.mark.parametrize("family", TINY)
def test_every_probe_says_where_its_step_spends_the_time(probe: str, family: str) -> None:
    network = built(TINY[family]).train()
    before = weights_sha256(network.state_dict())
    geometry = load(family).geometry(TINY[family])
    latency = timed("eager", TINY[family])
    found = SPLITS[probe](network, geometry, latency)
    assert found.self_ms.keys() <= {path for path, _ in network.named_modules()}
    assert all(milliseconds > 0 for milliseconds in found.self_ms.values())
    assert found.step_ms == latency.step_ms
    assert found.runs >= 3
    assert all(module.training for module in network.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    assert weights_sha256(network.state_dict()) == before


def test_a_module_has_its_own_time_and_not_that_of_those_inside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A clock that stands still unless one of two modules runs."""
    now = [0.0]
    monkeypatch.setattr(eager, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    network = built(TINY["siamrpn"])
    inner, outer = network.get_submodule("backbone.conv1"), network.get_submodule("backbone")
    convolved = inner.forward

    def slow(*given: object) -> object:
        now[0] += 0.007
        return convolved(*given)

    inner.forward = slow  # type: ignore[method-assign, assignment]
    outer.register_forward_hook(lambda *_: now.__setitem__(0, now[0] + 0.005))
    geometry = load("siamrpn").geometry(TINY["siamrpn"])
    found = eager.split(network, geometry, latency_of(9.0))
    assert found.self_ms == {"backbone.conv1": pytest.approx(7), "backbone": pytest.approx(5)}
    assert (found.profiled_ms, found.step_ms) == (pytest.approx(12), 9.0)


def latency_of(step_ms: float) -> Latency:
    found = timed("eager", TINY["siamrpn"])
    return replace(found, step=replace(found.step, median_ms=step_ms))


def test_it_is_run_a_few_times_however_slow_it_is() -> None:
    now = [0.0]

    def lasting(seconds: float) -> Callable[[], object]:
        return lambda: now.__setitem__(0, now[0] + seconds)

    assert repeated(lasting(100.0), clock=lambda: now[0]) == 3
    assert repeated(lasting(1e-6), clock=lambda: now[0]) == 20


# --- graphs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_module_that_multiplies_is_found_again_in_the_optimised_graph(
    kind: str, tmp_path: Path
) -> None:
    architecture = KINDS[kind]
    network = built(architecture)
    geometry = load(architecture.family).geometry(architecture)
    exported = onnx_runtime._graph_again(network, geometry, None, tmp_path)
    optimised, events, runs = onnx_runtime._profiled(exported, tmp_path, 1)
    modules = dict(network.named_modules())
    places = modules_of_nodes(exported.graph, optimised.graph, modules)
    nodes, times, wholes = onnx_runtime._times(events, runs)
    assert set(nodes) <= places.keys(), "every node that took time is placed"
    assert len(times) == len(wholes) == runs
    multiplying = {path for path, macs in cost_by_layer(network, geometry).items() if macs}
    assert multiplying <= set(places.values())
    merged = {type(modules[path]).__name__ for path in places.values()}
    assert "BatchNorm2d" not in merged


def test_the_graph_that_was_timed_is_kept_without_weights_and_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept"
    timed("onnx_runtime", TINY["ostrack"], keep=kept)
    assert all(len(t.raw_data) <= 1024 for t in onnx.load(kept).graph.initializer)
    from workers import export

    monkeypatch.setattr(export, "export_graphs", None)
    found = split("onnx_runtime", TINY["ostrack"], kept)
    assert "backbone.blocks.0.attn" in found.self_ms


def test_what_is_kept_for_nobody_is_not_noted(tmp_path: Path) -> None:
    from workers.export import export_graphs

    network, geometry = built(TINY["ostrack"]), load("ostrack").geometry(TINY["ostrack"])
    _, plain = export_graphs(network, geometry, tmp_path / "plain")
    assert not any(node.metadata_props for node in onnx.load(plain).graph.node)


def node(kind: str, name: str, given: list[str], made: str, module: str = "") -> onnx.NodeProto:
    found = onnx.helper.make_node(kind, given, [made], name=name)
    if module:
        onnx.helper.set_metadata_props(found, {MODULE: module})
    return found


def graph(*nodes: onnx.NodeProto) -> onnx.GraphProto:
    return onnx.helper.make_graph(list(nodes), "g", [], [])


def test_what_was_merged_goes_to_the_layer_and_what_was_put_in_to_its_neighbourhood() -> None:
    modules = {"", "a", "a.one", "a.bn", "a.two", "a.norm", "head"}
    exported = graph(
        node("Conv", "n1", ["x", "network.a.one.weight"], "c1", "a.bn"),
        node("Relu", "n2", ["c1"], "r1", "a"),
        node("Conv", "n3", ["r1", "network.a.two.weight"], "c2", "a.two"),
        node("Add", "n4", ["c2", "r1"], "s", "a"),
        node("LayerNormalization", "n5", ["s", "w"], "l", "a.norm"),
        node("Mul", "n6", ["l", "l"], "y", "head"),
    )
    optimised = graph(
        node("ReorderInput", "in", ["x"], "t0"),
        node("Conv", "r1_nchwc", ["t0", "t1"], "t2"),
        node("Conv", "c2_nchwc", ["t2", "t3"], "t4"),
        node("ReorderOutput", "out", ["t4"], "t5"),
        node("SkipLayerNormalization", "skip", ["t5", "t2", "w"], "l"),
        node("Mul", "n6", ["l", "l"], "y"),
        node("Exp", "alone", ["z"], "z1"),
    )
    assert modules_of_nodes(exported, optimised, modules) == {
        "in": "a.one",
        "r1_nchwc": "a.one",
        "c2_nchwc": "a.two",
        "out": "a",
        "skip": "a",
        "n6": "head",
    }


PATHS = st.lists(st.sampled_from(["a", "b", "1", "10"]), max_size=4).map(".".join)


@given(st.lists(PATHS, min_size=1, max_size=4))
def test_the_innermost_module_holds_all_and_nothing_inside_of_it_does(paths: list[str]) -> None:
    found = innermost(paths)

    def holds(outer: str, path: str) -> bool:
        return outer in ("", path) or path.startswith(f"{outer}.")

    assert all(holds(found, path) for path in paths)
    deeper = {".".join(paths[0].split(".")[: n + 1]) for n in range(5)}
    inside = [path for path in deeper if holds(found, path) and path != found]
    assert not any(all(holds(path, each) for each in paths) for path in inside)


def test_a_profile_that_cannot_be_read_is_no_profile() -> None:
    run = {"cat": "Session", "name": "model_run", "dur": 9}
    once = {"cat": "Node", "name": "n_kernel_time", "dur": 4}
    assert onnx_runtime._times([once, run, once, run], 1)[1].tolist() == [[0.004]]
    for events in ([once, run, run], [run], []):
        with pytest.raises(LatencyError, match="cannot be read"):
            onnx_runtime._times(events, 1)


def test_where_the_profiler_would_lie_it_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    there = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnx_runtime.onnxruntime, "get_available_providers", lambda: there)
    geometry = load("siamrpn").geometry(TINY["siamrpn"])
    with pytest.raises(LatencyError, match=r"CUDA.*eager"):
        onnx_runtime.split(built(TINY["siamrpn"]), geometry, latency_of(1.0), device="cuda")
