"""paretrack api: the REST service alone; controllers run elsewhere."""

import logging
import os
from typing import Annotated

import typer

from service.logs import set_up_logs
from service.settings import read_settings

_log = logging.getLogger("paretrack.api")

Host = Annotated[str, typer.Option("--host", help="Where to listen.")]
Port = Annotated[int, typer.Option("--port", min=1, max=65535)]
AllowHost = Annotated[
    list[str] | None,
    typer.Option("--allow-host", help="A name under which it is called. Repeatable."),
]
PlainLogs = Annotated[bool, typer.Option("--plain-logs", help="For people instead of programs.")]


def api(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    no_tokens: Annotated[
        bool, typer.Option("--no-tokens", help="One user, on loopback: no token is needed.")
    ] = False,
    allow_host: AllowHost = None,
    plain_logs: PlainLogs = False,
) -> None:
    """Answer requests until it is asked to end (SIGTERM, Ctrl-C). As many as you like may run.

    Example: `PARETRACK_DATABASE_URL=postgresql://... paretrack api --host 0.0.0.0`
    """
    from service.commands._serving import run, server, somebody_has_a_token

    set_up_logs(as_json=not plain_logs)
    settings = read_settings(os.environ)
    if not no_tokens and not somebody_has_a_token(settings):
        _log.warning("nobody has a token yet: paretrack token create NAME --role operator")
    run(server(settings, host, port, not no_tokens, allow_host or []))
