"""What a job can be made of, for whoever fills in a form: names, each with a sentence about it."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field, JsonValue

from service import catalogue, teachers
from service.beside import Refused
from service.callers import Caller
from service.catalogue import Choice
from service.database import reading
from service.errors import Fault, Problem, not_found
from service.job import JobError
from service.references import tuned_recipes
from service.routes._deps import ServiceDep, Viewer
from service.routes._pages import Page
from service.serving import Service
from service.teachers import known
from workers.teachers import find as find_shipped

router = APIRouter(tags=["catalogue"])
TUNED = 100  # recipes of jobs in one list


class ChoicePublic(BaseModel):
    """A name that a job may say."""

    name: str
    about: str
    is_default: bool


class DatasetPublic(ChoicePublic):
    """A data set."""

    splits: list[str]
    needs_root: bool = Field(description="An operator says where it lies; else it is generated.")


class ObjectivePublic(BaseModel):
    """A metric."""

    name: str = Field(examples=["step_ms.onnx_runtime"])
    label: str
    unit: str
    better: str = Field(examples=["lower"])
    uses: list[str] = Field(description="Fields of a job that may name it.")


class RecipePublic(BaseModel):
    """How a network is trained."""

    job: str | None = Field(
        description="That tuned it: a job names the recipe by it. null: it lies beside a teacher, "
        "whose jobs take it unasked."
    )
    teacher: str
    purpose: str = Field(examples=["recovery"])
    about: str
    recipe: dict[str, JsonValue]


def _choices(found: tuple[Choice, ...]) -> Page[ChoicePublic]:
    return Page(items=[ChoicePublic(**vars(one)) for one in found], next=None)


@router.get("/datasets")
def list_datasets(_caller: Viewer) -> Page[DatasetPublic]:
    """Data sets to learn from and to be judged on."""
    items = [
        DatasetPublic(**{**vars(one), "splits": list(one.splits)}) for one in catalogue.datasets()
    ]
    return Page(items=items, next=None)


@router.get("/samplers")
def list_samplers(_caller: Viewer) -> Page[ChoicePublic]:
    """Who proposes candidates."""
    return _choices(catalogue.samplers())


@router.get("/early-stopping")
def list_early_stopping(_caller: Viewer) -> Page[ChoicePublic]:
    """Rules for which candidates go on after a rung."""
    return _choices(catalogue.early_stopping())


@router.get("/pruning-methods")
def list_pruning_methods(_caller: Viewer) -> Page[ChoicePublic]:
    """How the units that survive a cut are chosen."""
    return _choices(catalogue.pruning_methods())


@router.get("/recoveries")
def list_recoveries(_caller: Viewer) -> Page[ChoicePublic]:
    """How accuracy is won back after a cut."""
    return _choices(catalogue.recoveries())


@router.get("/probes")
def list_probes(_caller: Viewer) -> Page[ChoicePublic]:
    """What latency is measured with."""
    return _choices(catalogue.probes())


@router.get("/objectives")
def list_objectives(_caller: Viewer) -> Page[ObjectivePublic]:
    """Metrics that a job may drive up or down, or bound."""
    items = [
        ObjectivePublic(**{**vars(one), "uses": list(one.uses)}) for one in catalogue.objectives()
    ]
    return Page(items=items, next=None)


@router.get("/recipes")
def list_recipes(service: ServiceDep, caller: Viewer) -> Page[RecipePublic]:
    """Recipes of the teachers that ship, and the last hundred that jobs have tuned."""
    shipped = [
        RecipePublic(job=None, **{**vars(one), "recipe": dict(one.recipe)})
        for one in catalogue.recipes()
    ]
    with reading(service.engine) as connection:
        tuned = tuned_recipes(connection, caller, TUNED)
    items = [
        RecipePublic(
            job=one.job,
            teacher=one.teacher,
            purpose="recovery",
            about=one.about,
            recipe=dict(one.recipe),
        )
        for one in tuned
    ]
    return Page(items=[*shipped, *items], next=None)


@router.get(
    "/spaces/{family}",
    responses={
        200: {
            "description": "A JSON Schema",
            "content": {"application/json": {"example": {"properties": {"channels": {}}}}},
        }
    },
)
def list_levers(
    family: Annotated[str, Path(max_length=64, examples=["siamrpn"])],
    service: ServiceDep,
    caller: Viewer,
    teacher: Annotated[
        str | None,
        Query(
            max_length=200,
            description="As a job names it. Without one: a teacher of the family that ships, or "
            "its first preset.",
            examples=["siamrpn-synthetic"],
        ),
    ] = None,
) -> dict[str, JsonValue]:
    """JSON Schema of what a search may change of a teacher (`spec.space` of a job): the names of
    its levers, and how far each goes."""
    if family not in [one.name for one in catalogue.families()]:
        raise not_found("tracker family", family[:80])
    folder = _folder(service, caller, family, teacher)
    if folder is not None and (its := known(folder).family) != family:
        raise _wrong(f"{teacher!r} is of the family {its}, not of {family}")
    try:
        return service.levers.of(service.beside, family, folder)
    except Refused as error:
        raise _wrong(str(error)) from error


def _folder(service: Service, caller: Caller, family: str, teacher: str | None) -> Any:
    if teacher is None:
        shipped = (find_shipped(name) for name in teachers.shipped_names())
        return next((one for one in shipped if known(one).family == family), None)
    if teacher in teachers.shipped_names():
        return find_shipped(teacher)
    with reading(service.engine) as connection:
        try:
            found = teachers.folder(connection, service.settings, teacher, caller)
        except JobError as error:
            raise Problem(
                "invalid", str(error), [Fault(str(error), parameter="teacher")]
            ) from error
    if found is None:
        raise _wrong(f"no {teacher[:80]!r} that you may see; /trackers lists those on offer")
    return found


def _wrong(why: str) -> Problem:
    detail = f"teacher: {why}"
    return Problem("invalid", detail, [Fault(detail, parameter="teacher")])
