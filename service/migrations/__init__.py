"""The schema of Paretrack's own tables, and the way to it from every earlier one.

Optuna's tables lie in the same database and are Optuna's own business. One file a revision, in
``versions/``; what has been released is not edited any more. ``upgrade`` runs where a database is
opened, under a lock, and is only a look at one row where there is nothing to do.
"""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from search_spaces._errors import ParetrackError

VERSIONS = "paretrack_version"  # the table that says where a database is; Optuna has its own
HEAD = "0003"  # the newest revision
_FIRST = "0001"
_BEFORE_REVISIONS = "leases"  # a table of databases that were made before there were revisions


def revision_of(connection: Connection) -> str | None:
    """Where a database is; None: it is new."""
    tables = inspect(connection)
    if tables.has_table(VERSIONS):
        found = connection.execute(text(f"SELECT version_num FROM {VERSIONS}")).scalar()
        return None if found is None else str(found)
    return _FIRST if tables.has_table(_BEFORE_REVISIONS) else None


def upgrade(connection: Connection, to: str = HEAD) -> str | None:
    """Bring a database to a revision, in the transaction of ``connection``; where it was before."""
    before = revision_of(connection)
    if before == to:
        return before
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    if before is not None and before not in known:
        raise ParetrackError(
            f"the database is at revision {before}, which this version of Paretrack does not know "
            f"(its newest is {HEAD}): a newer Paretrack has upgraded it; use that version, or a "
            "copy of the database from before"
        )
    if before is not None and not inspect(connection).has_table(VERSIONS):
        command.stamp(config, before)
    command.upgrade(config, to)
    return before
