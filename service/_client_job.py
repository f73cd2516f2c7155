"""One job of a service: as it was when it was last read, and what can be done with it."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from service._client_downloads import Progress, download
from service._client_errors import ClientError
from service._client_events import follow
from service._client_transport import Transport
from service._client_values import (
    HELD,
    Artefact,
    Artefacts,
    Event,
    Front,
    FrontRead,
    Growth,
    Importances,
    Job,
    Page,
    Trial,
    TunedRecipe,
    WholeTrial,
    read,
)

if TYPE_CHECKING:
    from service.recorded import RecordedJob

PAGE = 500  # trials that are asked for at once
EXPORTING = 300.0  # seconds in which the ONNX files of a trial are waited for
Verb = Literal["pause", "resume", "stop", "cancel"]
# Where a verb leads: a job that is there needs no second one.
_LEADS_TO: Mapping[Verb, tuple[str, ...]] = {
    "pause": ("PAUSING", "PAUSED"),
    "resume": ("QUEUED", "RUNNING"),
    "stop": ("STOPPING", "SUCCEEDED", "CANCELLED"),
    "cancel": ("CANCELLING", "CANCELLED"),
}


class JobHandle:
    """A job of a service: as it was when it was last read, and what can be done with it."""

    def __init__(self, transport: Transport, job: Job) -> None:
        self._transport, self.now = transport, job
        self._path = f"/jobs/{quote(job.id, safe='')}"

    def __repr__(self) -> str:
        return f"JobHandle({self.id!r}, {self.state})"

    @property
    def id(self) -> str:
        return self.now.id

    @property
    def name(self) -> str:
        return self.now.name

    @property
    def state(self) -> str:
        return self.now.state

    def refresh(self) -> Job:
        """Read it again."""
        self.now = read(Job, self._transport.get(self._path))
        return self.now

    # --- waiting ------------------------------------------------------------------------------

    def wait(
        self,
        timeout: float | None = None,
        on_event: Callable[[Event], None] = lambda event: None,
    ) -> Job:
        """Until it has ended, or is held for an operator. ``on_event`` hears what happens from when
        this handle was last read; a ``timeout`` in seconds raises ClientError "waited"."""
        deadline = None if timeout is None else time.monotonic() + timeout
        after = self.now.events
        if self.refresh().state == HELD:
            return self.now
        for event in self.events(after, deadline=deadline):
            on_event(event)
            if event.kind == "state" and event.data.get("to") == HELD:
                break
        return self.refresh()

    def events(
        self,
        after: int = 0,
        *,
        deadline: float | None = None,
        lost: Callable[[ClientError], None] = lambda error: None,
    ) -> Iterator[Event]:
        """What happened after the event of this number, and what happens, until it has ended."""
        path = f"{self._path}/events"
        return follow(self._transport, path, after, deadline=deadline, lost=lost)

    # --- changing -----------------------------------------------------------------------------

    def pause(self, why: str = "") -> Job:
        """Begin nothing new; it can be resumed."""
        return self._do("pause", why)

    def resume(self, why: str = "") -> Job:
        """Go on after a pause, or when an operator has looked at what was held."""
        return self._do("resume", why)

    def stop(self, why: str = "") -> Job:
        """Begin nothing new and end well when what runs has finished."""
        return self._do("stop", why)

    def cancel(self, why: str = "") -> Job:
        """End it and what runs for it, now."""
        return self._do("cancel", why)

    def _do(self, verb: Verb, why: str) -> Job:
        """Said once. If nobody knows whether it was heard, the job itself tells."""
        try:
            response = self._transport.ask("POST", f"{self._path}/{verb}", json={"why": why})
            self.now = read(Job, self._transport.document(response))
        except ClientError as error:
            if not error.unsure or self.refresh().state not in _LEADS_TO[verb]:
                raise
        return self.now

    def edit(
        self,
        *,
        name: str | None = None,
        labels: Sequence[str] | None = None,
        priority: int | None = None,
    ) -> Job:
        """Other words about it; refused if somebody changed it since this handle was read."""
        said = {"name": name, "labels": labels, "priority": priority}
        body = {field: value for field, value in said.items() if value is not None}
        headers = {"If-Match": f'"{self.now.version}"'}
        response = self._transport.ask("PATCH", self._path, json=body, headers=headers)
        self.now = read(Job, self._transport.document(response))
        return self.now

    def archive(self) -> Job:
        """Out of the lists; nothing is deleted."""
        response = self._transport.ask("DELETE", self._path, again=True)
        self.now = read(Job, self._transport.document(response))
        return self.now

    # --- trials -------------------------------------------------------------------------------

    def trials(
        self,
        *,
        sort: str = "number",
        state: str | Sequence[str] | None = None,
        feasible: bool | None = None,
        on_front: bool | None = None,
        page: int = PAGE,
    ) -> Iterator[Trial]:
        """Its trials, by number or by one of its objectives ("-average_overlap": best first)."""
        words = {"sort": sort, "state": several(state), "limit": page}
        more = {"feasible": feasible, "on_front": on_front}
        for item in pages(self._transport, f"{self._path}/trials", {**words, **more}):
            yield read(Trial, item)

    def trials_as_csv(
        self, *, sort: str = "number", state: str | Sequence[str] | None = None
    ) -> Iterator[str]:
        """The same as a table, row by row as it comes."""
        words = {"sort": sort, "state": several(state)}
        path, headers = f"{self._path}/trials", {"Accept": "text/csv"}
        with self._transport.stream(path, params=words, headers=headers) as response:
            yield from response.iter_text()

    def trial(self, number: int) -> WholeTrial:
        """One with all there is of it."""
        return read(WholeTrial, self._transport.get(f"{self._path}/trials/{number}"))

    def artefacts(self, number: int) -> Artefacts:
        """The files of a trial's tracker."""
        return read(Artefacts, self._transport.get(f"{self._path}/trials/{number}/artefacts"))

    def export(self, number: int) -> Artefacts:
        """Make its ONNX files, unless they are there; a minute or two."""
        path = f"{self._path}/trials/{number}/export"
        response = self._transport.ask("POST", path, again=True, patience=EXPORTING, read=EXPORTING)
        return read(Artefacts, self._transport.document(response))

    def download(
        self,
        number: int,
        artefact: Artefact,
        folder: str | Path,
        progress: Progress = lambda done, total: None,
    ) -> Path:
        """One of those files; a download that was broken off goes on."""
        path = f"{self._path}/trials/{number}/artefacts"
        return download(self._transport, path, artefact, Path(folder), progress)

    def recipe(self) -> TunedRecipe:
        """What a tuning has come to; a search has none."""
        return read(TunedRecipe, self._transport.get(f"{self._path}/recipe"))

    # --- front --------------------------------------------------------------------------------

    def front(self, x: str | None = None, y: str | None = None) -> Front:
        """What is best at each cost; ``x`` instead of the first cost, ``y`` instead of the
        accuracy: any metrics that its trials were measured for."""
        accuracy, cost = self.now.metrics[:2]
        axes = () if x is None and y is None else (y or accuracy, x or cost)
        words = {"x": axes[1], "y": axes[0]} if axes else {}
        found = read(FrontRead, self._transport.get(f"{self._path}/front", **words))
        return Front(**vars(found), record=lambda: self.record(axes))

    def record(self, axes: Sequence[str] = ()) -> "RecordedJob":
        """All that is recorded of it, as of a local search; ``axes``: accuracy first."""
        from service._client_record import recorded

        own = read(FrontRead, self._transport.get(f"{self._path}/front"))
        return recorded(self.refresh(), own, self.trials(), axes)

    def hypervolume(self) -> Growth:
        """How its front grew."""
        return read(Growth, self._transport.get(f"{self._path}/hypervolume"))

    def importances(self) -> Importances:
        """Which levers its objectives depend on."""
        return read(Importances, self._transport.get(f"{self._path}/importances"))


def pages(transport: Transport, path: str, words: Mapping[str, Any]) -> Iterator[Any]:
    """The items of a list, however many pages that takes."""
    cursor: str | None = None
    while True:
        page = read(Page, transport.get(path, **words, cursor=cursor))
        yield from page.items
        cursor = page.next
        if cursor is None:
            return


def several(said: str | Iterable[str] | None) -> list[str]:
    return [] if said is None else [said] if isinstance(said, str) else list(said)
