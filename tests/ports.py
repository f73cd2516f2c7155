"""A port of loopback that nobody listens at."""

import socket


def free_port() -> int:
    """Free a moment ago: another process may take it before it is used."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port
