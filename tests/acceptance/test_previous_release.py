"""The previous release runs on this tree's schema: an upgrade migrates first and restarts afterwards, one by one."""

from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from acceptance import previous_release
from acceptance.previous_release import Release
from support import charges
from support.live_page import open_page
from support.processes import Processes, Service
from support.waiting import becomes


@pytest.fixture
def release(tmp_path: Path) -> Release:
    folder = tmp_path / "previous"
    folder.mkdir()
    return previous_release.check_out(folder)


def test_the_newest_release_is_the_last_one_in_the_changelog() -> None:
    assert previous_release.newest_before("# Changelog\n\n## Unreleased\n\n- A thing.\n") is None
    assert (
        previous_release.newest_before("## Unreleased\n\n- A.\n\n## 1.1.0 (2027-01-31)\n\n## 1.0.0\n")
        == "v1.1.0"
    )
    # Released, and nothing has come since.
    assert (
        previous_release.newest_before("## Unreleased\n\n## 1.1.0 (2027-01-31)\n\n- B.\n\n## 1.0.0\n")
        == "v1.0.0"
    )
    # The release that is being made is not its own predecessor.
    assert previous_release.newest_before("## 1.1.0 (2027-01-31)\n\n## 1.0.0\n") == "v1.0.0"
    assert previous_release.newest_before("## 1.0.0\n") is None


async def test_the_database_takes_every_query_of_the_previous_release(
    release: Release, database_url: str
) -> None:
    assert await release.unprepared(database_url) == []


async def test_a_schema_that_lacks_a_column_of_the_previous_release_is_detected(
    release: Release, database_url: str, connection: asyncpg.Connection
) -> None:
    await connection.execute("alter table billing_runs rename column holder to held_by")
    problems = await release.unprepared(database_url)
    assert any('column "holder"' in problem for problem in problems), problems


@pytest.mark.timeout(180)
async def test_the_previous_release_bills_and_shows_until_this_one_takes_over(
    release: Release,
    database_url: str,
    connection: asyncpg.Connection,
    processes: Processes,
    record_property: Callable[[str, object], None],
) -> None:
    record_property("survived", f"the previous release ({release.ref}) on this schema")
    before = await charges.add_due_fleet(connection, organizations=3)
    old = [
        await start(processes, database_url, **release.environment)
        for start in (Processes.start_web, Processes.start_stats_aggregator, Processes.start_billing_daemon)
    ]
    await becomes(lambda: charges.hours_billed(connection), before.expected)
    async with open_page(old[0]) as page:
        await page.next_with(running=12)
        await connection.execute("update vps_instances set status = 'stopped'")
        await page.next_with(stopped=12)
    await processes.succeed(
        *("containerstacks", "wallet", "credit", "--organization", str(before.organizations[0].id)),
        *("--amount", "5.00", "--reference", "payment-1"),
        database_url=database_url,
        **release.environment,
    )

    # This release starts beside it; the next leader bills the hours that came due meanwhile.
    new = [
        await start(processes, database_url)
        for start in (Processes.start_web, Processes.start_stats_aggregator, Processes.start_billing_daemon)
    ]
    after = await charges.add_due_fleet(connection, organizations=2)
    for service in old:
        assert await service.terminate() == 0, service.log
    await becomes(lambda: charges.hours_billed(connection), before.expected | after.expected)
    async with open_page(new[0]) as page:
        await page.next_with(stopped=12, running=8)
    await processes.find_no_damage(database_url)
    assert not any(complaints(service) for service in (*old, *new))


def complaints(service: Service) -> list[str]:
    return [line for line in service.log.splitlines() if '"level": "error"' in line]
