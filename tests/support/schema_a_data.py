"""Databases as the original application leaves them: version A lived in, version B only recognizable."""

from pathlib import Path

import psycopg

FOLDER = Path(__file__).parent


def build(dsn: str) -> None:
    """Make an empty database one of version A, with rows of everything that a migration may meet."""
    _run(dsn, "schema_a.sql", "schema_a_rows.sql")


def build_schema_b(dsn: str) -> None:
    _run(dsn, "schema_a.sql", "schema_b.sql")


def _run(dsn: str, *files: str) -> None:
    with psycopg.connect(dsn) as connection:
        for file in files:
            # Bytes: SQL from a file is no literal, and nothing is put into it.
            connection.execute((FOLDER / file).read_bytes())
