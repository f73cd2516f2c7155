"""PostgreSQL goes away while a controller works on it, and comes back."""

import signal
import time

import pytest

from tests.kills.conftest import Kills, Stage
from tests.postgres import Server


@pytest.mark.parametrize(
    ("how", "what"),
    [(signal.SIGQUIT, "restarted"), (signal.SIGKILL, "killed")],
    ids=["restarted", "killed"],
)
def test_the_search_waits_for_its_database_and_goes_on(
    kills: Kills, stage: Stage, server: Server, how: signal.Signals, what: str
) -> None:
    scene, engine = stage.scene(database="postgresql")
    scene.start_controller()
    since_the_kill, since_it_is_back = [], []
    for _ in range(kills.times):
        scene.wait_for_a_random_moment()
        at = time.time()
        server.stop(how)  # SIGQUIT is what pg_ctl calls an immediate stop
        if kills.chance.random() < 0.5:
            time.sleep(kills.chance.uniform(0, 5))
        server.start_again()
        back = time.time()
        since_it_is_back.append(scene.acknowledged(back))
        since_the_kill.append(scene.acknowledged(at))
    scene.until_ended()
    scene.check(engine)
    kills.survived(f"PostgreSQL {what}, from the kill on", since_the_kill)
    kills.survived(f"PostgreSQL {what}, once it is back", since_it_is_back)
