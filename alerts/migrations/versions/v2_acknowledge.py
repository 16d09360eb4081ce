"""Acknowledging is a function, so that the dashboard's role, which only reads, may do that and nothing else."""

from pathlib import Path

from alembic import op

revision = "v2"
down_revision = "v1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the function."""
    op.execute(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
