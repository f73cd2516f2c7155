"""paretrack db: the database's schema."""

import os

import typer

from service.commands._options import Json
from service.settings import read_settings
from service.terminal import Terminal, table

app = typer.Typer(help="The database: bring its schema up to date.", no_args_is_help=True)


@app.command()
def upgrade(as_json: Json = False) -> None:
    """Make the tables that are missing, change those of an older version; data stays.

    Every process does so when it starts. In production run it once, before new versions start.
    Example: `PARETRACK_DATABASE_URL=postgresql://... paretrack db upgrade`
    """
    from service.database import embedded_url, open_database, shown
    from service.migrations import HEAD

    settings = read_settings(os.environ)
    engine = open_database(settings.database_url or embedded_url(settings.home / "paretrack.db"))
    engine.dispose()
    said = {"database": shown(engine.url), "revision": HEAD}
    Terminal(as_json).answer(said, table(("database", "revision"), [list(said.values())]))
