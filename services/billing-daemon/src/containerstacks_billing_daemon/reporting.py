"""Reports the daemon's state to programs: the status file and the metrics."""

import asyncio
import os
from dataclasses import asdict
from datetime import datetime
from typing import Final

import structlog

from containerstacks_shared.billing.audit_records import AuditRecord
from containerstacks_shared.billing.charge import Charged
from containerstacks_shared.billing.documents import RunStatus
from containerstacks_shared.billing.progress import Progress, progress_is_healthy
from containerstacks_shared.billing.status import read_last_runs
from containerstacks_shared.billing.term_observer import TermObserver
from containerstacks_shared.core.errors import describe
from containerstacks_shared.core.threads import in_own_thread
from containerstacks_shared.core.version import application_version
from containerstacks_shared.core.waiting import wait_for_event
from containerstacks_shared.database.db import FAILURES, Pool
from containerstacks_shared.database.locks import holder_name

from . import metrics
from .status_file import FileStatus, StatusDocument, StatusFile

# A stop must not wait for a database that is down.
_DATABASE_SECONDS: Final = 5.0
# Nor must billing wait for a disk that hangs.
_FILE_SECONDS: Final = 2.0

_log: Final = structlog.get_logger(__name__)


class Reporter(TermObserver):
    """Combines the last runs in the database with the state of this process."""

    def __init__(self, pool: Pool, file: StatusFile) -> None:
        self._pool = pool
        self._file = file
        self._has_led = False
        # The document that was written last, and whether that write has ended.
        self._written: StatusDocument | None = None
        self._writing: asyncio.Event | None = None
        self._document = StatusDocument(
            status=FileStatus.RUNNING,
            instance_id=holder_name(),
            pid=os.getpid(),
            version=application_version(),
        )

    async def began(self) -> None:
        self._has_led = True
        metrics.LEADER.set(1)
        await self._report(FileStatus.RUNNING, next_run=None)

    def ended(self) -> None:
        metrics.LEADER.set(0)

    async def stopped(self) -> None:
        """At the end of the process. The file is left to the daemon that bills, also if that took over just now."""
        if self._has_led and not self._file.is_of_another():
            await self._report(FileStatus.STOPPED, next_run=None)

    def paused(self, *, now: bool) -> None:
        metrics.PAUSED.set(now)

    def run_ended(self, status: RunStatus, charged: Charged) -> None:
        metrics.RUNS.labels(status.value).inc()
        metrics.INSTANCES_BILLED.inc(charged.instances_billed)
        metrics.SECONDS_BILLED.inc(charged.hours_billed * metrics.SECONDS_PER_HOUR)

    async def scheduled(self, next_run: datetime, *, failed: bool) -> None:
        await self._report(FileStatus.ERROR if failed else FileStatus.RUNNING, next_run=next_run)

    def progress_read(self, progress: Progress) -> None:
        owed = progress.owed
        metrics.SECONDS_OWED.set(owed.hours * metrics.SECONDS_PER_HOUR)
        metrics.set_moment(metrics.OWED_SINCE, owed.since)
        metrics.SECONDS_UNPAID.set(owed.hours_unpaid * metrics.SECONDS_PER_HOUR)
        metrics.set_moment(metrics.UNPAID_SINCE, owed.unpaid_since)
        metrics.PROGRESS_HEALTHY.set(progress_is_healthy(progress))

    def audit_read(self, audit: AuditRecord) -> None:
        metrics.set_moment(metrics.AUDIT_AT, audit.finished_at)
        metrics.AUDIT_FINDINGS.set(audit.findings_own)

    async def _report(self, status: FileStatus, *, next_run: datetime | None) -> None:
        """Write the status file; with the database away, what was known of the runs stands."""
        self._document = self._document.model_copy(update={"status": status, "next_scheduled_run": next_run})
        try:
            await self._read_runs()
        except FAILURES as error:
            _log.info("reporting.database_away", error=describe(error))
        metrics.set_moment(metrics.LAST_SUCCESS_AT, self._document.last_successful_run)
        metrics.set_moment(metrics.NEXT_RUN_AT, next_run)
        await self._write_file()

    async def _read_runs(self) -> None:
        async with asyncio.timeout(_DATABASE_SECONDS), self._pool.acquire() as connection:
            runs = await read_last_runs(connection)
        self._document = self._document.model_copy(update=asdict(runs))

    async def _write_file(self) -> None:
        """Write the newest document. A write that takes too long goes on by itself, and writes what comes meanwhile."""
        clock = asyncio.get_running_loop().time
        give_up = clock() + _FILE_SECONDS
        while self._written is not self._document:
            if self._writing is None or self._writing.is_set():
                self._writing = in_own_thread(self._write_newest, name="status file")
            if not await wait_for_event(self._writing, give_up - clock()):
                _log.warning("status_file.hangs", path=str(self._file.path))
                return

    def _write_newest(self) -> None:
        """One thread at a time does this, so that an older document never replaces a newer one."""
        while (document := self._document) is not self._written:
            try:
                self._file.write(document)
            finally:
                self._written = document
