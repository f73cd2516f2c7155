"""What a search writes for itself: leases, measurements, rungs."""

import sqlalchemy as sa
from alembic import op

from service.database import Instant

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column("name", sa.String(512), primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("token", sa.Integer, nullable=False),
        sa.Column("acquired_at", Instant, nullable=False),
        sa.Column("expires_at", Instant, nullable=False),
    )
    op.create_table(
        "measurements",
        sa.Column("digest", sa.String(128), primary_key=True),
        sa.Column("steps", sa.Integer, primary_key=True),
        sa.Column("tracked", sa.Boolean, primary_key=True),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("measured_at", Instant, nullable=False),
        sa.Column("measurement_json", sa.Text, nullable=False),
    )
    op.create_table(
        "rungs",
        sa.Column("trial_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("rung", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("steps", sa.Integer, nullable=False),
        sa.Column("values_json", sa.Text, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("measurement_json", sa.Text),
        sa.Column("decided_at", Instant, nullable=False),
    )
