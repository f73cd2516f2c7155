"""The controller is killed, and another one takes its job over."""

import pytest

from tests.kills.conftest import Kills, Stage


@pytest.mark.parametrize("database", ["postgresql", "sqlite"])
def test_another_controller_goes_on_where_a_killed_one_was(
    kills: Kills, stage: Stage, database: str
) -> None:
    pool = "ray" if database == "postgresql" and kills.thorough else "in_process"
    scene, engine = stage.scene(database=database, pool=pool)
    scene.start_controller()
    seconds = []
    for _ in range(kills.times):
        scene.wait_for_a_random_moment()
        first = scene.controllers[-1]
        before = {step.pid for step in scene.steps()} | {first.pid}
        at = scene.kill(first.pid)
        first.wait()
        scene.start_controller()  # waits for the end of the lease
        seconds.append(scene.resumed(at, not_by=before))
    scene.until_ended()
    scene.check(engine)
    kills.survived(f"controller ({database}, {pool})", seconds)
