"""The tables of alerts, made and changed by the migrations in `alerts/migrations/`."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from shared.settings import Settings


def upgrade(settings: Settings) -> None:
    """Bring the tables to what this code needs; nothing where they are. Raises `SQLAlchemyError`."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["settings"] = settings
    command.upgrade(config, "head")
