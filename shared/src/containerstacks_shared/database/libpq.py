"""Connection strings as libpq reads them, for what goes by it: migrations and psql."""

from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from containerstacks_shared.core.errors import ConfigurationError


def parameters(dsn: str) -> dict[str, Any]:
    """Take a connection string apart. Raises `ConfigurationError`."""
    try:
        return conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        # libpq's message quotes what it does not understand, which may be the password.
        raise ConfigurationError(
            "DATABASE_URL: libpq does not understand it, or one of its parameters"
            " (expected postgresql://user:password@host:5432/database?name=value, by libpq's names)"
        ) from None
