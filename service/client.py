"""The Python client of a Paretrack service.

    import os
    from service.client import client_from

    client = client_from(os.environ)  # PARETRACK_URL and PARETRACK_TOKEN
    job = client.submit({"name": "street", "teacher": "siamrpn-synthetic"})
    job.wait()
    job.front().plot("front.svg")

What can be asked again without harm is asked again for a while: a service that is brought up anew
is waited for. Neither torch nor a database is needed here.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from service._client_devices import Device, Devices, WholeDevice
from service._client_errors import Address, ClientError
from service._client_job import JobHandle, pages, several
from service._client_naming import find_job
from service._client_schedules import Schedules
from service._client_trackers import Trackers
from service._client_transport import PATIENCE, Transport
from service._client_values import (
    ENDED,
    HELD,
    Artefact,
    Artefacts,
    Event,
    Front,
    FrontPoint,
    Growth,
    Importances,
    Job,
    Preview,
    Trial,
    TunedRecipe,
    TuningTrial,
    WholeTrial,
    read,
)

__all__ = [
    "DEFAULT_URL", "ENDED", "HELD", "Artefact", "Artefacts", "Client", "ClientError", "Device",
    "Event", "Front", "FrontPoint", "Growth", "Importances", "Job", "JobHandle", "Preview", "Trial",
    "TunedRecipe", "TuningTrial", "WholeDevice", "WholeTrial", "client_from",
]  # fmt: skip

DEFAULT_URL = "http://127.0.0.1:8000"
QUEUEING = 200.0  # seconds in which the same job is submitted again and again


def client_from(environment: Mapping[str, str], *, patience: float = PATIENCE) -> "Client":
    """The client of the service that PARETRACK_URL names, with the token in PARETRACK_TOKEN."""
    url, token = environment.get("PARETRACK_URL"), environment.get("PARETRACK_TOKEN")
    said_by = "PARETRACK_URL" if url else "the default"
    return Client(url or None, token or None, patience=patience, said_by=said_by)


class Client:
    """A service, and who calls it. It may be used by several threads, and in a ``with``."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        patience: float = PATIENCE,
        said_by: str = "as given",
    ) -> None:
        """``patience``: seconds in which a request is repeated where that does no harm."""
        address = Address(url or DEFAULT_URL, said_by if url else "the default")
        self._transport = Transport(address, token, patience=patience)

    def __repr__(self) -> str:
        return f"Client({self._transport.address.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End its connections."""
        self._transport.close()

    @property
    def url(self) -> str:
        return self._transport.address.url

    # --- jobs ---------------------------------------------------------------------------------

    def submit(
        self,
        spec: Mapping[str, Any],
        labels: Sequence[str] = (),
        priority: int = 0,
        key: str | None = None,
    ) -> JobHandle:
        """Queue a search. However often that takes, it is one job: the same ``key`` with the same
        words is the same job for a day."""
        return self._queued({"spec": dict(spec)}, labels, priority, key)

    def tune_recipe(
        self,
        spec: Mapping[str, Any],
        labels: Sequence[str] = (),
        priority: int = 0,
        key: str | None = None,
    ) -> JobHandle:
        """The same for the tuning of a recipe, as {"name": ..., "of": "JOB/NUMBER"}."""
        return self._queued({"kind": "tune_recipe", "spec": dict(spec)}, labels, priority, key)

    def _queued(
        self, asked: Mapping[str, Any], labels: Sequence[str], priority: int, key: str | None
    ) -> JobHandle:
        body = {**asked, "labels": list(labels), "priority": priority}
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        response = self._transport.ask(
            "POST", "/jobs", json=body, headers=headers, again=True, patience=QUEUEING
        )
        return JobHandle(self._transport, read(Job, self._transport.document(response)))

    def preview(self, spec: Mapping[str, Any]) -> Preview:
        """What a search would meet; nothing is queued."""
        body = {"spec": dict(spec)}
        response = self._transport.ask("POST", "/jobs/preview", json=body, again=True)
        return read(Preview, self._transport.document(response))

    def jobs(
        self,
        *,
        state: str | Sequence[str] | None = None,
        label: str | Sequence[str] | None = None,
        text: str | None = None,
        tracker: str | None = None,
        kind: str | None = None,
        archived: bool = False,
        page: int = 50,
    ) -> Iterator[JobHandle]:
        """Jobs, the newest first, page by page as they are needed."""
        words = {"state": several(state), "label": several(label), "text": text}
        more = {"tracker": tracker, "kind": kind, "archived": archived or None, "limit": page}
        for item in pages(self._transport, "/jobs", {**words, **more}):
            yield JobHandle(self._transport, read(Job, item))

    def job(self, name: str) -> JobHandle:
        """The job with this id, or the only one with this name."""
        return JobHandle(self._transport, find_job(self._transport, name))

    @property
    def schedules(self) -> Schedules:
        """Searches that begin again and again."""
        return Schedules(self._transport)

    @property
    def trackers(self) -> Trackers:
        """What a search can start from."""
        return Trackers(self._transport)

    @property
    def devices(self) -> Devices:
        """Where latencies were measured."""
        return Devices(self._transport)
