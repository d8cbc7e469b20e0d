"""`status`: whether the daemon is alive, by the database, or by the status file when that cannot be asked."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from containerstacks_shared.billing.control import read_control
from containerstacks_shared.billing.documents import DaemonDetails
from containerstacks_shared.billing.status import read_daemon_details
from containerstacks_shared.core.errors import DatabaseUnavailable
from containerstacks_shared.database import db, suitability

from . import status_file
from .settings import BillingDaemonSettings
from .status_file import FileStatus, StatusDocument


@dataclass(frozen=True)
class State:
    alive: bool
    lines: list[str]


async def read_from_database(settings: BillingDaemonSettings) -> State:
    """Raises `DatabaseUnavailable`, and `DatabaseUnsuitable` when there is nothing to read."""
    connection = None
    try:
        connection = await db.dedicated_connection(settings.listen_dsn, service="status")
        await suitability.assert_schema(connection)
        daemon = await read_daemon_details(connection, interval=settings.billing_interval)
        control = await read_control(connection)
    except db.UNAVAILABLE as error:
        raise DatabaseUnavailable(f"The database at {db.describe(settings.dsn)} cannot be asked.") from error
    finally:
        if connection is not None:
            await db.close_quietly(connection)
    paused = [f"paused            by {control.changed_by}: {control.reason}"] if control.paused else []
    return State(alive=not daemon.is_stale, lines=[*_describe_daemon(daemon), *paused])


def read_from_file(candidates: Iterable[Path]) -> State | None:
    """Judge by the first status file that exists, and by whether its process runs."""
    for path in candidates:
        document = status_file.read(path)
        if document is not None:
            alive = document.status is not FileStatus.STOPPED and status_file.is_running(document.pid)
            return State(alive=alive, lines=[f"According to {path}:", *_describe_file(document, alive=alive)])
    return None


def _describe_daemon(daemon: DaemonDetails) -> list[str]:
    return [
        f"status            {daemon.status.value}",
        f"active biller     {daemon.active_biller.value}",
        f"instance          {daemon.instance_id or '-'}",
        f"uptime            {_uptime(daemon.uptime_minutes)}",
        f"last run          {_moment(daemon.last_run)}{_by(daemon)}",
        f"last success      {_moment(daemon.last_successful_run)}",
        f"instances billed  {daemon.instances_billed}",
        f"next run          {_moment(daemon.next_scheduled_run)}",
        f"last error        {daemon.error_message or '-'}",
    ]


def _describe_file(document: StatusDocument, *, alive: bool) -> list[str]:
    status = document.status if alive else FileStatus.STOPPED
    return [
        f"status            {status.value}",
        f"instance          {document.instance_id}",
        f"last run          {_moment(document.last_run)}",
        f"last success      {_moment(document.last_successful_run)}",
        f"instances billed  {document.instances_billed}",
        f"next run          {_moment(document.next_scheduled_run)}",
    ]


def _by(daemon: DaemonDetails) -> str:
    return f", by {daemon.last_run_by.value}" if daemon.last_run_by is not None else ""


def _uptime(minutes: int | None) -> str:
    return "-" if minutes is None else f"{minutes} minutes"


def _moment(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"
