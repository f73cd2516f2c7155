"""A second node of the Ray is killed: its node process alone, or all that runs there."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kills.conftest import Kills, Stage
from tests.kills.scene import Scene, program
from workers.on_ray._process import end_session, session_processes, token_file

KINDS = ("raylet", "whole node")


def test_what_a_killed_node_did_is_gone_on_with_by_another(kills: Kills, stage: Stage) -> None:
    kinds = KINDS if kills.thorough else (kills.chance.choice(KINDS),)
    scene, engine = stage.scene(database="sqlite", kinds=len(kinds), pool="ray", cpus=1)
    scene.start_controller()
    scene.until("ray", lambda: scene.journal("ray"))
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for kind in kinds * kills.times:
        with second_node(scene) as node:
            scene.working(node.pid)
            scene.wait_for_a_random_moment()
            left = scene.working(node.pid)
            there = session_processes(node.pid)
            all_of_it = kind == "whole node"
            at = scene.kill(*(pid for pid in there if all_of_it or program(pid) == "raylet"))
            seconds[kind].append(scene.gone_on_with(at, left, not_by=there))
    scene.until_ended()
    scene.check(engine)
    for kind, found in seconds.items():
        kills.survived(f"second node ({kind})", found)


@contextmanager
def second_node(scene: Scene) -> Iterator["subprocess.Popen[bytes]"]:
    """One more slot; it lives in a session of its own."""
    [ray] = scene.journal("ray")
    command = [str(Path(sys.executable).parent / "ray"), "start", "--block", "--num-cpus=1"]
    command += [f"--address={ray['address']}", "--object-store-memory=100000000"]
    token = str(token_file(Path(scene.orders.home)))
    process = subprocess.Popen(
        command,
        env={**scene.environment, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": token},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        end_session(process.pid)
