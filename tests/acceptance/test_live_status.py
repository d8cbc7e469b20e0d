"""A change of the fleet reaches the open page and the API at once, whichever client wrote it."""

import time
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from support import fleet, promises
from support.live_page import open_page
from support.processes import Processes, Service
from support.waiting import eventually

STARTING_RUN = "select id from billing_runs where biller = 'builtin' and finished_at is not null"
RAW_STATUSES = [
    "running",
    "offline",
    "booting",
    "rebooting",
    "failed",
    "busy",
    "unknown",
    "",
    None,
    "Running",
    "error",
]


async def statistics(web: Service) -> dict[str, Any]:
    document = await web.get_json("/api/health/stats")
    return dict(document["vps"])


@pytest.mark.main_path
async def test_a_changed_status_is_shown_within_a_second(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    instances = await fleet.add_instances(connection, *["running"] * 20)
    web = await processes.start_web(database_url)
    await processes.start_stats_aggregator(database_url)

    async with open_page(web) as page:
        await page.next_with(running=20)
        waits = []
        for number, instance in enumerate(instances[:5], start=1):
            await connection.execute("update vps_instances set status = 'error' where id = $1", instance)
            changed = time.monotonic()
            message = await page.next_with(running=20 - number, error=number)
            waits.append(time.monotonic() - changed)
            assert sum(message["vps"]["byStatus"].values()) == message["vps"]["total"] == 20
            shown = await statistics(web)
            assert shown == message["vps"]
        assert page.versions == sorted(set(page.versions))
    # Not the worst of them: a busy machine makes one or the other wait for its turn.
    assert sorted(waits)[2] < 1.0, waits


async def test_counts_by_status_sum_to_the_total_whatever_the_provider_says(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    await fleet.add_instances(connection, *RAW_STATUSES)
    web = await processes.start_web(database_url)
    shown = await statistics(web)
    assert shown["total"] == len(RAW_STATUSES)
    assert shown["byStatus"] == {
        "running": 1,
        "stopped": 1,
        "provisioning": 1,
        "rebooting": 1,
        "error": 2,
        "other": 5,
    }


@pytest.mark.main_path
async def test_a_row_written_the_originals_way_is_counted_billed_and_shown(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    web = await processes.start_web(database_url)
    await processes.start_stats_aggregator(database_url)
    # The built-in biller bills once when it starts, and then on the hour: what comes now is left for the daemon.
    await eventually(lambda: connection.fetchval(STARTING_RUN))
    async with open_page(web) as page:
        assert (await page.next())["vps"]["total"] == 0
        organization = await fleet.add_organization(connection, balance="10.00")
        specifications = {"vcpus": 2, "memory": 4096, "disk": 81920, "transfer": 4000, "region": "us-east"}
        plan = await fleet.add_plan(
            connection, base_price="24.00", markup_price="5.20", specifications=specifications
        )
        instance = await fleet.add_instance(connection, organization, plan, label="shop", hours_due=3)
        message = await page.next_with(running=1)
    assert message["vps"]["resources"] == {"totalVCPUs": 2, "totalMemoryGB": 4, "totalDiskGB": 80}

    await processes.bill_once(database_url)

    cycle = await connection.fetchrow("select * from vps_billing_cycles where vps_instance_id = $1", instance)
    assert cycle is not None
    assert cycle["status"] == "billed"
    assert cycle["hourly_rate"] == Decimal("0.04")
    assert cycle["total_amount"] == Decimal("0.12")
    assert cycle["metadata"]["hours_charged"] == 3
    assert cycle["metadata"].keys() == {"hours_charged", "elapsed_hours"}
    payment = await connection.fetchrow(
        "select * from payment_transactions where id = $1", cycle["payment_transaction_id"]
    )
    assert payment is not None
    written = {
        name: payment[name]
        for name in ("payment_method", "payment_provider", "status", "currency", "description")
    }
    assert written == {
        "payment_method": "wallet_debit",
        "payment_provider": "internal",
        "status": "completed",
        "currency": "USD",
        "description": "VPS Hourly Billing - shop (3h)",
    }
    assert payment["amount"] == Decimal("-0.12")
    assert payment["provider_transaction_id"] is None
    assert payment["metadata"] == {"balance_before": 10, "balance_after": 9.88}
    assert await fleet.balance_of(connection, organization) == Decimal("9.88")

    document = await web.get_json("/api/health/platform-stats")
    assert document["stats"]["vps"]["total"] == 1
    daemon = (await eventually(lambda: run_is_shown(web)))["daemon"]
    assert daemon["lastRunSuccess"] is True


async def run_is_shown(web: Service) -> dict[str, Any]:
    document: dict[str, Any] = await web.get_json("/api/health/billing-daemon")
    assert document["daemon"]["lastRunBy"] == "daemon", document
    assert document["daemon"]["instancesBilled"] == 1, document
    return document


@pytest.mark.parametrize("ending", ["kill", "terminate"])
async def test_without_an_aggregator_the_counts_stay_exact_and_none_is_lost_or_doubled(
    database_url: str, connection: asyncpg.Connection, processes: Processes, ending: str
) -> None:
    await fleet.add_instances(connection, *["running"] * 10)
    web = await processes.start_web(database_url)
    aggregator = await processes.start_stats_aggregator(database_url)
    async with open_page(web) as page:
        await page.next_with(running=10)
        await (aggregator.kill() if ending == "kill" else aggregator.terminate())

        await connection.execute(
            "update vps_instances set status = 'offline' where id in (select id from vps_instances limit 4)"
        )
        await connection.execute("delete from vps_instances where status = 'running' and label like '%'")
        await fleet.add_instance(connection, status="rebooting")
        await page.next_with(promises.SHOWN_WITHOUT_HINT_SECONDS, running=0, stopped=4, rebooting=1)
        shown = await statistics(web)
        assert (shown["total"], shown["byStatus"]["stopped"], shown["byStatus"]["rebooting"]) == (5, 4, 1)
        assert await connection.fetchval("select count(*) from count_deltas") > 0

        await processes.start_stats_aggregator(database_url)
        await eventually(lambda: all_is_folded(connection))
        assert await statistics(web) == shown
    assert (
        await connection.fetchval("select amount from totals_now where metric = 'vps_instances_total'") == 11
    )


async def all_is_folded(connection: asyncpg.Connection) -> bool:
    """No delta is left, and the counts are what counting the rows says."""
    assert await connection.fetchval("select count(*) from count_deltas") == 0
    counted = await connection.fetch(
        "select coalesce(status, '') as status, count(*) as amount from vps_instances group by 1 order by 1"
    )
    kept = await connection.fetch(
        "select status, sum(amount)::bigint as amount from counts where metric = 'vps_instances'"
        " group by status having sum(amount) <> 0 order by status"
    )
    return [tuple(row) for row in counted] == [tuple(row) for row in kept]
