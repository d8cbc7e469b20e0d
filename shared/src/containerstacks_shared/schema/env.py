"""Alembic's entry point: every revision runs on the one connection that `migrate` opened and locked."""

from alembic import context

VERSION_TABLE = "containerstacks_schema_version"

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    # One transaction for all: a failed migration leaves the database as it was.
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
