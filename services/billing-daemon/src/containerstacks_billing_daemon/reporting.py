"""Telling how the daemon is doing where a program looks for it: the status file and the metrics."""

import asyncio
import os
from dataclasses import asdict
from datetime import datetime
from typing import Final

import structlog

from containerstacks_shared.billing.status import read_last_runs
from containerstacks_shared.database.db import FAILURES, Pool, application_version
from containerstacks_shared.database.locks import holder_name

from . import metrics
from .settings import BillingDaemonSettings
from .status_file import FileStatus, StatusDocument, StatusFile

# A stop must not wait for a database that does not answer.
_DATABASE_SECONDS: Final = 5.0

_log: Final = structlog.get_logger(__name__)


class Reporter:
    """Says what the database says of the last runs, and what this process knows of itself."""

    def __init__(self, pool: Pool, settings: BillingDaemonSettings, file: StatusFile) -> None:
        self._pool = pool
        self._settings = settings
        self._file = file
        self._document = StatusDocument(
            status=FileStatus.RUNNING,
            instance_id=holder_name(),
            pid=os.getpid(),
            version=application_version(),
        )

    async def report(self, status: FileStatus, *, next_run: datetime | None) -> None:
        """Write the status file; with the database away, what was known of the runs stands."""
        self._document = self._document.model_copy(update={"status": status, "next_scheduled_run": next_run})
        try:
            await self._read_runs()
        except FAILURES as error:
            _log.info("reporting.database_away", error=str(error) or type(error).__name__)
        metrics.set_moment(metrics.LAST_SUCCESS_AT, self._document.last_successful_run)
        metrics.set_moment(metrics.NEXT_RUN_AT, next_run)
        await asyncio.to_thread(self._file.write, self._document)

    async def _read_runs(self) -> None:
        async with asyncio.timeout(_DATABASE_SECONDS), self._pool.acquire() as connection:
            runs = await read_last_runs(connection)
        self._document = self._document.model_copy(update=asdict(runs))
