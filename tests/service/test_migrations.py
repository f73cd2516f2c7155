"""Databases of every earlier revision come up to the newest, with what is in them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, text

from search_spaces import ParetrackError
from service import migrations, tables
from service.database import Base, open_database, reading, writing

assert tables  # all of them are known
THEN = datetime(2026, 11, 1, 3, 0, tzinfo=UTC)
# What a database of each revision may hold. A new revision adds its rows here.
CONTENT: dict[str, dict[str, list[dict[str, Any]]]] = {
    "0001": {
        "leases": [
            {"name": "job a", "holder": "h", "token": 3, "acquired_at": THEN, "expires_at": THEN}
        ],
        "rungs": [
            {
                "trial_id": 7, "rung": 0, "steps": 25, "values_json": "{}", "verdict": "wait",
                "note": "", "measurement_json": None, "decided_at": THEN,
            }
        ],
        "measurements": [
            {
                "digest": "d", "steps": 0, "tracked": True, "job": "a", "measured_at": THEN,
                "measurement_json": "{}",
            }
        ],
    },
    "0002": {
        "owners": [{"name": "ada", "most_running": 2, "weight": 1.0, "created_at": THEN}],
        "idempotency_keys": [
            {"owner": "ada", "key": "k", "body_sha256": "s", "job_id": None, "created_at": THEN}
        ],
    },
    "0003": {
        "jobs": [
            {
                "id": "a", "kind": "search", "name": "a", "owner": "ada", "project": None,
                "tracker": "siamrpn", "priority": 0, "state": "SUCCEEDED", "reason": "",
                "spec_json": "{}", "summary_json": "{}", "version": 1, "events": 0, "attempts": 1,
                "not_before": None, "queued_at": THEN, "created_at": THEN, "started_at": THEN,
                "ended_at": THEN, "archived_at": None, "schedule_id": None,
            }
        ],
        "timings": [
            {
                "job_id": "a", "number": 3, "probe": "eager", "device_id": "0123456789abcdef",
                "at": THEN, "digest": "d", "threads": 1, "median_ms": 2.0, "p10_ms": 1.9,
                "p90_ms": 2.4, "spread": None, "before_job": None, "before_number": None,
                "change": None,
            }
        ],
        "job_devices": [
            {
                "job_id": "a", "device_id": "0123456789abcdef", "name": "a processor",
                "machine": "", "cores": "", "trials": 1, "first_at": THEN, "last_at": THEN,
                "told_json": "{}",
            }
        ],
    },
}  # fmt: skip


def revisions() -> list[str]:
    script = ScriptDirectory(str(Path(migrations.__file__).parent))
    return [one.revision for one in script.walk_revisions()][::-1]


def all_rows(engine: Engine, names: list[str]) -> dict[str, list[dict[str, Any]]]:
    known = Base.metadata.tables
    with reading(engine) as connection:
        return {n: [dict(r._mapping) for r in connection.execute(known[n].select())] for n in names}


def fill(engine: Engine, content: dict[str, list[dict[str, Any]]]) -> None:
    with writing(engine) as connection:
        for name, rows in content.items():
            connection.execute(Base.metadata.tables[name].insert(), rows)


def test_the_newest_revision_is_the_one_that_is_opened() -> None:
    assert revisions()[-1] == migrations.HEAD
    assert set(CONTENT) == set(revisions()), "a revision without content is not tested"


def test_a_new_database_is_what_the_tables_say(database_url: str) -> None:
    engine = open_database(database_url)
    with engine.connect() as connection:
        options = {"version_table": migrations.VERSIONS, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        optunas = set(inspect(connection).get_table_names()) - set(Base.metadata.tables)
        found = [
            difference
            for difference in compare_metadata(context, Base.metadata)
            if getattr(difference[1], "name", None) not in optunas
            and getattr(getattr(difference[1], "table", None), "name", None) not in optunas
        ]
    engine.dispose()
    assert found == []


@pytest.mark.parametrize("revision", revisions())
def test_a_database_of_an_earlier_revision_keeps_what_is_in_it(
    database_url: str, revision: str
) -> None:
    engine = open_database(database_url)
    with writing(engine) as connection:
        for table in reversed(Base.metadata.sorted_tables):
            table.drop(connection)
        connection.execute(text(f"DROP TABLE {migrations.VERSIONS}"))
        migrations.upgrade(connection, revision)
    stored = {n: rows for at, c in CONTENT.items() if at <= revision for n, rows in c.items()}
    fill(engine, stored)
    engine.dispose()
    again = open_database(database_url)
    assert all_rows(again, list(stored)) == stored
    with reading(again) as connection:
        assert migrations.revision_of(connection) == migrations.HEAD
    again.dispose()


def test_a_database_from_before_there_were_revisions_is_taken_for_the_first(
    database_url: str,
) -> None:
    engine = open_database(database_url)
    with writing(engine) as connection:
        for table in reversed(Base.metadata.sorted_tables):
            if table.name not in CONTENT["0001"]:
                table.drop(connection)
        connection.execute(text(f"DROP TABLE {migrations.VERSIONS}"))
    fill(engine, CONTENT["0001"])
    engine.dispose()
    again = open_database(database_url)
    assert all_rows(again, list(CONTENT["0001"])) == CONTENT["0001"]
    assert "jobs" in inspect(again).get_table_names()
    again.dispose()


def test_a_database_of_a_newer_paretrack_is_refused(database_url: str) -> None:
    engine = open_database(database_url)
    with writing(engine) as connection:
        connection.execute(text(f"UPDATE {migrations.VERSIONS} SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(ParetrackError, match=r"9999.*newer"):
        open_database(database_url)


def test_an_upgrade_that_fails_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE rungs (other INTEGER)"))
    engine.dispose()
    with pytest.raises(ParetrackError, match="rungs"):
        open_database(f"sqlite:///{tmp_path / 'a.db'}")
    engine = create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    assert "leases" not in inspect(engine).get_table_names()
    engine.dispose()
