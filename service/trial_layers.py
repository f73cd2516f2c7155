"""What was cut of a teacher for one trial, layer by layer: which layers stayed, how wide they are,
what each costs a frame, of both side by side.

Everything follows from the job and the trial's parameters, so it is known of trials that were
given up before anything was measured, too. The networks have to be built (without weights), which
takes torch: ``layers_there`` runs in the process beside the API, ``KnownCuts`` keeps its answers.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from search_spaces import ParetrackError
from service import teachers
from service._trial_summaries import SUMMARIES
from service.beside import Beside, Refused, without
from service.errors import Problem, not_found
from service.job import job_from_json
from service.jobs import StoredJob
from service.settings import Settings
from workers.documents import document, plain

if TYPE_CHECKING:
    from search_spaces import Architecture
    from service.plan import Plan
    from workers.network_parts import NetworkParts

_KNOWN = 300  # trials whose answer a process keeps; some 20 kB each
_PLANS = 4  # jobs that the process beside keeps
_ROWS = SUMMARIES.c

There = Callable[[str], str | None]  # a path of the teacher -> the path in what is left of it


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer of the teacher that may be left out as a whole."""

    path: str
    kept: bool
    tokens: int | None  # that go on after it; None: it does not work on tokens
    tokens_left: int | None


@dataclass(frozen=True, kw_only=True)
class Width:
    """Units of one kind at one place."""

    name: str
    kind: str
    layer: str
    width: int
    left: int  # 0: the layer that they are in was left out


@dataclass(frozen=True, kw_only=True)
class Part:
    """A module of the teacher."""

    path: str  # '': the tracker itself
    path_left: str | None  # where it is in the trial's network; None: it was left out
    kind: str
    macs: int  # a frame
    macs_left: int
    parameters: int
    parameters_left: int


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A trial's network beside its teacher's."""

    family: str
    search_size: int  # pixels
    map_size: int  # cells along a side of the score map
    layers: tuple[Layer, ...]
    widths: tuple[Width, ...]
    parts: tuple[Part, ...]
    macs: int
    macs_left: int
    parameters: int
    parameters_left: int
    teacher_digest: str  # of the teacher as a candidate


@dataclass(frozen=True)
class Question:
    """What has to be known to answer for a trial."""

    key: tuple[str, str]
    job: Mapping[str, Any]
    params: Mapping[str, Any]


def question(connection: Connection, settings: Settings, job: StoredJob, number: int) -> Question:
    """About a trial of a job that the caller may see."""
    columns = (_ROWS.digest, _ROWS.params_json)
    query = select(*columns).where(_ROWS.job_id == job.id, _ROWS.number == number)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise not_found("trial", str(number))
    try:
        asked = job_from_json({**job.spec, "name": job.id})
        resolved = teachers.resolved(connection, settings, asked)
    except ParetrackError as error:
        raise _cannot(str(error)) from error
    return Question((job.id, row.digest), plain(resolved), json.loads(row.params_json))


@dataclass
class KnownCuts:
    """Answers by the digest of the candidate, those that were asked for last."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _known: OrderedDict[tuple[str, str], Cut] = field(default_factory=OrderedDict)

    def of(self, beside: Beside, settings: Settings, asked: Question) -> Cut:
        """What was cut, from memory or from the process beside."""
        with self._lock:
            if asked.key in self._known:
                self._known.move_to_end(asked.key)
                return self._known[asked.key]
        found = _asked(beside, settings, asked)
        with self._lock:
            self._known[asked.key] = found
            while len(self._known) > _KNOWN:
                self._known.popitem(last=False)
        return found


def _asked(beside: Beside, settings: Settings, asked: Question) -> Cut:
    home = str(settings.home)
    try:
        found: dict[str, Any] | None = beside.ask(
            "layers", job=document(asked.job), params=asked.params, home=home
        )
    except Refused as error:
        raise _cannot(str(error)) from error
    if found is None:
        detail = "looking at this tracker took too long and was given up; ask again"
        raise Problem("unavailable", detail, headers={"Retry-After": "30"})
    return Cut(**{
        **found,
        "layers": tuple(Layer(**one) for one in found["layers"]),
        "widths": tuple(Width(**one) for one in found["widths"]),
        "parts": tuple(Part(**one) for one in found["parts"]),
    })  # fmt: skip


def _cannot(why: str) -> Problem:
    return Problem("conflict", f"what was cut cannot be shown: {why}")


# --- there --------------------------------------------------------------------------------------


def layers_there(job: str, params: Mapping[str, Any], home: str) -> dict[str, Any]:
    """What the process beside the API answers."""
    from optuna.trial import FixedTrial

    try:
        ready = _plan(job, home)
        sampled = ready.sampled(FixedTrial(dict(params)))
    except (ParetrackError, ValueError) as error:  # Optuna's, of parameters that do not fit
        teacher, said = Path(json.loads(job)["teacher"]), ParetrackError(str(error))
        raise Refused(without(teacher, said) if teacher.is_absolute() else str(error)) from error
    digest = ready.digest(ready.the_teacher())
    return asdict(cut(ready.space.whole, sampled.architecture, sampled.kept_layers, digest))


@lru_cache(_PLANS)
def _plan(job: str, home: str) -> "Plan":
    from service.plan import plan

    return plan(job_from_json(json.loads(job)), Settings(home=Path(home), database_url=None))


def cut(
    whole: "Architecture", left: "Architecture", kept: Sequence[int] | None, teacher_digest: str
) -> Cut:
    """``kept``: the numbers of the teacher's layers that stayed; None: all."""
    from search_spaces import load
    from workers.network_parts import parts_of

    family = load(whole.family)
    paths = family.layers(whole)
    staying = range(len(paths)) if kept is None else kept
    moved = dict(zip((paths[i] for i in staying), family.layers(left), strict=True))
    gone = tuple(path for path in paths if path not in moved)

    def there(path: str) -> str | None:
        """Where a module of the teacher is in the other network."""
        if any(_inside(path, one) for one in gone):
            return None
        layer = next((one for one in moved if _inside(path, one)), None)
        return path if layer is None else moved[layer] + path.removeprefix(layer)

    before, after = parts_of(whole), parts_of(left)
    geometry = family.geometry(left)
    return Cut(
        family=whole.family,
        search_size=geometry.search_size,
        map_size=geometry.map_size,
        layers=tuple(
            Layer(
                path=path,
                kept=path in moved,
                tokens=before.tokens.get(path),
                tokens_left=after.tokens.get(moved.get(path, "")),
            )
            for path in paths
        ),
        widths=tuple(_widths(whole, left, there)),
        parts=tuple(_parts(before, after, there)),
        macs=sum(before.macs.values()),
        macs_left=sum(after.macs.values()),
        parameters=sum(before.parameters.values()),
        parameters_left=sum(after.parameters.values()),
        teacher_digest=teacher_digest,
    )


def _inside(path: str, layer: str) -> bool:
    return path == layer or path.startswith(f"{layer}.")


def _widths(whole: "Architecture", left: "Architecture", there: There) -> Iterator[Width]:
    from search_spaces import load

    family = load(whole.family)
    stayed = {(one.kind, one.layer): one.width for one in family.units(left)}
    for one in family.units(whole):
        at = there(one.layer)
        now = 0 if at is None else stayed.get((one.kind, at), 0)
        yield Width(name=one.name, kind=one.kind, layer=one.layer, width=one.width, left=now)


def _parts(before: "NetworkParts", after: "NetworkParts", there: There) -> Iterator[Part]:
    for path, kind in before.kinds.items():
        now = there(path)
        yield Part(
            path=path,
            path_left=now,
            kind=kind,
            macs=before.macs.get(path, 0),
            macs_left=0 if now is None else after.macs.get(now, 0),
            parameters=before.parameters.get(path, 0),
            parameters_left=0 if now is None else after.parameters.get(now, 0),
        )
