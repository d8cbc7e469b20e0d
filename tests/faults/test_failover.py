"""The primary dies and its standby is promoted: what was reported stays, and each hour is billed once.

With a synchronous standby nothing that was reported is lost. With an asynchronous one the last moments may be: then
wallets, cycles and `last_billed_at` go back together, and the hours are billed again, once.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import asyncpg
import pytest

from containerstacks_shared.billing.documents import RunStatus
from containerstacks_shared.billing.run import RunSummary
from containerstacks_shared.core.errors import LeadershipLost
from containerstacks_shared.database import db
from containerstacks_shared.database.locks import Leadership, Role, assert_term
from containerstacks_shared.schema import migrate
from support import charges, databases, fleet
from support.billing import Billing
from support.charges import DueFleet
from support.live_page import open_page
from support.processes import Processes
from support.replication import STANDBY, Pair, replicated_pair
from support.storm import Storm, shows, statuses
from support.waiting import becomes, eventually, session_waiting_for

CYCLES = "select id from vps_billing_cycles"


@pytest.mark.timeout(240)
async def test_the_primary_dies_in_a_billing_run_and_a_status_storm(
    processes: Processes, record_property: Callable[[str, object], None]
) -> None:
    with replicated_pair({"synchronous_commit": "on"}) as pair:
        due = await prepare(pair, organizations=12)
        await wait_for_standby(pair)
        # Whichever of the two bills first charges some before it comes to that wallet.
        web = await processes.start_web(pair.dsn(), BILLING_BATCH_INSTANCES="4")
        await processes.start_stats_aggregator(pair.dsn())
        storm = Storm(pair.dsn(), list(due.expected))
        async with open_page(web) as page:
            # The run stops in its middle, at a wallet that somebody holds until the server dies.
            holder = await asyncpg.connect(pair.primary.dsn())
            await holder.execute("begin")
            await holder.execute(
                "select from wallets where id = $1 for update", due.organizations[6].wallet_id
            )
            async with storm.blowing():
                daemon = await processes.start_billing_daemon(pair.dsn(), BILLING_BATCH_INSTANCES="4")
                watcher = await asyncpg.connect(pair.primary.dsn())
                await session_waiting_for(watcher, holder.get_server_pid())
                await eventually(lambda: storm.committed > 10)
                reported = {row["id"] for row in await watcher.fetch(CYCLES)}
                assert reported

                pair.primary.stop("immediate")
                promoted_at = asyncio.get_running_loop().time()
                pair.promote()

                before = storm.committed
                await eventually(lambda: storm.committed > before)
            ended_at = datetime.now(UTC)
            connection = await asyncpg.connect(pair.dsn())
            await shows(page, await statuses(connection), since=ended_at)
            right_after = asyncio.get_running_loop().time() - promoted_at
            record_property("survived", f"a failover; the page was right {right_after:.1f} s after promotion")
            for session in (holder, watcher):
                session.terminate()

        await becomes(lambda: charges.hours_billed(connection), due.expected)
        assert reported <= {row["id"] for row in await connection.fetch(CYCLES)}
        # Each status is the last one whose commit was confirmed.
        assert await storm.matches(connection)
        await connection.close()
        done = await processes.run("containerstacks", "verify", "--full", database_url=pair.dsn())
        assert done.exit_code == 0, done.output + done.errors
        assert daemon.running, daemon.log
        assert web.running, web.log


@pytest.mark.parametrize("synchronous_commit", ["on", "remote_apply"])
async def test_with_a_synchronous_standby_no_reported_charge_is_lost(synchronous_commit: str) -> None:
    with replicated_pair({"synchronous_commit": synchronous_commit}) as pair:
        due = await prepare(pair, organizations=3)
        await wait_for_standby(pair)
        async with databases.open_pool(pair.dsn()) as pool:
            assert (await bill(pair, pool)).status is RunStatus.SUCCEEDED

            pair.primary.stop("immediate")
            pair.promote()

            connection = await asyncpg.connect(pair.dsn())
            assert await charges.hours_billed(connection) == due.expected
            assert await Billing(pair.dsn(), pool, connection).verify() == []
            await connection.close()


async def test_with_an_asynchronous_standby_lost_hours_go_back_whole_and_are_billed_once_more() -> None:
    with replicated_pair({"synchronous_commit": "on"}) as pair:
        due = await prepare(pair, organizations=3)
        await cut_off(pair)
        async with databases.open_pool(pair.dsn()) as pool:
            lost = Leadership(pair.dsn(), Role.STATS_AGGREGATOR, service="tests", holder="lost")
            lost_term = await lost.try_acquire()
            assert lost_term is not None
            assert (await bill(pair, pool)).status is RunStatus.SUCCEEDED

            pair.primary.stop("immediate")
            pair.promote()

            connection = await asyncpg.connect(pair.dsn())
            billing = Billing(pair.dsn(), pool, connection)
            assert await charges.hours_billed(connection) == {}
            assert await billing.verify() == []
            await eventually(lambda: bills_again(pair, pool))
            assert await charges.hours_billed(connection) == due.expected
            assert await billing.verify() == []

            # The new primary counts the lost term a second time, for somebody else.
            async with Leadership(pair.dsn(), Role.STATS_AGGREGATOR, service="tests", holder="new") as new:
                new_term = await new.try_acquire()
                assert new_term is not None
                assert new_term.number == lost_term.number
                async with connection.transaction():
                    with pytest.raises(LeadershipLost):
                        await assert_term(connection, lost_term)
            await lost.release()
            await connection.close()


async def prepare(pair: Pair, *, organizations: int) -> DueFleet:
    migrate(pair.primary.dsn())
    connection = await asyncpg.connect(pair.primary.dsn())
    due = await charges.add_due_fleet(connection, organizations=organizations, instances=4, hours=3)
    await fleet.add_user(connection)
    written = await connection.fetchval("select pg_current_wal_lsn()::text")
    await connection.close()
    standby = await asyncpg.connect(pair.standby.dsn())
    await eventually(lambda: standby.fetchval("select pg_last_wal_replay_lsn() >= $1::text::pg_lsn", written))
    await standby.close()
    return due


async def wait_for_standby(pair: Pair) -> None:
    """From here on a commit is reported only when the standby has it."""
    connection = await asyncpg.connect(pair.primary.dsn())
    await connection.execute(f"alter system set synchronous_standby_names = '{STANDBY}'")
    await connection.execute("select pg_reload_conf()")
    await eventually(
        lambda: connection.fetchval(
            "select exists (select from pg_stat_replication where sync_state = 'sync')"
        ),
    )
    await connection.close()


async def cut_off(pair: Pair) -> None:
    """From here on the standby receives nothing, and commits do not wait for it."""
    connection = await asyncpg.connect(pair.standby.dsn())
    await connection.execute("alter system set primary_conninfo = ''")
    await connection.execute("select pg_reload_conf()")
    await eventually(lambda: connection.fetchval("select not exists (select from pg_stat_wal_receiver)"))
    await connection.close()


async def bill(pair: Pair, pool: db.Pool) -> RunSummary:
    connection = await asyncpg.connect(pair.dsn())
    try:
        return await Billing(pair.dsn(), pool, connection).run()
    finally:
        await connection.close()


async def bills_again(pair: Pair, pool: db.Pool) -> bool:
    # The pool's idle sessions died with the old primary; each is found out at its next use.
    try:
        return (await bill(pair, pool)).status is RunStatus.SUCCEEDED
    except db.UNAVAILABLE:
        return False
