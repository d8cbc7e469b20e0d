"""TRUNCATE shows its triggers no rows: what it empties is counted, buried and entered, or it is refused."""

import asyncpg
import pytest

from support.billing import Billing, another_session


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
@pytest.mark.parametrize("emptied", ["vps_instances", "wallets"])
async def test_rows_that_a_snapshot_is_too_old_to_see_are_not_truncated(
    billing: Billing, *, isolation: str, emptied: str
) -> None:
    async with another_session(billing.dsn) as session:
        await session.execute(f"begin isolation level {isolation}")
        await session.fetchval("select count(*) from vps_instances")
        await billing.add_instance(hours_due=3)
        await billing.credit(billing.organization, "5")
        with pytest.raises(asyncpg.FeatureNotSupportedError, match=f"truncate of {emptied} is refused"):
            await session.execute(f"truncate {emptied} cascade")
        await session.execute("rollback")
    await billing.run()
    assert await billing.connection.fetchval("select sum(hours_billed) from billing_runs") == 3
    assert await billing.verify() == []


async def test_at_read_committed_everything_is_counted_buried_and_entered(billing: Billing) -> None:
    async with another_session(billing.dsn) as session, session.transaction():
        await session.fetchval("select count(*) from vps_instances")
        instance = await billing.add_instance(hours_due=3)
        await billing.credit(billing.organization, "5")
        await session.execute("truncate vps_instances cascade")
    assert await billing.connection.fetchval("select coalesce(sum(amount), 0) from vps_counts_now") == 0
    await billing.run()
    assert await billing.hours_billed(instance) == 3
    await billing.connection.execute("truncate wallets")
    assert await billing.verify() == []
