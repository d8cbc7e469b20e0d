"""The aggregator as its process runs it: it folds with or without a hint, repairs, and reports its health."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from containerstacks_shared.core.errors import LeadershipLost
from containerstacks_shared.database import db
from containerstacks_shared.database.db import ADVISORY_LOCK_CLASS, HINT_LOCK
from containerstacks_shared.database.locks import Term
from containerstacks_shared.database.notify import Channel, Listener
from containerstacks_shared.fleet import counts
from containerstacks_shared.process.runtime import Job
from containerstacks_stats_aggregator import folding, reconciling
from containerstacks_stats_aggregator.app import LISTENER, create_app, jobs
from containerstacks_stats_aggregator.folding import FoldProgress, fold_until
from containerstacks_stats_aggregator.reconciling import reconcile_until
from containerstacks_stats_aggregator.settings import StatsAggregatorSettings
from containerstacks_stats_aggregator.waking import WakingClock
from support import fleet, promises, roles
from support.jobs import running
from support.waiting import becomes, eventually, listening

Client = TestClient[web.Request, web.Application]

LEADER = "select term from leaderships where role = 'stats_aggregator'"
LEADER_SESSION = (
    "select pid from pg_locks where locktype = 'advisory' and classid = $1 and objid = $2 and granted"
)

HINTS_HELD = (
    "select exists (select from pg_locks where locktype = 'advisory' and granted"
    f" and classid = {ADVISORY_LOCK_CLASS} and objid = {HINT_LOCK})"
)


@contextlib.asynccontextmanager
async def aggregator(database_url: str) -> AsyncIterator[Client]:
    """Run one, as its own role of the database, and give a client of its probes."""
    address = SecretStr(roles.as_role(database_url, roles.STATS_AGGREGATOR))
    app = create_app(StatsAggregatorSettings(database_url=address))
    async with TestClient(TestServer(app)) as client, running(*jobs(app)):
        await eventually(lambda: app[LISTENER].connected)
        yield client


async def counted(connection: asyncpg.Connection) -> int | None:
    amount: int | None = await connection.fetchval(
        "select sum(amount)::bigint from counts where metric = 'vps_instances'"
    )
    return amount


async def metric(client: Client, name: str) -> float:
    text = await (await client.get("/metrics")).text()
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))


async def test_a_change_is_folded_and_announced(database_url: str, connection: asyncpg.Connection) -> None:
    organization = await fleet.add_organization(connection)
    async with (
        aggregator(database_url) as client,
        listening(database_url, Channel.COUNTS_CHANGED) as announced,
    ):
        await becomes(lambda: counts.pending_deltas(connection), 0)
        announced.take_all()

        await fleet.add_instance(connection, organization, "some-plan")
        await announced.next()
        # That of the organization may have been on its way still.
        while await counted(connection) != 1:
            await announced.next()

        assert await counts.pending_deltas(connection) == 0
        assert await metric(client, "containerstacks_aggregator_leader") == 1
        await becomes(lambda: metric(client, "containerstacks_aggregator_deltas_pending"), 0)


async def test_a_backlog_longer_than_a_batch_is_folded_to_its_end(
    database_url: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "BATCH_DELTAS", 5)
    await fleet.add_instances(connection, *["running"] * 23)

    async with aggregator(database_url):
        await becomes(lambda: counts.pending_deltas(connection), 0)

    assert await counted(connection) == 23


async def test_a_lost_hint_only_costs_latency(
    database_url: str,
    connection: asyncpg.Connection,
    pool: db.Pool,
    term: Term,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(folding, "_IDLE_SECONDS", 0.05)
    deaf = Listener(database_url, [Channel.COUNT_DELTAS], service="tests")

    async def fold(halt: asyncio.Event) -> None:
        await fold_until(
            halt,
            pool=pool,
            term=term,
            subscription=deaf.subscribe(),
            progress=FoldProgress(WakingClock()),
        )

    async with running(Job("folding", fold)):
        # A new subscription has one hint, which asks for a first look.
        for _ in range(3):
            await fleet.add_user(connection)
            await becomes(lambda: counts.pending_deltas(connection), 0)


async def test_a_writer_that_sent_no_hint_is_folded_and_announced(
    database_url: str, connection: asyncpg.Connection
) -> None:
    async with (
        aggregator(database_url),
        listening(database_url, Channel.COUNT_DELTAS) as hints,
        listening(database_url, Channel.COUNTS_CHANGED) as announced,
    ):
        await becomes(lambda: counts.pending_deltas(connection), 0)
        announced.take_all()
        hints.take_all()
        async with (
            asyncpg.create_pool(database_url, min_size=1, max_size=1) as pool,
            pool.acquire() as notifier,
            notifier.transaction(),
        ):
            await notifier.execute("select pg_advisory_xact_lock($1, $2)", ADVISORY_LOCK_CLASS, HINT_LOCK)
            await fleet.add_user(connection)
            await announced.next(promises.SHOWN_WITHOUT_HINT_SECONDS)

            assert await counts.pending_deltas(connection) == 0
            assert hints.take_all() == []

        await fleet.add_user(connection)
        await hints.next(promises.SHOWN_WITHOUT_HINT_SECONDS)


async def test_in_a_storm_one_hint_replaces_those_of_all_writers(
    database_url: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "_STORM_DELTAS", 3)
    monkeypatch.setattr(folding, "_STORM_SECONDS", 2.0)
    async with aggregator(database_url), listening(database_url, Channel.COUNT_DELTAS) as hints:
        await add_users(connection, 3)
        await hints.next()
        await eventually(lambda: connection.fetchval(HINTS_HELD))

        await fleet.add_user(connection)
        await hints.next()

        # Had the writer sent it, it would have come while hints were held.
        assert not await connection.fetchval(HINTS_HELD)
        await becomes(lambda: counts.pending_deltas(connection), 0)
        await fleet.add_user(connection)
        await hints.next()


async def test_a_storm_is_folded_beside_an_open_transaction(
    database_url: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "_STORM_DELTAS", 3)
    async with aggregator(database_url), asyncpg.create_pool(database_url, min_size=1, max_size=1) as pool:
        async with pool.acquire() as writer, writer.transaction():
            await fleet.add_user(writer)
            for _ in range(2):
                await add_users(connection, 3)
                await becomes(lambda: counts.pending_deltas(connection), 0)
        await becomes(lambda: counts.pending_deltas(connection), 0)


async def add_users(connection: asyncpg.Connection, number: int) -> None:
    async with connection.transaction():
        for _ in range(number):
            await fleet.add_user(connection)


async def test_the_fleet_is_recorded_when_leadership_begins(
    database_url: str, connection: asyncpg.Connection
) -> None:
    await fleet.add_instance(connection)
    began = time.time()

    async def metric_is_of_now(client: Client) -> bool:
        name = "containerstacks_aggregator_history_recorded_timestamp_seconds"
        return await metric(client, name) >= began

    async with aggregator(database_url) as client:
        await eventually(lambda: connection.fetchval("select count(*) = 3 from vps_history"))
        await eventually(lambda: metric_is_of_now(client))
    assert await connection.fetchval("select distinct running from vps_history") == 1


async def test_drift_is_repaired_when_leadership_begins(
    database_url: str, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "insert into counts (metric, status, amount) values ('vps_instances', 'running', 7)"
    )
    async with aggregator(database_url) as client:
        await eventually(lambda: no_more_drift(connection))
        await becomes(lambda: metric(client, "containerstacks_aggregator_drift"), 1)


async def test_a_count_below_zero_is_repaired_long_before_the_next_recount_is_due(
    database_url: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciling, "_LOOK_SECONDS", 0.05)
    drift = "insert into counts (metric, status, amount) values ('vps_instances', $1, $2)"
    await connection.execute(drift, "running", 7)
    async with aggregator(database_url):
        await eventually(lambda: no_more_drift(connection))
        await connection.execute(drift, "odd", -3)
        await eventually(lambda: nothing_below_zero(connection))


async def nothing_below_zero(connection: asyncpg.Connection) -> bool:
    return not await counts.is_below_zero(connection)


async def no_more_drift(connection: asyncpg.Connection) -> bool:
    return (await counts.read_vps_statistics(connection)).total == 0


async def test_a_replaced_leader_neither_folds_nor_repairs(
    database_url: str, connection: asyncpg.Connection, pool: db.Pool, term: Term
) -> None:
    await fleet.add_user(connection)
    await connection.execute("update leaderships set term = term + 1 where role = 'stats_aggregator'")
    subscription = Listener(database_url, [Channel.COUNT_DELTAS], service="tests").subscribe()

    with pytest.raises(LeadershipLost):
        await fold_until(
            asyncio.Event(),
            pool=pool,
            term=term,
            subscription=subscription,
            progress=FoldProgress(WakingClock()),
        )
    with pytest.raises(LeadershipLost):
        await reconcile_until(asyncio.Event(), pool=pool, term=term, interval=timedelta(minutes=1))

    assert await counts.pending_deltas(connection) != 0


async def test_it_is_ready_when_it_listens_and_has_a_database(database_url: str) -> None:
    async with aggregator(database_url) as client:
        answer = await client.get("/readyz")
        assert (answer.status, await answer.json()) == (200, {"status": "ready"})
        assert (await client.get("/healthz")).status == 200


async def test_it_is_not_ready_before_it_listens(database_url: str) -> None:
    app = create_app(StatsAggregatorSettings(database_url=SecretStr(database_url)))
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/readyz")
        assert answer.status == 503
        assert (await answer.json())["reasons"] == ["not listening for changes"]
