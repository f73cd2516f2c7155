"""What a job can be made of: names on offer, each with what its own file says of itself.

The tables that have these names import torch, and the API must not. So they are read as source:
a table's keys, and the docstrings of what stands behind them.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import search_spaces
from service._python_source import tree_of
from service.document_file import read_object
from service.job import Job, Where
from service.recipes import RECOVERED_BY, TRAINED_BY
from workers import teachers
from workers.metrics import METRICS

_ROOT = Path(search_spaces.__file__).parents[1]

# Where a name means no file, class or function of its own.
_SAMPLERS: Mapping[str, str] = {
    "nsga2": "A genetic sampler for two or three objectives, quick to ask: crosses and mutates.",
    "nsga3": "A genetic sampler that spreads its candidates evenly over many objectives.",
    "tpe": "A model of which values good candidates have: for a few hundred trials.",
    "gp": "A Gaussian process: for few trials that each take long.",
    "random": "By lot: the baseline that every other has to beat.",
}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One name on offer."""

    name: str
    about: str
    is_default: bool = False


@dataclass(frozen=True, kw_only=True)
class DatasetChoice(Choice):
    """A data set: ``needs_root``, unless it is generated."""

    splits: tuple[str, ...]
    needs_root: bool


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A metric, and what a job may use it for."""

    name: str
    label: str
    unit: str
    better: str
    uses: tuple[str, ...]  # fields of a job that may name it


@dataclass(frozen=True, kw_only=True)
class StoredRecipe:
    """A recipe that lies beside a teacher."""

    teacher: str
    purpose: str  # training, recovery
    about: str
    recipe: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Family:
    """A tracker family with its presets."""

    name: str
    about: str
    presets: tuple[str, ...]


@cache
def families() -> tuple[Family, ...]:
    return tuple(
        Family(
            name=name,
            about=_first_sentence(_doc(_source(f"search_spaces/{name}.py"))),
            presets=tuple(_table(f"search_spaces/{name}.py", "PRESETS")),
        )
        for name in search_spaces.names()
    )


@cache
def datasets() -> tuple[DatasetChoice, ...]:
    place = "workers/datasets/__init__.py"
    return tuple(
        DatasetChoice(
            name=name,
            about=_behind(place, value),
            is_default=name == Where().dataset,
            splits=_splits(name),
            needs_root=name != "synthetic",
        )
        for name, value in _table(place, "DATASETS").items()
    )


@cache
def samplers() -> tuple[Choice, ...]:
    return _choices("service/samplers.py", "SAMPLERS", "sampler", _SAMPLERS)


@cache
def early_stopping() -> tuple[Choice, ...]:
    return _choices("service/early_stopping.py", "RULES", "early_stopping")


@cache
def pruning_methods() -> tuple[Choice, ...]:
    return _choices("workers/pruning/__init__.py", "METHODS", "pruning")


@cache
def recoveries() -> tuple[Choice, ...]:
    return _choices("workers/recovery/__init__.py", "RECOVERIES", "recovery")


@cache
def probes() -> tuple[Choice, ...]:
    return _choices("workers/latency/__init__.py", "PROBES", "probes")


def objectives() -> tuple[Objective, ...]:
    """Every metric; those that a job cannot drive it can still bound."""
    return tuple(
        Objective(
            name=m.name,
            label=m.label,
            unit=m.unit,
            better=m.better,
            uses=(
                *(("accuracy",) if m.better == "higher" else ("costs",)),
                *(("rung_accuracy",) if m.name in ("one_step_iou", "pair_loss") else ()),
                "limits",
            ),
        )
        for m in METRICS.values()
    )


@cache
def recipes() -> tuple[StoredRecipe, ...]:
    kinds = ((TRAINED_BY, "training"), (RECOVERED_BY, "recovery"))
    words = {"training": "How {} was trained.", "recovery": "What recovers a cut of {} best."}
    return tuple(
        StoredRecipe(
            teacher=name,
            purpose=purpose,
            about=words[purpose].format(name),
            recipe=read_object(teachers.find(name) / file, "a recipe"),
        )
        for name in teachers.names()
        for file, purpose in kinds
        if (teachers.find(name) / file).exists()
    )


# --- read in the source -------------------------------------------------------------------------


def _choices(
    place: str, table: str, field: str, words: Mapping[str, str] | None = None
) -> tuple[Choice, ...]:
    usual = Job.__dataclass_fields__[field].default
    said = words or {}
    return tuple(
        Choice(name=name, about=said.get(name) or _behind(place, value), is_default=name == usual)
        for name, value in _table(place, table).items()
    )


def _table(place: str, name: str) -> dict[str, ast.expr]:
    """The table called ``name``: what stands behind each key."""
    found = _assigned(place, name)
    assert isinstance(found, ast.Dict), f"{name} of {place} is no table"
    pairs = zip(found.keys, found.values, strict=True)
    return {str(ast.literal_eval(key)): value for key, value in pairs if key is not None}


def _assigned(place: str, name: str) -> ast.expr:
    """What a file gives to a name of its own."""
    for node in _source(place).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        if [t.id for t in targets if isinstance(t, ast.Name)] == [name]:
            assert isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
            return node.value
    raise AssertionError(f"{place} has no {name}")


def _splits(dataset: str) -> tuple[str, ...]:
    if dataset == "synthetic":  # it takes them from the table of its strata
        return tuple(_table("workers/datasets/_synthetic/strata.py", "SPLITS"))
    return tuple(ast.literal_eval(_assigned(f"workers/datasets/{dataset}.py", "SPLITS")))


def _behind(place: str, value: ast.expr) -> str:
    """What the file, class or function behind a name says of itself."""
    if isinstance(value, ast.Attribute):  # magnitude.scores: the file magnitude.py
        value = value.value
    name = value.id if isinstance(value, ast.Name) else ""
    beside = str(Path(place).with_name(f"{name}.py"))
    if (_ROOT / beside).is_file():
        return _first_sentence(_doc(_source(beside)))
    for node in _source(place).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return _first_sentence(_doc(node))
    return ""


def _doc(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> str:
    return ast.get_docstring(node) or ""


def _first_sentence(docstring: str) -> str:
    """On one line, without the marks of code and without a name before a colon in them."""
    paragraph = " ".join(docstring.partition("\n\n")[0].split())
    end = paragraph.find(". ")
    sentence = paragraph if end < 0 else paragraph[: end + 1]
    if sentence.startswith("``"):
        sentence = sentence.partition("``: ")[2] or sentence
    plain = sentence.replace("``", "")
    return plain[:1].upper() + plain[1:]


def _source(place: str) -> ast.Module:
    return tree_of(_ROOT / place)
