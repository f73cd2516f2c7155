"""What Alembic runs: with the connection that it was given, in that one's transaction."""

from alembic import context

from service import tables
from service.database import Base
from service.migrations import VERSIONS

assert tables  # so that all of them are known
connection = context.config.attributes["connection"]
ours = set(Base.metadata.tables)
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    version_table=VERSIONS,
    render_as_batch=connection.dialect.name == "sqlite",
    include_name=lambda name, kind, _parents: kind != "table" or name in ours,
    compare_type=True,
)
context.run_migrations()
