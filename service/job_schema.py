"""JSON Schema of job documents: for editors, and for the API's own description.

Fields, types and defaults are those of the dataclasses in service/job.py; what a field is for
stands in ``ABOUT``. Names on offer are read in the source of the tables that have them, because
importing most of those tables takes torch.
"""

import ast
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from search_spaces import Layers, Range
from service._python_source import tree_of
from service.job import OF_A_TRIAL, Budget, Job, Where
from service.recipe_job import MOST_TRIALS, RecipeJob
from service.recipe_tuning import LEAST_STEPS
from workers._accuracy_rules import RULES
from workers.documents import plain
from workers.metrics import METRICS
from workers.teachers import names as teachers

FIRST = rf"^{OF_A_TRIAL.pattern}$"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]

# What a field is for, by class; a test holds that none is missing and none too many.
ABOUT: Mapping[type[Any], Mapping[str, str]] = {
    Job: {
        "name": "Of the job. In a file: the file's own name unless it is given.",
        "teacher": "A shipped teacher's name, or a tracker's folder.",
        "space": "Levers by name: what may be cut, and how far. Default: everything.",
        "accuracy": "The metric that is driven up.",
        "costs": "The metrics that are driven down.",
        "limits": "Bounds that a candidate must hold, as 'step_ms.onnx_runtime<=8'.",
        "sampler": "Who proposes candidates.",
        "early_stopping": "Who decides which candidates go on after a rung.",
        "rungs": "Steps of recovery after which candidates are compared: rising, below steps.",
        "rung_accuracy": "The accuracy by which candidates are compared at a rung.",
        "steps": "Training steps of a whole recovery; 0: none.",
        "recipe": "How a candidate is recovered: a recipe's fields, or the id of a job that tuned "
        "one. Default: the teacher's own.",
        "pruning": "How the units that survive a cut are chosen.",
        "recovery": "How accuracy is won back after a cut.",
        "refit": "Training pairs on which the weights that a cut has left are refitted; 0: none.",
        "probes": "Latency probes to run beside those that limits and costs ask for.",
        "data": "What candidates learn from and are judged on.",
        "budget": "When the search ends, whichever comes first.",
        "warm_start": "Earlier jobs over the same space to learn from.",
        "fronts": "Earlier jobs; what is on their fronts is tried first.",
        "remeasure": "Measure latencies that earlier jobs have measured again, on the device as it "
        "is now.",
        "first": "To be tried before all others: parameters of candidates, or JOB/NUMBER of a "
        "trial of an earlier search over the same space.",
        "opening": "Candidates of every size to begin with.",
        "at_once": "Candidates on their way together. Default: what the workers hold.",
        "device": "Where candidates are trained: cpu, cuda or cuda:N.",
        "seed": "Of everything that is drawn by lot.",
        "sampler_seed": "Of what is tried alone, so that it is judged alike. Default: the seed.",
    },
    RecipeJob: {
        "teacher": "A shipped teacher's name, or a tracker's folder; of: that of the trial's job.",
        "architecture": "Of the cut. Default: the teacher's own.",
        "kept_layers": "Numbers of the teacher's layers that stay. Default: all.",
        "pruning": "How the units that survive a cut are chosen.",
        "refit": "Training pairs on which the weights that a cut has left are refitted; 0: none.",
        "recovery": "How accuracy is won back after a cut.",
        "recipe": "The recipe to start from: its fields, or the id of a job that tuned one. "
        "Default: the teacher's own.",
        "steps": "Training steps of a whole recovery. Default: those of the recipe.",
        "data": "What is learnt from and judged on.",
        "vary": "What is tried: by a recipe's field its least and most, a list of choices, or null "
        "for the usual range. Default: rates, weight decay, warm-up and weights of the loss.",
        "trials": "Recipes to try; the starting recipe is the first.",
        "scheduler": "By asha the worst stop early, by pbt they go on with weights of the best.",
        "metric": "What recipes are compared by.",
        "device": "Where it is trained: cpu, cuda or cuda:N.",
        "threads": "Of torch, of each trial.",
        "parallel": "Trials at once. Default: what the workers hold.",
        "seconds": "End the trials after so long; then the starting recipe stays.",
        "seed": "Of everything that is drawn by lot.",
        "name": "Of the job.",
        "of": "JOB/NUMBER of a trial: its cut is meant, recovered as it was there. What is said "
        "beside it stands.",
    },
    Where: {
        "dataset": "The data set.",
        "root": "Where it lies. Default for synthetic: its usual place.",
        "train": "The split that candidates learn from.",
        "judged_on": "The split that they are judged on.",
        "train_count": "Only so many sequences to learn from.",
        "judged_count": "Only so many sequences to judge on.",
        "rules": "Whose accuracy rules. Default: those of the data set.",
    },
    Budget: {
        "trials": "Candidates that pass the tests before training; infeasible ones are extra.",
        "asked": "Candidates of all kinds. Default: ten times trials.",
        "seconds": "That the job has run, its interruptions not counted.",
        "cpu_seconds": "Of workers: the time that a candidate took, times its threads.",
        "gpu_seconds": "The same of GPUs.",
        "hypervolume": "Of the front, a share from 0 to 1: that is good enough.",
        "plateau": "End when so many candidates have not moved the front.",
    },
    Range: {
        "least": "Units, or a share up to 1.0 of what the teacher has.",
        "most": "Units, or a share up to 1.0 of what the teacher has; 1: all.",
        "choices": "At most so many widths, evenly apart; or give step.",
        "step": "Units between two widths; or give choices.",
    },
    Layers: {
        "least": "At least so many layers stay. Default: as few as the family can do with.",
        "kept_only": "The numbers of the layers that stay; none is chosen.",
    },
}


def job_schema(*, in_a_file: bool = False) -> Schema:
    """The schema of a job. ``in_a_file``: of what commands read, where the name and the teacher
    may be left out."""
    found = _object(Job)
    return {
        "$schema": DIALECT,
        "title": "A Paretrack job",
        "description": "One search for light versions of a tracker.",
        **found,
        "required": [] if in_a_file else found["required"],
    }


def recipe_job_schema() -> Schema:
    """The schema of a job that tunes a recipe; with ``of`` a teacher is known."""
    found = _object(RecipeJob)
    return {
        "$schema": DIALECT,
        "title": "A tuning of a recipe",
        "description": "How one cut of a tracker is trained best.",
        **found,
        "required": ["name"],
        "anyOf": [{"required": ["of"]}, {"required": ["teacher"]}],
    }


def _object(kind: type[Any]) -> Schema:
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}
    said = {name: _field(kind, field, hints[name]) for name, field in known.items()}
    return {
        "type": "object",
        "properties": said,
        "required": [name for name, field in known.items() if _is_required(field)],
        "additionalProperties": False,
    }


def _field(kind: type[Any], field: "Field[Any]", hint: Any) -> Schema:
    said = {"description": ABOUT[kind][field.name], **_of(hint), **_narrower(kind, field.name)}
    if field.default is not MISSING and field.default is not None:
        said["default"] = plain(field.default)
    return said


def _is_required(field: "Field[Any]") -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _of(hint: Any) -> Schema:
    """A type as ``value_from_json`` reads it."""
    origin, inner = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return _object(hint)  # type: ignore[arg-type]  # never an instance: hints are types
    if origin in (Union, UnionType):
        return _any_of([{"type": "null"} if one is NoneType else _of(one) for one in inner])
    if origin is tuple:
        return {"type": "array", "items": _of(inner[0])}
    if origin is Mapping:
        return {"type": "object"}
    if hint is Any:
        return {}
    return {"type": _SCALARS[hint]}


_SCALARS: Mapping[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def _any_of(members: list[Schema]) -> Schema:
    """One member, or plain types, need no anyOf."""
    if all(set(member) == {"type"} for member in members):
        types = list(dict.fromkeys(member["type"] for member in members))
        if "number" in types and "integer" in types:
            types.remove("integer")
        return {"type": types[0] if len(types) == 1 else types}
    return members[0] if len(members) == 1 else {"anyOf": members}


# --- what the types do not say ------------------------------------------------------------------


def _narrower(kind: type[Any], name: str) -> Schema:
    """Names on offer and bounds, where a field has them."""
    if (kind, name) == (Job, "space"):
        return _space()
    return _narrowed().get((kind, name), {})


@cache
def _narrowed() -> Mapping[tuple[type[Any], str], Schema]:
    driven_up = [m.name for m in METRICS.values() if m.better == "higher"]
    costs = [m.name for m in METRICS.values() if m.better == "lower"]
    bound = "|".join(name.replace(".", r"\.") for name in METRICS)
    positive = {"type": ["number", "null"], "exclusiveMinimum": 0}
    whole = {"type": ["integer", "null"], "minimum": 1}
    width = {"type": "number", "exclusiveMinimum": 0}
    name = {"minLength": 1, "pattern": r"^(?!\s*\.{0,2}\s*$)[^/\\\x00]*$"}
    return {
        (Job, "name"): name,
        (Job, "teacher"): _on_offer(teachers()),
        (Job, "accuracy"): {"enum": driven_up},
        (Job, "costs"): {**_each({"enum": costs}), "minItems": 1, "uniqueItems": True},
        (Job, "limits"): _each({"type": "string", "pattern": rf"^\s*({bound})\s*(<=|>=|≤|≥)"}),
        (Job, "sampler"): {"enum": names_in("service.samplers", "SAMPLERS")},
        (Job, "early_stopping"): {"enum": names_in("service.early_stopping", "RULES")},
        (Job, "rungs"): {**_each({"type": "integer", "minimum": 0}), "uniqueItems": True},
        (Job, "rung_accuracy"): {"enum": ["one_step_iou", "pair_loss"]},
        (Job, "steps"): {"minimum": 0},
        (Job, "pruning"): {"enum": names_in("workers.pruning", "METHODS")},
        (Job, "recovery"): {"enum": names_in("workers.recovery", "RECOVERIES")},
        (Job, "refit"): {"minimum": 0},
        (Job, "probes"): _each({"enum": names_in("workers.latency", "PROBES")}),
        (Job, "first"): _each({"type": ["object", "string"], "pattern": FIRST}),
        (Job, "opening"): {"minimum": 0},
        (Job, "at_once"): whole,
        (RecipeJob, "name"): name,
        (RecipeJob, "of"): {"pattern": r"^[^/]{1,80}/\d{1,9}$"},
        (RecipeJob, "teacher"): _on_offer(teachers()),
        (RecipeJob, "pruning"): {"enum": names_in("workers.pruning", "METHODS")},
        (RecipeJob, "recovery"): {"enum": names_in("workers.recovery", "RECOVERIES")},
        (RecipeJob, "recipe"): {"type": ["object", "string", "null"]},
        (RecipeJob, "refit"): {"minimum": 0},
        (RecipeJob, "steps"): {"type": ["integer", "null"], "minimum": LEAST_STEPS},
        (RecipeJob, "trials"): {"minimum": 2, "maximum": MOST_TRIALS},
        (RecipeJob, "scheduler"): {"enum": ["asha", "pbt"]},
        (RecipeJob, "metric"): {"enum": ["one_step_iou", "pair_loss"]},
        (RecipeJob, "threads"): {"minimum": 1},
        (RecipeJob, "parallel"): whole,
        (RecipeJob, "seconds"): positive,
        (Where, "dataset"): {"enum": names_in("workers.datasets", "DATASETS")},
        (Where, "rules"): {"enum": [None, *RULES]},
        (Where, "train_count"): whole,
        (Where, "judged_count"): whole,
        (Budget, "trials"): {"minimum": 1},
        (Budget, "asked"): whole,
        (Budget, "seconds"): positive,
        (Budget, "cpu_seconds"): positive,
        (Budget, "gpu_seconds"): positive,
        (Budget, "hypervolume"): {**positive, "exclusiveMaximum": 1},
        (Budget, "plateau"): whole,
        (Range, "least"): width,
        (Range, "most"): width,
        (Range, "choices"): {"minimum": 2},
        (Range, "step"): {"minimum": 1},
    }


def _each(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _on_offer(names: list[str]) -> Schema:
    """Names that an editor proposes; any other text is fine."""
    return {"type": "string", "anyOf": [{"enum": names}, {"type": "string"}]}


def _space() -> Schema:
    """Levers are named after kinds and groups of units, which depend on the teacher."""
    width = {"type": "number", "exclusiveMinimum": 0}
    return {
        "type": ["object", "null"],
        "properties": {
            "round_to": {"type": "integer", "minimum": 1, "description": "Multiple of widths."},
            "layers": {"description": "Which layers may be left out.", **_object(Layers)},
        },
        "additionalProperties": {"anyOf": [_object(Range), width]},
    }


# --- names on offer -----------------------------------------------------------------------------


def names_in(module: str, table: str) -> list[str]:
    """The keys of a module's table, as its source has them; the module is not imported."""
    found = [
        node.value
        for node in _source(module).body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.target.id == table
    ]
    assert len(found) == 1 and isinstance(found[0], ast.Dict), f"{module} has no table {table}"
    return [str(ast.literal_eval(key)) for key in found[0].keys if key is not None]


def _source(module: str) -> ast.Module:
    spec = find_spec(module)
    assert spec is not None and spec.origin is not None, f"no module {module}"
    return tree_of(Path(spec.origin))
