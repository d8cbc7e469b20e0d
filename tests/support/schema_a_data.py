"""Databases as the original application leaves them: version A lived in, version B only recognizable."""

from collections.abc import Sequence
from pathlib import Path

import psycopg

FOLDER = Path(__file__).parent


def build(dsn: str) -> None:
    """Make an empty database one of version A, with rows of everything that a migration may meet."""
    _run(dsn, "schema_a.sql", "schema_a_rows.sql")


def build_schema_b(dsn: str) -> None:
    _run(dsn, "schema_a.sql", "schema_b.sql")


def steps_to_schema_b() -> list[str]:
    """Return what leads from version A to B, step by step: a database may stand between any two."""
    _, *steps = (FOLDER / "schema_b.sql").read_text(encoding="utf-8").split("\n\n")
    return steps


def build_between(dsn: str, *, steps: int) -> None:
    """Make an empty database one of version A that has taken these first steps towards B."""
    _run(dsn, "schema_a.sql")
    take_steps(dsn, steps_to_schema_b()[:steps])


def take_steps(dsn: str, steps: Sequence[str]) -> None:
    with psycopg.connect(dsn) as connection:
        for step in steps:
            connection.execute(step.encode())


def _run(dsn: str, *files: str) -> None:
    with psycopg.connect(dsn) as connection:
        for file in files:
            # Bytes: SQL from a file is no literal, and nothing is put into it.
            connection.execute((FOLDER / file).read_bytes())
