"""The schema's history: plain SQL run by Alembic, one migrating session at a time, all or nothing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from containerstacks_shared.billing import charge
from containerstacks_shared.core.errors import DatabaseUnavailable, DatabaseUnsuitable
from containerstacks_shared.database import libpq
from containerstacks_shared.database.db import PRESUPPOSED
from containerstacks_shared.database.locks import LOCK_CLASS, Role

from .application import Capabilities, read_capabilities
from .backlog import Backlog, complete_pause, read_backlog
from .changes import Change, compare, read_objects
from .steps import run_script, run_step

_FOLDER = Path(__file__).parent
_POSTGRESQL_OLDEST = 150000
_LOCK_WAIT_MAX_SECONDS = 60.0
_LOCK_PAUSE_SECONDS = 0.25
# With what resuming would charge, where an adoption found something owed.
_PAUSED = """
select reason || coalesce(format('; resuming would charge %s USD of the %s USD that are owed in all',
                                 trim_scale(amount_payable), trim_scale(amount_owed)), '')
  from billing_control
 where paused
"""


Kind = Literal["created", "adopted", "upgraded", "current"]


@dataclass(frozen=True)
class Migration:
    """What `migrate` did: made a fresh schema, adopted the original's, moved on, or found all current."""

    kind: Kind
    revision: str
    billing_paused_reason: str | None
    # On this server; what is new here is not granted to them yet.
    services_have_roles: bool


@dataclass(frozen=True)
class Preview:
    """What `migrate` would do, and what the first run would then charge."""

    migration: Migration
    found: Capabilities
    changes: list[Change]
    backlog: Backlog
    # How long the application would wait.
    seconds: float


@cache
def head_revision() -> str:
    """The revision that this release needs."""
    head = ScriptDirectory(str(_FOLDER)).get_current_head()
    assert head is not None
    return head


def migrate(dsn: str) -> Migration:
    """Bring the database at `dsn` to this release's schema. Safe to run twice, and from two places at once.

    Raises `DatabaseUnavailable` when it cannot be reached, and `DatabaseUnsuitable` when it is too old,
    is no application's to adopt, is in the middle of something else, or does not let this role change it.
    """
    with _migrating(dsn) as (connection, config):
        return _migrate(connection, config)


def preview(dsn: str) -> Preview:
    """Return what `migrate` would do, and change nothing: the migration is made and rolled back.

    Raises what `migrate` raises. It locks what `migrate` locks, for as long.
    """
    with _migrating(dsn) as (connection, config):
        started = time.monotonic()
        found, before = read_capabilities(connection), read_objects(connection)
        migration = _migrate(connection, config)
        changes = compare(before, read_objects(connection))
        backlog = read_backlog(connection)
        connection.rollback()
        return Preview(migration, found, changes, backlog, time.monotonic() - started)


def _migrate(connection: Connection, config: Config) -> Migration:
    before = _revision(connection)
    if before is not None and before > head_revision():
        # A later release made it. This one works on it as it is; its own steps would undo what is newer.
        return _migration(connection, "current", before)
    command.upgrade(config, "head")
    if before is not None:
        _follow_the_application(connection)
    run_step(connection, "record_triggers")
    # Each release brings its rules about money, whether or not its tables are others.
    for rule in charge.RULES:
        run_script(connection, rule)
    adopted = bool(config.attributes.get("adopted"))
    if adopted:
        complete_pause(connection)
    return _migration(connection, _kind(before, adopted=adopted), head_revision())


def _migration(connection: Connection, kind: Kind, revision: str) -> Migration:
    return Migration(
        kind=kind,
        revision=revision,
        billing_paused_reason=connection.scalar(text(_PAUSED)),
        services_have_roles=bool(
            connection.scalar(text("select to_regrole('containerstacks_web') is not null"))
        ),
    )


def suspend(dsn: str) -> None:
    """Step aside for an upgrade of the application; the next `migrate` ends it. Billing is paused meanwhile.

    Raises what `migrate` raises, and `DatabaseUnsuitable` when there is nothing to suspend.
    """
    with _migrating(dsn) as (connection, _):
        _assert_of_this_release(connection, "suspend")
        if _is_suspended(connection):
            raise DatabaseUnsuitable(
                "This database is suspended already: `containerstacks migrate` ends that."
            )
        # Archiving creates one again each time.
        run_step(connection, "record_triggers")
        run_step(connection, "suspend")


def _follow_the_application(connection: Connection) -> None:
    """It may have been upgraded since the last migration."""
    suspended = _is_suspended(connection)
    if suspended:
        run_step(connection, "resume_scales")
    run_step(connection, "adopt")
    run_step(connection, "capabilities")
    if suspended:
        run_step(connection, "resume")
    run_step(connection, "restore_triggers")


def _is_suspended(connection: Connection) -> bool:
    return connection.scalar(text("select to_regclass('public.suspension')")) is not None


def leave(dsn: str) -> None:
    """Take everything of this project out of the database again; every row of the application's tables stays.

    Raises what `migrate` raises, and `DatabaseUnsuitable` when there is nothing to take out.
    """
    with _migrating(dsn) as (connection, config):
        _assert_of_this_release(connection, "take out")
        # What an upgrade of the application took from us meanwhile is there again, and goes in the same way.
        _follow_the_application(connection)
        command.downgrade(config, "base")
        connection.execute(text("drop table containerstacks_schema_version"))


@contextmanager
def _migrating(dsn: str) -> Iterator[tuple[Connection, Config]]:
    """Give the one session that may change the schema; all that it does is committed at the end, or nothing is."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: _connect(dsn), poolclass=NullPool)
    with engine.connect() as connection:
        _assert_version(connection)
        _lock(connection)
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(_FOLDER))
        try:
            yield connection, config
            connection.commit()
        except DBAPIError as error:
            raise _unsuitable(error.orig) from error
        except psycopg.Error as error:
            raise _unsuitable(error) from error


def _connect(dsn: str) -> psycopg.Connection:
    parameters = libpq.parameters(dsn) | {
        "connect_timeout": 10,
        "application_name": "containerstacks-migrate",
        # Of several servers the one that the services find, too.
        "target_session_attrs": "read-write",
    }
    try:
        connection = psycopg.connect(**parameters)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"The database cannot be reached: {_first_line(error)}") from error
    # Before anything is read: of a database without an encoding all text comes as bytes.
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        connection.close()
        raise DatabaseUnsuitable(
            f"This database is encoded in {encoding}; UTF8 is needed. Dump it, and restore it into one that is."
        )
    return connection


def _assert_version(connection: Connection) -> None:
    version = connection.scalar(text("select current_setting('server_version_num')::integer"))
    if version is None or version < _POSTGRESQL_OLDEST:
        raise DatabaseUnsuitable(f"PostgreSQL 15 or newer is needed; this server is {version}.")


def _lock(connection: Connection) -> None:
    """Held by the session until it closes. Try and pause: a blocking wait would be deaf to Ctrl-C."""
    give_up = time.monotonic() + _LOCK_WAIT_MAX_SECONDS
    while not connection.scalar(
        text("select pg_try_advisory_lock(:class, :number)"),
        {"class": LOCK_CLASS, "number": Role.MIGRATION.number},
    ):
        connection.rollback()
        if time.monotonic() > give_up:
            raise DatabaseUnsuitable("Another migration of this database has been running for a minute.")
        time.sleep(_LOCK_PAUSE_SECONDS)
    # The application may be running beside us: wait for its transactions, but never queue them up behind us for long.
    for name, value in {**PRESUPPOSED, "lock_timeout": "30s"}.items():
        connection.execute(text("select set_config(:name, :value, false)"), {"name": name, "value": value})
    connection.commit()


def _revision(connection: Connection) -> str | None:
    known = connection.scalar(text("select to_regclass('public.containerstacks_schema_version')::text"))
    if known is None:
        return None
    revision: str | None = connection.scalar(text("select version_num from containerstacks_schema_version"))
    return revision


def _assert_of_this_release(connection: Connection, what: str) -> None:
    revision = _revision(connection)
    if revision is None:
        raise DatabaseUnsuitable(f"This database is not migrated, so there is nothing to {what}.")
    if revision > head_revision():
        raise DatabaseUnsuitable(
            f"A later release made this schema (revision {revision}; this release knows {head_revision()}):"
            " run the command of that release."
        )


def _kind(before: str | None, *, adopted: bool) -> Kind:
    if before is None:
        return "adopted" if adopted else "created"
    return "current" if before == head_revision() else "upgraded"


def _unsuitable(error: BaseException | None) -> DatabaseUnsuitable:
    # What is in the way is named there: a view, a key.
    detail = error.diag.message_detail if isinstance(error, psycopg.Error) else None
    named = f" ({'; '.join(detail.splitlines())})" if detail else ""
    return DatabaseUnsuitable(
        f"The migration was refused by the database and nothing was changed: {_first_line(error)}{named}"
    )


def _first_line(error: BaseException | None) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
