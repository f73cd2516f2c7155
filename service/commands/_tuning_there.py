"""A tuning that the service does: submitted, followed, its recipe stored here."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.commands._calling import service_client
from service.commands.recipe import check_name, store
from service.commands.watch import watched
from workers.documents import plain

if TYPE_CHECKING:
    from service.terminal import Terminal


def tuned_there(spec: Mapping[str, Any], out: Path, terminal: "Terminal") -> int:
    """The exit code: 0 if it has ended well, and ``out`` holds the recipe."""
    check_name(out)
    said = {name: value for name, value in plain(dict(spec)).items() if value is not None}
    with service_client() as client:
        job = client.tune_recipe({"name": out.stem, **said})
        terminal.say(f"queued: {job.id}; to come back: paretrack recipe {job.id} {out}")
        code = watched(job, terminal)
        if code == 0:
            store(job.recipe(), out)
            terminal.say(f"{out} holds it")
    return code
