"""The original application pauses while one of ours bills, and resumes when none of ours is there any more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal

import asyncpg
import pytest

from containerstacks_shared.billing.documents import Biller
from containerstacks_shared.billing.heartbeat import STALE_AFTER, Heartbeat, hand_back_if_last
from containerstacks_shared.core.errors import LeadershipLost
from containerstacks_shared.database.locks import Leadership, Role
from support.billing import Billing
from support.clock import clock_now

HOUR = timedelta(hours=1)
ROLES = {Biller.DAEMON: Role.BILLING_DAEMON, Biller.BUILTIN: Role.BUILTIN_BILLING}


@asynccontextmanager
async def active(
    billing: Billing, biller: Biller, holder: str
) -> AsyncIterator[tuple[Heartbeat, Leadership]]:
    """A biller that leads and has begun; how it ends is the test's matter."""
    async with Leadership(billing.dsn, ROLES[biller], service="tests", holder=holder) as leadership:
        term = await leadership.try_acquire()
        assert term is not None
        heartbeat = Heartbeat(billing.pool, biller, term, interval=HOUR)
        await heartbeat.register()
        yield heartbeat, leadership


async def stop(heartbeat: Heartbeat, leadership: Leadership) -> None:
    """As the billers do: first the role, then the goodbye."""
    await leadership.release()
    await heartbeat.deregister()


async def rows(billing: Billing) -> dict[str, asyncpg.Record]:
    return {
        row["daemon_instance_id"]: row
        for row in await billing.connection.fetch("select * from billing_daemon_status")
    }


async def newest_heartbeat(billing: Billing) -> datetime | None:
    """What the original application looks at: the greatest of all rows."""
    beat: datetime | None = await billing.connection.fetchval(
        "select max(heartbeat_at) from billing_daemon_status"
    )
    return beat


async def test_a_biller_that_starts_has_a_row_in_the_originals_form(billing: Billing) -> None:
    async with active(billing, Biller.DAEMON, "host-1"):
        row = (await rows(billing))["host-1"]
    assert row["status"] == "running"
    assert row["heartbeat_at"] == row["started_at"]
    assert {"os", "hostname", "pid", "billingIntervalMinutes"} <= set(row["metadata"])
    assert (row["metadata"]["biller"], row["metadata"]["billingIntervalMinutes"]) == ("daemon", 60)
    assert row["last_run_at"] is None


async def test_a_beat_is_of_the_databases_time(billing: Billing, connection: asyncpg.Connection) -> None:
    async with active(billing, Biller.DAEMON, "host-1") as (heartbeat, _):
        await billing.pass_hours(5)
        await heartbeat.beat()
        beat = await newest_heartbeat(billing)
        assert beat is not None
        assert abs(await clock_now(connection) - beat) < timedelta(seconds=5)


async def test_the_last_biller_that_stops_takes_the_heartbeats_away(billing: Billing) -> None:
    async with active(billing, Biller.DAEMON, "host-1") as daemon:
        await daemon[0].record_success(instances_billed=7, hours=9, amount=Decimal("1.25"))
        await stop(*daemon)
    row = (await rows(billing))["host-1"]
    assert (row["heartbeat_at"], row["status"]) == (None, "stopped")
    # What the last run did stays readable.
    assert (row["last_run_success"], row["instances_billed"]) == (True, 7)
    assert (row["total_hours"], row["total_amount"]) == (9, Decimal("1.25"))


@pytest.mark.parametrize("first", Biller)
async def test_while_another_of_ours_is_active_the_heartbeat_stays_fresh(
    billing: Billing, first: Biller
) -> None:
    second = Biller.BUILTIN if first is Biller.DAEMON else Biller.DAEMON
    async with active(billing, first, "host-1") as one, active(billing, second, "host-2") as two:
        await stop(*one)
        assert await newest_heartbeat(billing) is not None
        await stop(*two)
        assert await newest_heartbeat(billing) is None


async def test_while_a_standby_waits_the_heartbeat_stays_and_the_standby_hands_back(billing: Billing) -> None:
    async with Leadership(billing.dsn, Role.BUILTIN_STANDBY, service="tests") as standby:
        assert await standby.try_acquire()
        async with active(billing, Biller.DAEMON, "host-1") as daemon:
            await stop(*daemon)
        assert await newest_heartbeat(billing) is not None
        await hand_back_if_last(billing.pool)
        assert await newest_heartbeat(billing) is not None
        await standby.release()
        await hand_back_if_last(billing.pool)
    assert await newest_heartbeat(billing) is None


async def test_when_billers_stop_together_the_heartbeat_ends(billing: Billing) -> None:
    # Once in about thirty rounds, two that took each other's rows in turn were a deadlock.
    for _ in range(30):
        async with (
            active(billing, Biller.DAEMON, "host-1") as one,
            active(billing, Biller.BUILTIN, "host-2") as two,
        ):
            await asyncio.gather(stop(*one), stop(*two))
        assert await newest_heartbeat(billing) is None


async def test_a_killed_biller_leaves_its_beat_until_the_next_of_its_kind_starts(billing: Billing) -> None:
    async with active(billing, Biller.DAEMON, "host-1"):
        pass
    assert await newest_heartbeat(billing) is not None
    async with active(billing, Biller.DAEMON, "host-2"):
        dead = (await rows(billing))["host-1"]
        assert (dead["heartbeat_at"], dead["status"]) == (None, "stopped")
        assert await newest_heartbeat(billing) is not None


async def test_the_other_kind_is_cleared_only_when_it_fell_silent(billing: Billing) -> None:
    async with active(billing, Biller.BUILTIN, "host-1"):
        pass
    async with active(billing, Biller.DAEMON, "host-2"):
        assert (await rows(billing))["host-1"]["heartbeat_at"] is not None
    await billing.pass_time(STALE_AFTER + timedelta(seconds=1))
    async with active(billing, Biller.DAEMON, "host-3"):
        assert {name: row["heartbeat_at"] is None for name, row in (await rows(billing)).items()} == {
            "host-1": True,
            "host-2": True,
            "host-3": False,
        }


async def test_the_originals_own_rows_are_left_alone(billing: Billing) -> None:
    await billing.connection.execute(
        "insert into billing_daemon_status (daemon_instance_id, status, heartbeat_at, metadata)"
        " values ('panel-1-4711', 'running', now(), '{\"nodeVersion\": \"v20\"}'), ('panel-2', 'running', now(), null)"
    )
    before = await rows(billing)
    async with active(billing, Biller.DAEMON, "host-1") as daemon:
        await daemon[0].beat()
        await stop(*daemon)
    after = await rows(billing)
    assert {name: after[name] for name in before} == before


async def test_a_biller_of_an_older_term_does_not_beat(billing: Billing) -> None:
    async with active(billing, Biller.DAEMON, "host-1") as (old, leadership):
        # Stalled, and replaced meanwhile.
        await leadership.release()
        async with active(billing, Biller.DAEMON, "host-2"):
            with pytest.raises(LeadershipLost, match="host-1 is no longer the active daemon biller"):
                await old.beat()
            assert (await rows(billing))["host-1"]["heartbeat_at"] is None


async def test_a_failed_run_keeps_the_last_figures_and_its_error(billing: Billing) -> None:
    async with active(billing, Biller.DAEMON, "host-1") as (heartbeat, _):
        await heartbeat.record_success(instances_billed=7, hours=9, amount=Decimal("1.25"))
        await heartbeat.record_failure("disk full")
        row = (await rows(billing))["host-1"]
        assert (row["last_run_success"], row["error_message"], row["instances_billed"]) == (
            False,
            "disk full",
            7,
        )
        await heartbeat.record_success(instances_billed=1, hours=1, amount=Decimal("0.01"))
        row = (await rows(billing))["host-1"]
        assert (row["last_run_success"], row["error_message"], row["instances_billed"]) == (True, None, 1)


async def test_a_restarted_process_reuses_its_row(billing: Billing) -> None:
    async with active(billing, Biller.DAEMON, "host-1") as (heartbeat, _):
        await heartbeat.record_success(instances_billed=7, hours=9, amount=Decimal("1.25"))
    async with active(billing, Biller.DAEMON, "host-1"):
        (row,) = (await rows(billing)).values()
        assert (row["status"], row["instances_billed"]) == ("running", 7)
