"""A PostgreSQL server without an installation: started and stopped explicitly, its data in one folder."""

from .server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres"]
