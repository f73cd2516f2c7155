"""How a driver comes to a Ray, and how it knows that it is dead."""

import os
import socket
from typing import Any

import ray

from workers.on_ray._messages import LocalRay


def connect(address: str | None, local: LocalRay) -> str:
    """Join the Ray at an address, or start one of our own; where it listens."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is not None:
        _join(address, quiet)
    else:
        ray.init(
            address="local",
            num_cpus=local.cpus,
            num_gpus=local.gpus,
            resources=dict(local.resources) or None,
            object_store_memory=local.object_store_mb * 1_000_000,
            include_dashboard=False,
            **quiet,
        )
    return str(ray.get_runtime_context().gcs_address)


def _join(address: str, quiet: dict[str, Any]) -> None:
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:  # Ray itself would go on trying for minutes
            raise ConnectionError(f"nobody listens there ({error}); start Ray there") from error
    try:
        ray.init(address=address, **quiet)
    except ConnectionError as error:
        token = os.environ.get("RAY_AUTH_TOKEN_PATH")
        raise ConnectionError(
            f"{str(error).rstrip('.')}. Does a node of it run on this machine, and does every node "
            f"have the token of {token}? (RAY_AUTH_MODE=token, RAY_AUTH_TOKEN_PATH=...)"
        ) from error


def store_gone(address: str) -> str | None:
    """Whether nobody listens there any more; Ray itself goes on asking for a minute."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except ConnectionRefusedError as error:
        return f"Ray's control store is gone ({error})"
    except OSError:  # busy, or stopped: silence is noticed elsewhere
        return None
    return None


def dead(nodes: list[dict[str, Any]], own: str) -> str | None:
    """What is wrong with the node that this driver depends on."""
    raylet = next((n["RayletSocketName"] for n in nodes if n["NodeID"] == own and n["Alive"]), None)
    if raylet is None:
        return "Ray has given up the node of this machine"
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5)
            probe.connect(raylet)
    except OSError as error:
        return f"Ray's node process on this machine is gone ({error})"
    return None
