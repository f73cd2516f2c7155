"""paretrack pause, resume, stop, cancel: what can be done to a job."""

from typing import TYPE_CHECKING

from service.commands._calling import JobName, Why, service_client, shown
from service.commands._options import Json
from service.terminal import Terminal

if TYPE_CHECKING:
    from service._client_job import Verb

_NOW = {
    "QUEUED": "waits for a controller",
    "RUNNING": "goes on",
    "PAUSING": "begins nothing new; what runs may finish",
    "PAUSED": "waits to be resumed",
    "STOPPING": "begins nothing new and ends when what runs has finished",
    "CANCELLING": "what runs is being ended",
    "CANCELLED": "has ended",
}


def pause(job: JobName, why: Why = "", as_json: Json = False) -> None:
    """Begin nothing new for a job; what runs may finish, and it can be resumed.

    Example: `paretrack pause street --why 'the device is needed'`
    """
    _do("pause", job, why, as_json)


def resume(job: JobName, why: Why = "", as_json: Json = False) -> None:
    """Go on with a job that was paused, or held after it had failed.

    Example: `paretrack resume street`
    """
    _do("resume", job, why, as_json)


def stop(job: JobName, why: Why = "", as_json: Json = False) -> None:
    """End a job well: what runs may finish, its front is final.

    Example: `paretrack stop street --why 'good enough'`
    """
    _do("stop", job, why, as_json)


def cancel(job: JobName, why: Why = "", as_json: Json = False) -> None:
    """End a job and what runs for it, now.

    Example: `paretrack cancel street --why 'wrong teacher'`
    """
    _do("cancel", job, why, as_json)


def _do(verb: "Verb", name: str, why: str, as_json: bool) -> None:
    with service_client() as client:
        job = client.job(name)
        now = {"pause": job.pause, "resume": job.resume, "stop": job.stop, "cancel": job.cancel}[
            verb
        ](why)
    said = _NOW.get(now.state, now.reason)
    Terminal(as_json).answer(shown(now), f"{now.id} {said} ({now.state.lower()})")
