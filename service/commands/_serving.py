"""An API process: where it may listen, and how it ends."""

import signal
import socket
from ipaddress import ip_address

import uvicorn

from search_spaces import ParetrackError
from service import tokens
from service.app import create_app
from service.database import embedded_url, open_database
from service.event_feed import Feed
from service.settings import Settings

GRACE_SECONDS = 5  # for requests that are being answered when the process is asked to end


class Server(uvicorn.Server):
    """Sends those away who follow events, before it waits for all others to be answered."""

    def __init__(self, config: uvicorn.Config, feed: Feed) -> None:
        super().__init__(config)
        self._feed = feed

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._feed.close()
        await super().shutdown(sockets)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_reach(host: str, needs_tokens: bool) -> None:
    """Refuse to be open to others without tokens."""
    if not needs_tokens and not is_loopback(host):
        raise ParetrackError(
            f"without tokens this listens on loopback only, not on {host}: whoever reaches it "
            "may do everything; leave --no-tokens out"
        )


def somebody_has_a_token(settings: Settings) -> bool:
    """Whether anybody can call a service that needs tokens."""
    url = settings.database_url or embedded_url(settings.home / "paretrack.db")
    engine = open_database(url)
    try:
        return bool(tokens.list_tokens(engine, limit=1))
    finally:
        engine.dispose()


def server(
    settings: Settings, host: str, port: int, needs_tokens: bool, allowed: list[str]
) -> uvicorn.Server:
    """A server that is ready to be run; the port is looked at first, for a clear message."""
    check_reach(host, needs_tokens)
    _check_free(host, port)
    hosts = None if needs_tokens and not allowed else [host, *allowed]
    app = create_app(settings, needs_tokens=needs_tokens, hosts=hosts)
    config = uvicorn.Config(
        app,
        host=host.strip("[]"),
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return Server(config, app.state.service.feed)


def run(server: uvicorn.Server) -> None:
    """Answer until SIGTERM or SIGINT; then the caller goes on, to end whatever else there is."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:  # uvicorn sends itself what has ended it, once it has ended
        signal.signal(number, lambda *_: None)
    try:
        server.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if not server.started:
        raise ParetrackError(
            f"the service could not listen on {server.config.host}:{server.config.port}; "
            "the lines above say why"
        )


def _check_free(host: str, port: int) -> None:
    try:
        with socket.create_server((host.strip("[]"), port), family=_family(host)):
            return
    except OSError as error:
        raise ParetrackError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; end what listens there, "
            "or choose another with --port"
        ) from error


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
