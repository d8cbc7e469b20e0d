"""The plain SQL of the migrations, one file per step."""

from contextlib import closing
from importlib import resources

from sqlalchemy import Connection


def run_step(connection: Connection, name: str) -> None:
    """Run every statement of `<name>.sql` on the migration's connection."""
    run_script(connection, (resources.files(__name__) / f"{name}.sql").read_text(encoding="utf-8"))


def run_script(connection: Connection, script: str) -> None:
    # Straight to the driver: SQLAlchemy would take ':' and '%' for parameters.
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute(script)
