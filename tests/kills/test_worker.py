"""A process of Ray that works on a candidate is killed."""

from tests.kills.conftest import Kills, Stage


def test_what_a_killed_worker_did_is_gone_on_with_by_another(kills: Kills, stage: Stage) -> None:
    scene, engine = stage.scene(database="sqlite", pool="ray")
    scene.start_controller()
    seconds = []
    for _ in range(kills.times):
        scene.wait_for_a_random_moment()
        left = scene.working()
        at = scene.kill(left.pid)
        seconds.append(scene.gone_on_with(at, left, not_by={left.pid}))
    scene.until_ended()
    scene.check(engine)
    kills.survived("worker", seconds)
