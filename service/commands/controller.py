"""paretrack controller: takes jobs from the queue and runs them on the workers."""

import logging
import os
import signal
from typing import Annotated

import typer

from service.hands import Hands, open_pool, ray_address
from service.logs import set_up_logs
from service.settings import read_settings

AtOnce = Annotated[
    int, typer.Option("--jobs", min=1, help="That share the workers at the same time.")
]
PoolName = Annotated[
    Hands, typer.Option("--pool", help="ray (PARETRACK_RAY_ADDRESS, or local), or in_process.")
]
Parallel = Annotated[
    int, typer.Option("--parallel", min=1, help="Candidates at once, with in_process.")
]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Of a candidate.")]
Drain = Annotated[
    float,
    typer.Option("--drain", min=0, help="Seconds for what runs to finish, once asked to end."),
]


def controller(
    jobs: AtOnce = 2,
    pool: PoolName = "ray",
    parallel: Parallel = 1,
    threads: Threads = 1,
    cpus: Annotated[float, typer.Option("--cpus", help="That a candidate takes of Ray's.")] = 1.0,
    gpus: Annotated[float, typer.Option("--gpus", help="The same; .25 will do.")] = 0.0,
    drain: Drain = 20.0,
    plain_logs: Annotated[
        bool, typer.Option("--plain-logs", help="For people instead of programs.")
    ] = False,
) -> None:
    """Work on queued jobs until it is asked to end (SIGTERM, Ctrl-C); then hand them over.

    Several may run, on one machine or many: each job is worked on by one of them.
    Example: `PARETRACK_RAY_ADDRESS=head:6379 paretrack controller --jobs 4`
    """
    from service import schedules
    from service.callouts import allowed_from_words
    from service.daemon import Daemon
    from service.database import embedded_url, open_database
    from service.postman import Postman, Sender

    set_up_logs(as_json=not plain_logs)
    settings = read_settings(os.environ)
    engine = open_database(settings.database_url or embedded_url(settings.home / "paretrack.db"))
    warn = logging.getLogger("paretrack.workers").warning
    needs = {"cpus": cpus, "gpus": gpus}
    postman = Postman(engine, Sender(allowed_from_words(settings.webhook_allow)))
    try:
        with open_pool(
            pool, settings, parallel=parallel, threads=threads, needs=needs, say=warn
        ) as hands:
            chores = [*schedules.chores(engine), postman.deliver]
            daemon = Daemon(
                settings,
                engine,
                hands,
                at_once=jobs,
                drain_seconds=drain,
                chores=chores,
                ray_address=lambda: ray_address(hands, settings),
            )
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: daemon.end())
            daemon.run()
    finally:
        postman.close()
        engine.dispose()
