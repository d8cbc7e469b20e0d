"""The listener: hears, folds, resynchronises, survives its session."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from containerstacks_shared.database.notify import RESYNC, Channel, Listener
from containerstacks_shared.process.runtime import Job
from support.jobs import running
from support.waiting import LIMIT_SECONDS

CHANNELS = (Channel.COUNT_DELTAS, Channel.BILLING_CHANGED)
LISTENING_PID = "select pid from pg_stat_activity where application_name = 'containerstacks-listener-test'"


@pytest.fixture
async def listener(database_url: str) -> AsyncIterator[Listener]:
    listener = Listener(database_url, CHANNELS, service="listener-test")
    async with running(Job("listener", listener.run)):
        yield listener


async def test_a_new_session_starts_with_a_resync(listener: Listener) -> None:
    assert await listener.subscribe().wait(LIMIT_SECONDS) == {RESYNC}
    assert listener.connected


async def test_a_subscription_made_later_starts_with_a_resync_too(listener: Listener) -> None:
    await listener.subscribe().wait(LIMIT_SECONDS)
    assert await listener.subscribe().wait(0) == {RESYNC}


async def test_equal_hints_are_merged_and_other_channels_ignored(
    listener: Listener, connection: asyncpg.Connection
) -> None:
    everything = listener.subscribe()
    billing = listener.subscribe(Channel.BILLING_CHANGED)
    await everything.wait(LIMIT_SECONDS)
    await billing.wait(LIMIT_SECONDS)

    for channel in (Channel.COUNT_DELTAS, Channel.COUNT_DELTAS, Channel.BILLING_CHANGED):
        await connection.execute("select pg_notify($1, '')", channel)

    assert await billing.wait(LIMIT_SECONDS) == {Channel.BILLING_CHANGED}
    # Notifications arrive in the order of their commits, so the other two are here as well.
    assert await everything.wait(0) == {Channel.COUNT_DELTAS, Channel.BILLING_CHANGED}
    assert await everything.wait(0) == frozenset()


async def test_an_unsubscribed_listener_gets_no_hints(
    listener: Listener, connection: asyncpg.Connection
) -> None:
    gone, here = listener.subscribe(), listener.subscribe()
    await gone.wait(LIMIT_SECONDS)
    await here.wait(LIMIT_SECONDS)
    listener.unsubscribe(gone)
    await connection.execute("select pg_notify($1, '')", Channel.COUNT_DELTAS)
    assert await here.wait(LIMIT_SECONDS) == {Channel.COUNT_DELTAS}
    assert await gone.wait(0) == frozenset()


async def test_a_killed_session_is_replaced_and_resynchronised(
    listener: Listener, connection: asyncpg.Connection
) -> None:
    subscription = listener.subscribe()
    await subscription.wait(LIMIT_SECONDS)
    before = await connection.fetchval(LISTENING_PID)

    await connection.execute("select pg_terminate_backend($1, 5000)", before)
    assert await subscription.wait(LIMIT_SECONDS) == {RESYNC}

    assert await connection.fetchval(LISTENING_PID) not in {None, before}
    await connection.execute("select pg_notify($1, '')", Channel.COUNT_DELTAS)
    assert await subscription.wait(LIMIT_SECONDS) == {Channel.COUNT_DELTAS}


async def test_stopping_ends_the_session(database_url: str, connection: asyncpg.Connection) -> None:
    listener = Listener(database_url, CHANNELS, service="listener-test")
    async with running(Job("listener", listener.run)):
        await listener.subscribe().wait(LIMIT_SECONDS)
    assert not listener.connected
    assert await connection.fetchval(f"select count(*) from ({LISTENING_PID}) _") == 0


async def test_a_channel_that_is_not_listened_to_cannot_be_subscribed(database_url: str) -> None:
    listener = Listener(database_url, CHANNELS, service="listener-test")
    with pytest.raises(ValueError, match="wallet_topped_up"):
        listener.subscribe(Channel.WALLET_TOPPED_UP)


async def test_waiting_on_a_quiet_subscription_returns_no_hints(database_url: str) -> None:
    subscription = Listener(database_url, CHANNELS, service="listener-test").subscribe()
    async with asyncio.timeout(LIMIT_SECONDS):
        assert await subscription.wait(0.01) == frozenset()
