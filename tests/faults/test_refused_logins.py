"""A server that refuses logins: running services retry, and one that starts reports the reason."""

from collections.abc import Iterator
from functools import partial

import psycopg
import pytest
from psycopg import sql

from containerstacks_shared.core.errors import DatabaseUnavailable
from containerstacks_shared.database import db, suitability
from containerstacks_shared.schema import migrate
from support import databases, promises
from support.databases import DatabaseServer, database_name
from support.headline import headline
from support.processes import Processes, Service
from support.waiting import becomes, eventually

PASSWORD = "sesame"
# Each refuses new sessions and leaves those alone that are there; and what takes it back.
REFUSALS = {
    "no role to log in with": ("alter role {role} nologin", "alter role {role} login"),
    "another password": ("alter role {role} password 'other'", "alter role {role} password {password}"),
    "a closed database": (
        "alter database {database} allow_connections false",
        "alter database {database} allow_connections true",
    ),
}
each_refusal = pytest.mark.parametrize(("refuse", "admit"), REFUSALS.values(), ids=REFUSALS)


class Door:
    """The way into one database for one role, watched from another database."""

    def __init__(self, server: psycopg.Connection, dsn: str) -> None:
        self._server = server
        self._role = f"{database_name(dsn)}_login"
        self._database = database_name(dsn)
        self.execute("create role {role} superuser login password {password}")
        self.dsn = dsn.replace(dsn.rpartition("@")[0], f"postgresql://{self._role}:{PASSWORD}", 1)

    def execute(self, statement: str) -> None:
        self._server.execute(
            sql.SQL(statement).format(
                role=sql.Identifier(self._role),
                database=sql.Identifier(self._database),
                password=sql.Literal(PASSWORD),
            )
        )

    def end_sessions(self) -> None:
        self._server.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", [self._role]
        )


@pytest.fixture
def door(database_server: DatabaseServer, empty_database_url: str) -> Iterator[Door]:
    migrate(empty_database_url)
    with psycopg.connect(database_server.dsn, autocommit=True) as server:
        door = Door(server, empty_database_url)
        yield door
        door.execute("drop role {role}")


@each_refusal
async def test_a_server_that_refuses_logins_for_a_while_ends_no_service(
    door: Door, processes: Processes, refuse: str, admit: str
) -> None:
    services = [
        await processes.start_web(door.dsn),
        await processes.start_billing_daemon(door.dsn),
        await processes.start_stats_aggregator(door.dsn),
    ]
    door.execute(refuse)
    door.end_sessions()
    for service in services:
        await eventually(partial(misses_the_database, service))
    await becomes(lambda: headline(services[0]), "Status is delayed", promises.STALE_SECONDS)

    door.execute(admit)
    for service in services:
        await service.ready(promises.RECOVERED_SECONDS)
        assert await service.terminate() == 0, service.log


async def reasons(service: Service) -> list[str]:
    """Why it is not ready."""
    return list((await service.get_json("/readyz")).get("reasons", []))


async def misses_the_database(service: Service) -> bool:
    return any(reason.startswith("the database") for reason in await reasons(service))


@each_refusal
async def test_a_pool_whose_logins_are_refused_treats_the_database_as_away(
    door: Door, refuse: str, admit: str
) -> None:
    async with databases.open_pool(door.dsn) as pool:
        async with pool.acquire() as kept:
            door.execute(refuse)
            assert await kept.fetchval("select 1") == 1
            with pytest.raises(DatabaseUnavailable, match="refuses the connection"):
                await pool.fetchval("select 1")
        with pytest.raises(DatabaseUnavailable, match="refuses the connection"):
            await db.dedicated_connection(door.dsn, service="tests")
        with pytest.raises(DatabaseUnavailable, match="refuses the connection"):
            await suitability.assert_suitable(door.dsn, door.dsn, test_clock=False)
        door.execute(admit)
        async with pool.acquire(), pool.acquire() as other:
            assert await other.fetchval("select 1") == 1
