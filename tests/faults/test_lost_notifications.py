"""Notifications that do not arrive: they cost at most five seconds, and never the truth."""

import asyncpg

from containerstacks_shared.database.db import ADVISORY_LOCK_CLASS, HINT_LOCK
from containerstacks_web.database import LISTENER
from containerstacks_web.live.feed import SNAPSHOT_FEED
from support import fleet, promises
from support.dark_proxy import dark_proxy
from support.packages import needs
from support.pgbouncer import pgbouncer
from support.waiting import eventually
from support.web_site import Site, open_site

LISTENING = (
    "select pid from pg_stat_activity where datname = current_database()"
    " and application_name = 'containerstacks-web' and query ilike 'listen%'"
)


async def shows(site: Site, total: int) -> bool:
    snapshot = site.app[SNAPSHOT_FEED].snapshot
    return snapshot is not None and snapshot.vps.total == total


async def test_a_change_while_the_listening_session_is_killed_is_shown_in_time(
    database_url: str, connection: asyncpg.Connection
) -> None:
    async with open_site(database_url) as site:
        await eventually(lambda: connection.fetchval(LISTENING))
        async with connection.transaction():
            await fleet.add_instance(connection)
            await connection.execute(f"select pg_terminate_backend(pid) from ({LISTENING}) as listening")
        await eventually(lambda: shows(site, 1), promises.SHOWN_WITHOUT_HINT_SECONDS)


async def test_a_change_beside_a_notifying_writer_is_shown_in_time_without_an_aggregator(
    database_url: str, connection: asyncpg.Connection
) -> None:
    async with open_site(database_url) as site:
        notifier = await asyncpg.connect(database_url)
        async with notifier.transaction():
            await notifier.execute("select pg_advisory_xact_lock($1, $2)", ADVISORY_LOCK_CLASS, HINT_LOCK)
            await fleet.add_instance(connection)
            await eventually(lambda: shows(site, 1), promises.SHOWN_WITHOUT_HINT_SECONDS)
        await notifier.close()


async def test_a_change_is_shown_in_time_while_the_listener_is_behind_a_dark_proxy(
    database_url: str, connection: asyncpg.Connection
) -> None:
    async with (
        dark_proxy(database_url) as proxy,
        open_site(database_url, database_listen_url=proxy.dsn) as site,
    ):
        proxy.go_dark()
        await fleet.add_instance(connection)
        await eventually(lambda: shows(site, 1), promises.SHOWN_WITHOUT_HINT_SECONDS)
        proxy.go_light()


@needs("pgbouncer")
async def test_a_change_is_shown_in_time_when_the_listener_reconnects_through_a_pooler(
    database_url: str, connection: asyncpg.Connection
) -> None:
    """The address that was direct at the start leads through a pooler when the listener reconnects."""
    async with pgbouncer(database_url) as pooled, open_site(database_url) as site:
        site.app[LISTENER]._dsn = pooled
        await connection.execute(f"select pg_terminate_backend(pid) from ({LISTENING}) as listening")
        await fleet.add_instance(connection)
        await eventually(lambda: shows(site, 1), promises.SHOWN_WITHOUT_HINT_SECONDS)
