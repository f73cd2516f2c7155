"""A job is a study of Optuna's: found by its name, made, held to the objectives it began with."""

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, cast

from optuna.study import StudyDirection
from sqlalchemy import Connection, Engine, Table, insert, select

from search_spaces._errors import ParetrackError
from service import _optuna_tables as tables
from service._upserts import put
from service.database import shown


def find_study(connection: Connection, name: str) -> int | None:
    """The id of the study with this name, if there is one."""
    studies = tables.STUDIES.c
    return connection.execute(
        select(studies.study_id).where(studies.study_name == name)
    ).scalar_one_or_none()


def known_study(engine: Engine, connection: Connection, name: str) -> int:
    """The id of the study with this name, which must be there."""
    study_id = find_study(connection, name)
    if study_id is None:
        raise no_job(engine, connection, name)
    return study_id


def no_job(engine: Engine, connection: Connection, name: str) -> ParetrackError:
    """The error that says which jobs there are: the closest first, then the newest others."""
    newest = select(tables.STUDIES.c.study_name).order_by(tables.STUDIES.c.study_id.desc())
    names = list(connection.execute(newest).scalars())
    close = get_close_matches(name, names, n=3)
    others = [other for other in names if other not in close][:20]
    like = f"did you mean {' or '.join(close)}? " if close else ""
    there = f"there are {', '.join([*close, *others])}" if names else "there is none yet"
    return ParetrackError(f"no job named {name!r} in {shown(engine.url)}; {like}{there}")


def create_study(
    connection: Connection, name: str, directions: Sequence[StudyDirection], metrics: Sequence[str]
) -> int:
    """The rows that ``optuna.create_study`` and ``set_metric_names`` write."""
    inserted = connection.execute(insert(tables.STUDIES), {"study_name": name})
    (study_id,) = inserted.inserted_primary_key or (None,)
    connection.execute(
        insert(tables.DIRECTIONS),
        [
            {"study_id": study_id, "objective": objective, "direction": direction}
            for objective, direction in enumerate(directions)
        ],
    )
    names = {tables.METRIC_NAMES: list(metrics)}
    put_attrs(connection, tables.STUDY_SYSTEM_ATTRS, "study_id", cast(int, study_id), names)
    return cast(int, study_id)


def check_objectives(
    connection: Connection,
    name: str,
    study_id: int,
    directions: Sequence[StudyDirection],
    metrics: Sequence[str],
) -> None:
    """Refuse to go on with a job under objectives that its trials do not have."""
    columns = tables.DIRECTIONS.c
    stored = connection.execute(
        select(columns.direction).where(columns.study_id == study_id).order_by(columns.objective)
    ).scalars()
    attrs = read_attrs(connection, tables.STUDY_SYSTEM_ATTRS, study_id)
    before = _objectives(attrs.get(tables.METRIC_NAMES), list(stored))
    now = _objectives(metrics, directions)
    if before != now:
        raise ParetrackError(
            f"job {name!r} is there already, with the objectives {before} instead of {now}; "
            "give the new one another name"
        )


def _objectives(metrics: Sequence[str] | None, directions: Sequence[StudyDirection]) -> str:
    names = metrics or ["unnamed"] * len(directions)
    return ", ".join(f"{d.name.lower()} {m}" for m, d in zip(names, directions, strict=True))


def put_attrs(
    connection: Connection, table: Table, owner: str, owner_id: int, attrs: Mapping[str, Any]
) -> None:
    """Set attributes of a study or a trial."""
    put(connection, table, attr_rows(owner, owner_id, attrs), owner, "key")


def attr_rows(owner: str, owner_id: int, attrs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of attributes of a study or a trial."""
    return [
        {owner: owner_id, "key": key, "value_json": json.dumps(value)}
        for key, value in attrs.items()
    ]


def read_attrs(connection: Connection, table: Table, study_id: int) -> dict[str, Any]:
    """The attributes of a study."""
    rows = connection.execute(
        select(table.c.key, table.c.value_json).where(table.c.study_id == study_id)
    )
    return {key: json.loads(value) for key, value in rows}
