"""The control store of the Ray that the controller started is killed."""

from tests.kills.conftest import Kills, Stage
from tests.kills.scene import program
from workers.on_ray._process import session_processes


def test_another_ray_is_started_when_the_control_store_is_killed(
    kills: Kills, stage: Stage
) -> None:
    scene, engine = stage.scene(database="sqlite", pool="ray")
    scene.start_controller()
    seconds = []
    for _ in range(kills.times):
        scene.wait_for_a_random_moment()
        old = session_processes(scene.journal("ray")[-1]["driver"])
        at = scene.kill(*(pid for pid in old if program(pid) == "gcs_server"))
        seconds.append(scene.resumed(at, not_by=old))
    scene.until_ended()
    scene.check(engine)
    kills.survived("control store (GCS)", seconds)
