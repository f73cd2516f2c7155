"""All that we know of Optuna's own tables, which it does not promise to keep as they are.

Optuna writes one transaction for each parameter and attribute; we write the same rows many at a
time. What is known here is checked whenever a database is opened, and tests compare our rows with
those of Optuna column by column.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from sqlalchemy import Engine, NullPool, Table, inspect

from search_spaces._errors import ParetrackError

WRITTEN_FOR = "5.0.0"  # the version of Optuna whose tables these are
CONSTRAINT = "constraints:"  # before the name of a constraint, in a trial's system attributes
METRIC_NAMES = "study:metric_names"  # among a study's system attributes

COLUMNS = {
    "studies": "study_id INTEGER, study_name VARCHAR(512)",
    "study_directions": "study_direction_id INTEGER, direction VARCHAR(8), study_id INTEGER, "
    "objective INTEGER",
    "study_system_attributes": "study_system_attribute_id INTEGER, study_id INTEGER, "
    "key VARCHAR(512), value_json TEXT",
    "study_user_attributes": "study_user_attribute_id INTEGER, study_id INTEGER, "
    "key VARCHAR(512), value_json TEXT",
    "trials": "trial_id INTEGER, number INTEGER, study_id INTEGER, state VARCHAR(8), "
    "datetime_start DATETIME, datetime_complete DATETIME",
    "trial_intermediate_values": "trial_intermediate_value_id INTEGER, trial_id INTEGER, "
    "step INTEGER, intermediate_value FLOAT, intermediate_value_type VARCHAR(7)",
    "trial_params": "param_id INTEGER, trial_id INTEGER, param_name VARCHAR(512), "
    "param_value FLOAT, distribution_json TEXT",
    "trial_system_attributes": "trial_system_attribute_id INTEGER, trial_id INTEGER, "
    "key VARCHAR(512), value_json TEXT",
    "trial_user_attributes": "trial_user_attribute_id INTEGER, trial_id INTEGER, "
    "key VARCHAR(512), value_json TEXT",
    "trial_values": "trial_value_id INTEGER, trial_id INTEGER, objective INTEGER, value FLOAT, "
    "value_type VARCHAR(7)",
}


def _table(model: Any) -> Table:
    return cast(Table, model.__table__)


STUDIES = _table(models.StudyModel)
DIRECTIONS = _table(models.StudyDirectionModel)
STUDY_SYSTEM_ATTRS = _table(models.StudySystemAttributeModel)
STUDY_USER_ATTRS = _table(models.StudyUserAttributeModel)
TRIALS = _table(models.TrialModel)
PARAMS = _table(models.TrialParamModel)
VALUES = _table(models.TrialValueModel)
INTERMEDIATE = _table(models.TrialIntermediateValueModel)
SYSTEM_ATTRS = _table(models.TrialSystemAttributeModel)
USER_ATTRS = _table(models.TrialUserAttributeModel)


def make_optuna_tables(engine: Engine) -> None:
    """Let Optuna itself make its tables, and see that they are those we write."""
    # Braces are a template to RDBStorage.
    url = engine.url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    timeout = {"timeout": 60} if engine.dialect.name == "sqlite" else {}
    try:
        # No pool: nothing stays open, whatever happens.
        storage = RDBStorage(url, engine_kwargs={"connect_args": timeout, "poolclass": NullPool})
    except (
        RuntimeError
    ) as error:  # another version of Optuna made them; its message says what to do
        raise ParetrackError(str(error)) from error
    storage.remove_session()
    storage.engine.dispose()
    check_columns(engine)


def check_columns(engine: Engine) -> None:
    """Refuse a schema that is not the one this module writes."""
    in_database = inspect(engine).get_multi_columns(filter_names=list(COLUMNS))
    stored = {table: {c["name"] for c in cs} for (_, table), cs in in_database.items()}
    for table, columns in COLUMNS.items():
        known = models.BaseModel.metadata.tables.get(table)
        installed = (
            ", ".join(f"{c.name} {c.type}" for c in known.columns) if known is not None else ""
        )
        names = {column.split()[0] for column in columns.split(", ")}
        if installed != columns or stored.get(table, set()) != names:
            raise ParetrackError(
                f"Optuna {optuna.__version__} keeps {table!r} with other columns than Paretrack "
                f"writes: expected ({columns}), Optuna has ({installed}), the database has "
                f"({', '.join(sorted(stored.get(table, set())))}); install optuna=={WRITTEN_FOR}"
            )


def utc_now() -> datetime:
    """Now, as Optuna stores it: UTC without saying so."""
    return datetime.now(UTC).replace(tzinfo=None)


def param_rows(
    trial_id: int, params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]
) -> list[dict[str, Any]]:
    return [
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": distributions[name].to_internal_repr(value),
            "distribution_json": distribution_to_json(distributions[name]),
        }
        for name, value in params.items()
    ]


def value_rows(trial_id: int, values: Sequence[float]) -> list[dict[str, Any]]:
    rows = []
    for objective, value in enumerate(values):
        stored, kind = models.TrialValueModel.value_to_stored_repr(float(value))
        rows.append(
            {"trial_id": trial_id, "objective": objective, "value": stored, "value_type": kind}
        )
    return rows


def intermediate_row(trial_id: int, step: int, value: float) -> dict[str, Any]:
    model = models.TrialIntermediateValueModel
    stored, kind = model.intermediate_value_to_stored_repr(float(value))
    return {
        "trial_id": trial_id,
        "step": step,
        "intermediate_value": stored,
        "intermediate_value_type": kind,
    }
