"""A disk that is full in the middle of a run: the run is on record as failed, the page says so, and room ends it."""

import asyncio
import contextlib
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from containerstacks_shared.billing.verify import Severity, verify
from containerstacks_shared.local.embedded import EmbeddedPostgres
from containerstacks_shared.schema import migrate
from support import charges, databases
from support.clock import shift_clock
from support.headline import headline
from support.processes import Processes
from support.waiting import becomes, eventually

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a file system that is small")

DISK_MEGABYTES = 160
END_SESSIONS = """
select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name like 'containerstacks-%'
"""
BLOCK = bytes(64 * 1024)


class Disk:
    """A small file system in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        with contextlib.suppress(OSError), self._filler.open("ab", buffering=0) as filler:
            while True:
                filler.write(BLOCK)

    def make_room(self) -> None:
        self._filler.unlink()


@pytest.fixture
def disk() -> Iterator[Disk]:
    with tempfile.TemporaryDirectory(prefix="containerstacks-disk-") as name:
        options = f"size={DISK_MEGABYTES}m,mode=0755"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", name], check=True)
        try:
            Path(name).chmod(0o755)
            yield Disk(Path(name))
        finally:
            subprocess.run(["umount", name], check=True)


@pytest.fixture
async def dsn(disk: Disk) -> AsyncIterator[str]:
    postgres = EmbeddedPostgres(disk.folder / "data", version=databases.server_version(), fast=True)
    try:
        dsn = await asyncio.to_thread(postgres.start)
        await asyncio.to_thread(migrate, dsn)
        yield dsn
    finally:
        postgres.stop("immediate")


async def test_a_full_disk_fails_the_run_and_the_page_says_so_until_there_is_room(
    disk: Disk, dsn: str, processes: Processes
) -> None:
    connection = await databases.connect(dsn)
    due = await charges.add_due_fleet(connection, organizations=10, instances=100, hours=2)
    await processes.start_billing_daemon(dsn, TEST_CLOCK="1")
    web = await processes.start_web(dsn, TEST_CLOCK="1", RATE_LIMIT_ANONYMOUS="100000/minute")
    await becomes(lambda: charges.hours_billed(connection), dict.fromkeys(due.expected, due.hours))
    # What it takes to move the clock is there already.
    await shift_clock(connection, timedelta(0))
    disk.fill()
    await shift_clock(connection, due.hours * timedelta(hours=1))
    await connection.execute(END_SESSIONS)

    async def reports_the_failure() -> bool:
        document: dict[str, Any] = (await web.get_json("/api/health/billing-daemon"))["daemon"]
        assert document["lastRunSuccess"] is False
        return await headline(web) == "The last billing run failed"

    await eventually(reports_the_failure, pause=0.5)
    # Meanwhile it may have begun again.
    failures = await connection.fetch("select error_message from billing_runs where status = 'failed'")
    assert any("No space left on device" in run["error_message"] for run in failures), failures
    disk.make_room()
    once = await processes.run("containerstacks-billing-daemon", "once", database_url=dsn, TEST_CLOCK="1")
    assert once.exit_code == 0, once.errors
    assert await charges.hours_billed(connection) == dict.fromkeys(due.expected, 2 * due.hours)
    await eventually(lambda: no_biller_is_left(connection))
    assert [each for each in await verify(connection) if each.severity is Severity.OWN] == []
    await connection.close()


async def no_biller_is_left(connection: asyncpg.Connection) -> bool:
    running: int = await connection.fetchval("select count(*) from billing_runs where status = 'running'")
    return running == 0
